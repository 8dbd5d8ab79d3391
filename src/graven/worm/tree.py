"""The tree of a copy, streamed: every full tile and bundle judged by the hash that the tile above it states.

From a signed checkpoint and its edge downwards: the edge leads to the checkpoint's root, so its hashes are true; each
is the root of a full tile one level below, and so on to the bundles. So of several versions of a name the right one is
known at once, and nothing has to be held but one tile a level. A tile that is missing is gone round: what lies below it
is taken as it is and compared as a whole.

`RootStream` is the same tree from left to right: the root at any size, asked for in rising order.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from graven.core.errors import Broken, Disproved
from graven.core.merkle import HASH_BYTES, CompactRange, hash_leaves
from graven.core.tile import GRAVEN_ENTRY_BYTES, HEIGHT, WIDTH, bundle_path, decode_entries, tile_path
from graven.log.verify.report import Findings
from graven.worm.layout import Edge
from graven.worm.originals import Originals
from graven.worm.store import Store, Version

RESTARTS_MAX = 1_000
"""Only objects that somebody forged make a reader go back; that costs time, never truth."""

_TILE_BYTES = HASH_BYTES * WIDTH
_BUNDLE_BYTES = (2 + GRAVEN_ENTRY_BYTES) * WIDTH


Keep = Callable[[str, bytes], None]
"""Told of (path, bytes) of a good tile or bundle."""


@dataclass(frozen=True, slots=True)
class Tile:
    """256 leaves from index 256·`index` on: their hashes, and the root over them; None where they could not be had."""

    index: int
    leaves: list[bytes] | None
    node: bytes | None


@dataclass(slots=True)
class _Loaded:
    leaves: list[bytes] | None = None
    findings: Findings = field(default_factory=Findings)
    chosen: list[Version] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)


class CopyTree:
    """The full tiles of the tree of `edge.size` entries, in order."""

    def __init__(
        self, originals: Originals, edge: Edge, findings: Findings, pool: Executor, keep: Keep | None = None
    ) -> None:
        """`edge` must lead to a signed root: that is the caller's to check. `keep` gets every tile that is good."""
        self._originals, self._edge, self._findings, self._pool, self._keep = originals, edge, findings, pool, keep
        self._folders: dict[str, tuple[str, dict[str, list[Version]]]] = {}

    def tiles(self) -> Iterator[Tile]:
        """Every full tile of leaves, from the left. Problems stand in the findings."""
        levels = self._edge.levels
        for level in range(len(levels) - 1, 0, -1):
            first = (self._edge.size >> (HEIGHT * level)) - len(levels[level])  # a multiple of 256
            yield from self._walk(level - 1, [(first + at, node) for at, node in enumerate(levels[level])])

    def _walk(self, level: int, items: Sequence[tuple[int, bytes | None]]) -> Iterator[Tile]:
        """The leaves below these tiles of one level, each with the root it must have, None: not known."""
        if level == 0:
            yield from self._bottom(items)
            return
        for index, expected in items:
            hashes = self._upper(level, index, expected)
            below: list[tuple[int, bytes | None]] = (
                [(WIDTH * index + at, None) for at in range(WIDTH)]
                if hashes is None
                else [(WIDTH * index + at, one) for at, one in enumerate(hashes)]
            )
            if hashes is None and expected is not None:
                yield from self._compared(level, index, expected, below)
            else:
                yield from self._walk(level - 1, below)

    def _compared(
        self, level: int, index: int, expected: bytes, below: Sequence[tuple[int, bytes | None]]
    ) -> Iterator[Tile]:
        """What lies below a tile that is missing: as it is, and compared as a whole."""
        total: CompactRange | None = CompactRange.EMPTY
        for tile in self._walk(level - 1, below):
            total = None if total is None or tile.node is None else total.extend([tile.node])[0]
            yield tile
        if total is not None and total.root() != expected:
            span = WIDTH << (HEIGHT * level)
            what = "the tiles below a missing one are not those of the signed tree"
            self._findings.disprove(what, tile_path(level, index), span * index, span * (index + 1))

    def _upper(self, level: int, index: int, expected: bytes | None) -> list[bytes] | None:
        path = tile_path(level, index)
        span = WIDTH << (HEIGHT * level)
        loaded = _Loaded()
        hashes = _load_tile(self._originals.store, path, self._candidates(path), expected, loaded, span * index, span)
        self._take(loaded)
        return hashes

    def _bottom(self, items: Sequence[tuple[int, bytes | None]]) -> Iterator[Tile]:
        jobs = [
            (index, expected, self._candidates(bundle_path(index)), self._candidates(tile_path(0, index)))
            for index, expected in items
        ]
        for (index, expected, _, _), loaded in zip(jobs, self._pool.map(self._load, jobs), strict=True):
            self._take(loaded)
            node = CompactRange.EMPTY.extend(loaded.leaves)[0].root() if loaded.leaves else expected
            yield Tile(index, loaded.leaves, node)

    def _load(self, job: tuple[int, bytes | None, list[Version], list[Version]]) -> _Loaded:
        """One bundle and its tile, on a thread of the pool. The bundle's leaves count; they must be the tile's."""
        index, expected, bundles, tiles = job
        loaded, store, first = _Loaded(), self._originals.store, WIDTH * index
        loaded.leaves = _load_bundle(store, bundle_path(index), bundles, expected, loaded, first)
        hashes = _load_tile(store, tile_path(0, index), tiles, expected, loaded, first, WIDTH)
        if loaded.leaves is None:
            loaded.leaves = hashes
        elif hashes is not None and hashes != loaded.leaves:
            what = "a tile holds another hash than the bundle leads to"
            loaded.findings.disprove(what, tile_path(0, index), first, first + WIDTH, group="level 0")
        return loaded

    def _candidates(self, path: str) -> list[Version]:
        folder = f"log/{path[: path.rfind('/') + 1]}"
        series = path.split("/")[1]
        held = self._folders.get(series)
        if held is None or held[0] != folder:
            held = self._folders[series] = (folder, self._originals.folder(folder))
        return held[1].get(f"log/{path}", [])

    def _take(self, loaded: _Loaded) -> None:
        self._findings.merge(loaded.findings)
        for version in loaded.chosen:
            self._originals.took(version)
        if self._keep is not None:
            for path, data in loaded.files:
                self._keep(path, data)


