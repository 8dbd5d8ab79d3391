"""Opening costs what lies behind the last published checkpoint, not the length of the log: counted, not timed."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from graven import app
from graven.app import Log, open_view
from graven.journal.segment import SegmentReader
from graven.log import seal, window
from graven.log.tail import DiskFetch, Tail
from graven.runtime.clock import FixedClock
from log.logs import SEGMENT_AGE_US, START_US, Teller, make_log, open_log

BLOCKS_A_SEGMENT = 12
LAG_ENTRIES = 50


@pytest.fixture(autouse=True)
def short_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far snapshots may be behind, small enough for small logs to be long."""
    monkeypatch.setattr(app.log, "REGISTERS_LAG_ENTRIES", LAG_ENTRIES)
    monkeypatch.setattr(window, "CURSOR_ENTRIES", LAG_ENTRIES)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is read and opened, by kind, from now on."""
    counts: Counter[str] = Counter()

    def count(where: object, name: str, size: Callable[[object], int] = lambda result: 0) -> None:
        real = getattr(where, name)

        def counting(*args: object, **kwargs: object) -> object:
            result = real(*args, **kwargs)
            counts[name] += 1
            counts[f"{name} bytes"] += size(result)
            return result

        monkeypatch.setattr(where, name, counting)

    count(SegmentReader, "_read", lambda data: len(data) if isinstance(data, bytes) else 0)
    count(SegmentReader, "frame", lambda data: len(data) if isinstance(data, bytes) else 0)
    count(DiskFetch, "__call__")
    count(seal, "_decompress")  # once a sealed section, whoever opens it
    count(Tail, "add")  # once a block that is replayed
    return counts


def grow(directory: Path, segments: int, *, with_ids: bool = True, now_us: int = START_US) -> int:
    """More segments of many small blocks; returns the clock."""
    with open_log(directory, now_us=now_us) as log:
        assert isinstance(log.clock, FixedClock)
        for segment in range(segments):
            log.clock.advance(SEGMENT_AGE_US + 1)
            for number in range(BLOCKS_A_SEGMENT):
                name = f"{log.clock.now_us()} {segment} {number}" if with_ids else None
                Teller(log).append((name, "x"))
            log.publish()
        return log.clock.now_us()


def cost_of(opening: Callable[[], object], counted: Counter[str]) -> Counter[str]:
    counted.clear()
    opening()
    return Counter(counted)


def opened(directory: Path) -> Callable[[], object]:
    def opening() -> None:
        with open_log(directory) as log:
            assert isinstance(log, Log)

    return opening


@pytest.mark.parametrize("with_ids", [True, False])
def test_opening_does_not_depend_on_the_length(tmp_path: Path, counted: Counter[str], with_ids: bool) -> None:
    directory = make_log(tmp_path)
    now_us = grow(directory, 3, with_ids=with_ids)
    short = cost_of(opened(directory), counted)
    assert short["frame"] > 0
    grow(directory, 57, with_ids=with_ids, now_us=now_us)
    long = cost_of(opened(directory), counted)
    frames_max = 2 * LAG_ENTRIES + BLOCKS_A_SEGMENT  # the registers', the window's, the last segment's
    assert long["frame"] <= frames_max < 57 * BLOCKS_A_SEGMENT / 4
    assert long["_read"] <= short["_read"] + 3 * frames_max
    assert long["_read bytes"] <= short["_read bytes"] + 1_000 * frames_max
    assert long["_decompress"] <= short["_decompress"] + LAG_ENTRIES
    assert long["__call__"] <= short["__call__"] + 8  # tiles: the height of the tree
    assert long["add"] == 0


def test_only_what_is_behind_the_published_tree_is_replayed(tmp_path: Path, counted: Counter[str]) -> None:
    directory = make_log(tmp_path / "living")
    now_us = grow(directory, 20)
    with open_log(directory, now_us=now_us) as log:
        for number in range(7):
            Teller(log).append((f"late {number}", "x"))
        shutil.copytree(tmp_path / "living", tmp_path / "dead")
    found = cost_of(opened(tmp_path / "dead" / "log"), counted)
    assert found["add"] == 7
    assert found["_decompress"] <= 7 + 7 + 2  # once for the tree, perhaps once for the window, the last head
    assert found["frame"] <= 4 * 7 + 2 * LAG_ENTRIES


def test_events_without_ids_are_not_read_at_every_start(tmp_path: Path, counted: Counter[str]) -> None:
    directory = make_log(tmp_path)
    for _ in range(3):
        with open_log(directory) as log:
            for _ in range(LAG_ENTRIES):
                Teller(log).append(*((None, "x") for _ in range(10)))
    assert cost_of(opened(directory), counted)["_decompress"] <= LAG_ENTRIES / 10 + 2


def test_a_view_reads_two_pieces_of_a_closed_segment(tmp_path: Path, counted: Counter[str]) -> None:
    directory = make_log(tmp_path)
    grow(directory, 30)
    with open_view(directory) as view:
        counted.clear()
        assert view.read(15 * BLOCKS_A_SEGMENT).event is not None
    assert counted["_read"] <= 4 and counted["_decompress"] == 1
