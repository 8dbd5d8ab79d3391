"""Disks that fail: full, in error, read-only. What was acknowledged stays, and nothing fails without a word."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crash import child
from crash.disk import RecordingFiles, Step, read_tree, write_tree
from crash.enumerate_crashes import crashes
from crash.judge import Promises, judge
from crash.story import ORIGIN, SEGMENT_AGE_US, START_US, Teller, small_config
from graven.app import Log, create_log, open_view
from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.runtime.clock import FixedClock
from mounting import mounted

AFTER_US = START_US + 400_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US))
    return tmp_path / "log"


def full_disk(root: Path, wanted: Callable[[Step], bool], *, short_bytes: int = 0) -> Callable[[Step], None]:
    """Fail the wanted writes as a full disk does, after the first `short_bytes` of them."""

    def before(step: Step) -> None:
        if wanted(step):
            if short_bytes:
                with (root / step.path).open("r+b") as file:
                    file.seek(step.offset)
                    file.write(step.data[:short_bytes])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return before


def is_frame(step: Step) -> bool:
    return step.kind == "write" and "log/journal/" in step.path and step.offset > 0


@pytest.mark.parametrize("short_bytes", [0, 1, 79, 80, 200])
def test_a_full_disk_in_the_middle_of_a_frame(directory: Path, short_bytes: int) -> None:
    files = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        teller = Teller(log, files)
        teller.append(("a", "before"))
        (segment,) = (directory / "journal").glob("*.seg")
        size_bytes = segment.stat().st_size
        files.before = full_disk(directory.parent, is_frame, short_bytes=short_bytes)
        for _ in range(3):
            with pytest.raises(Busy, match="no space") as refused:
                teller.append(("b", "refused" * 50))
            assert (refused.value.exit_code, refused.value.retry_after_s) == (3, 30)
            assert segment.stat().st_size == size_bytes
        files.before = None
        assert teller.append(("b", "refused" * 50)).first_index == 2
        assert teller.append(("a", "before")).duplicates == ((0, 1),)
    judge_all(directory, files)


def test_a_full_disk_whose_cut_fails_stops_the_writer(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        teller = Teller(log, files)
        teller.append(("a", "before"))
        files.before = full_disk(
            directory.parent,
            lambda step: is_frame(step) or (step.kind == "truncate" and "log/journal/" in step.path),
            short_bytes=100,
        )
        with pytest.raises(Broken, match="short write could not be cut"):
            teller.append(("b", "lost"))
        files.before = None
        with pytest.raises(Broken, match="short write could not be cut"):
            teller.append(("b", "still refused"))
    judge_all(directory, files)


def test_a_full_disk_when_a_segment_begins(directory: Path) -> None:
    """Each write and creation on the way to a new segment refused in turn: nothing is lost, and the next try works."""
    for number in range(20):
        files = RecordingFiles(directory.parent)
        now_us = START_US + number * 2 * SEGMENT_AGE_US
        with Log.open(directory, clock=FixedClock(now_us), files=files) as log:
            teller = Teller(log, files)
            teller.append((f"a{number}", "before"))
            assert isinstance(log.clock, FixedClock)
            log.clock.advance(SEGMENT_AGE_US + 1)
            left = [number]

            def wanted(step: Step, left: list[int] = left) -> bool:
                left[0] -= "log/journal/" in step.path and step.kind in ("create", "write", "sync_dir")
                return left[0] < 0 and "log/journal/" in step.path and step.kind in ("create", "write")

            files.before = full_disk(directory.parent, wanted)
            with contextlib.suppress(Busy):
                teller.append((f"b{number}", "perhaps refused"))
            files.before = None
            teller.append((f"c{number}", "after"))
        judge_all(directory, files, now_us=now_us + 2 * SEGMENT_AGE_US)
        if left[0] >= 0:
            return
    pytest.fail("the story never ended")


def test_a_crash_while_an_empty_segment_is_begun_again(directory: Path, tmp_path: Path) -> None:
    """A segment without a block (its first frame found no room), whose keys a restored keyring does not have."""
    files = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        Teller(log, files).append(("a", "before"))
        assert isinstance(log.clock, FixedClock)
        log.clock.advance(SEGMENT_AGE_US + 1)
        files.before = full_disk(
            directory.parent, lambda step: is_frame(step) and not step.path.endswith("00000000.0000.seg")
        )
        with pytest.raises(Busy):
            Teller(log).append(("b", "refused"))
        files.before = None
    max((tmp_path / "log.keys" / "data").iterdir()).unlink()
    heard = Promises()
    heard.hear(files.steps)
    start = read_tree(directory.parent)
    again = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=again) as log:
        Teller(log, again).append(("c", "after"))
    assert any("0001.seg" in step.path for step in again.steps)
    for crash in crashes(again.steps, start=start, heard=heard)[::9]:
        write_tree(tmp_path / "crashed", crash.tree)
        try:
            judge(
                tmp_path / "crashed" / "log", crash.promises, now_us=AFTER_US,
                files=RecordingFiles(tmp_path / "crashed"), whole=False,
            )  # fmt: skip
        except BaseException as error:
            error.add_note(f"after this crash: {crash.name}")
            raise
        shutil.rmtree(tmp_path / "crashed")


def test_a_full_disk_under_the_published_tree_is_waited_out(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        teller = Teller(log, files)
        files.before = full_disk(directory.parent, lambda step: step.kind == "write" and "log/log/" in step.path)
        teller.append(("a", "committed, not published"))
        with pytest.raises(Busy, match="published tree"):
            log.publish()
        teller.append(("b", "the intake goes on"))
        files.before = None
        assert log.publish().checkpoint.size == log.size
    judge_all(directory, files)


def test_a_window_that_cannot_be_written_is_no_failure(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    files.before = full_disk(directory.parent, lambda step: "state/window" in step.path)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        teller = Teller(log, files)
        teller.append(("a", "one"))
        assert teller.append(("a", "one")).duplicates == ((0, 1),)
        files.before = None
        teller.append(("b", "two"))
    judge_all(directory, files)


def failing_story(root: Path, files: RecordingFiles) -> list[GravenError]:
    """Append, publish, roll, be closed and opened again, whatever fails; every failure must be one of ours."""
    failures: list[GravenError] = []
    clock = FixedClock(START_US)
    for turn in range(2):
        with collected(failures), Log.open(root / "log", clock=clock, files=files, serve=True) as log:
            teller = Teller(log, files)
            for number in range(3):
                clock.advance(SEGMENT_AGE_US // 2)
                with collected(failures):
                    teller.append((f"{turn}-{number}", f"event {number}"), ("same", "always"))
                with collected(failures):
                    log.publish()
    return failures


@contextlib.contextmanager
def collected(failures: list[GravenError]) -> Iterator[None]:
    try:
        yield
    except GravenError as error:
        failures.append(error)


def fail_each(tmp_path: Path, code: int, share: int) -> None:
    """The story with its n-th step failing, once and then from there on, for every n in `share`."""
    start = tmp_path / "start"
    start.mkdir()
    create_log(start / "log", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US))
    counting = RecordingFiles(tmp_path / "0")
    shutil.copytree(start, tmp_path / "0")
    assert not failing_story(tmp_path / "0", counting)
    places = [step for step in counting.steps if step.kind != "promise"]
    for number in range(len(places) % share, len(places), share):
        for lasting in (False, True):
            root = tmp_path / f"{number}-{lasting}"
            shutil.copytree(start, root)
            files = RecordingFiles(root)
            seen = [0]

            def before(step: Step, seen: list[int] = seen, number: int = number, lasting: bool = lasting) -> None:
                seen[0] += 1
                if seen[0] == number + 1 or (lasting and seen[0] > number):
                    raise OSError(code, os.strerror(code), step.path)

            files.before = before
            try:
                failing_story(root, files)
                files.before = None
                judge_all(root / "log", files)
            except BaseException as error:
                error.add_note(f"failing with {errno.errorcode[code]} at step {number} ({places[number]}), {lasting=}")
                raise
            shutil.rmtree(root)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_step_that_fails(tmp_path: Path, code: int) -> None:
    fail_each(tmp_path, code, share=47)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_each_step_that_fails(tmp_path: Path, code: int) -> None:
    fail_each(tmp_path, code, share=1)


def test_a_failed_init_leaves_nothing(tmp_path: Path) -> None:
    for number in range(0, 200, 9):
        root = tmp_path / str(number)
        root.mkdir()
        left = [number]

        def before(step: Step, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO), step.path)

        files = RecordingFiles(root, before)
        try:
            create_log(root / "log", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US), files=files)
        except GravenError:
            left_over = sorted(path.name for path in root.iterdir())
            assert left_over in ([], ["log.keys"], ["log", "log.keys"])
            if "log" in left_over:  # only the last sync failed
                assert open_view(root / "log").published.checkpoint.size == 1
        else:
            assert number > 50
            return
    pytest.fail("init never ended")


def test_a_small_disk_that_fills_up(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=3m", "tmpfs"):
        filler = small / "filler"
        filler.write_bytes(bytes(1 << 20))
        create_log(
            small / "log", origin=ORIGIN, config=small_config(), keyring_dir=tmp_path / "keys",
            clock=FixedClock(START_US),
        )  # fmt: skip
        kept: list[tuple[int, bytes]] = []
        with Log.open(small / "log", clock=FixedClock(START_US)) as log:
            for number in range(1_000):
                event = b'{"action":"fill","message":"%s"}' % os.urandom(8_000).hex().encode()
                try:
                    answer = log.append(event)
                except Busy:
                    break
                kept.append((number + 1, event))
                assert answer.first_index == number + 1
            assert len(kept) > 50
            filler.unlink()
            kept.append((log.append(b'{"action":"after"}').first_index or 0, b'{"action":"after"}'))
            assert kept[-1][0] == len(kept)
            assert log.publish().checkpoint.size == log.size
            assert log.writer.error is None
        with open_view(small / "log") as view:
            assert [view.read(index).event for index, _ in kept] == [event for _, event in kept]


def test_a_read_only_disk_is_said_and_can_be_read(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    create_log(place / "log", origin=ORIGIN, config=small_config(), clock=FixedClock(START_US))
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        with pytest.raises(Broken, match="cannot be written, so the log can only be read") as refused:
            Log.open(place / "log")
        assert refused.value.exit_code == 3
        with open_view(place / "log") as view:
            assert view.read(0).event is not None
            assert view.evidence(0)
        with pytest.raises((Broken, BadInput)):
            create_log(place / "other", origin=ORIGIN)


def test_a_disk_that_turned_read_only_is_said(directory: Path) -> None:
    def before(step: Step) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), step.path)

    files = RecordingFiles(directory.parent, before)
    with pytest.raises(Broken, match=r"cannot be opened for writing .*Read-only"):
        Log.open(directory, clock=FixedClock(START_US), files=files)
    with open_view(directory) as view:
        assert view.read(0).event is not None


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("nth", [2, 5])
def test_an_error_from_fdatasync_stops_the_writer_for_good(tmp_path: Path, nth: int) -> None:
    directory = tmp_path / "log"
    create_log(directory, origin=ORIGIN, config=small_config())
    trace = tmp_path / "trace"
    done = subprocess.run(
        [
            "strace", "-f", "-y", "-o", str(trace), "-e", "trace=fdatasync",
            "-e", f"inject=fdatasync:error=EIO:when={nth}",
            sys.executable, child.__file__, str(directory), "1", "7",
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    if "ptrace" in done.stderr and done.returncode == 1:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 3, done.stderr
    assert "could not be synced" in done.stderr and "Input/output error" in done.stderr
    calls = [line for line in trace.read_text().splitlines() if "fdatasync(" in line and "/journal/" in line]
    (failed,) = (number for number, line in enumerate(calls) if "INJECTED" in line)
    thread = calls[failed].split()[0]
    assert re.search(r"fdatasync\(\d+<.*/journal/.*\) += -1 EIO", calls[failed])
    assert [line for line in calls[failed + 1 :] if line.split()[0] == thread] == []  # never tried again
    assert len(done.stdout.splitlines()) == nth - 1
    with Log.open(directory) as log:
        assert log.size >= nth
        log.append(b'{"action":"after"}')


def judge_all(directory: Path, files: RecordingFiles, *, now_us: int = AFTER_US) -> None:
    promises = Promises()
    promises.hear(files.steps)
    judge(directory, promises, now_us=now_us, files=RecordingFiles(directory.parent))