class RootStream:
    """The roots of a copy's tree, read from left to right; going back begins anew, a bounded number of times."""

    def __init__(self, tree: CopyTree, edge: Edge) -> None:
        self.size = edge.size
        self._tree, self._edge = tree, edge
        self._restarts = 0
        self._partial = CompactRange.EMPTY  # of some leaves of the tile behind the full ones passed
        self._begin()

    def at(self, size: int) -> bytes | None:
        """The root of the tree of `size` entries; None where it cannot be told. Cheap in rising order."""
        whole, inside = divmod(size, WIDTH)
        if size > self.size:
            return None
        if whole < self._passed or (whole == self._passed and self._partial.size > inside):
            self._restarts += 1
            if self._restarts > RESTARTS_MAX:
                return None
            self._begin()
        while self._passed < whole:
            self._pass()
        if self._range is None:
            return None
        if not inside:
            return CompactRange(size, self._range.hashes).root()
        leaves = self._next().leaves
        if leaves is None:
            return None
        self._partial = self._partial.extend(leaves[self._partial.size : inside])[0]
        return CompactRange(size, (*self._range.hashes, *self._partial.hashes)).root()

    def finish(self) -> None:
        """Read the rest of the tree, so that all of it is judged."""
        while self._passed < self.size // WIDTH:
            self._pass()

    def _begin(self) -> None:
        self._tiles = self._tree.tiles()
        self._passed = 0  # full tiles
        self._range: CompactRange | None = CompactRange.EMPTY  # of those, each as one leaf
        self._tile: Tile | None = None  # the one behind them
        self._partial = CompactRange.EMPTY

    def _next(self) -> Tile:
        if self._tile is None:
            behind = self._passed == self.size // WIDTH
            self._tile = Tile(self._passed, list(self._edge.levels[0]), None) if behind else next(self._tiles)
        return self._tile

    def _pass(self) -> None:
        node = self._next().node
        self._range = None if node is None or self._range is None else self._range.extend([node])[0]
        self._passed, self._tile, self._partial = self._passed + 1, None, CompactRange.EMPTY


def _load_tile(
    store: Store,
    path: str,
    candidates: Sequence[Version],
    expected: bytes | None,
    loaded: _Loaded,
    first: int,
    span: int,
) -> list[bytes] | None:
    """The hashes of the first candidate whose root is the one expected."""

    def parse(data: bytes) -> list[bytes]:
        return [data[at : at + HASH_BYTES] for at in range(0, _TILE_BYTES, HASH_BYTES)]

    return _choose(store, path, candidates, _TILE_BYTES, parse, expected, loaded, (first, first + span))


def _load_bundle(
    store: Store, path: str, candidates: Sequence[Version], expected: bytes | None, loaded: _Loaded, first: int
) -> list[bytes] | None:
    """The leaves of the first candidate whose root is the one expected."""

    def parse(data: bytes) -> list[bytes]:
        return hash_leaves(decode_entries(data, WIDTH))

    return _choose(store, path, candidates, _BUNDLE_BYTES, parse, expected, loaded, (first, first + WIDTH))


def _choose(
    store: Store, path: str, candidates: Sequence[Version], size: int, parse: Callable[[bytes], list[bytes]],
    expected: bytes | None, loaded: _Loaded, span: tuple[int, int],
) -> list[bytes] | None:  # fmt: skip
    name = f"log/{path}"
    kind = "an entry bundle" if "entries" in path else "a tile"
    refused = False
    for version in candidates:
        data = b""
        try:
            data = store.read(version) if version.size == size else b""
            hashes = parse(data) if data else None
        except Disproved:
            hashes = None
        except Broken as error:
            loaded.findings.error(error, name, *span)
            continue
        if hashes is not None and (expected is None or CompactRange.EMPTY.extend(hashes)[0].root() == expected):
            loaded.chosen.append(version)
            loaded.files.append((path, data))
            return hashes
        refused = True
    if refused:
        loaded.findings.disprove(f"{kind} is not the signed tree's", name, *span, group=kind)
    elif not candidates:
        loaded.findings.fail(f"{kind} is missing", name, *span, group=kind)
    return None
