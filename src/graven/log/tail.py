"""The right edge of the tree, in memory: what is committed and not yet (all) in full tiles on disk.

The writer adds each block's hashes; the publisher reads tiles out of it and forgets the full ones. Below the edge,
tiles come from disk. One lock; every call copies what it returns.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.core.errors import Disproved
from graven.core.merkle import CompactRange, Nodes, compact_range_at, hash_leaves
from graven.core.tile import (
    WIDTH,
    Fetch,
    bundle_path,
    decode_entries,
    encode_entries,
    parse_path,
    tile_nodes,
    tile_path,
)
from graven.journal.files import Files, write_atomic

ENTRY_SIZE = 32


@dataclass(slots=True)
class _Level:
    base: int
    hashes: bytearray


class Tail:
    """Hashes of every tile level, and the entries, from the last full tile on disk to the committed size.

    `range` is the compact range of the committed tree. Invariant: level L holds hashes [base[L], size >> 8L), and
    base[L] is a multiple of 256.
    """

    def __init__(
        self, log: Path, start: CompactRange, levels: list[tuple[int, bytes]], entries: tuple[int, bytes]
    ) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._levels = [_Level(base, bytearray(hashes)) for base, hashes in levels]
        self._entries_base, self._entries = entries[0], bytearray(entries[1])
        self.range = start

    @classmethod
    def empty(cls, log: Path) -> "Tail":
        return cls(log, CompactRange.EMPTY, [(0, b"")], (0, b""))

    @classmethod
    def load(cls, log: Path, size: int) -> "Tail":
        """The edge of a published tree of `size` entries, read from its tiles.

        Raises: whatever reading tiles raises (OSError, Disproved). The caller compares `range.root()`.
        """
        fetch = disk_fetch(log)
        levels: list[tuple[int, bytes]] = []
        level = 0
        while level == 0 or size >> (8 * level):
            count = size >> (8 * level)
            width = count % WIDTH
            levels.append((count - width, _read_tile(fetch, level, count // WIDTH, width)))
            level += 1
        width = size % WIDTH
        bundle = b""
        if width:
            path = bundle_path(size // WIDTH, width)
            data = _fetch_wide(fetch, path, bundle_path(size // WIDTH))[: 34 * width]
            entries = decode_entries(data, width, place=path)
            if b"".join(hash_leaves(entries)) != levels[0][1]:
                raise Disproved("an entry bundle does not fit its tile", place=path)
            bundle = b"".join(entries)
        start = compact_range_at(tile_nodes(fetch, size), size) if size else CompactRange.EMPTY
        return cls(log, start, levels, (size - width, bundle))

    @property
    def size(self) -> int:
        return self.range.size

    def pending(self, published: int) -> int:
        """Entries committed and not yet published."""
        return self.range.size - published

    def add(self, extended: CompactRange, completed: Sequence[Sequence[bytes]], entries: Sequence[bytes]) -> None:
        """Take over a committed block: the range after it, the nodes it completed by tile level, its entries."""
        with self._lock:
            for level, hashes in enumerate(completed):
                if level == len(self._levels):
                    self._levels.append(_Level(0, bytearray()))
                self._levels[level].hashes += b"".join(hashes)
            self._entries += b"".join(entries)
            self.range = extended

    def nodes(self, size: int) -> Nodes:
        """A reader of complete subtrees of the tree of `size` entries, from this edge or the tiles on disk."""
        return tile_nodes(self.fetch, size)

    def fetch(self, path: str) -> bytes:
        """A hash tile by its C2SP path (`tile/0/…`), full or partial, from the edge, else from disk."""
        tile = parse_path(path)
        if tile.level != "entries" and (found := self._slice(tile.level, tile.index * WIDTH, tile.width)) is not None:
            return found
        return disk_fetch(self._log)(path)

    def files(self, old: int, new: int) -> list[tuple[str, bytes]]:
        """(path, bytes) of every tile and bundle that the tree of `new` entries has and that of `old` has not."""
        out: list[tuple[str, bytes]] = []
        level = 0
        while (count := new >> (8 * level)) > 0:
            before = old >> (8 * level)
            if count > before:
                for index in range(before // WIDTH, (count + WIDTH - 1) // WIDTH):
                    width = min(WIDTH, count - index * WIDTH)
                    hashes = self._slice(level, index * WIDTH, width)
                    if hashes is None:
                        raise AssertionError("the edge of the tree does not reach back to what was published")
                    out.append((tile_path(level, index, width), hashes))
                    if level == 0:
                        at = index * WIDTH - self._entries_base
                        with self._lock:
                            entries = bytes(self._entries[ENTRY_SIZE * at : ENTRY_SIZE * (at + width)])
                        out.append((bundle_path(index, width), encode_entries(entries)))
            level += 1
        return out

    def forget(self, published: int) -> None:
        """Let go of full tiles of the published tree: they are on disk."""
        with self._lock:
            for level, held in enumerate(self._levels):
                count = published >> (8 * level)
                base = count - count % WIDTH
                if base > held.base:
                    del held.hashes[: 32 * (base - held.base)]
                    held.base = base
            base = published - published % WIDTH
            del self._entries[: ENTRY_SIZE * (base - self._entries_base)]
            self._entries_base = base

    def _slice(self, level: int, first: int, width: int) -> bytes | None:
        with self._lock:
            if level >= len(self._levels):
                return None
            held = self._levels[level]
            at = first - held.base
            if at < 0 or 32 * (at + width) > len(held.hashes):
                return None
            return bytes(held.hashes[32 * at : 32 * (at + width)])


class DiskFetch:
    """Reads files of the published tree by their C2SP path. FileNotFoundError where there is none."""

    def __init__(self, log: Path) -> None:
        self._log = str(log)

    def __call__(self, path: str) -> bytes:
        with open(f"{self._log}/{path}", "rb") as file:  # noqa: PTH123 - hot
            return file.read()


def disk_fetch(log: Path) -> DiskFetch:
    return DiskFetch(log)


def entry_at(fetch: Fetch, index: int, size: int) -> bytes:
    """The entry at `index` of the tree of `size`, from its bundle; from the full one where a partial was collected.

    Raises: FileNotFoundError; Disproved for a bundle of another form.
    """
    tile, slot = divmod(index, WIDTH)
    width = min(WIDTH, size - tile * WIDTH)
    path = bundle_path(tile, width)
    data = _fetch_wide(fetch, path, bundle_path(tile))[: (ENTRY_SIZE + 2) * width]
    return decode_entries(data, width, place=path)[slot]


def remove_larger(files: Files, log: Path, size: int, published: int) -> None:
    """Take away tiles and bundles of a larger tree than `size`: written, not published, and then its events were lost.

    Left there, they would be of another tree than the one that grows now. What the `published` tree (no larger than
    `size`) has in such a full tile is kept as the partial one it was. OSError passes through.
    """
    tile = log / "tile"
    for folder in tile.iterdir() if tile.is_dir() else ():
        shift = 8 * int(folder.name) if folder.name.isdecimal() else 0
        item = ENTRY_SIZE if folder.name.isdecimal() else ENTRY_SIZE + 2
        index, width = divmod(size >> shift, WIDTH)
        while True:
            full = log / (tile_path(int(folder.name), index) if folder.name.isdecimal() else bundle_path(index))
            partial = full.with_name(full.name + ".p")
            if not full.exists() and not partial.is_dir():
                break
            if full.exists():
                kept = min(WIDTH, max(0, (published >> shift) - WIDTH * index))
                if kept:
                    if not partial.is_dir():
                        files.mkdir(str(partial), 0o755)
                    write_atomic(files, str(partial / str(kept)), full.read_bytes()[: item * kept])
                files.remove(str(full))
                files.sync_dir(str(full.parent))
            for path in list(partial.iterdir()) if partial.is_dir() else ():
                if path.name.isdecimal() and int(path.name) > width:
                    files.remove(str(path))
                    files.sync_dir(str(partial))
            index, width = index + 1, 0


def _read_tile(fetch: Fetch, level: int, index: int, width: int) -> bytes:
    if not width:
        return b""
    return _fetch_wide(fetch, tile_path(level, index, width), tile_path(level, index))[: 32 * width]


def _fetch_wide(fetch: Fetch, partial: str, full: str) -> bytes:
    try:
        return fetch(partial)
    except FileNotFoundError:
        return fetch(full)
