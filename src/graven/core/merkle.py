"""Merkle trees over SHA-256, as RFC 6962 §2.1 and RFC 9162 §2.1 define them: hashing, compact ranges, proofs.

    leaf hash  SHA-256(0x00 ‖ entry)          node  SHA-256(0x01 ‖ left ‖ right)          empty tree  SHA-256("")

Three things live here. `CompactRange` is a tree reduced to the hashes of its complete subtrees, which is all that
appending and taking the root need. `prove_*` make proofs from a reader of complete subtree hashes. `verify_*` judge
proofs that a stranger sent.

All proofs but the range proof come from one walk. The path from a subtree [start, end) up to the root of a tree proves
that the subtree belongs to the tree. An inclusion proof is that path for [index, index + 1), a consistency proof is
that path for [0, old). The hashes run from the leaves up.

Invariants: every hash is 32 bytes; sizes are 0 … 2⁶³−1. The walk takes at most 63 steps whatever the numbers, and a
proof of the wrong length is refused before anything is hashed, so no hostile proof is slow. This module reads nothing:
`nodes` is handed in.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

from graven.core.errors import BadInput, Broken, Disproved

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1
RANGE_HASHES_MAX = 184
"""Of a range proof: 3 × 63 − 5, for the two leaves on either side of a middle, [2⁶¹ − 1, 2⁶¹ + 1) of `SIZE_MAX`."""
EMPTY_ROOT = sha256(b"").digest()
TILE_HEIGHT = 8

# Reads the hashes of complete aligned subtrees: (height, index) stands for leaves [index·2^height, (index+1)·2^height).
# A proof asks once, for all it needs.
Nodes = Callable[[Sequence[tuple[int, int]]], list[bytes]]


@dataclass(frozen=True, slots=True)
class CompactRange:
    """A tree of `size` leaves as the hashes of its complete subtrees, left to right, so the largest first.

    There is one hash for each set bit of `size`: the tree of 6 leaves is [0, 4) and [4, 6). Equal trees compare equal.
    Raises BadInput when the number of hashes, or the length of one, does not fit the size.
    """

    size: int
    hashes: tuple[bytes, ...]

    EMPTY: ClassVar["CompactRange"]

    def __post_init__(self) -> None:
        _check_size(self.size)
        if len(self.hashes) != self.size.bit_count():
            raise BadInput(f"{len(self.hashes)} hashes cannot be the compact range of a tree of size {self.size}")
        if not set(map(len, self.hashes)) <= {HASH_BYTES}:
            raise BadInput("a compact range holds a hash that is not 32 bytes long")

    def root(self) -> bytes:
        """The root hash of the tree, EMPTY_ROOT for size 0. At most 62 hashes are computed."""
        return _fold(self.hashes)

    def extend(self, leaves: Sequence[bytes]) -> tuple["CompactRange", list[list[bytes]]]:
        """The tree with `leaves` (leaf hashes, 32 bytes each, not checked) appended, and the nodes this completed.

        In the second value, by tile level, [0] is the leaves, [1] the nodes of height 8 that became complete, in order,
        [2] those of height 16, and so on as far as there are any. Cost: about one hash a leaf. Raises BadInput beyond
        a size of 2⁶³−1.
        """
        size = self.size + len(leaves)
        _check_size(size)
        larger = list(self.hashes)  # subtrees to the left that were not merged yet; the smallest is last
        smaller = []  # what stays unpaired of the new tree; the smallest is first
        level = list(leaves)  # complete nodes of one height, consecutive, up to the right edge
        completed = [level]
        before = self.size
        height = 0
        while level:
            if before & 1:
                level = [larger.pop(), *level]
            if len(level) & 1:
                smaller.append(level[-1])
            level = hash_pairs(level)
            before >>= 1
            height += 1
            if level and height % TILE_HEIGHT == 0:
                completed.append(level)
        return CompactRange(size, (*larger, *reversed(smaller))), completed


def hash_leaf(entry: bytes) -> bytes:
    """The leaf hash of an entry (leaf data of any length). RFC 6962 §2.1."""
    return sha256(b"\x00" + entry).digest()


def hash_leaves(entries: Iterable[bytes]) -> list[bytes]:
    """The leaf hash of each entry, in order: `hash_leaf` for a batch."""
    begin = sha256(b"\x00").copy  # a copy of a begun hash costs less than beginning one
    hashes = []
    for entry in entries:
        h = begin()
        h.update(entry)
        hashes.append(h.digest())
    return hashes


def hash_node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node from its children, 32 bytes each (not checked). RFC 6962 §2.1."""
    return sha256(b"\x01" + left + right).digest()


