"""What lies in a directory: every name is known, or named as no part of the log."""

from pathlib import Path

import pytest

from graven.core.tile import TilePath, bundle_path, tile_path
from graven.log.verify.layout import list_history, list_journal, list_tree
from graven.log.verify.report import Findings


def put(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def tree(directory: Path, published: int) -> tuple[tuple[TilePath, ...], Findings]:
    findings = Findings()
    return list_tree(directory, published, findings), findings


def test_the_published_tree_itself_is_not_among_the_extras(tmp_path: Path) -> None:
    published = 1_234_067 * 256 + 9
    wanted = [
        tile_path(0, 1_234_066), bundle_path(1_234_066), tile_path(0, 1_234_067, 9), bundle_path(1_234_067, 9),
        tile_path(1, 4_820, published // 256 % 256), tile_path(2, 18), tile_path(2, 18, 212), "checkpoint",
    ]  # fmt: skip
    put(tmp_path / "log", *wanted)
    found, findings = tree(tmp_path, published)
    assert findings.problems == ()
    assert set(found) == {TilePath(2, 18, 256)}, "the tree has only 212 hashes of this one"


def test_leftover_and_later_files_are(tmp_path: Path) -> None:
    names = [
        tile_path(0, 3, 7),
        tile_path(0, 3),
        tile_path(0, 4, 9),
        bundle_path(4),
        tile_path(1, 0, 2),
        tile_path(1, 0, 4),
    ]
    put(tmp_path / "log", "checkpoint", *names)
    found, findings = tree(tmp_path, 4 * 256 + 10)
    assert findings.problems == ()
    assert set(found) == {TilePath(0, 3, 7), TilePath(0, 4, 9), TilePath("entries", 4, 256), TilePath(1, 0, 2)}


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/1", "tile/0/0001", "tile/0/x001", "tile/0/x1/000", "tile/0/x000/001", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/007", "tile/0/000.p/x", "tile/0/000.q/7", "tile/00/000", "tile/64/000",
        "tile/x/000", "tile/Entries/000", "tile/0/x001/x002/x003/x004/x005/x006/x007/001", "readme", "tile/0/٠٠١",
        "tile/0/000/001",
    ],
)  # fmt: skip
def test_strange_names_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path / "log", "checkpoint", "tile/0/005", name)
    _, findings = tree(tmp_path, 256)
    assert (findings.disproved, findings.broken) == (0, 1)
    assert f"log/{name}".startswith(findings.problems[0].place)


def test_unfinished_writes_are_notes(tmp_path: Path) -> None:
    put(tmp_path / "log", "checkpoint", "checkpoint.tmp", "tile/0/000.tmp", "tile/0/001.p/5.tmp")
    put(tmp_path / "journal", f"{0:020d}.0000.seg.tmp")
    put(tmp_path / "checkpoints" / "2026-01-02", f"{5:020d}.tmp")
    findings = Findings()
    list_tree(tmp_path, 1, findings)
    list_journal(tmp_path, findings)
    list_history(tmp_path, findings)
    assert (findings.problems, len(findings.notes)) == ((), 5)


def test_segments_come_in_order_and_the_newest_generation_counts(tmp_path: Path) -> None:
    names = [f"{5:020d}.0000.seg", f"{0:020d}.0000.seg", f"{5:020d}.0002.seg", f"{5:020d}.0001.seg"]
    put(tmp_path / "journal", *names)
    findings = Findings()
    journal = list_journal(tmp_path, findings)
    assert [(segment.start, segment.generation) for segment, _ in journal.segments] == [(0, 0), (5, 2)]
    assert (findings.problems, len(findings.notes)) == ((), 2)
    assert journal.size_bytes == 2


@pytest.mark.parametrize(
    "name",
    ["0.0000.seg", f"{0:020d}.0.seg", f"{0:020d}.00000.seg", f"{0:020d}.0000", f"{0:020d}.0000.seg.bak", "notes"],
)
def test_strange_names_in_the_journal_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path / "journal", name)
    findings = Findings()
    assert list_journal(tmp_path, findings).segments == []
    assert [problem.place for problem in findings.problems] == [f"journal/{name}"]


def test_the_history_by_size(tmp_path: Path) -> None:
    put(tmp_path / "checkpoints" / "2026-01-03", f"{7:020d}")
    put(tmp_path / "checkpoints" / "2026-01-02", f"{5:020d}", "5")
    put(tmp_path / "checkpoints" / "pinned", f"{1:020d}")
    put(tmp_path / "checkpoints" / "predecessor", f"{900:020d}")
    put(tmp_path / "checkpoints" / "yesterday", f"{1:020d}")
    findings = Findings()
    history = list_history(tmp_path, findings)
    assert [size for _, size in history.notes] == [5, 7, 1]
    assert (history.newest, history.predecessors) == (7, [f"checkpoints/predecessor/{900:020d}"])
    assert {problem.place for problem in findings.problems} == {"checkpoints/2026-01-02/5", "checkpoints/yesterday"}


def test_what_is_missing_is_broken(tmp_path: Path) -> None:
    findings = Findings()
    list_tree(tmp_path, 5, findings)
    list_journal(tmp_path, findings)
    list_history(tmp_path, findings)
    assert [problem.place for problem in findings.problems] == ["log", "journal", "checkpoints"]
    assert findings.disproved == 0
