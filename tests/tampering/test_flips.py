"""One bit at a time: every byte of a small log, its tree, its checkpoints and its keyring.

Each flip must be caught and the file named. The short form takes a sample of the bytes, spread over every file; the
long form takes them all.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tampering.logs import Tampered, flip, make_log

PLACES = ("journal", "log", "checkpoints", "certificates")

DELETABLE = ("state", "lock", "graven.toml")
"""Not among the evidence. `state/` and `lock` may be deleted; `graven.toml` is what the operator says now, and whoever
verifies by it believes it (docs/threat-model.md); what it said when is in the log itself."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tampered:
    """A log of two segments, 25 events, two classes, some raws."""
    return make_log(tmp_path_factory.mktemp("small") / "log", events=24, block=2, publish_every=12)


def files_of(log: Tampered) -> list[Path]:
    found = [path for place in PLACES for path in sorted((log.directory / place).rglob("*")) if path.is_file()]
    return found + [path for path in sorted(log.keyring.rglob("*")) if path.is_file()]


def bytes_of(paths: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    for path in paths:
        for offset in range(path.stat().st_size):
            yield path, offset


def check_flip(log: Tampered, path: Path, offset: int) -> None:
    """Flip one bit (which one goes round with the offset), judge, flip it back."""
    before = path.read_bytes()
    flip(path, offset, bit=offset % 8)
    try:
        report = log.judge()
    finally:
        path.write_bytes(before)
    where = f"{path.relative_to(log.directory.parent)} at byte {offset}, bit {offset % 8}"
    assert report.exit_code in (1, 3), where
    told = " ".join([*(problem.place for problem in report.problems), *report.notes])
    assert path.name in told or f"segment {int(path.name[:20])}" in told, f"{where}: {report.problems}"


def test_nothing_else_is_in_the_directory(small: Tampered) -> None:
    names = {path.name for path in small.directory.iterdir()}
    assert names == {*PLACES, *DELETABLE}


def test_a_sample_of_bytes(small: Tampered) -> None:
    assert small.judge().exit_code == 0
    for path in files_of(small):
        size = path.stat().st_size
        step = max(1, size // 6)
        for offset in {0, size - 1, *range(size // 3, size, step)}:
            check_flip(small, path, offset)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
def test_every_byte(small: Tampered, part: int) -> None:
    """In eight parts, for as many processes."""
    count = 0
    for path, offset in list(bytes_of(files_of(small)))[part::8]:
        check_flip(small, path, offset)
        count += 1
    assert count > 2_500
    assert small.judge().exit_code == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_file_gone_and_cut(small: Tampered) -> None:
    """A file that is missing, empty or short by any power of two of bytes."""
    for path in files_of(small):
        thinned = path.parent.parent.name == "checkpoints"
        leftover = path.parent.name.endswith(".p") and path.name != str(small.judge().published)
        if thinned or leftover:
            continue  # these may go in good order: they were not promised
        before = path.read_bytes()
        for cut in [1 << n for n in range(len(before).bit_length())]:
            path.write_bytes(before[: len(before) - cut])
            assert small.judge().exit_code in (1, 3), f"{path}, {cut} bytes short"
        path.unlink()
        report = small.judge()
        if path.parent.name == "certificates":  # a receipt's, not the log's: it is told that it is not there
            assert report.exit_code == 0 and any("no certificate" in note for note in report.notes)
        else:
            expected = (0,) if path.name == "highest-checkpoint" else (1, 3)
            assert report.exit_code in expected, f"{path} gone"
        path.write_bytes(before)
        path.chmod(0o600)
    assert small.judge().exit_code == 0