def hash_pairs(hashes: Sequence[bytes]) -> list[bytes]:
    """The parents of consecutive siblings: `hash_node` of (0, 1), (2, 3), …; an odd last one is left out."""
    if len(hashes) <= 3:  # the tail of every append
        return [hash_node(hashes[0], hashes[1])] if len(hashes) > 1 else []
    begin = sha256(b"\x01").copy  # as in hash_leaves
    both = iter(hashes)
    parents = []
    for left, right in zip(both, both, strict=False):
        h = begin()
        h.update(left)
        h.update(right)
        parents.append(h.digest())
    return parents


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root of the tree over these leaf hashes; EMPTY_ROOT for none."""
    return CompactRange.EMPTY.extend(leaf_hashes)[0].root()


def compact_range_at(nodes: Nodes, size: int) -> CompactRange:
    """The compact range of the first `size` leaves, read in one call. Raises BadInput, and whatever `nodes` raises."""
    _check_size(size)
    return CompactRange(size, tuple(_read(nodes, _cover(0, size))))


def prove_inclusion(nodes: Nodes, *, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`, leaf to root, at most 63 hashes. RFC 9162 §2.1.3.1.

    Raises BadInput unless 0 ≤ index < size ≤ 2⁶³−1, and whatever `nodes` raises.
    """
    _check_index(index, size)
    return _prove(nodes, index, index + 1, size)


def verify_inclusion(leaf_hash: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes) -> None:
    """Returns if `leaf_hash` is leaf `index` of the tree of `size` with this root. RFC 9162 §2.1.3.2.

    Raises BadInput for numbers out of range or a leaf hash that is not 32 bytes; Disproved if the proof does not show
    it.
    """
    _check_index(index, size)
    if len(leaf_hash) != HASH_BYTES:
        raise BadInput(f"a leaf hash is 32 bytes, this one is {len(leaf_hash)}")
    _verify("inclusion", proof, index, index + 1, size, leaf_hash, root)


def prove_consistency(nodes: Nodes, *, old: int, new: int) -> list[bytes]:
    """Proof that the tree of size `new` begins with the tree of size `old`; empty for equal sizes. RFC 9162 §2.1.4.1.

    Raises BadInput unless 1 ≤ old ≤ new ≤ 2⁶³−1 (every tree extends the empty one: there is nothing to prove).
    """
    _check_sizes(old, new)
    return _prove(nodes, 0, old, new)


def verify_consistency(proof: Sequence[bytes], *, old: int, new: int, old_root: bytes, new_root: bytes) -> None:
    """Returns if the tree (`new`, `new_root`) begins with the tree (`old`, `old_root`). RFC 9162 §2.1.4.2.

    A root alone does not fix a size (a node can pose as a leaf): the caller must know by a signature that each root
    belongs to its size. So it is with every `size` and `root` here.

    Raises BadInput unless 1 ≤ old ≤ new ≤ 2⁶³−1, Disproved if the proof does not show it.
    """
    _check_sizes(old, new)
    _verify("consistency", proof, 0, old, new, old_root, new_root)


def prove_range(nodes: Nodes, *, start: int, end: int, size: int) -> list[bytes]:
    """Proof that leaves [start, end) stand in the tree of `size`, at most `RANGE_HASHES_MAX`.

    It is the hashes of the maximal aligned complete subtrees that cover [0, start), then of those that cover
    [end, size), left to right. Raises BadInput unless 0 ≤ start < end ≤ size ≤ 2⁶³−1, and whatever `nodes` raises.
    """
    _check_range(start, end, size)
    return _read(nodes, _cover(0, start) + _cover(end, size))


def verify_range(leaf_hashes: Sequence[bytes], proof: Sequence[bytes], *, start: int, size: int, root: bytes) -> None:
    """Returns if `leaf_hashes` are the leaves [start, start + their number) of the tree of `size` with this root.

    Raises BadInput for no leaves, numbers out of range or a leaf hash that is not 32 bytes; Disproved if the proof does
    not show it. Cost: about one hash a leaf.
    """
    end = start + len(leaf_hashes)
    _check_range(start, end, size)
    if set(map(len, leaf_hashes)) != {HASH_BYTES}:
        raise BadInput("a leaf hash is not 32 bytes")
    left = start.bit_count()
    right = _cover(end, size)
    _check_proof("range", proof, left + len(right))
    known, _ = CompactRange(start, tuple(proof[:left])).extend(leaf_hashes)
    hashes = list(known.hashes)
    for (height, index), added in zip(right, proof[left:], strict=True):
        node = added
        while index & 1:
            node = hash_node(hashes.pop(), node)
            index >>= 1
            height += 1
        hashes.append(node)
    _check_root("the range proof does not lead to the root", _fold(hashes), root)


def verify_subtree_inclusion(
    leaf_hash: bytes, proof: Sequence[bytes], *, index: int, start: int, end: int, root: bytes
) -> None:
    """Returns if `leaf_hash` is leaf `index` of the whole tree, within its subtree [start, end) with this root.

    Raises BadInput unless start ≤ index < end and [start, end) is a subtree; else as `verify_inclusion`.
    """
    _check_subtree(start, end, SIZE_MAX)
    verify_inclusion(leaf_hash, proof, index=index - start, size=end - start, root=root)


def prove_subtree_consistency(nodes: Nodes, *, start: int, end: int, size: int) -> list[bytes]:
    """Proof that the subtree [start, end) belongs to the tree of `size`; empty for an empty subtree.

    Raises BadInput unless [start, end) is a subtree within `size`: start is a multiple of the least power of two that
    is not below end − start.
    """
    _check_subtree(start, end, size)
    return _prove(nodes, start, end, size) if start < end else []


