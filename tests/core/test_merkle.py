"""Hashing and compact ranges against the recursive definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from graven.core.errors import BadInput, Broken
from graven.core.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    CompactRange,
    compact_range_at,
    hash_leaf,
    hash_leaves,
    hash_node,
    hash_pairs,
    root_of,
)

LEAVES = oracle.leaves(600)
ROOTS = [oracle.root(LEAVES[:size]) for size in range(130)]
UNIFORM = oracle.UniformTree()
HUGE_SIZES = [2**32 - 1, 2**62, 2**62 + 1, 2**63 - 2, SIZE_MAX]


# Hashing


def test_hashes_are_those_of_rfc_6962() -> None:
    # The test values of RFC 6962 implementations: the empty tree, the leaf of an empty entry, a node.
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert hash_leaf(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert hash_leaf(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert hash_node(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=70), max_size=9))
def test_batches_hash_as_single_calls(items: list[bytes]) -> None:
    assert hash_leaves(items) == [hash_leaf(item) for item in items]
    hashes = hash_leaves(items)
    assert hash_pairs(hashes) == [hash_node(hashes[k], hashes[k + 1]) for k in range(0, len(hashes) - 1, 2)]


# CompactRange


def test_the_root_at_every_size() -> None:
    tree = CompactRange.EMPTY
    for size in range(130):
        assert tree.size == size
        assert tree.root() == ROOTS[size] == root_of(LEAVES[:size])
        tree, _ = tree.extend([LEAVES[size]])


def test_the_compact_range_is_the_complete_subtrees_left_to_right() -> None:
    tree, _ = CompactRange.EMPTY.extend(LEAVES[:13])
    assert tree.hashes == tuple(oracle.root(LEAVES[a:b]) for a, b in [(0, 8), (8, 12), (12, 13)])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 300), max_size=6))
def test_any_chunks_give_the_tree_of_one_append(chunks: list[int]) -> None:
    all_leaves = [UNIFORM.by_height[0] if k % 3 else bytes([k % 256]) * 32 for k in range(sum(chunks))]
    tree = CompactRange.EMPTY
    nodes: list[list[bytes]] = [[], [], []]
    at = 0
    for count in chunks:
        tree, completed = tree.extend(all_leaves[at : at + count])
        at += count
        for level, hashes in enumerate(completed):
            nodes[level] += hashes
    at_once, completed_at_once = CompactRange.EMPTY.extend(all_leaves)
    assert tree == at_once
    assert [hashes for hashes in nodes if hashes] == [hashes for hashes in completed_at_once if hashes]


def test_extend_names_completed_nodes_by_tile_level() -> None:
    tree, completed = CompactRange.EMPTY.extend(LEAVES[:255])
    assert completed == [LEAVES[:255]]
    tree, completed = tree.extend(LEAVES[255:257])
    assert completed == [LEAVES[255:257], [oracle.root(LEAVES[:256])]]
    tree, completed = tree.extend(LEAVES[257:600])
    assert completed == [LEAVES[257:600], [oracle.root(LEAVES[256:512])]]
    assert tree.root() == oracle.root(LEAVES)
    assert tree.extend([]) == (tree, [[]])


def test_extend_completes_a_node_of_height_16() -> None:
    tree = compact_range_at(UNIFORM, 65535)
    after, completed = tree.extend([UNIFORM.by_height[0]] * 2)
    assert [len(level) for level in completed] == [2, 1, 1]
    assert completed[2] == [UNIFORM.by_height[16]]
    assert after == compact_range_at(UNIFORM, 65537)


def test_extend_does_not_touch_what_it_was_given() -> None:
    given_leaves = LEAVES[:5]
    tree, completed = CompactRange.EMPTY.extend(given_leaves)
    completed[0].clear()
    assert given_leaves == LEAVES[:5]
    before = tree.hashes
    tree.extend(LEAVES[5:9])
    assert tree.hashes == before


@pytest.mark.parametrize("size", HUGE_SIZES)
def test_huge_trees(size: int) -> None:
    tree = compact_range_at(UNIFORM, size)
    assert tree.root() == UNIFORM.root(size)
    if size < SIZE_MAX:
        assert tree.extend([UNIFORM.by_height[0]])[0].root() == UNIFORM.root(size + 1)
    else:
        with pytest.raises(BadInput):
            tree.extend([UNIFORM.by_height[0]])


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(-1, ()), (2**63, (bytes(32),)), (0, (bytes(32),)), (3, (bytes(32),)), (4, ()), (1, (bytes(31),)), (1, (b"",))],
)
def test_a_compact_range_that_cannot_be_is_refused(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(BadInput):
        CompactRange(size, hashes)


@settings(deadline=None)
@given(st.integers(0, 600))
def test_compact_range_at_reads_once(size: int) -> None:
    tree = oracle.Tree(LEAVES)
    assert compact_range_at(tree, size) == CompactRange.EMPTY.extend(LEAVES[:size])[0]
    assert tree.calls == (size > 0)


@pytest.mark.parametrize("size", [-1, 2**63, 2**300])
def test_a_size_that_cannot_be_is_refused_before_anything_is_read(size: int) -> None:
    tree = oracle.Tree(LEAVES)
    with pytest.raises(BadInput):
        compact_range_at(tree, size)
    assert tree.calls == 0


def test_the_largest_size() -> None:
    assert SIZE_MAX == 9223372036854775807


@pytest.mark.parametrize("answer", [[], [bytes(32)] * 3, [bytes(32), bytes(31)]])
def test_a_reader_that_answers_something_else_is_broken(answer: list[bytes]) -> None:
    with pytest.raises(Broken):
        compact_range_at(lambda _: answer, 3)
