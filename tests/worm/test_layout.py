"""Names and documents of a copy: one spelling, and nothing that anybody writes there does more than be refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.signers import LOG, ORIGIN
from graven.core.errors import BadInput
from graven.core.merkle import hash_leaves, root_of
from graven.core.tile import WIDTH
from graven.worm import layout
from graven.worm.layout import Description

HASHES = [bytes([number % 251, number // 251]) * 16 for number in range(1_000)]
DESCRIPTION = Description(ORIGIN, "0123456789abcdef" * 2, (LOG.key,))


def edge_of(entries: list[bytes]) -> bytes:
    """The edge of the tree of these entries, from its definition."""
    levels: list[list[bytes]] = []
    nodes = hash_leaves(entries)
    while len(nodes) >= WIDTH:
        nodes = [root_of(nodes[at : at + WIDTH]) for at in range(0, len(nodes) - WIDTH + 1, WIDTH)]
        levels.append(nodes[len(nodes) // WIDTH * WIDTH :])
    return layout.format_edge(entries[len(entries) // WIDTH * WIDTH :], levels)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 999, 1_000])
def test_an_edge_leads_to_the_root(size: int) -> None:
    edge = layout.parse_edge(edge_of(HASHES[:size]), size)
    assert edge.root == root_of(hash_leaves(HASHES[:size]))
    assert len(edge.entries) == size % WIDTH


@given(st.binary(max_size=4_000), st.integers(0, 1 << 40))
def test_any_bytes_are_an_edge_or_are_refused(data: bytes, size: int) -> None:
    try:
        edge = layout.parse_edge(data, size)
    except BadInput:
        assert len(data) != 32 * sum(layout.edge_counts(size))
    else:
        assert layout.format_edge(edge.entries, edge.levels[1:]) == data
        assert len(edge.root) == 32


def test_documents_have_one_spelling() -> None:
    data = layout.format_description(DESCRIPTION)
    assert layout.parse_description(data) == DESCRIPTION
    assert layout.parse_full_lock(layout.format_full_lock(1_790_000_000)) == 1_790_000_000
    for wrong in (data[:-1], data + b" ", data.replace(b"  ", b" "), data.replace(b"/v1", b"/v2"), b"", b"[]", b"{}"):
        with pytest.raises(BadInput):
            layout.parse_description(wrong)
    for wrong in (b"{}", b'{"format": "graven-copy-lock/v1", "since_s": 1}', layout.format_full_lock(1) + b"\n"):
        with pytest.raises(BadInput):
            layout.parse_full_lock(wrong)
    with pytest.raises(BadInput):
        layout.parse_description(b" " * (layout.DOCUMENT_BYTES_MAX + 1))


@given(st.binary(max_size=300))
def test_junk_documents_are_refused(junk: bytes) -> None:
    with pytest.raises(BadInput):
        layout.parse_description(junk)
    with pytest.raises(BadInput):
        layout.parse_full_lock(junk)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_of_a_description_is_refused_or_another_description(at: int, flip: int) -> None:
    data = bytearray(layout.format_description(DESCRIPTION))
    data[at % len(data)] ^= flip
    try:
        found = layout.parse_description(bytes(data))
    except BadInput:
        assert flip
    else:
        assert layout.format_description(found) == bytes(data)


@given(st.text(max_size=80) | st.from_regex(r"(journal|open|edges|checkpoints)/[0-9.]{0,40}(seg)?(/[0-9a-f.]*)?"))
def test_names_parse_one_way_or_not_at_all(name: str) -> None:
    if (segment := layout.parse_segment_name(name)) is not None:
        assert name == f"journal/{segment[0]:020d}.{segment[1]:04d}.seg"
    if (piece := layout.parse_piece_name(name)) is not None:
        assert name.startswith(f"open/{piece[0]:020d}.{piece[1]:04d}.seg/{piece[2]:012d}.")
    if (size := layout.parse_edge_name(name)) is not None:
        assert name == layout.edge_name(size)
    if (checkpoint := layout.parse_checkpoint_name(name)) is not None:
        assert name == f"checkpoints/{checkpoint[0]:020d}.{checkpoint[1]}"


def test_names_are_formatted_and_parsed() -> None:
    digest = bytes(range(32))
    assert layout.parse_piece_name(layout.piece_name("00000000000000000007.0001.seg", 96, digest)) == (7, 1, 96)
    assert layout.parse_segment_name("journal/00000000000000000007.12345.seg") == (7, 12345)
    assert layout.parse_segment_name("journal/00000000000000000007.00123.seg") is None
    assert layout.parse_checkpoint_name(layout.checkpoint_name(9, b"note")) is not None
    assert layout.parse_edge_name(layout.edge_name(9)) == 9
