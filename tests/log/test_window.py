"""The idempotency window: what is found again, what is forgotten, and what a start believes of its files."""

import errno
import os
import sys
from pathlib import Path

import pytest

from crash.disk import RecordingFiles, Step
from graven.journal.files import LocalFiles
from graven.log.window import CANDIDATES_MAX, CURSOR_ENTRIES, GENERATIONS, Window

HALF = 1024
HOUR_US = 3_600_000_000
KEY = bytes(32)


def window(state: Path, *, files: RecordingFiles | None = None, ids_max: int = 2 * HALF) -> Window:
    return Window(files or LocalFiles(), state, KEY, ids_max=ids_max, window_us=24 * HOUR_US)


def ids(first: int, count: int, *, step: int = 1) -> list[tuple[str, int]]:
    return [(f"id {number}", step * number) for number in range(first, first + count)]


def fill(one: Window, rows: list[tuple[str, int]], now_us: int = 0, *, size: int | None = None) -> None:
    marks = one.fingerprints(1, [event_id for event_id, _ in rows])
    one.add(marks, [index for _, index in rows], now_us, size=rows[-1][1] + 1 if size is None else size)
    one.flush()


def found(one: Window, event_id: str, source: int = 1) -> list[int]:
    return one.find(one.fingerprints(source, [event_id])[0])


def test_ids_are_found_by_source_and_id(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 10))
    assert [found(one, f"id {n}") for n in range(11)] == [*([n] for n in range(10)), []]
    assert found(one, "id 3", source=2) == []
    marks = one.fingerprints(1, ["id 3", "id 99"])
    assert one.known(marks) == {marks[0]}


def test_the_hash_is_keyed() -> None:
    with_keys = [
        Window(LocalFiles(), Path("/nowhere"), key, ids_max=1, window_us=1).fingerprints(1, ["a"])
        for key in (KEY, bytes([1]) * 32)
    ]
    assert with_keys[0] != with_keys[1]


def test_between_one_and_one_and_a_half_windows_are_held(tmp_path: Path) -> None:
    one = window(tmp_path)
    for start in range(0, 10 * HALF, 100):
        fill(one, ids(start, 100))
        held = len(one)
        size = start + 100
        assert min(size, 2 * HALF) <= held <= 3 * HALF
        assert found(one, f"id {size - min(size, 2 * HALF)}") != []
    assert found(one, "id 0") == []
    assert len(list(tmp_path.glob("window.*"))) == GENERATIONS


def test_a_batch_larger_than_a_generation(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 5 * HALF))
    assert found(one, f"id {5 * HALF - 1}") == [5 * HALF - 1]
    assert found(one, f"id {5 * HALF - 2 * HALF}") == [3 * HALF]
    assert found(one, "id 0") == []


def test_old_generations_go_when_their_time_is_over(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, HALF), 0)
    fill(one, ids(HALF, 10), HOUR_US)
    assert found(one, "id 0") == [0] and one.oldest_us == 0
    fill(one, ids(HALF + 10, 10), 25 * HOUR_US)
    assert found(one, "id 0") == []
    assert found(one, f"id {HALF}") == [HALF]  # its generation still takes in; the writer looks at its event's time
    assert one.oldest_us == HOUR_US
    assert [path.name for path in tmp_path.iterdir()] == ["window.00000001"]


def test_a_restart_reads_the_files_back(tmp_path: Path) -> None:
    for count in (0, 1, HALF - 1, HALF, HALF + 1, 3 * HALF, 4 * HALF + 7):
        state = tmp_path / str(count)
        state.mkdir()
        one = window(state)
        if count:
            fill(one, ids(0, count, step=3), HOUR_US)
        one.close()
        again = window(state)
        size = 3 * count
        assert again.load(size, 2 * HOUR_US) == (max(0, size - 2))
        assert len(again) == len(one)
        for number in range(0, count, 97):
            assert found(again, f"id {number}") == found(one, f"id {number}")
        assert again.oldest_us == (HOUR_US if count else None)
        fill(again, ids(count, 5, step=3), 3 * HOUR_US)
        assert found(again, f"id {count + 4}") == [3 * (count + 4)]
        again.close()
        assert window(state).load(size + 15, 4 * HOUR_US) == size + 13


