"""Segments made ready for verifying: their headers judged, and cut into chunks.

Where a segment can be cut is a hint, from its own index or from a walk over frame headers. A wrong hint costs time,
never truth: a chunk that does not begin where the one before it ended is done again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.merkle import CompactRange
from graven.journal import frame
from graven.journal.frame import EVENTS, RAWS, SegmentHeader
from graven.journal.segment import SegmentFile, SegmentReader

CHUNK_ENTRIES = 50_000
CHUNK_BYTES = 32 << 20


@dataclass(slots=True)
class Segment:
    """One segment file. `header` is None where it does not hold; `error` says why. `first` is where its frames begin
    (0: to be looked for), `range` the tree before it as its header states it. `foreign`: it is another log's."""

    file: SegmentFile
    size: int
    header: SegmentHeader | None = None
    range: CompactRange | None = None
    first: int = 0
    error: GravenError | None = None
    foreign: bool = False

    @property
    def place(self) -> str:
        return f"journal/{self.file.name}"

    def named(self) -> list[tuple[str, str, bytes]]:
        """(class, "event" | "raw", key id) of each data key of the header."""
        keys = self.header.keys if self.header is not None else ()
        return [(class_name, "event" if kind == EVENTS else "raw", key_id) for class_name, kind, key_id in keys]


def open_segment(file: SegmentFile, size: int) -> Segment:
    """Read a segment's header."""
    segment = Segment(file, size)
    try:
        with SegmentReader(file) as reader:
            header = reader.header()
            segment.first = reader.frame_header(0).size
        segment.range = _range_of(header)
        segment.header = header
    except GravenError as error:
        segment.error = error
        segment.first = 0
    return segment


def split(segment: Segment) -> list[tuple[int, int]]:
    """(first index, offset) of each chunk, the first at the segment's first frame."""
    chunks = [(segment.file.start, segment.first)]
    if segment.size - segment.first > 0:
        for start, offset in _hints(segment):
            first, at = chunks[-1]
            if start - first >= CHUNK_ENTRIES or offset - at >= CHUNK_BYTES:
                if start <= first or not at < offset < segment.size:
                    break
                chunks.append((start, offset))
    return chunks


def _hints(segment: Segment) -> Sequence[tuple[int, int]]:
    try:
        with SegmentReader(segment.file) as reader:
            blocks = reader.blocks() if _ends_with_index(reader, segment.size) else None
            return blocks if blocks is not None else list(_walked(segment, reader))
    except GravenError:
        return ()


def _ends_with_index(reader: SegmentReader, size: int) -> bool:
    """Looked at before the whole index is read, which a hostile file could make as long as it likes."""
    offset = frame.index_offset(reader.rest(size - 40)) if reader.size_bytes == size >= 40 else size
    if offset > size - frame.HEADER_SIZE:
        return False
    header = reader.frame_header(offset)
    return header.kind == frame.INDEX and offset + header.size == size


def _walked(segment: Segment, reader: SegmentReader) -> Iterator[tuple[int, int]]:
    try:
        for offset, header in reader.walk(segment.first):
            if header.kind == frame.BLOCK:
                yield header.start, offset
    except GravenError:
        return


def _range_of(header: SegmentHeader) -> CompactRange:
    """The tree a header states. Raises Disproved if its hashes are not those of its root, or its keys are none."""
    try:
        found = CompactRange(header.start, header.hashes)
    except BadInput as error:
        raise Disproved(f"the segment's header states no tree: {error.what}") from None
    if found.root() != header.root:
        raise Disproved("the segment's header states a root that its hashes do not lead to")
    names = [(class_name, kind) for class_name, kind, _ in header.keys]
    if len(set(names)) != len(names) or any(kind not in (EVENTS, RAWS) for _, kind in names):
        raise Disproved("the segment's header names its data keys wrongly")
    return found
