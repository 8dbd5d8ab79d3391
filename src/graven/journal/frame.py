"""Frames: the records of a segment, as bytes.

A segment is a header frame (`H`), then block frames (`B`), then, once closed, an index frame (`X`). Every frame is
an 80-byte header with a checksum of its own, a directory, a payload, and SHA-256 over all of it (docs/format.md,
"The journal"). A flipped length bit breaks the header's checksum, so it cannot make what follows look like a torn
tail.

This file knows bytes and bounds. It opens no file, holds no key, and does not know what a section's ciphertext says.
"""

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core.errors import BadInput, Disproved
from graven.core.merkle import CompactRange

FORMAT_VERSION = 1
HEADER_SIZE = 80
DIGEST_SIZE = 32
MAGIC = b"GRV"
SEGMENT, BLOCK, INDEX = b"H", b"B", b"X"

EVENTS, RAWS, HUSK_EVENTS, HUSK_RAWS, LOST = 1, 2, 3, 4, 5
KIND_NAMES = {EVENTS: "event", RAWS: "raw", HUSK_EVENTS: "husk of events", HUSK_RAWS: "husk of raws", LOST: "lost"}

COUNT_MAX = 1 << 20
SECTIONS_MAX = 256
DIRECTORY_SIZE_MAX = 1 << 24
PAYLOAD_SIZE_MAX = 1 << 30
NO_ERASURE = (1 << 64) - 1

_HEADER = struct.Struct(">3scHHQIIQ32s")
_SECTION_FIXED = struct.Struct(">16s12sQI")
_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">II")
_U64 = struct.Struct(">Q")

Runs = tuple[tuple[int, int], ...]
"""Ascending, disjoint, non-adjacent (first position, length) pairs within a block."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The first 80 bytes of a frame. `root` is the root of the tree of `start + count` entries."""

    kind: bytes
    sections: int
    start: int
    count: int
    directory_size: int
    payload_size: int
    root: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEADER_SIZE + self.directory_size + self.payload_size + DIGEST_SIZE

    @property
    def end(self) -> int:
        return self.start + self.count


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a block: the events, or the raws, of one class; or the husk of such a section after an erasure; or
    entries whose events were lost, as a heal put them back.

    `positions` is None when the section covers the whole block. `erasure` is the index of the event that names the
    erasure (husks) or the loss, else `NO_ERASURE`. `body` is the ciphertext; of a husk, its clear bytes; of lost
    slots, their entries.
    """

    kind: int
    class_name: str
    positions: Runs | None
    count: int
    key_id: bytes
    nonce: bytes
    erasure: int
    body: bytes

    def indexes(self) -> list[int]:
        """Positions within the block, ascending."""
        if self.positions is None:
            return list(range(self.count))
        return [p for first, length in self.positions for p in range(first, first + length)]


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself. `hashes` is the compact range of `start` entries, left to right."""

    origin: str
    log_id: bytes
    start: int
    generation: int
    created_us: int
    root: bytes
    hashes: tuple[bytes, ...]
    keys: tuple[tuple[str, int, bytes], ...]  # (class, EVENTS | RAWS, key id)


def section_label(kind: int, class_name: str, positions: Runs | None, count: int, key_id: bytes, nonce: bytes) -> bytes:
    """The part of a section's directory entry that does not depend on where the frame stands.

    It is the head of the entry and, behind a prefix and the log id, the section's associated data.
    """
    name = class_name.encode("ascii")
    parts = [bytes((kind, len(name))), name, _U32.pack(count)]
    if positions is None:
        parts.append(b"\x00")
    else:
        parts.append(b"\x01" + _U32.pack(len(positions)))
        parts.extend(_PAIR.pack(first, length) for first, length in positions)
    parts.append(key_id)
    parts.append(nonce)
    return b"".join(parts)


def associated_data(log_id: bytes, label: bytes) -> bytes:
    """What AES-GCM authenticates beside the ciphertext: the log and the position-free part of the entry."""
    return b"graven/section/1\n" + log_id + label


def encode_frame(
    kind: bytes, *, start: int, count: int, root: bytes, sections: int, directory: bytes, payload: Sequence[bytes]
) -> bytes:
    """One whole frame."""
    payload_size = sum(map(len, payload))
    if (
        count > COUNT_MAX
        or sections > SECTIONS_MAX
        or len(directory) > DIRECTORY_SIZE_MAX
        or payload_size > PAYLOAD_SIZE_MAX
    ):
        raise BadInput("a frame would pass the format's bounds", place=f"block at index {start}")
    fixed = _HEADER.pack(MAGIC, kind, FORMAT_VERSION, sections, start, count, len(directory), payload_size, root)
    body = b"".join((fixed, sha256(fixed).digest()[:16], directory, *payload))
    return body + sha256(body).digest()