def test_a_time_survives_a_restart_whatever_the_dates_of_the_files(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, HALF), HOUR_US)
    fill(one, ids(HALF, 1), 2 * HOUR_US)
    one.close()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    again = window(tmp_path)
    again.load(HALF + 1, 3 * HOUR_US)
    fill(again, ids(HALF + 1, 1), 4 * HOUR_US)
    assert found(again, "id 0") == [0]
    fill(again, ids(HALF + 2, 1), 27 * HOUR_US)
    assert found(again, "id 0") == []


@pytest.mark.parametrize(
    "damage",
    ["magic", "zeros in the middle", "number", "descending", "middle file gone"],
)
def test_files_that_do_not_fit_are_not_believed_at_all(tmp_path: Path, damage: str) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 2 * HALF + 10))
    one.close()
    size = 2 * HALF + 10
    first, middle, _ = sorted(tmp_path.glob("window.*"))
    data = bytearray(middle.read_bytes())
    match damage:
        case "magic":
            first.write_bytes(b"X" + first.read_bytes()[1:])
        case "zeros in the middle":
            data[800:1600] = bytes(800)
            middle.write_bytes(data)
        case "number":
            data[15] ^= 7
            middle.write_bytes(data)
        case "descending":
            data[40:56], data[56:72] = data[56:72], data[40:56]
            middle.write_bytes(data)
        case "middle file gone":
            middle.unlink()
    again = window(tmp_path)
    assert again.load(size, 0) == 0
    again.start_over()
    assert len(again) == 0 and list(tmp_path.iterdir()) == []
    fill(again, ids(5, 3))
    assert window(tmp_path).load(100, 0) == 8


def announce(one: Window, rows: list[tuple[str, int]], *, now_us: int = 0) -> tuple[list[int], list[int]]:
    marks, indexes = one.fingerprints(1, [event_id for event_id, _ in rows]), [index for _, index in rows]
    one.announce(marks, indexes, now_us, size=indexes[-1] + 1)
    return marks, indexes


