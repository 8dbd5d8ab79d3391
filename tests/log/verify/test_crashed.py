"""A crashed log that recovery would accept verifies: whatever a crash may leave, before and after recovery."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest

from crash.disk import RecordingFiles, write_tree
from crash.enumerate_crashes import Crash, crashes, sample
from crash.story import START_US, tell
from graven.app import Log, open_keyring, public_keys
from graven.config import load_config
from graven.journal.mark import COMMITTED, Mark, encode_mark
from graven.log.verify import Report, verify_directory
from graven.runtime.clock import FixedClock
from log.logs import open_log
from tampering.frames import frames_of
from tampering.logs import START_US as TAMPERED_US
from tampering.logs import Tampered, batch_of, flip, make_log

AFTER_US = START_US + 10**12


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> list[Crash]:
    root = tmp_path_factory.mktemp("story")
    files = RecordingFiles(root)
    tell(root, files)
    return [crash for crash in crashes(files.steps) if crash.promises.created]


def judge(directory: Path, *, keyless: bool = False) -> Report:
    config = load_config(directory / "graven.toml")
    keyring = None if keyless else open_keyring(directory, config)
    return verify_directory(directory, keys=public_keys(config), keyring=keyring, processes=1)


def verify_all(chosen: Iterable[Crash], tmp_path: Path) -> None:
    for number, crash in enumerate(chosen):
        root = tmp_path / str(number)
        write_tree(root, crash.tree)
        before = judge(root / "log")
        assert (before.exit_code, before.problems) == (0, ()), crash.name
        assert judge(root / "log", keyless=True).disproved == 0, crash.name
        with Log.open(root / "log", clock=FixedClock(AFTER_US)):
            pass
        after = judge(root / "log")
        assert (after.exit_code, after.payloads) == (0, "all"), crash.name
        assert after.size >= before.size, crash.name


def test_one_crashed_log_in_forty_verifies(story: list[Crash], tmp_path: Path) -> None:
    verify_all(sample(story, 40), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_crashed_log_verifies(story: list[Crash], tmp_path: Path) -> None:
    assert len(story) > 1_000
    verify_all(story, tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Tampered:
    """Two segments; ten events committed behind the published checkpoint."""
    made = make_log(tmp_path / "log", events=150, block=10)
    now_us = TAMPERED_US + 120_000_000
    opened = open_log(made.directory, now_us=now_us)  # which publishes nothing by itself
    opened.commit(batch_of(range(1_000, 1_010), now_us))
    opened.writer.stop()  # and no more, as when the process is killed
    opened._abandon()
    return made


def test_what_is_committed_and_not_published_is_told(log: Tampered) -> None:
    report = log.judge()
    assert (report.exit_code, report.size, report.published) == (0, 161, 151)
    assert "10 events committed, not yet published" in report.notes
    assert report.payloads == "all"


def test_it_is_told_without_keys_that_these_are_not_judged(log: Tampered) -> None:
    report = log.judge(keyless=True)
    assert report.exit_code == 0
    assert any("10 events behind the published tree" in note for note in report.notes)


@pytest.mark.parametrize("cut", [1, 40, 100, 500])
def test_a_frame_nobody_was_told_of_may_be_unfinished(log: Tampered, cut: int) -> None:
    (log.directory / "state" / "committed").unlink()
    with log.segments[-1].open("r+b") as file:
        file.truncate(file.seek(0, 2) - cut)
    report = log.judge()
    assert (report.exit_code, report.size) == (0, 151)
    assert any("unfinished frame" in note for note in report.notes)
    with Log.open(log.directory, clock=FixedClock(AFTER_US)):
        pass
    assert log.judge().exit_code == 0


def test_an_acknowledged_frame_may_not(log: Tampered) -> None:
    with log.segments[-1].open("r+b") as file:
        file.truncate(file.seek(0, 2) - 40)
    report = log.judge()
    assert report.exit_code == 3
    assert any("state/committed" in problem.place for problem in report.problems)


def test_unfinished_bytes_with_a_frame_behind_them_are_disproved(log: Tampered) -> None:
    (log.directory / "state" / "committed").unlink()
    path = log.segments[-1]
    whole = path.read_bytes()
    at = whole.rindex(b"GRVB")
    path.write_bytes(whole + bytes(100) + whole[at + 1 :])
    assert log.judge().exit_code == 0, "no frame begins in these bytes"
    path.write_bytes(whole + bytes(100) + whole[at:])
    assert log.judge().exit_code == 1


def test_a_new_segment_without_a_whole_header_is_what_a_crash_leaves(log: Tampered) -> None:
    (log.directory / "state" / "committed").unlink()
    path = log.segments[-1]
    data = path.read_bytes()
    start = int(path.name[:20])
    assert start == 151
    for rest in (b"", data[:50], data[:200]):
        path.write_bytes(rest)
        report = log.judge()
        assert (report.exit_code, report.size) == (0, 151)
        assert len(report.notes) == 1


def test_a_mark_behind_the_journal_is_fine(log: Tampered) -> None:
    root = log.judge()
    assert root.exit_code == 0
    (log.directory / "state" / "committed").write_bytes(encode_mark(COMMITTED, Mark(0, bytes(32))))
    assert log.judge().exit_code == 1, "but not one of another tree"


def test_torn_bytes_whose_event_a_second_crash_prevented(log: Tampered) -> None:
    """Until the next start names them, they are told, not held against the log; other bytes are."""
    (log.directory / "state" / "committed").unlink()
    path = log.segments[-1]
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) - 40)
    before = path.read_bytes()
    with Log.open(log.directory, clock=FixedClock(AFTER_US)):
        pass
    torn = next((log.directory / "journal" / "torn").iterdir())
    offset = int(torn.name.split(".")[3])
    assert before[offset:] == torn.read_bytes()
    for cut_by in (offset, len(before)):  # with the cut done, and with the bytes still there
        path.write_bytes(before[:cut_by])
        for later in log.segments[log.segments.index(path) + 1 :]:
            later.unlink()
        roll_back(log)
        report = log.judge()
        assert report.exit_code == 0, report.problems
        assert any(torn.name in note for note in report.notes)
    torn.rename(torn.with_name(torn.name.replace(f".{offset}.", ".300.")))
    assert log.judge().exit_code == 1


def test_a_header_cut_and_begun_again_under_the_same_name(log: Tampered) -> None:
    """The header of a new segment was torn, kept, and written again; then a second crash, before the first block."""
    (log.directory / "state" / "committed").unlink()
    path = log.segments[-1]
    first = frames_of(path)[1]
    assert first.header.start == int(path.name[:20]) == 151
    data = path.read_bytes()
    torn = log.directory / "journal" / "torn"
    torn.mkdir()
    kept = torn / f"{path.name}.0.{sha256(data[:90]).hexdigest()[:16]}"
    kept.write_bytes(data[:90])
    for end in (first.offset, first.offset + 100):
        path.write_bytes(data[:end])
        report = log.judge()
        assert report.exit_code == 0, report.problems
        assert any(kept.name in note for note in report.notes)
    path.write_bytes(data)
    assert log.judge().exit_code == 1, "with a block behind it, its event should be there"
    path.write_bytes(data[: first.offset + 100])
    with Log.open(log.directory, clock=FixedClock(AFTER_US)):
        pass
    assert (log.judge().exit_code, log.judge().notes) == (0, ())


def roll_back(log: Tampered) -> None:
    """Put the published state back to the checkpoint before the last: nothing behind it was ever signed."""
    notes = sorted((log.directory / "checkpoints").glob("*/*"))
    keep = next(note for note in notes if note.name == f"{151:020d}")
    for place in (log.directory / "log" / "checkpoint", log.keyring / "highest-checkpoint"):
        place.write_bytes(keep.read_bytes())
    for note in notes[notes.index(keep) + 1 :]:
        note.unlink()
    for name in ("committed", "synced"):
        (log.directory / "state" / name).unlink(missing_ok=True)
    for path in (log.directory / "log" / "tile").rglob("*"):
        if path.is_file() and path.name.isdecimal() and path.parent.name == "000.p" and int(path.name) > 151:
            path.unlink()


@pytest.mark.parametrize("more", [30, 300, 900])
def test_tiles_of_events_that_were_lost_go_with_them(tmp_path: Path, more: int) -> None:
    """Tiles were written, the power failed before they were signed, the events were lost and declared so."""
    log = make_log(tmp_path / "log", events=100, block=10)
    clock = FixedClock(TAMPERED_US + 100_000_000)
    opened = Log.open(log.directory, clock=clock)
    for start in range(1_000, 1_000 + more, 10):
        opened.commit(batch_of(range(start, start + 10), clock.now_us()))
    opened.publisher._write_tiles(opened.publisher._on_disk, opened.writer.size)
    opened.writer.stop()
    opened._abandon()
    assert log.judge().exit_code == 0
    path = log.segments[-1]
    first_lost = frames_of(path)[4]
    assert first_lost.header.start >= 101
    flip(path, first_lost.offset + 200)
    assert log.judge().exit_code == 1
    with Log.open(log.directory, clock=clock, declare_loss="a bad disk") as again:
        again.commit(batch_of(range(5_000, 5_010), clock.now_us()))
        again.publish()
    report = log.judge()
    assert (report.exit_code, report.problems, report.payloads) == (0, (), "all")
    assert report.size == first_lost.header.start + 11, "the loss is an event"
