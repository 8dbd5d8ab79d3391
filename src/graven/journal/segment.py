"""Segments: files of frames. Finding them, walking them, and appending to the open one.

`journal/<start, 20 digits>.<generation, 4 digits>.seg`. One segment is open; the others are closed and end with an
index frame, so finding an event in them reads two small pieces, never the whole file. Nothing here decrypts.

Write order of a new segment: its data keys are durable in the keyring (the caller's duty) → file → directory → first
frame. A failed write or sync is `Broken` and is never tried again, except a full disk: the short write is cut, the cut
is synced, and nothing happened.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graven.core.errors import Broken, Busy, Disproved
from graven.journal import frame
from graven.journal.files import File, Files, make_dir, write_atomic
from graven.journal.frame import FrameHeader, SegmentHeader

SEGMENT_HEADER_SIZE_MAX = 1 << 20

_AHEAD_BYTES = (
    32 << 10
)  # a walk reads so much at once: some fifty small frames, and no more than a piece of a large one


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """A segment by its name. A higher generation of the same start is a rewritten one and stands for the lower."""

    start: int
    generation: int
    path: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def segment_name(start: int, generation: int) -> str:
    """The file name of a segment."""
    return f"{start:020d}.{generation:04d}.seg"


def list_segments(journal: str) -> list[SegmentFile]:
    """The newest generation of every segment, by start.

    Raises:
        Broken: a name that is none of ours, or the directory cannot be read.
    """
    newest: dict[int, SegmentFile] = {}
    try:
        names = sorted(os.listdir(journal))
    except OSError as error:
        raise Broken("the journal's directory cannot be read", place=f"{journal}: {error.strerror}") from None
    for name in names:
        if name == "torn" or name.endswith(".tmp"):
            continue
        parts = name.split(".")
        if len(parts) != 3 or parts[2] != "seg" or not (parts[0] + parts[1]).isdecimal():
            raise Broken("a file that is no segment lies in the journal", place=os.path.join(journal, name))
        found = SegmentFile(int(parts[0]), int(parts[1]), os.path.join(journal, name))
        if found.name != segment_name(found.start, found.generation):
            raise Broken("a segment's name is not spelled as Graven does", place=found.path)
        newest[found.start] = max(found, newest.get(found.start, found))
    return [newest[start] for start in sorted(newest)]


class SegmentReader:
    """One segment, read by offsets. Safe to use beside the writer, below the committed mark. Holds one descriptor.

    Raises (every method): Disproved where bytes do not fit their checksums; Broken where the file cannot be read.
    """

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        try:
            self._fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Broken("a segment cannot be opened", place=f"{file.path}: {error.strerror}") from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "SegmentReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def place(self, offset: int) -> str:
        return f"{self.file.name} at byte {offset}"

    def header(self) -> SegmentHeader:
        """The segment's own header, checked against the file's name."""
        first = frame.decode_header(self._read(0, frame.HEADER_SIZE), place=self.place(0))
        if first.size > SEGMENT_HEADER_SIZE_MAX:
            raise Disproved("the segment's header is out of bounds", place=self.place(0))
        header = frame.decode_segment_header(self._read(0, first.size), place=self.place(0))
        if (header.start, header.generation) != (self.file.start, self.file.generation):
            raise Disproved(
                "the segment's header names another segment than its file name",
                expected=self.file.name,
                found=segment_name(header.start, header.generation),
                place=self.file.path,
            )
        return header

    def frame_header(self, offset: int) -> FrameHeader:
        return frame.decode_header(self._read(offset, frame.HEADER_SIZE), place=self.place(offset))

    def frame(self, offset: int, header: FrameHeader | None = None) -> bytes:
        """A whole frame, its digest checked."""
        header = header or self.frame_header(offset)
        data = self._read(offset, header.size)
        if len(data) != header.size:
            raise Disproved("the frame is cut short", place=self.place(offset))
        frame.check_digest(data, place=self.place(offset))
        return data

    def rest(self, offset: int) -> bytes:
        """Everything from `offset` to the end of the file."""
        return self._read(offset, max(0, self.size_bytes - offset))

    def walk(self, offset: int = 0) -> Iterator[tuple[int, FrameHeader]]:
        """(offset, header) of each frame from `offset` on, to the last whole one; stops there without a word.

        Only headers are checked, and that the frame's bytes are all there; who needs its digest reads the frame.
        """
        size = self.size_bytes
        ahead, ahead_from = b"", offset
        while offset + frame.HEADER_SIZE <= size:
            at = offset - ahead_from
            if at + frame.HEADER_SIZE > len(ahead):
                ahead, ahead_from, at = self._read(offset, _AHEAD_BYTES), offset, 0
            data = ahead[at : at + frame.HEADER_SIZE]
            try:
                header = frame.decode_header(data, place="")
            except Disproved:  # once more, for its place: spelling it costs as much as the rest
                header = frame.decode_header(data, place=self.place(offset))
            if offset + header.size > size:
                return
            yield offset, header
            offset += header.size

    def closed(self) -> FrameHeader | None:
        """The header of the index frame that closes this segment; None while it is open."""
        index = self._read_index()
        return index[0] if index else None

    def blocks(self) -> list[tuple[int, int]] | None:
        """(start, offset) of every block of a closed segment; None while it is open."""
        index = self._read_index()
        return index[1] if index else None

    def _read_index(self) -> tuple[FrameHeader, list[tuple[int, int]]] | None:
        size = self.size_bytes
        if size < frame.HEADER_SIZE + frame.DIGEST_SIZE + 8:
            return None
        offset = frame.index_offset(self._read(size - 40, 40))
        if offset > size - frame.HEADER_SIZE:
            return None
        data = self._read(offset, size - offset)
        if data[: len(frame.MAGIC) + 1] != frame.MAGIC + frame.INDEX:
            return None
        return frame.decode_index(data, segment_start=self.file.start, place=self.place(offset))

    def _read(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._fd, size, offset)
            while len(data) < size:
                more = os.pread(self._fd, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise Broken("a segment cannot be read", place=f"{self.place(offset)}: {error.strerror}") from None
        return data


@dataclass(slots=True)
class SegmentWriter:
    """The open segment: where the next frame goes. One owner, one thread.

    `blocks` are the (start, offset) of the frames so far, for the index frame that will close it.
    """

    files: Files
    path: str
    header: SegmentHeader
    file: File
    offset: int
    blocks: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def create(cls, files: Files, journal: str, header: SegmentHeader) -> "SegmentWriter":
        """Make the file with its header frame, durable with its name.

        Raises:
            Busy: the disk is full; no file is left. Broken: any other failure.
        """
        path = os.path.join(journal, segment_name(header.start, header.generation))
        data = frame.encode_segment_header(header)
        try:
            file = files.create(path)
            try:
                file.write_at(0, data)
                file.sync()
                files.sync_dir(journal)
            except OSError:
                file.close()
                with contextlib.suppress(OSError):
                    files.remove(path)
                raise
        except OSError as error:
            raise _failed(error, "a new segment could not be written", path) from None
        return cls(files, path, header, file, len(data))

    @property
    def segment_file(self) -> SegmentFile:
        """This segment by its name."""
        return SegmentFile(self.header.start, self.header.generation, self.path)

    def append(self, data: bytes, start: int, meanwhile: Callable[[], None] | None = None) -> None:
        """Write one block frame and sync it. On return it is durable. `meanwhile` is called between the two.

        Raises:
            Busy: the disk is full; the short write was cut and the cut synced.
            Broken: the write or the sync failed; the writer must stop.
        """
        try:
            self.file.write_at(self.offset, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._cut_back()
            raise _failed(error, "a frame could not be written", f"{self.path} at byte {self.offset}") from None
        if meanwhile is not None:
            meanwhile()
        try:
            self.file.sync()
        except OSError as error:
            # Never again on this file: after an error the page cache no longer says what the disk holds. A full disk
            # that shows only here (delayed allocation) is no exception.
            raise Broken("a frame could not be synced", place=f"{self.path}: {error.strerror}") from None
        self.blocks.append((start, self.offset))
        self.offset += len(data)

    def finish(self, end: int, root: bytes) -> None:
        """Close the segment with its index frame, durable.

        Raises: as `append`.
        """
        data = frame.encode_index(
            segment_start=self.header.start, end=end, root=root, frames=self.blocks, offset=self.offset
        )
        self.append(data, end)
        self.file.close()

    def close(self) -> None:
        self.file.close()

    def _cut_back(self) -> None:
        try:
            self.file.truncate(self.offset)
            self.file.sync()
        except OSError as error:
            raise Broken(
                "the disk is full and the short write could not be cut", place=f"{self.path}: {error.strerror}"
            ) from None


def write_torn(files: Files, journal: str, segment: str, offset: int, data: bytes, digest: str) -> str:
    """Keep bytes that recovery cuts, durable, in `journal/torn/`; returns the file's name. Idempotent.

    A file of that name is whole: what a crash leaves unfinished is called `.tmp`.
    """
    folder = os.path.join(journal, "torn")
    name = f"{segment}.{offset}.{digest[:16]}"
    try:
        make_dir(files, folder)
        write_atomic(files, os.path.join(folder, name), data)
    except OSError as error:
        raise Broken("the cut bytes could not be kept", place=f"{folder}: {error.strerror}") from None
    return name


def _failed(error: OSError, what: str, place: str) -> Broken:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Busy("no space is left for the journal", retry_after_s=30, place=place, mend="free space on its disk")
    return Broken(what, place=f"{place}: {error.strerror}", mend="see the kernel's log; then start again")