def encode_block(*, start: int, count: int, root: bytes, sections: Sequence[Section]) -> bytes:
    """The frame of a block of `count` entries that begins at index `start`."""
    directory = b"".join(
        section_label(s.kind, s.class_name, s.positions, s.count, s.key_id, s.nonce)
        + _U64.pack(s.erasure)
        + _U32.pack(len(s.body))
        for s in sections
    )
    return encode_frame(
        BLOCK,
        start=start,
        count=count,
        root=root,
        sections=len(sections),
        directory=directory,
        payload=[s.body for s in sections],
    )


def decode_header(data: bytes | memoryview, *, place: str) -> FrameHeader:
    """The header in the first 80 bytes of `data`.

    Raises:
        Disproved: short, no magic, a checksum that does not fit, a version or length out of bounds.
    """
    if len(data) < HEADER_SIZE:
        raise Disproved("the frame's header is cut short", expected="80 bytes", found=f"{len(data)}", place=place)
    fixed = bytes(data[:64])
    magic, kind, version, sections, start, count, directory_size, payload_size, root = _HEADER.unpack(fixed)
    if magic != MAGIC or sha256(fixed).digest()[:16] != data[64:80]:
        raise Disproved("the frame's header does not fit its checksum", place=place)
    if version != FORMAT_VERSION:
        raise Disproved("the frame has another format version", expected="1", found=str(version), place=place)
    if (
        kind not in (SEGMENT, BLOCK, INDEX)
        or (count > 0) is not (kind == BLOCK)
        or (sections > 0) is not (kind == BLOCK)
        or sections > SECTIONS_MAX
        or count > COUNT_MAX
        or directory_size > DIRECTORY_SIZE_MAX
        or payload_size > PAYLOAD_SIZE_MAX
        or start + count >= 1 << 63
    ):
        raise Disproved("the frame's header is out of bounds", place=place)
    return FrameHeader(kind, sections, start, count, directory_size, payload_size, root)


def check_digest(frame: bytes | memoryview, *, place: str) -> None:
    """Raises Disproved unless the last 32 bytes are SHA-256 of all before them."""
    if sha256(frame[:-DIGEST_SIZE]).digest() != frame[-DIGEST_SIZE:]:
        raise Disproved("the frame does not fit its checksum", place=place)


