"""A Merkle tree that grows by leaves, and hands out its tiles as they become full.

It keeps the hashes of the tile at the right edge of each level: at most 255 a level, whatever the size.
"""

from collections.abc import Callable, Sequence

from graven.core.merkle import CompactRange
from graven.core.tile import HEIGHT, WIDTH

FullTile = Callable[[int, int, list[bytes]], None]
"""(level, index, its 256 hashes)"""


class Tree:
    """Mutable; one thread."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[list[bytes]] = [[]]

    def copy(self) -> "Tree":
        """The same tree, to grow apart."""
        other = Tree()
        other.size, other._edge = self.size, [list(level) for level in self._edge]
        return other

    @property
    def last_leaves(self) -> list[bytes]:
        """The leaf hashes of the level-0 tile that is not full."""
        return list(self._edge[0])

    def extend(self, leaves: Sequence[bytes], full: FullTile) -> None:
        """Append leaf hashes. `full` is called for each tile this completes, lower levels first."""
        self._append(list(leaves), len(leaves), 0, full)

    def _append(self, added: list[bytes], leaves: int, level: int, full: FullTile) -> None:
        """Hashes of a level that stand for so many leaves more."""
        self.size += leaves
        while added:
            if level == len(self._edge):
                self._edge.append([])
            hashes = self._edge[level] + added
            index = (self.size >> (HEIGHT * (level + 1))) - len(hashes) // WIDTH
            added = []
            for at in range(0, len(hashes) - WIDTH + 1, WIDTH):
                tile = hashes[at : at + WIDTH]
                full(level, index + at // WIDTH, tile)
                added.append(CompactRange.EMPTY.extend(tile)[0].hashes[0])
            self._edge[level] = hashes[len(hashes) - len(hashes) % WIDTH :]
            level += 1

    def extend_tiles(self, roots: Sequence[bytes], full: FullTile) -> None:
        """Append full level-0 tiles, by the root of each. `full` is called for those of level 1 and above.

        Raises ValueError unless the tree ends with a full tile.
        """
        if self._edge[0]:
            raise ValueError("the tree ends within a tile of level 0")
        self._append(list(roots), WIDTH * len(roots), 1, full)

    def partial_tiles(self) -> list[tuple[int, int, list[bytes]]]:
        """The tiles at the right edge that are neither full nor empty: (level, index, hashes)."""
        return [
            (level, self.size >> (HEIGHT * (level + 1)), list(hashes))
            for level, hashes in enumerate(self._edge)
            if hashes
        ]

    def root(self) -> bytes:
        """The root hash; that of the empty tree for size 0."""
        hashes = [one for level in reversed(self._edge) for one in CompactRange.EMPTY.extend(level)[0].hashes]
        return CompactRange(self.size, tuple(hashes)).root()
