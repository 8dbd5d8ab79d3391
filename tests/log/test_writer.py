"""The writer: groups, duplicates, conflicts, bounds, and how it stops."""

import dataclasses
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from crash.disk import RecordingFiles, Step
from crash.story import small_config
from graven.app import Log
from graven.config.model import ClassConfig, IdempotencyConfig, IntakeConfig, JournalConfig
from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.core.receipt import verify_opened
from graven.journal import frame
from graven.journal.segment import SegmentReader, list_segments
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.types import Batch, Committed
from graven.log.window import CANDIDATES_MAX, Window
from graven.log.writer import EVENTS_MAX, Answer
from graven.runtime.clock import FixedClock
from log.logs import SEGMENT_AGE_US, START_US, Teller, acts_of, event, make_log, open_log, verify

HOUR_US = 3_600_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_log(tmp_path)


def batch(*events: tuple[str | None, str], raws: list[bytes | None] | None = None, full: bool = False) -> Batch:
    bodies = [event(event_id, message) for event_id, message in events]
    return Batch(bodies, [event_id for event_id, _ in events], 1, START_US, "default", raws, full)


@contextmanager
def in_one_group(log: Log, files: RecordingFiles, *, more: bool = True) -> Iterator[list[Answer]]:
    """Batches submitted inside are committed together: the writer is held in a sync until the end."""
    held, go = threading.Event(), threading.Event()
    answers: list[Answer] = []

    def before(step: Step) -> None:
        if step.kind == "sync" and "log/journal" in step.path and not go.is_set():
            held.set()
            assert go.wait(90)

    files.before = before
    log.submit(batch((None, "the first holds the writer")), answers.append)
    assert held.wait(90)
    yield answers
    go.set()
    wait_for(lambda: log.writer.queued == (0, 0))
    if more:
        log.append_act(acts.BACKUP, {})  # answered after all of them


def frames_of(directory: Path) -> list[tuple[int, int]]:
    """(start, count) of every block."""
    found: list[tuple[int, int]] = []
    for segment in list_segments(str(directory / "journal")):
        with SegmentReader(segment) as reader:
            found += [(one.start, one.count) for _, one in reader.walk() if one.kind == frame.BLOCK]
    return found


def committed(answer: Answer) -> Committed:
    assert isinstance(answer, Committed), answer
    return answer