def decode_block(frame: bytes | memoryview, header: FrameHeader, *, place: str) -> list[Section]:
    """The sections of a whole block frame whose header was decoded before; its digest is not checked here.

    Raises:
        Disproved: the directory does not parse to its end, a run is out of order, lengths do not add up, or the
            positions do not cover the block once.
    """
    view = memoryview(frame)
    directory_end = HEADER_SIZE + header.directory_size
    payload_end = directory_end + header.payload_size
    sections: list[Section] = []
    at, body_at = HEADER_SIZE, directory_end
    try:
        for _ in range(header.sections):
            section, at, size = _decode_section(view, at, header.count, directory_end)
            if body_at + size > payload_end:
                raise ValueError("a section is longer than the payload")
            sections.append(Section(*section, body=bytes(view[body_at : body_at + size])))
            body_at += size
        if at != directory_end or body_at != payload_end:
            raise ValueError("bytes are left over")
        _check_cover(sections, header.count)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise Disproved(f"the block's directory does not parse: {error}", place=place) from None
    return sections


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The header frame that begins a segment."""
    origin = header.origin.encode()
    parts = [bytes((len(origin),)), origin, header.log_id, _U32.pack(header.generation), _U64.pack(header.created_us)]
    parts.append(bytes((len(header.hashes),)))
    parts.extend(header.hashes)
    parts.append(len(header.keys).to_bytes(2, "big"))
    for class_name, kind, key_id in header.keys:
        name = class_name.encode("ascii")
        parts.append(bytes((len(name),)) + name + bytes((kind,)) + key_id)
    return encode_frame(
        SEGMENT, start=header.start, count=0, root=header.root, sections=0, directory=b"".join(parts), payload=[]
    )


def decode_segment_header(frame: bytes | memoryview, *, place: str) -> SegmentHeader:
    """The header frame, whole and with its digest checked.

    Raises:
        Disproved: any byte of it does not fit.
    """
    header = decode_header(frame, place=place)
    if header.kind != SEGMENT or header.count or header.payload_size or len(frame) != header.size:
        raise Disproved("the segment does not begin with a header frame", place=place)
    check_digest(frame, place=place)
    body = bytes(frame[HEADER_SIZE:-DIGEST_SIZE])
    try:
        at = 1 + body[0]
        origin = body[1:at].decode()
        log_id = _take(body, at, 16)
        (generation,) = _U32.unpack_from(body, at + 16)
        (created_us,) = _U64.unpack_from(body, at + 20)
        at += 28
        hashes = tuple(_take(body, at + 1 + 32 * i, 32) for i in range(body[at]))
        at += 1 + 32 * body[at]
        keys_count = int.from_bytes(_take(body, at, 2), "big")
        at += 2
        keys = []
        for _ in range(keys_count):
            name = _take(body, at + 1, body[at]).decode("ascii")
            at += 1 + body[at]
            keys.append((name, body[at], _take(body, at + 1, 16)))
            at += 17
        if at != len(body):
            raise ValueError("bytes are left over")
    except (ValueError, IndexError, struct.error) as error:
        raise Disproved(f"the segment's header does not parse: {error}", place=place) from None
    try:
        root = CompactRange(header.start, hashes).root()
    except BadInput:
        root = b""
    if root != header.root:
        raise Disproved("the segment's header states hashes that do not lead to its root", place=place)
    return SegmentHeader(origin, log_id, header.start, generation, created_us, header.root, hashes, tuple(keys))


def encode_index(*, segment_start: int, end: int, root: bytes, frames: Sequence[tuple[int, int]], offset: int) -> bytes:
    """The index frame that closes a segment: (start, file offset) of each block frame, and its own offset last."""
    payload = b"".join(_PAIR.pack(start - segment_start, at) for start, at in frames) + _U64.pack(offset)
    return encode_frame(INDEX, start=end, count=0, root=root, sections=0, directory=b"", payload=[payload])


def decode_index(
    frame: bytes | memoryview, *, segment_start: int, place: str
) -> tuple[FrameHeader, list[tuple[int, int]]]:
    """The (start, offset) pairs of a whole index frame, in order.

    Raises:
        Disproved: it does not parse, does not fit its digest, or is not ascending.
    """
    header = decode_header(frame, place=place)
    if header.kind != INDEX or len(frame) != header.size or header.payload_size % 8 or header.directory_size:
        raise Disproved("the segment does not end with an index frame", place=place)
    check_digest(frame, place=place)
    pairs = [
        (segment_start + start, at)
        for start, at in _PAIR.iter_unpack(frame[HEADER_SIZE : HEADER_SIZE + header.payload_size - 8])
    ]
    if any(a[0] >= b[0] or a[1] >= b[1] for a, b in itertools.pairwise(pairs)):
        raise Disproved("the segment's index is not ascending", place=place)
    return header, pairs


def index_offset(tail: bytes) -> int:
    """Where the index frame begins, read from the last 40 bytes of a closed segment. To be checked, not believed."""
    return int(_U64.unpack_from(tail, len(tail) - DIGEST_SIZE - 8)[0])


def find_header(data: bytes, start: int = 0) -> int:
    """The first offset ≥ `start` at which a valid frame header lies, or -1."""
    at = data.find(MAGIC, start)
    while at >= 0:
        try:
            decode_header(data[at : at + HEADER_SIZE], place="")
        except Disproved:
            at = data.find(MAGIC, at + 1)
        else:
            return at
    return -1


def _take(body: bytes, at: int, size: int) -> bytes:
    piece = body[at : at + size]
    if len(piece) != size:
        raise ValueError("cut short")
    return piece


def _decode_section(
    view: memoryview, at: int, block_count: int, end: int
) -> tuple[tuple[int, str, Runs | None, int, bytes, bytes, int], int, int]:
    kind, name_size = view[at], view[at + 1]
    if kind not in KIND_NAMES or not 1 <= name_size <= 32:
        raise ValueError("unknown kind or class")
    at += 2
    class_name = bytes(view[at : at + name_size]).decode("ascii")
    at += name_size
    (count,) = _U32.unpack_from(view, at)
    form = view[at + 4]
    at += 5
    positions: Runs | None = None
    if form == 1:
        (runs,) = _U32.unpack_from(view, at)
        at += 4
        if runs < 1 or at + 8 * runs > end:
            raise ValueError("runs out of bounds")
        positions = tuple(_PAIR.iter_unpack(view[at : at + 8 * runs]))
        at += 8 * runs
        after = -1
        for first, length in positions:
            if first <= after or length < 1 or first + length > block_count:
                raise ValueError("runs out of order")
            after = first + length
        if sum(length for _, length in positions) != count or count == block_count:
            raise ValueError("runs do not add up")
    elif form != 0 or count != block_count:
        raise ValueError("positions do not fit the block")
    if at + _SECTION_FIXED.size > end:
        raise ValueError("cut short")
    key_id, nonce, erasure, size = _SECTION_FIXED.unpack_from(view, at)
    if (kind in (EVENTS, RAWS)) != (erasure == NO_ERASURE):
        raise ValueError("only a husk names an erasure")
    if kind == LOST and (size != 32 * count or any(key_id) or any(nonce)):
        raise ValueError("lost slots are their entries and nothing else")
    return (kind, class_name, positions, count, key_id, nonce, erasure), at + _SECTION_FIXED.size, size


def _check_cover(sections: Sequence[Section], count: int) -> None:
    """Every position in exactly one section of events (or its husk), and in at most one of raws (or its husk)."""
    for kinds, whole in (((EVENTS, HUSK_EVENTS, LOST), True), ((RAWS, HUSK_RAWS), False)):
        runs = sorted(
            run for s in sections if s.kind in kinds for run in (s.positions or ((0, s.count),)) if run[1] or whole
        )
        at = 0
        for first, length in runs:
            if first < at or (whole and first != at):
                raise ValueError("sections overlap or leave a gap")
            at = first + length
        if whole and at != count:
            raise ValueError("sections do not cover the block")
