"""The journal's end, as a start finds it: the last whole frame, what lies behind it, and what is done about that.

What it costs depends on what lies behind the published checkpoint, not on the length of the log.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.core.errors import Broken, Disproved
from graven.journal import frame
from graven.journal.files import Files
from graven.journal.segment import SegmentFile, SegmentReader, SegmentWriter, list_segments
from graven.log.cut import REMEDY, Cut, Limits, check_cut, cut, holds_whole_frame


@dataclass(slots=True)
class End:
    """The last whole frame, and what lies behind it."""

    size: int
    segment: SegmentFile
    offset: int
    blocks: list[tuple[int, int]]
    closed: bool
    rest: bytes = b""
    why: str = ""


def find_end(files: Files, journal: str, limits: Limits, cuts: list[Cut]) -> End:
    """Walk the segments from the one that holds the published size, check every frame behind it, and cut what is
    unfinished if that is allowed; what was cut is added to `cuts`.

    Raises:
        Broken: no segment, or something that does not fit and may not be cut; nothing was changed.
    """
    segments = list_segments(journal)
    if not segments:
        raise Broken("the journal has no segment", place=journal, mend=REMEDY)
    first = max((i for i, s in enumerate(segments) if s.start <= limits.published), default=0)
    end: End | None = None
    for number in range(first, len(segments)):
        segment = segments[number]
        if end is not None and (not end.closed or end.rest or segment.start != end.size):
            break
        found = _walk(segment, limits.published)
        if found is None:  # not even a header frame
            before = end or _end_before(segments, number)
            rest, later = Path(segment.path).read_bytes(), segments[number + 1 :]
            check_cut(segment, 0, rest, before.size, later, limits, "its header is unfinished")
            cuts += cut(files, journal, segment, 0, rest, later, declared=limits.declare_loss)
            # look again: behind an unfinished generation of a segment the one before it may lie, empty
            return find_end(files, journal, limits, cuts)
        end = found
    assert end is not None
    later = [segment for segment in segments if segment > end.segment]
    if end.rest or later:
        why = end.why or (
            "the segment is not closed, and another follows" if not end.closed else "a gap in the journal"
        )
        check_cut(end.segment, end.offset, end.rest, end.size, later, limits, why)
        declared = limits.declare_loss and (limits.signed > end.size or bool(later) or holds_whole_frame(end.rest))
        cuts += cut(files, journal, end.segment, end.offset, end.rest, later, declared=declared)
        end.rest = b""
    return end


def write_again(files: Files, journal: str, published: int, end: End) -> None:
    """Write the frames behind the published checkpoint once more and sync them, those that begin and close segments
    too: what is in the page cache after a crash may never have reached the disk."""
    for segment in reversed(list_segments(journal)):
        with SegmentReader(segment) as reader:
            blocks = end.blocks if segment == end.segment else reader.blocks()
            behind = [
                (offset, reader.frame(offset, one))
                for offset, one in reader.walk(_offset_before(blocks or (), published))
                if (one.end > published if one.kind == frame.BLOCK else one.start >= published)
            ]
        if behind:
            file = files.open(segment.path)
            for offset, data in behind:
                file.write_at(offset, data)
            file.sync()
            file.close()
        if segment.start < published:
            break
    files.sync_dir(journal)


def resume(files: Files, end: End) -> SegmentWriter:
    """The segment that is open at the end, to be written on."""
    with SegmentReader(end.segment) as reader:
        header = reader.header()
    file = files.open(end.segment.path)
    return SegmentWriter(files, end.segment.path, header, file, end.offset, end.blocks)


def _end_before(segments: list[SegmentFile], number: int) -> End:
    if number == 0:
        raise Broken("the first segment has no header", place=segments[0].path, mend=REMEDY)
    found = _walk(segments[number - 1], 1 << 63)
    if found is None or not found.closed or found.size != segments[number].start:
        raise Broken("the segment before an unfinished one is not closed", place=segments[number - 1].path)
    return found


def _walk(segment: SegmentFile, published: int) -> End | None:
    """To the last whole frame of a segment; None if not even the header frame is whole.

    Frames that end behind the published size are read and their digests checked.
    """
    with SegmentReader(segment) as reader:
        size_bytes = reader.size_bytes
        try:
            header = reader.header()
            offset = reader.frame_header(0).size
        except Disproved:
            return None
        end = End(header.start, segment, offset, [], False)
        blocks = reader.blocks() if header.start < published else None
        if blocks is not None and (index := reader.closed()) is not None and index.end <= published:
            return End(index.end, segment, size_bytes, blocks, True)
        try:
            for at, one in reader.walk(offset):
                if one.kind == frame.INDEX:
                    reader.frame(at, one)
                    end.closed = True
                elif one.kind != frame.BLOCK or one.start != end.size or end.closed:
                    raise Disproved("a frame out of place", place=reader.place(at))
                else:
                    if one.end > published:
                        reader.frame(at, one)
                    end.blocks.append((one.start, at))
                    end.size = one.end
                end.offset = at + one.size
            end.why = "a frame is cut short"
        except Disproved as error:
            end.why = str(error)
        if end.offset < size_bytes:
            end.rest = reader.rest(end.offset)
    return end


def _offset_before(blocks: Sequence[tuple[int, int]], published: int) -> int:
    """The offset of the last block that begins at or before `published`: from there on, frames may lie behind it."""
    at = bisect_right(blocks, published, key=lambda block: block[0])
    return blocks[at - 1][1] if at and blocks[0][0] < published else 0