def test_what_is_announced_is_remembered_when_it_came(tmp_path: Path) -> None:
    """The same bytes on disk as without an announcement, written before and not again."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = RecordingFiles(tmp_path)
    one, other = window(tmp_path / "a", files=files), window(tmp_path / "b")
    for start in range(0, 3 * HALF, 64):
        rows = ids(start, 64)
        marks, indexes = announce(one, rows)
        assert found(one, f"id {start}") == []
        writes = len(files.steps)
        one.add(marks, indexes, 0, size=start + 64)
        one.flush()
        assert len(files.steps) == writes
        fill(other, rows)
    data = [[path.read_bytes() for path in sorted((tmp_path / name).glob("window.*"))] for name in "ab"]
    assert data[0] == data[1]


@pytest.mark.parametrize("then", ["killed", "less", "more", "nothing", "too many"])
def test_what_was_announced_and_never_came_is_passed_over(tmp_path: Path, then: str) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 100))
    announce(one, ids(100, 50))
    size = 100
    if then in ("less", "more", "too many"):
        count = {"less": 3, "more": 200, "too many": 5 * HALF}[then]
        rows = [(f"other {number}", number) for number in range(100, 100 + count)]
        marks, indexes = announce(one, rows)
        one.add(marks, indexes, 0, size=100 + count)
        one.flush()
        size += count
    elif then == "nothing":
        one.announce([], [], 0, size=101)
        one.add([], [], 0, size=101)
        one.flush()
        size += 1
    again = window(tmp_path)
    assert again.load(size, 0) == (100 if then == "nothing" else size)
    assert found(again, "id 100") == [] and len(again) == len(one)
    if then != "too many":
        assert found(again, "id 99") == [99]
    if size > 101:
        assert found(again, f"other {size - 1}") == [size - 1]
    fill(again, [("last", size)])
    again.close()
    assert window(tmp_path).load(size + 1, 0) == size + 1


def test_a_block_that_crosses_the_end_of_a_generation_is_announced_whole(tmp_path: Path) -> None:
    """It goes a little beyond; what is larger than the table waits for `flush`."""
    one = window(tmp_path)
    fill(one, ids(0, HALF - 10))
    announce(one, ids(HALF - 10, 300))
    assert window(tmp_path).load(HALF + 290, 0) == HALF + 290
    assert len(list(tmp_path.glob("window.*"))) == 1
    marks, indexes = announce(one, ids(HALF - 10, 300))
    one.add(marks, indexes, 0, size=HALF + 290)
    one.flush()
    announce(one, ids(HALF + 290, 20))
    assert len(list(tmp_path.glob("window.*"))) == 2
    again = window(tmp_path)
    assert again.load(HALF + 310, 0) == HALF + 310
    for number in (0, HALF - 11, HALF, HALF + 289, HALF + 309):
        assert found(again, f"id {number}") == [number]


def test_a_disk_that_is_full_leaves_it_to_the_next_write(tmp_path: Path) -> None:
    refuse = [False]

    def before(step: Step) -> None:
        if refuse[0] and step.kind in ("write", "create", "truncate"):
            raise OSError(errno.ENOSPC, "full")

    one = window(tmp_path, files=RecordingFiles(tmp_path, before))
    fill(one, ids(0, 10))
    refuse[0] = True
    marks, indexes = announce(one, ids(10, 10))
    one.add(marks, indexes, 0, size=20)
    one.flush()
    refuse[0] = False
    marks, indexes = announce(one, ids(20, 10))
    assert window(tmp_path).load(30, 0) == 30
    one.add(marks, indexes, 0, size=30)
    assert found(one, "id 15") == [15] and found(one, "id 25") == [25]


@pytest.mark.parametrize("length", [0, 23])
def test_a_file_that_was_just_being_begun_covers_nothing(tmp_path: Path, length: int) -> None:
    """The others are believed: ids that stand beside their events are nowhere else."""
    one = window(tmp_path)
    fill(one, ids(0, 2 * HALF + 10))
    one.close()
    last = sorted(tmp_path.glob("window.*"))[-1]
    last.write_bytes(last.read_bytes()[:length])
    again = window(tmp_path)
    assert again.load(2 * HALF + 10, 0) == 2 * HALF
    fill(again, ids(2 * HALF, 10))
    again.close()
    assert window(tmp_path).load(2 * HALF + 10, 0) == 2 * HALF + 10


@pytest.mark.parametrize("gone", [[0], [1], [2], [0, 1], [1, 2], [0, 2]])
def test_whichever_files_are_gone_no_id_is_forgotten_silently(tmp_path: Path, gone: list[int]) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 5 * HALF), HOUR_US)
    one.close()
    paths = sorted(tmp_path.glob("window.*"))
    assert len(paths) == GENERATIONS
    for number in gone:
        paths[number].unlink()
    again = window(tmp_path)
    assert again.load(5 * HALF, HOUR_US) == 0  # so all is read from the journal again


def test_a_first_file_that_went_by_its_age_is_not_missed(tmp_path: Path) -> None:
    one = window(tmp_path)
    for start in range(0, 2 * HALF + 10, 10):  # one generation in 12 hours
        fill(one, ids(start, 10), start * 12 * HOUR_US // HALF)
    now_us = 37 * HOUR_US
    fill(one, ids(3 * HALF, 10), now_us)
    one.close()
    assert [path.name for path in sorted(tmp_path.glob("window.*"))] == ["window.00000001", "window.00000002"]
    again = window(tmp_path)
    assert again.load(4 * HALF, now_us) == 3 * HALF + 10


def test_a_file_cut_short_by_a_power_failure_covers_less(tmp_path: Path) -> None:
    one = window(tmp_path)
    for start in range(0, 100, 20):
        fill(one, ids(start, 20))
    one.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: 24 + 3 * (8 + 16 * 20) + 5])
    again = window(tmp_path)
    assert again.load(100, 0) == 60
    fill(again, ids(60, 40))
    again.close()
    assert window(tmp_path).load(100, 0) == 100


def test_a_generation_is_durable_before_the_next_begins(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    one = window(tmp_path, files=files)
    fill(one, ids(0, HALF + 1))
    steps = [str(step) for step in files.steps if step.kind in ("create", "sync", "sync_dir")]
    assert steps == ["create window.00000000", "sync window.00000000", "sync_dir .", "create window.00000001"]


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    one = window(tmp_path, files=files)
    fill(one, ids(0, 10))

    def before(step: Step) -> None:
        if step.kind in ("write", "create", "sync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.before = before
    fill(one, ids(10, HALF))  # over the end of the generation
    assert found(one, f"id {HALF + 9}") == [HALF + 9]
    files.before = None
    fill(one, ids(HALF + 10, 1))
    one.close()
    again = window(tmp_path)
    assert again.load(HALF + 11, 0) == HALF + 11
    assert [found(again, f"id {n}") for n in (0, 10, HALF - 1, HALF, HALF + 10)] == [
        [0], [10], [HALF - 1], [HALF], [HALF + 10],
    ]  # fmt: skip


def test_events_without_ids_are_passed_over_at_a_start(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, 1))
    one.add([], [], 0, size=CURSOR_ENTRIES)
    assert len(one) == 1
    one.add([], [], 0, size=CURSOR_ENTRIES + 1)
    one.add([], [], 0, size=CURSOR_ENTRIES + 2)
    one.close()
    again = window(tmp_path)
    assert again.load(CURSOR_ENTRIES + 2, 0) == CURSOR_ENTRIES + 1
    assert found(again, "id 0") == [0]
    assert again.find(0) == []  # the cursor is no id
    fill(again, [("late", 2 * CURSOR_ENTRIES)], size=4 * CURSOR_ENTRIES)
    again.close()
    assert window(tmp_path).load(4 * CURSOR_ENTRIES, 0) == 4 * CURSOR_ENTRIES


def test_at_most_so_many_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints that all collide are all found, oldest first, as far as anybody looks."""
    monkeypatch.setattr(Window, "fingerprints", lambda self, source, ids: [7] * len(list(ids)))
    one = window(tmp_path)
    fill(one, ids(10, CANDIDATES_MAX - 2))
    fill(one, ids(50, 4))
    assert one.find(7) == [*range(10, 10 + CANDIDATES_MAX - 2), 50, 51]
    assert one.known([7]) == {7} and one.known([8]) == set()


