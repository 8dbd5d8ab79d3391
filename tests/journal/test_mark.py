"""Marks: read back whole, or not at all."""

from pathlib import Path

from graven.journal.files import LocalFiles
from graven.journal.mark import COMMITTED, MARK_SIZE, SYNCED, Mark, MarkFile, decode_mark, encode_mark, read_mark

MARK = Mark(70_000, b"\x07" * 32)


def test_a_mark_reads_back_and_no_flipped_bit_passes() -> None:
    data = encode_mark(COMMITTED, MARK)
    assert len(data) == MARK_SIZE
    assert decode_mark(COMMITTED, data) == MARK
    assert decode_mark(SYNCED, data) is None
    for bit in range(8 * MARK_SIZE):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert decode_mark(COMMITTED, bytes(changed)) is None
    assert decode_mark(COMMITTED, data + b"x") is None


def test_a_mark_file_is_overwritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "committed"
    assert read_mark(str(path), COMMITTED) is None
    for size in (1, 2):
        file = MarkFile(LocalFiles(), str(path))
        file.write(Mark(size, MARK.root))
        file.close()
        assert path.stat().st_size == MARK_SIZE
        assert read_mark(str(path), COMMITTED) == Mark(size, MARK.root)