def verify_subtree_consistency(
    proof: Sequence[bytes], *, start: int, end: int, size: int, subtree_root: bytes, root: bytes
) -> None:
    """Returns if the tree (`size`, `root`) holds the subtree (`start`, `end`, `subtree_root`).

    An empty subtree (start = end) belongs to every tree: its root must be EMPTY_ROOT, its proof empty, and `root` says
    nothing. Raises BadInput as `prove_subtree_consistency`, Disproved if the proof does not show it.
    """
    _check_subtree(start, end, size)
    if start < end:
        _verify("subtree consistency", proof, start, end, size, subtree_root, root)
    else:
        _check_proof("subtree consistency", proof, 0)
        _check_root("the root of an empty subtree is wrong", subtree_root, EMPTY_ROOT)


def _walk(start: int, end: int, size: int) -> tuple[int, list[tuple[int, int]]]:
    """Where the path of the subtree [start, end) begins, and the ranges beside it up to the root of the tree of `size`.

    The path begins at the node [low, end). Where low = start that node is the subtree itself. Where low > start the
    subtree is no node of the larger tree: [low, end) is its rightmost piece that is, and its hash begins the proof.
    """
    low, high = 0, size
    beside = []
    while low < start or high != end:
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        if end <= middle:
            beside.append((middle, high))
            high = middle
        else:
            beside.append((low, middle))
            low = middle
    beside.reverse()
    return low, beside


def _prove(nodes: Nodes, start: int, end: int, size: int) -> list[bytes]:
    low, beside = _walk(start, end, size)
    ranges = beside if low == start else [(low, end), *beside]
    covers = [_cover(*r) for r in ranges]
    hashes = iter(_read(nodes, [node for cover in covers for node in cover]))
    return [_fold([next(hashes) for _ in cover]) for cover in covers]


def _verify(
    kind: str, proof: Sequence[bytes], start: int, end: int, size: int, subtree_root: bytes, root: bytes
) -> None:
    low, beside = _walk(start, end, size)
    given = low == start
    _check_proof(kind, proof, len(beside) + (not given))
    if given and proof and len(subtree_root) != HASH_BYTES:
        raise BadInput(f"a root hash is 32 bytes, this one is {len(subtree_root)}")
    hashes = iter(proof)
    subtree = tree = subtree_root if given else next(hashes)
    for (first, _), sibling in zip(beside, hashes, strict=True):
        if first >= end:
            tree = hash_node(tree, sibling)
        else:
            tree = hash_node(sibling, tree)
            if first >= start:
                subtree = hash_node(sibling, subtree)
    _check_root(f"the {kind} proof does not lead to the smaller root", subtree, subtree_root)
    _check_root(f"the {kind} proof does not lead to the root", tree, root)


def _cover(start: int, end: int) -> list[tuple[int, int]]:
    """The maximal aligned complete subtrees that cover [start, end), left to right, as (height, index). At most 124."""
    cover = []
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        cover.append((height, start >> height))
        start += 1 << height
    return cover


def _read(nodes: Nodes, wanted: list[tuple[int, int]]) -> list[bytes]:
    hashes = nodes(wanted) if wanted else []
    if len(hashes) != len(wanted) or not set(map(len, hashes)) <= {HASH_BYTES}:
        raise Broken(f"the reader of tree nodes was asked for {len(wanted)} hashes and answered something else")
    return hashes


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, left to right."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in hashes[-2::-1]:
        root = hash_node(left, root)
    return root


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise BadInput(f"a tree size is between 0 and 2^63-1, not {size}")


def _check_index(index: int, size: int) -> None:
    _check_size(size)
    if not 0 <= index < size:
        raise BadInput(f"a tree of size {size} has no leaf {index}")


def _check_sizes(old: int, new: int) -> None:
    _check_size(new)
    if not 1 <= old <= new:
        raise BadInput(f"there is no consistency proof from size {old} to size {new}")


def _check_range(start: int, end: int, size: int) -> None:
    _check_size(size)
    if not 0 <= start < end <= size:
        raise BadInput(f"[{start}, {end}) is not a range of leaves in a tree of size {size}")


def _check_subtree(start: int, end: int, size: int) -> None:
    _check_size(size)
    if not 0 <= start <= end <= size or (start < end and start & ((1 << (end - start - 1).bit_length()) - 1)):
        raise BadInput(f"[{start}, {end}) is not a subtree of a tree of size {size}")


def _check_proof(kind: str, proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length:
        raise Disproved(f"the {kind} proof has the wrong length", expected=f"{length} hashes", found=str(len(proof)))
    if not set(map(len, proof)) <= {HASH_BYTES}:
        raise Disproved(f"the {kind} proof holds a hash that is not 32 bytes long")


def _check_root(what: str, found: bytes, expected: bytes) -> None:
    if found != expected:
        raise Disproved(what, expected=b64encode(expected).decode(), found=b64encode(found).decode())


CompactRange.EMPTY = CompactRange(0, ())