def test_what_waits_is_committed_as_one_frame(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        with in_one_group(log, files) as answers:
            for number in range(5):
                log.submit(batch((f"a{number}", "x"), (f"b{number}", "y")), answers.append)
        assert [committed(one).first_index for one in answers] == [1, 2, 4, 6, 8, 10]
        assert {committed(one).size for one in answers[1:]} == {12}
        assert len({committed(one).receipt for one in answers[1:]}) == 1
    assert frames_of(directory)[:3] == [(0, 1), (1, 1), (2, 10)]


def test_a_duplicate_of_an_event_in_flight_waits_for_its_commit(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        with in_one_group(log, files) as answers:
            log.submit(batch(("a", "one"), ("b", "two")), answers.append)
            log.submit(batch(("b", "two"), ("c", "three"), ("a", "one")), answers.append)
            log.submit(batch(("a", "one")), answers.append)
        found = [committed(one) for one in answers[1:]]
        assert [(one.accepted, one.first_index, one.duplicates) for one in found] == [
            (2, 2, ()), (1, 4, ((0, 3), (2, 2))), (0, None, ((0, 2),)),
        ]  # fmt: skip
        assert not acts_of(log, acts.ID_CONFLICT)


def test_a_conflict_is_stored_and_named_with_both_indexes(directory: Path) -> None:
    with open_log(directory) as log:
        teller = Teller(log)
        teller.append(("a", "one"))
        assert teller.append(("a", "two"), ("b", "three")).first_index == 2
        assert acts_of(log, acts.ID_CONFLICT) == [{"source": 1, "first": 1, "second": 2}]
        assert teller.append(("a", "two")).duplicates == ((0, 2),)
        assert teller.append(("a", "one")).duplicates == ((0, 1),)
        assert teller.append(("a", "one"), source=2).first_index == 5  # another source's ids are its own
        assert len(acts_of(log, acts.ID_CONFLICT)) == 1


def test_conflicts_and_copies_of_them_in_one_group(directory: Path) -> None:
    """The second copy of other bytes is a duplicate too, wherever the first copy of them is."""
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        Teller(log).append(("a", "one"))
        with in_one_group(log, files) as answers:
            log.submit(batch(("a", "two"), ("a", "two"), ("a", "one")), answers.append)
            log.submit(batch(("a", "two"), ("a", "three"), ("a", "three")), answers.append)
        first, second = (committed(one) for one in answers[1:])
        assert (first.first_index, first.accepted, first.duplicates) == (3, 1, ((1, 3), (2, 1)))
        assert (second.first_index, second.accepted, second.duplicates) == (4, 1, ((0, 3), (2, 4)))
        assert acts_of(log, acts.ID_CONFLICT) == [
            {"source": 1, "first": 1, "second": 3}, {"source": 1, "first": 1, "second": 4},
        ]  # fmt: skip


def test_the_same_event_from_another_raw_is_a_conflict(directory: Path) -> None:
    with open_log(directory) as log:
        teller = Teller(log)
        teller.append(("a", "one"), raws=[b"raw"])
        assert teller.append(("a", "one"), raws=[b"raw"]).duplicates == ((0, 1),)
        assert teller.append(("a", "one"), raws=[b"other"]).first_index == 2
        assert teller.append(("a", "one")).first_index == 4


def test_hashes_that_collide_cost_a_read_and_never_a_record(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "fingerprints", lambda self, source, ids: [42] * len(list(ids)))
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        teller = Teller(log)
        assert teller.append(("a", "one"), ("b", "two")).accepted == 2
        assert teller.append(("c", "three"), ("a", "one"), source=2).accepted == 2
        assert teller.append(("b", "two"), ("a", "one")).duplicates == ((0, 2), (1, 1))
        with in_one_group(log, files) as answers:
            log.submit(batch(("d", "four"), ("e", "five"), ("d", "four")), answers.append)
            log.submit(batch(("e", "five"), ("d", "four")), answers.append)
            log.submit(dataclasses.replace(batch(("d", "four")), source=2), answers.append)
        assert [committed(one).duplicates for one in answers[1:]] == [((2, 6),), ((0, 7), (1, 6)), ()]
        assert not acts_of(log, acts.ID_CONFLICT)


def test_many_conflicts_on_one_id_stay_cheap(directory: Path) -> None:
    """Each is compared with a few of the first, or one producer could hold the writer for hours."""
    with open_log(directory) as log:
        started_s = time.process_time()
        for turn in range(2):
            answer = log.commit(batch(*(("a", f"{turn} {number}") for number in range(10_000))))
            assert answer.accepted == 10_000
        assert time.process_time() - started_s < 60  # of computing, however busy the machine is
        assert log.size == 1 + 2 * 2 * 10_000 - 1  # every one but the first is named by a note
        assert len(log.writer.state.window) <= CANDIDATES_MAX + 2  # and two that say how far was seen
        assert log.commit(batch(("a", "0 3"))).duplicates == ((0, 4),)
    with open_log(directory) as log:
        assert log.commit(batch(("a", "0 3"))).duplicates == ((0, 4),)


def test_ids_are_remembered_over_a_restart_and_forgotten_in_time(directory: Path) -> None:
    with open_log(directory) as log:
        Teller(log).append(("a", "one"), ("b", "two"))
    for path in (directory / "state").glob("window.*"):
        path.unlink()
    with open_log(directory, now_us=START_US + 23 * HOUR_US) as log:
        assert Teller(log).append(("a", "one")).duplicates == ((0, 1),)
    with open_log(directory, now_us=START_US + 25 * HOUR_US) as log:
        assert Teller(log).append(("a", "one")).accepted == 1
        assert not acts_of(log, acts.ID_CONFLICT)


def test_the_last_ids_of_a_bounded_window_survive_without_its_files(tmp_path: Path) -> None:
    config = msgspec.structs.replace(small_config(), idempotency=IdempotencyConfig(max_ids=2_000))
    directory = make_log(tmp_path, config=config)
    with open_log(directory) as log:
        for start in range(0, 6_000, 500):
            Teller(log).append(*((f"n{number}", "x") for number in range(start, start + 500)))
        assert Teller(log).append(("n5999", "x")).duplicates == ((0, 6_000),)
    for path in (directory / "state").glob("window.*"):
        path.unlink()
    with open_log(directory) as log:
        assert Teller(log).append(("n5999", "x"), ("n4001", "x")).accepted == 0
        assert Teller(log).append(("n0", "x")).accepted == 1


def test_a_full_receipt_opens_new_events_and_duplicates(directory: Path) -> None:
    with open_log(directory) as log:
        Teller(log).append(("a", "one"))
        sent = [event("a", "one"), event("b", "two"), event(None, "three")]
        answer = log.commit(batch(("a", "one"), ("b", "two"), (None, "three"), full=True))
        assert answer.opened is not None
        message = json.loads(json.dumps(dataclasses.asdict(answer) | {"receipt": answer.receipt.decode()}))
        message["duplicates"] = [{"position": at, "index": index} for at, index in answer.duplicates]
        assert verify_opened(message, sent, log.keys, verify_signature).size == 4
        sent[1] = event("b", "another")
        with pytest.raises(GravenError):
            verify_opened(message, sent, log.keys, verify_signature)


def test_bounds_of_the_intake(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        small_config(), intake=IntakeConfig(max_events=5, max_bytes=1 << 20, max_request_bytes=1 << 20)
    )
    directory = make_log(tmp_path, config=config)
    files = RecordingFiles(tmp_path)
    with open_log(directory, files=files) as log:
        with in_one_group(log, files) as answers:
            log.submit(batch(*((None, str(number)) for number in range(4))), answers.append)
            with pytest.raises(Busy, match="full") as refused:
                log.submit(batch((None, "a"), (None, "b")), answers.append)
            assert refused.value.retry_after_s == 1
            log.submit(batch((None, "a")), answers.append)
            assert log.writer.queued[0] == 5
            with pytest.raises(Busy):
                log.submit(batch((None, "x" * (1 << 20))), answers.append)
        assert len(answers) == 3 and log.writer.queued == (0, 0)
        # alone, a request larger than the queue is taken
        assert log.commit(batch(*((None, str(number)) for number in range(9)))).accepted == 9


def test_what_is_no_batch(directory: Path) -> None:
    with open_log(directory) as log:
        for events, name in (([], "default"), ([b"{}"] * (EVENTS_MAX + 1), "default"), ([b"{}"], "unknown")):
            with pytest.raises(BadInput):
                log.submit(Batch(events, [None] * len(events), 1, START_US, name), lambda answer: None)
        assert log.size == 1


def test_intake_stops_where_publishing_is_far_behind(directory: Path) -> None:
    with open_log(directory) as log:
        log.writer.published_size = lambda: log.size - 1_000_001
        with pytest.raises(Busy, match="publishing is behind"):
            Teller(log).append(("a", "one"))
        log.writer.published_size = lambda: log.size
        Teller(log).append(("a", "one"))


def test_a_clock_that_falls_is_noted_once_and_never_corrected(directory: Path) -> None:
    with open_log(directory) as log:
        teller, clock = Teller(log), log.clock
        assert isinstance(clock, FixedClock)
        for by_us in (5_000_000, -1_000_000, -1, -2_000_000, 0, 10_000_000):
            clock.advance(by_us)
            teller.append((None, f"moved by {by_us}"))
        assert acts_of(log, acts.CLOCK_FALL) == [{"before_us": START_US + 3_999_999, "after_us": START_US + 1_999_999}]
        received = [record.head.received_us for record in log.view.records(1, log.size) if record.head]
        assert received == [START_US + us for us in (5_000_000, 4_000_000, 3_999_999, *[1_999_999] * 3, 11_999_999)]
        clock.advance(-60_000_000)
    with open_log(directory, now_us=START_US - 60_000_000) as log:  # and over a restart
        Teller(log).append((None, "earlier than ever"))
        assert len(acts_of(log, acts.CLOCK_FALL)) == 2


def test_a_fall_of_the_clock_is_noted_although_the_disk_was_full(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        teller = Teller(log)
        teller.append((None, "before"))
        assert isinstance(log.clock, FixedClock)
        log.clock.advance(-60_000_000)

        def before(step: Step) -> None:
            if step.kind == "write" and "log/journal" in step.path:
                raise OSError(28, "full")

        files.before = before
        with pytest.raises(Busy):
            teller.append((None, "refused"))
        files.before = None
        teller.append((None, "after"))
        assert len(acts_of(log, acts.CLOCK_FALL)) == 1


def test_segments_roll_by_size_and_age(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        small_config(), journal=JournalConfig(segment_bytes=64 << 10, segment_age_s=60)
    )  # fmt: skip
    directory = make_log(tmp_path, config=config)
    with open_log(directory) as log:
        for number in range(60):
            Teller(log).append((None, random_text(number)))
    by_size = list_segments(str(directory / "journal"))
    assert len(by_size) > 2
    for one in by_size[:-1]:
        assert 64 << 10 <= Path(one.path).stat().st_size < 80 << 10
    with open_log(directory, now_us=START_US + SEGMENT_AGE_US) as log:
        Teller(log).append((None, "in a new one"))
    assert len(list_segments(str(directory / "journal"))) == len(by_size) + 1
    assert verify(directory).exit_code == 0


def random_text(seed: int) -> str:
    return random.Random(seed).randbytes(4_000).hex()


def test_a_class_declared_later_begins_a_segment(directory: Path) -> None:
    config = msgspec.structs.replace(
        small_config(), classes={"default": ClassConfig(), "pii": ClassConfig(), "later": ClassConfig()}
    )
    with open_log(directory) as log, pytest.raises(BadInput, match="no class is called 'later'"):
        Teller(log).append((None, "x"), classes="later")
    loaded = Log.open(directory, clock=FixedClock(START_US))
    settings = msgspec.structs.replace(loaded.config, classes=config.classes)
    loaded.close()
    with open_log(directory, config=settings) as log:
        Teller(log).append((None, "old class"))
        assert len(list_segments(str(directory / "journal"))) == 1
        Teller(log).append((None, "x"), classes="later")
        assert len(list_segments(str(directory / "journal"))) == 2
        assert [data["config_sha256"] for data in acts_of(log, acts.CONFIG)] != []
    assert verify(directory).exit_code == 0


def test_a_callback_that_raises_stops_the_writer_and_hides_no_answer(directory: Path) -> None:
    files = RecordingFiles(directory.parent)

    def bad(answer: Answer) -> None:
        raise ValueError("a bug in a door")

    with open_log(directory, files=files) as log:
        held, go = threading.Event(), threading.Event()

        def before(step: Step) -> None:
            if step.kind == "sync" and "log/journal" in step.path and not go.is_set():
                held.set()
                assert go.wait(90)

        files.before = before
        answers: list[Answer] = []
        told = threading.Event()
        log.submit(batch((None, "holds")), answers.append)
        assert held.wait(90)
        log.submit(batch((None, "bad")), bad)

        def good(answer: Answer) -> None:
            answers.append(answer)
            told.set()

        log.submit(batch((None, "good")), good)
        go.set()
        assert told.wait(90)
        assert committed(answers[1]).first_index == 3
        wait_for(lambda: log.writer.error is not None)
        with pytest.raises(Broken, match="could not be delivered"):
            log.submit(batch((None, "later")), answers.append)
    with open_log(directory) as log:
        assert log.size == 4


def test_no_thread_outlives_the_log(directory: Path) -> None:
    before = set(threading.enumerate())

    def new() -> int:
        return len(set(threading.enumerate()) - before)  # others' threads may end meanwhile

    files = RecordingFiles(directory.parent)
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        assert new() == 2
    assert new() == 0
    with Log.open(directory, clock=FixedClock(START_US), files=files) as log:  # the writer fails
        fail_at(files, "log/journal")
        with pytest.raises(Broken):
            Teller(log).append((None, "x"))
    assert new() == 0
    files.before = None
    with pytest.raises(Broken), Log.open(directory, clock=FixedClock(START_US), files=files) as log:
        fail_at(files, "log/log")  # the publisher fails, at the latest when the log is closed
        Teller(log).append((None, "x"))
    assert new() == 0
    files.before = None
    fail_at(files, "log/journal")
    with pytest.raises(Broken):  # opening fails
        Log.open(directory, clock=FixedClock(START_US), files=files, serve=True)
    assert new() == 0
    with open_log(directory):  # and the lock was let go of each time
        pass


def fail_at(files: RecordingFiles, place: str) -> None:
    def before(step: Step) -> None:
        if place in step.path and step.kind == "write":
            raise OSError(5, "an error of the disk")

    files.before = before


def test_a_publisher_that_fails_stops_the_intake(directory: Path) -> None:
    files = RecordingFiles(directory.parent)
    with open_log(directory, files=files) as log:
        Teller(log).append((None, "x"))
        answers: list[Answer] = []
        with in_one_group(log, files, more=False):
            log.submit(batch((None, "waits")), answers.append)
            log.publisher.on_failure(Broken("no more checkpoints"))
        wait_for(lambda: bool(answers))
        assert [str(answer) for answer in answers] == ["no more checkpoints"]
        with pytest.raises(Broken, match="no more checkpoints"):
            Teller(log).append((None, "y"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
