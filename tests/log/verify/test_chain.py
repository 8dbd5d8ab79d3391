"""Chunks strung together: however the journal is cut, and wherever a chunk is told to begin, the answer is the same."""

import os
import threading
from collections.abc import Callable

import pytest

import tampering.test_journal as journal
import tampering.test_tree as tree
from graven.core.errors import Broken
from graven.core.merkle import CompactRange
from graven.log.verify import Report, segments, verify_directory
from graven.log.verify.chunk import verify_chunk
from graven.log.verify.task import State, Task
from graven.log.verify.tree import TreePlace
from graven.runtime.pool import Pool
from tampering.frames import frames_of
from tampering.logs import Tampered

TAMPERS = [*journal.DISPROVED, *journal.BROKEN, *tree.DISPROVED, *tree.BROKEN]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_whole_log_in_many_chunks(whole: Tampered, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    at_once = whole.judge()
    monkeypatch.setattr(segments, "CHUNK_ENTRIES", 150)
    assert whole.judge(processes=processes) == at_once
    assert at_once.exit_code == 0


def test_beside_other_threads(whole: Tampered) -> None:
    """Processes are then started afresh instead of forked."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert whole.judge(processes=2) == whole.judge()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("tamper", TAMPERS, ids=lambda tamper: tamper.__name__)
def test_a_damaged_log_in_many_chunks(
    log: Tampered, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Tampered], str]
) -> None:
    named = tamper(log)
    at_once = log.judge()
    monkeypatch.setattr(segments, "CHUNK_ENTRIES", 150)
    in_chunks = log.judge()
    assert (in_chunks.exit_code, in_chunks.size) == (at_once.exit_code, at_once.size)
    assert any(named in problem.place for problem in in_chunks.problems), in_chunks.problems
    assert in_chunks.events == at_once.events
    assert len(in_chunks.problems) <= len(at_once.problems) + 2


def test_progress_goes_up_to_the_end(whole: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "CHUNK_ENTRIES", 150)
    seen: list[tuple[int, int]] = []
    verify_directory(
        whole.directory, keys=whole.keys, keyring=None, progress=lambda done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (3_001, 3_001)
    assert len(seen) > 15


def chunk(log: Tampered, state: State) -> Report:
    path = log.segments[0]
    size = path.stat().st_size
    task = Task(
        path=str(path),
        name=path.name,
        size=size,
        segment_start=0,
        log_id=bytes(16),
        keys=(),
        named=None,
        header_bad=False,
        state=state,
        limit=size,
        fill_to=0,
        tree=TreePlace(str(log.directory / "log"), 3_001, 3_001),
        wanted=(501,),
    )
    result = verify_chunk(task)
    assert result.end.index == 901
    found = result.findings
    return Report(found.problems, found.disproved, found.broken, found.notes, 0, 0, 0, "")


def test_a_chunk_told_a_wrong_tree_says_so(whole: Tampered) -> None:
    first = frames_of(whole.segments[0])[2]
    state = State(first.offset, first.header.start, CompactRange(1, (bytes(32),)))
    assert first.header.start == 1
    told = chunk(whole, state)
    assert (told.exit_code, [problem.first_index for problem in told.problems]) == (1, [1])


def test_a_chunk_told_no_tree_takes_the_tiles_word(whole: Tampered) -> None:
    first = frames_of(whole.segments[0])[2]
    assert chunk(whole, State(first.offset, 1, None)).exit_code == 0


def test_a_process_that_dies_is_told() -> None:
    with Pool(2) as pool, pytest.raises(Broken, match="ended by itself"):
        pool.run(os._exit, 1)


def test_results_come_in_order() -> None:
    for processes in (1, 2):
        with Pool(processes) as pool:
            assert list(pool.ordered(abs, range(-50, 0))) == [(n, -n) for n in range(-50, 0)]
