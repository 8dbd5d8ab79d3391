"""Frames: what is written is read back, and no flipped bit passes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_node
from graven.journal import frame
from graven.journal.frame import EVENTS, HUSK_EVENTS, NO_ERASURE, RAWS, Section, SegmentHeader

ROOT = bytes(range(32))


def section(
    kind: int = EVENTS, positions: frame.Runs | None = None, count: int = 4, body: bytes = b"sealed"
) -> Section:
    erasure = 7 if kind == HUSK_EVENTS else NO_ERASURE
    return Section(kind, "default", positions, count, b"k" * 16, b"n" * 12, erasure, body)


def block(*sections: Section, count: int = 4) -> bytes:
    return frame.encode_block(start=10, count=count, root=ROOT, sections=sections)


def decode(data: bytes) -> list[Section]:
    header = frame.decode_header(data, place="here")
    if header.size != len(data):
        raise Disproved("cut", place="here")
    frame.check_digest(data, place="here")
    return frame.decode_block(data, header, place="here")


def test_a_block_reads_back() -> None:
    sections = [section(positions=((0, 1), (2, 2)), count=3), section(positions=((1, 1),), count=1, body=b"x")]
    sections.append(section(RAWS, ((1, 2),), 2, b""))
    data = block(*sections)
    assert decode(data) == sections
    header = frame.decode_header(data, place="")
    assert (header.start, header.end, header.root, header.size) == (10, 14, ROOT, len(data))


def test_every_flipped_bit_of_a_block_is_refused() -> None:
    data = block(section(positions=((0, 1), (2, 2)), count=3), section(positions=((1, 1),), count=1))
    for at, bit in itertools.product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        with pytest.raises(Disproved):
            decode(bytes(changed))


def test_a_flipped_length_is_a_bad_header_not_a_short_frame() -> None:
    data = bytearray(block(section()))
    for at in range(20, 32):
        changed = data.copy()
        changed[at] ^= 0x40
        with pytest.raises(Disproved, match="checksum"):
            frame.decode_header(bytes(changed), place="here")


@pytest.mark.parametrize(
    "sections",
    [
        [section(positions=((0, 2),), count=2)],  # a gap
        [section(), section(positions=((0, 1),), count=1)],  # an overlap
        [section(positions=((2, 1), (0, 1)), count=2), section(positions=((1, 1), (3, 1)), count=2)],  # out of order
        [section(positions=((0, 1), (1, 3)), count=4)],  # adjacent runs, a second spelling
        [section(), section(RAWS, ((0, 2),), 2), section(RAWS, ((1, 1),), 1)],  # two raws for one slot
        [section(positions=((0, 5),), count=5)],  # beyond the block
    ],
)
def test_positions_cover_the_block_once(sections: list[Section]) -> None:
    with pytest.raises(Disproved, match="directory"):
        decode(block(*sections))


def test_bounds_are_refused_when_writing() -> None:
    with pytest.raises(BadInput, match="bounds"):
        block(section(count=frame.COUNT_MAX + 1), count=frame.COUNT_MAX + 1)


def test_a_segment_header_reads_back() -> None:
    header = SegmentHeader(
        "example.com/log", b"i" * 16, 3, 2, 1_700_000_000_000_000, hash_node(ROOT, ROOT[::-1]), (ROOT, ROOT[::-1]),
        (("default", EVENTS, b"a" * 16), ("default", RAWS, b"b" * 16)),
    )  # fmt: skip
    data = frame.encode_segment_header(header)
    assert frame.decode_segment_header(data, place="") == header
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(Disproved):
            frame.decode_segment_header(bytes(changed), place="")


def test_a_segment_header_whose_hashes_lead_elsewhere_is_refused() -> None:
    for hashes in ((ROOT, ROOT), (ROOT,), ()):
        data = frame.encode_segment_header(
            SegmentHeader("o", b"i" * 16, 3, 0, 1, hash_node(ROOT, ROOT[::-1]), hashes, ())
        )
        with pytest.raises(Disproved, match="root"):
            frame.decode_segment_header(data, place="")


def test_an_index_reads_back_and_knows_its_place() -> None:
    pairs = [(100, 300), (101, 900), (220, 1800)]
    data = frame.encode_index(segment_start=100, end=230, root=ROOT, frames=pairs, offset=4000)
    header, found = frame.decode_index(data, segment_start=100, place="")
    assert found == pairs
    assert header.start == 230
    assert frame.index_offset(data[-40:]) == 4000


def test_a_header_is_found_behind_rubbish() -> None:
    data = block(section())
    assert frame.find_header(b"GRV" * 5 + data) == 15
    assert frame.find_header(data, 1) == -1
    assert frame.find_header(b"x" * 5000) == -1


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_a_frame(data: bytes) -> None:
    with pytest.raises(Disproved):
        decode(data)


@given(st.binary(max_size=300), st.integers(0, 5), st.integers(1, 6))
def test_a_hostile_directory_never_escapes(directory: bytes, sections: int, count: int) -> None:
    """The digest is right: only the directory is wrong."""
    data = frame.encode_frame(
        frame.BLOCK, start=0, count=count, root=ROOT, sections=sections, directory=directory, payload=[]
    )
    with pytest.raises(Disproved):
        decode(data)
