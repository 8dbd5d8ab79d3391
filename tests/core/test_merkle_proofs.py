"""Merkle proofs against the recursive definition: exhaustive when small, sampled when large, hostile at the bounds."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import (
    EMPTY_ROOT,
    RANGE_HASHES_MAX,
    SIZE_MAX,
    hash_leaf,
    prove_consistency,
    prove_inclusion,
    prove_range,
    prove_subtree_consistency,
    verify_consistency,
    verify_inclusion,
    verify_range,
    verify_subtree_consistency,
    verify_subtree_inclusion,
)

LEAVES = oracle.leaves(600)
TREE = oracle.Tree(LEAVES)
ROOTS = [oracle.root(LEAVES[:size]) for size in range(130)]
UNIFORM = oracle.UniformTree()
HUGE_SIZES = [2**32 - 1, 2**62, 2**62 + 1, 2**63 - 2, SIZE_MAX]

Proof = list[bytes]


def subtrees(size: int) -> list[tuple[int, int]]:
    """All subtrees [start, end) of a tree: the start is a multiple of the least power of two ≥ the length."""
    return [
        (start, end)
        for start in range(size)
        for end in range(start + 1, size + 1)
        if any(start % p == 0 and p >= end - start for p in (1, 2, 4, 8, 16, 32) if p // 2 < end - start)
    ]


def spoiled(proof: Proof, byte: int) -> list[Proof]:
    """The proof with one byte of each hash changed, a hash missing, added, twice or cut, or two neighbours swapped."""
    flipped = [
        [*proof[:k], h[:byte] + bytes([h[byte] ^ 1]) + h[byte + 1 :], *proof[k + 1 :]] for k, h in enumerate(proof)
    ]
    shorter = [[*proof[:k], *proof[k + 1 :]] for k in range(len(proof))]
    longer = [[*proof[:k], h, *proof[k:]] for k in range(len(proof) + 1) for h in (bytes(32), b"", *proof[:1])]
    cut = [[*proof[:k], h[:31], *proof[k + 1 :]] for k, h in enumerate(proof)]
    swapped = [[*proof[:k], proof[k + 1], proof[k], *proof[k + 2 :]] for k in range(len(proof) - 1)]
    return flipped + shorter + longer + cut + [s for s in swapped if s != proof]


def refuses_all_spoiled(verify: Callable[[Proof], None], proof: Proof, byte: int) -> None:
    verify(proof)
    for bad in spoiled(proof, byte):
        with pytest.raises(Disproved):
            verify(bad)


# Proofs, exhaustively


def test_every_inclusion_proof_up_to_33() -> None:
    for size in range(1, 34):
        for index in range(size):
            proof = prove_inclusion(TREE, index=index, size=size)
            assert proof == oracle.inclusion(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], proof, index=index, size=size, root=ROOTS[size])


def test_every_consistency_proof_up_to_33() -> None:
    for new in range(1, 34):
        for old in range(1, new + 1):
            proof = prove_consistency(TREE, old=old, new=new)
            assert proof == oracle.consistency(old, LEAVES[:new])
            verify_consistency(proof, old=old, new=new, old_root=ROOTS[old], new_root=ROOTS[new])


def test_every_range_proof_up_to_20() -> None:
    for size in range(1, 21):
        for start in range(size):
            for end in range(start + 1, size + 1):
                proof = prove_range(TREE, start=start, end=end, size=size)
                assert proof == oracle.range_proof(start, end, LEAVES[:size])
                verify_range(LEAVES[start:end], proof, start=start, size=size, root=ROOTS[size])


def test_every_subtree_up_to_20() -> None:
    for size in range(1, 21):
        for start, end in subtrees(size):
            root = oracle.root(LEAVES[start:end])
            proof = prove_subtree_consistency(TREE, start=start, end=end, size=size)
            assert proof == oracle.subtree_consistency(start, end, LEAVES[:size])
            verify_subtree_consistency(proof, start=start, end=end, size=size, subtree_root=root, root=ROOTS[size])
            for index in range(start, end):
                path = oracle.inclusion(index - start, LEAVES[start:end])
                verify_subtree_inclusion(LEAVES[index], path, index=index, start=start, end=end, root=root)


def test_no_inclusion_proof_holds_for_another_place() -> None:
    for size in range(1, 18):
        for index in range(size):
            proof = oracle.inclusion(index, LEAVES[:size])
            for other_size in range(1, 18):
                for other_index in range(other_size):
                    if (other_index, other_size) != (index, size):
                        with pytest.raises(Disproved):
                            verify_inclusion(
                                LEAVES[index], proof, index=other_index, size=other_size, root=ROOTS[other_size]
                            )


def test_no_consistency_proof_holds_for_other_sizes() -> None:
    for new in range(1, 18):
        for old in range(1, new):
            proof = oracle.consistency(old, LEAVES[:new])
            for other_new in range(1, 18):
                for other_old in range(1, other_new + 1):
                    if (other_old, other_new) != (old, new):
                        roots = {"old_root": ROOTS[other_old], "new_root": ROOTS[other_new]}
                        with pytest.raises(Disproved):
                            verify_consistency(proof, old=other_old, new=other_new, **roots)


def test_range_proofs_notice_leaves_dropped_added_swapped_or_moved() -> None:
    for size in range(2, 14):
        for start in range(size):
            for end in range(start + 1, size + 1):
                proof = oracle.range_proof(start, end, LEAVES[:size])
                there = LEAVES[start:end]
                wrong: list[tuple[int, Sequence[bytes]]] = [(start, [*there[:-1], bytes(32)])]
                if len(there) > 1:
                    wrong += [(start, there[:-1]), (start + 1, there[1:]), (start, there[::-1])]
                if start:
                    wrong += [(start - 1, there)]
                if end < size:
                    wrong += [(start + 1, there), (start, [*there, bytes(32)])]
                for at, hashes in wrong:
                    with pytest.raises(Disproved):
                        verify_range(hashes, proof, start=at, size=size, root=ROOTS[size])


# Proofs, sampled


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 129))
    return draw(st.integers(0, size - 1)), size


@settings(deadline=None, max_examples=80)
@given(places(), st.integers(0, 31))
def test_a_spoiled_inclusion_proof_is_refused(place: tuple[int, int], byte: int) -> None:
    index, size = place
    tree = oracle.Tree(LEAVES)
    proof = prove_inclusion(tree, index=index, size=size)
    assert tree.calls == (size > 1)

    def verify(hashes: Proof) -> None:
        verify_inclusion(LEAVES[index], hashes, index=index, size=size, root=ROOTS[size])

    refuses_all_spoiled(verify, proof, byte)
    other = bytes([LEAVES[index][0] ^ 128]) + LEAVES[index][1:]
    with pytest.raises(Disproved):
        verify_inclusion(other, proof, index=index, size=size, root=ROOTS[size])
    with pytest.raises(Disproved):
        verify_inclusion(LEAVES[index], proof, index=index, size=size, root=other)


@settings(deadline=None, max_examples=80)
@given(places(), st.integers(0, 31))
def test_a_spoiled_consistency_proof_is_refused(place: tuple[int, int], byte: int) -> None:
    old, new = place[0] + 1, place[1]
    tree = oracle.Tree(LEAVES)
    proof = prove_consistency(tree, old=old, new=new)
    assert tree.calls == (old < new)

    def verify(hashes: Proof) -> None:
        verify_consistency(hashes, old=old, new=new, old_root=ROOTS[old], new_root=ROOTS[new])

    refuses_all_spoiled(verify, proof, byte)
    for roots in ((bytes(32), ROOTS[new]), (ROOTS[old], bytes(32))):
        with pytest.raises(Disproved):
            verify_consistency(proof, old=old, new=new, old_root=roots[0], new_root=roots[1])


@settings(deadline=None, max_examples=80)
@given(places(), st.integers(1, 129), st.integers(0, 31))
def test_a_spoiled_range_proof_is_refused(place: tuple[int, int], count: int, byte: int) -> None:
    start, size = place
    end = min(size, start + count)
    tree = oracle.Tree(LEAVES)
    proof = prove_range(tree, start=start, end=end, size=size)
    assert tree.calls == (end - start < size)

    def verify(hashes: Proof) -> None:
        verify_range(LEAVES[start:end], hashes, start=start, size=size, root=ROOTS[size])

    refuses_all_spoiled(verify, proof, byte)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 129), st.randoms(use_true_random=False), st.integers(0, 31))
def test_a_spoiled_subtree_proof_is_refused(size: int, random: object, byte: int) -> None:
    start, end = random.choice(subtrees(min(size, 30)))  # type: ignore[attr-defined]
    root = oracle.root(LEAVES[start:end])
    proof = prove_subtree_consistency(TREE, start=start, end=end, size=size)

    def verify(hashes: Proof) -> None:
        verify_subtree_consistency(hashes, start=start, end=end, size=size, subtree_root=root, root=ROOTS[size])

    refuses_all_spoiled(verify, proof, byte)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, SIZE_MAX), st.data())
def test_proofs_hold_and_stay_short_up_to_the_largest_size(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = UNIFORM.root(size)
    leaf = UNIFORM.by_height[0]
    path = prove_inclusion(UNIFORM, index=index, size=size)
    assert len(path) <= 63
    verify_inclusion(leaf, path, index=index, size=size, root=root)
    between = prove_consistency(UNIFORM, old=index + 1, new=size)
    assert len(between) <= 64
    verify_consistency(between, old=index + 1, new=size, old_root=UNIFORM.root(index + 1), new_root=root)
    end = min(size, index + 5)
    around = prove_range(UNIFORM, start=index, end=end, size=size)
    assert len(around) <= RANGE_HASHES_MAX
    verify_range([leaf] * (end - index), around, start=index, size=size, root=root)


def test_the_longest_range_proof() -> None:
    """Of all ranges in all trees of up to 2⁶ − 1 leaves by trying, and of the largest tree by what they show."""
    longest = max(
        len(prove_range(UNIFORM, start=start, end=end, size=size))
        for size in range(1, 64)
        for start in range(size)
        for end in range(start + 1, size + 1)
    )
    assert longest == 3 * 6 - 5 == len(prove_range(UNIFORM, start=31, end=33, size=63))
    start, end = 2**61 - 1, 2**61 + 1
    proof = prove_range(UNIFORM, start=start, end=end, size=SIZE_MAX)
    assert len(proof) == RANGE_HASHES_MAX == 3 * 63 - 5
    leaf, root = UNIFORM.by_height[0], UNIFORM.root(SIZE_MAX)
    verify_range([leaf, leaf], proof, start=start, size=SIZE_MAX, root=root)


@pytest.mark.parametrize("size", HUGE_SIZES)
def test_the_ends_of_huge_trees(size: int) -> None:
    root = UNIFORM.root(size)
    for index in (0, 1, size // 2 - 1, size // 2, size - 2, size - 1):
        path = prove_inclusion(UNIFORM, index=index, size=size)
        verify_inclusion(UNIFORM.by_height[0], path, index=index, size=size, root=root)
        with pytest.raises(Disproved):
            verify_inclusion(bytes(32), path, index=index, size=size, root=root)


# Refusals


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (2**64 - 1, 1), (0, 2**63), (0, -1)])
def test_a_leaf_that_no_tree_has_is_bad_input(index: int, size: int) -> None:
    with pytest.raises(BadInput):
        prove_inclusion(TREE, index=index, size=size)
    with pytest.raises(BadInput):
        verify_inclusion(bytes(32), [], index=index, size=size, root=bytes(32))


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (2, 1), (-1, 1), (1, 2**63), (1, -1)])
def test_sizes_that_cannot_be_consistent_are_bad_input(old: int, new: int) -> None:
    with pytest.raises(BadInput):
        prove_consistency(TREE, old=old, new=new)
    with pytest.raises(BadInput):
        verify_consistency([], old=old, new=new, old_root=EMPTY_ROOT, new_root=EMPTY_ROOT)


@pytest.mark.parametrize(
    ("start", "end", "size"), [(0, 0, 0), (3, 3, 5), (4, 3, 5), (-1, 2, 5), (4, 6, 5), (0, 1, 2**63)]
)
def test_a_range_that_no_tree_has_is_bad_input(start: int, end: int, size: int) -> None:
    with pytest.raises(BadInput):
        prove_range(TREE, start=start, end=end, size=size)
    with pytest.raises(BadInput):
        verify_range([bytes(32)] * (end - start), [], start=start, size=size, root=bytes(32))


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 6), (1, 16), (4, 9), (3, 2), (-2, 0), (0, 21), (2**70, 2**70)])
def test_a_range_that_is_no_subtree_is_bad_input(start: int, end: int) -> None:
    with pytest.raises(BadInput):
        prove_subtree_consistency(TREE, start=start, end=end, size=20)
    with pytest.raises(BadInput):
        verify_subtree_consistency([], start=start, end=end, size=20, subtree_root=bytes(32), root=bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_leaf_hash_of_another_length_is_bad_input(length: int) -> None:
    # A 64-byte "leaf hash" must not be able to stand for the two children of a node.
    with pytest.raises(BadInput):
        verify_inclusion(bytes(length), [], index=0, size=1, root=bytes(length))
    with pytest.raises(BadInput):
        verify_range([bytes(32), bytes(length)], [], start=0, size=2, root=bytes(32))


def test_a_known_root_of_another_length_is_never_hashed() -> None:
    proof = oracle.consistency(4, LEAVES[:7])
    with pytest.raises(BadInput):
        verify_consistency(proof, old=4, new=7, old_root=bytes(64), new_root=ROOTS[7])


def test_a_proof_that_is_too_long_is_refused_before_it_is_looked_at() -> None:
    class Unreadable(list[bytes]):
        def __len__(self) -> int:
            return 10**9

        def __iter__(self):  # type: ignore[no-untyped-def]
            raise AssertionError("a proof of the wrong length was read")

    endless = Unreadable()
    root = {"root": bytes(32)}
    with pytest.raises(Disproved):
        verify_inclusion(bytes(32), endless, index=5, size=SIZE_MAX, **root)
    with pytest.raises(Disproved):
        verify_consistency(endless, old=5, new=SIZE_MAX, old_root=bytes(32), new_root=bytes(32))
    with pytest.raises(Disproved):
        verify_range([bytes(32)], endless, start=5, size=SIZE_MAX, **root)
    with pytest.raises(Disproved):
        verify_subtree_consistency(endless, start=4, end=6, size=SIZE_MAX, subtree_root=bytes(32), **root)


def test_a_disproof_says_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(Disproved) as wrong_root:
        verify_inclusion(hash_leaf(b""), [], index=0, size=1, root=EMPTY_ROOT)
    assert wrong_root.value.expected == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert wrong_root.value.found == "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0="
    with pytest.raises(Disproved) as wrong_length:
        verify_inclusion(hash_leaf(b""), [], index=0, size=5, root=EMPTY_ROOT)
    assert (wrong_length.value.expected, wrong_length.value.found) == ("3 hashes", "0")


def test_an_empty_subtree_belongs_to_every_tree() -> None:
    assert prove_subtree_consistency(TREE, start=3, end=3, size=5) == []
    verify_subtree_consistency([], start=3, end=3, size=5, subtree_root=EMPTY_ROOT, root=ROOTS[5])
    with pytest.raises(Disproved):
        verify_subtree_consistency([], start=3, end=3, size=5, subtree_root=ROOTS[5], root=ROOTS[5])
    with pytest.raises(Disproved):
        verify_subtree_consistency([ROOTS[1]], start=3, end=3, size=5, subtree_root=EMPTY_ROOT, root=ROOTS[5])
