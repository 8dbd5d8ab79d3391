"""Segments: named, walked, closed, and appended to; a full disk loses nothing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from graven.core.errors import Broken, Busy, Disproved
from graven.core.merkle import EMPTY_ROOT
from graven.journal import frame
from graven.journal.files import File, LocalFiles
from graven.journal.frame import EVENTS, NO_ERASURE, Section, SegmentHeader
from graven.journal.segment import SegmentReader, SegmentWriter, list_segments, segment_name, write_torn

ROOT = b"r" * 32


def header(start: int = 0, generation: int = 0) -> SegmentHeader:
    return SegmentHeader("example.com/log", b"i" * 16, start, generation, 1, EMPTY_ROOT, (), ())


def block(start: int, count: int, body: bytes = b"sealed") -> bytes:
    section = Section(EVENTS, "default", None, count, b"k" * 16, b"n" * 12, NO_ERASURE, body)
    return frame.encode_block(start=start, count=count, root=ROOT, sections=[section])


def written(journal: Path, *, closed: bool, blocks: int = 5) -> SegmentWriter:
    writer = SegmentWriter.create(LocalFiles(), str(journal), header())
    for number in range(blocks):
        writer.append(block(3 * number, 3), 3 * number)
    if closed:
        writer.finish(3 * blocks, ROOT)
    return writer


def test_a_closed_segment_knows_its_blocks_without_a_walk(tmp_path: Path) -> None:
    writer = written(tmp_path, closed=True)
    (found,) = list_segments(str(tmp_path))
    assert found.name == segment_name(0, 0)
    with SegmentReader(found) as reader:
        assert reader.header() == header()
        assert reader.blocks() == writer.blocks[:5]
        closing = reader.closed()
        assert closing is not None and closing.start == 15
        kinds = [one.kind for _, one in reader.walk()]
        assert kinds == [frame.SEGMENT, *[frame.BLOCK] * 5, frame.INDEX]
        for start, offset in writer.blocks[:5]:
            assert reader.frame(offset) == block(start, 3)


def test_an_open_segment_is_walked(tmp_path: Path) -> None:
    writer = written(tmp_path, closed=False)
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader:
        assert reader.blocks() is None
        assert [(one.start, at) for at, one in reader.walk() if one.kind == frame.BLOCK] == writer.blocks
        assert reader.rest(writer.offset) == b""


def test_a_walk_stops_before_a_cut_frame_and_names_a_damaged_header(tmp_path: Path) -> None:
    writer = written(tmp_path, closed=False)
    os.truncate(writer.path, writer.offset - 10)
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader:
        assert len(list(reader.walk())) == 5
    with Path(writer.path).open("r+b") as file:
        file.seek(writer.blocks[2][1] + 30)
        file.write(b"\xff")
    damaged = pytest.raises(Disproved, match=f"at byte {writer.blocks[2][1]}")
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader, damaged:
        list(reader.walk())


def test_the_newest_generation_stands_for_the_others(tmp_path: Path) -> None:
    for generation in (0, 2, 1):
        SegmentWriter.create(LocalFiles(), str(tmp_path), header(generation=generation)).close()
    SegmentWriter.create(LocalFiles(), str(tmp_path), header(start=7)).close()
    (tmp_path / "torn").mkdir()
    assert [(found.start, found.generation) for found in list_segments(str(tmp_path))] == [(0, 2), (7, 0)]


@pytest.mark.parametrize("name", ["notes.txt", "0.0.seg", "00000000000000000000.0.seg", "a.b.seg"])
def test_a_foreign_file_in_the_journal_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(Broken, match=r"no segment|not spelled") as caught:
        list_segments(str(tmp_path))
    assert name in caught.value.place


def test_a_segment_under_another_name_is_refused(tmp_path: Path) -> None:
    writer = written(tmp_path, closed=True)
    Path(writer.path).rename(tmp_path / segment_name(9, 0))
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader, pytest.raises(Disproved, match="file name"):
        reader.header()


class FailingFile:
    """A file whose next call of one kind fails."""

    def __init__(self, file: File, call: str, code: int, written_bytes: int = 0) -> None:
        self._file, self._call, self._code, self._written_bytes = file, call, code, written_bytes

    def write_at(self, offset: int, data: bytes) -> None:
        if self._call == "write_at":
            self._call = ""
            self._file.write_at(offset, data[: self._written_bytes])
            raise OSError(self._code, os.strerror(self._code))
        self._file.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self._raise("truncate")
        self._file.truncate(size)

    def sync(self) -> None:
        self._raise("sync")
        self._file.sync()

    def close(self) -> None:
        self._file.close()

    def _raise(self, call: str) -> None:
        if self._call == call:
            raise OSError(self._code, os.strerror(self._code))


def test_a_full_disk_is_cut_back_and_the_next_frame_fits(tmp_path: Path) -> None:
    writer = written(tmp_path, closed=False)
    size = writer.offset
    writer.file = FailingFile(writer.file, "write_at", errno.ENOSPC, written_bytes=100)
    with pytest.raises(Busy, match="no space"):
        writer.append(block(15, 3), 15)
    assert Path(writer.path).stat().st_size == size
    writer.append(block(15, 3), 15)
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader:
        assert [one.start for _, one in reader.walk() if one.kind == frame.BLOCK] == [0, 3, 6, 9, 12, 15]


@pytest.mark.parametrize(("call", "code"), [("write_at", errno.EIO), ("sync", errno.EIO), ("sync", errno.ENOSPC)])
def test_a_failed_write_or_sync_is_broken(tmp_path: Path, call: str, code: int) -> None:
    writer = written(tmp_path, closed=False)
    writer.file = FailingFile(writer.file, call, code)
    with pytest.raises(Broken) as caught:
        writer.append(block(15, 3), 15)
    assert not isinstance(caught.value, Busy)
    assert writer.blocks[-1] == (12, writer.blocks[-1][1])


def test_torn_bytes_are_kept_once(tmp_path: Path) -> None:
    for _ in range(2):
        name = write_torn(LocalFiles(), str(tmp_path), segment_name(0, 0), 77, b"half a frame", "ab" * 32)
        assert (tmp_path / "torn" / name).read_bytes() == b"half a frame"
    assert name == segment_name(0, 0) + ".77." + "ab" * 8


@pytest.mark.parametrize("cut", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:40]])
def test_a_damaged_end_is_no_index(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    writer = written(tmp_path, closed=True)
    path = Path(writer.path)
    path.write_bytes(cut(path.read_bytes()))
    with SegmentReader(list_segments(str(tmp_path))[0]) as reader:
        assert reader.closed() is None
        assert reader.blocks() is None