def test_bytes_an_id(tmp_path: Path) -> None:
    """The default window, full: 16 bytes on disk, and beside them a table of places in memory."""
    one = window(tmp_path, ids_max=1_000_000)
    for start in range(0, 500_000, 4_000):
        fill(one, ids(start, 4_000))
    (generation,) = one._generations
    arrays = (generation.fingerprints, generation.indexes, generation.slots)
    assert len(generation.indexes) == 500_000
    assert sum(map(sys.getsizeof, arrays)) / 500_000 <= 26
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 24 + 16 * 500_000 + 8 * 125  # a checksum a write


def test_records_of_events_that_the_journal_lost_are_passed_over(tmp_path: Path) -> None:
    one = window(tmp_path)
    fill(one, ids(0, HALF + 4))
    fill(one, ids(HALF + 4, 6))
    one.close()
    again = window(tmp_path)
    assert again.load(HALF + 4, 0) == HALF + 4
    assert found(again, f"id {HALF + 3}") == [HALF + 3]
    assert found(again, f"id {HALF + 4}") == []
    fill(again, [("another", HALF + 4)])
    again.close()
    last = window(tmp_path)
    assert last.load(HALF + 20, 0) == HALF + 5  # what was passed over is cut: nothing of it comes back
    assert found(last, "another") == [HALF + 4]
    assert found(last, f"id {HALF + 5}") == []


@pytest.mark.parametrize("damaged", range(3))
def test_a_torn_group_ends_the_last_file_and_is_never_believed(tmp_path: Path, damaged: int) -> None:
    one = window(tmp_path)
    for number in range(3):
        fill(one, ids(number, 1))
    one.close()
    (path,) = tmp_path.glob("window.*")
    data = bytearray(path.read_bytes())
    data[24 + 24 * damaged + 8 + 3] ^= 1  # the fingerprint of one record; its index is as it was
    path.write_bytes(data)
    again = window(tmp_path)
    assert again.load(3, 0) == damaged  # what follows is read from the journal
    assert [found(again, f"id {number}") for number in range(3)] == [[n] if n < damaged else [] for n in range(3)]
    if damaged:
        fill(again, ids(damaged, 3))
        again.close()
        assert window(tmp_path).load(10, 0) == damaged + 3
