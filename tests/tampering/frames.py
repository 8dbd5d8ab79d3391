"""A segment taken apart into frames and put together again, with every checksum made to fit: what an insider can do."""

from dataclasses import dataclass
from pathlib import Path

from graven.journal import frame
from graven.journal.frame import FrameHeader, Section
from graven.journal.segment import SegmentFile, SegmentReader


@dataclass(frozen=True)
class Frame:
    offset: int
    header: FrameHeader
    data: bytes

    @property
    def sections(self) -> list[Section]:
        return frame.decode_block(self.data, self.header, place="")

    def with_root(self, root: bytes) -> bytes:
        """This block with another root and checksums that fit."""
        return frame.encode_block(start=self.header.start, count=self.header.count, root=root, sections=self.sections)

    def with_sections(self, sections: list[Section], root: bytes | None = None) -> bytes:
        """This block with other sections and checksums that fit."""
        return frame.encode_block(
            start=self.header.start, count=self.header.count, root=root or self.header.root, sections=sections
        )

    def moved(self, start: int) -> bytes:
        """This block at another index, with checksums that fit."""
        return frame.encode_block(start=start, count=self.header.count, root=self.header.root, sections=self.sections)


def frames_of(path: Path) -> list[Frame]:
    """Every frame of a segment: its header first."""
    start, generation, _ = path.name.split(".")
    with SegmentReader(SegmentFile(int(start), int(generation), str(path))) as reader:
        return [Frame(offset, header, reader.frame(offset, header)) for offset, header in reader.walk()]


def write_frames(path: Path, frames: list[bytes], *, index: bool = True) -> None:
    """Write a segment of these frames; its index is made anew, so that it fits, unless it shall stay as it is."""
    parts: list[bytes] = []
    pairs: list[tuple[int, int]] = []
    at = 0
    for data in frames:
        try:
            header = frame.decode_header(data[: frame.HEADER_SIZE], place="")
        except Exception:  # bytes that are no frame
            header = None
        if header is not None and header.kind == frame.BLOCK:
            pairs.append((header.start, at))
        if header is not None and header.kind == frame.INDEX and index:
            ascending = sorted(dict(pairs).items())
            data = frame.encode_index(
                segment_start=int(path.name[:20]), end=header.start, root=header.root,
                frames=[pair for n, pair in enumerate(ascending) if not n or pair[1] > ascending[n - 1][1]], offset=at,
            )  # fmt: skip
        parts.append(data)
        at += len(data)
    path.write_bytes(b"".join(parts))
