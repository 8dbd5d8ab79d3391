"""Tiles and entry bundles: how a tree lies in files. C2SP tlog-tiles.

    tile/<level>/<index>[.p/<width>]      hashes at height 8·level: 256 of them, or `width` in a partial tile
    tile/entries/<index>[.p/<width>]      an entry bundle: the entries of the level-0 tile of the same index and width

A tile is its hashes one after another, 32 bytes each. Hash i of tile (level, n) is the node of height 8·level and index
256·n + i. A bundle is its entries one after another, each after its length as a big-endian u16. An index is decimal in
groups of three digits, one path element each, all but the last with an `x` in front: 1234067 is `x001/x234/067`.

Invariants: one spelling of a path; a tile that is not complete is never served as complete. Nothing is read here:
`tile_nodes` is handed a `fetch`. What comes out of `fetch` is not trusted: the length of a tile is checked here, its
content by whoever checks the root that its hashes lead to.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import unpack
from typing import Literal

from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import HASH_BYTES, SIZE_MAX, TILE_HEIGHT, Nodes, hash_pairs

HEIGHT = TILE_HEIGHT
WIDTH = 1 << HEIGHT
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 2**16 - 1
GRAVEN_ENTRY_BYTES = 32  # the entries of this log: the fast path of encode_entries and decode_entries

Fetch = Callable[[str], bytes]  # the bytes under a path; FileNotFoundError or KeyError where there are none


@dataclass(frozen=True, slots=True)
class TilePath:
    """Which tile (`level` 0 … 63) or bundle (`level` "entries") a path names; `width` is 1 … 256, 256 when full."""

    level: int | Literal["entries"]
    index: int
    width: int


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """The path of a tile. Raises BadInput unless 0 ≤ level ≤ 63, 0 ≤ index < 2⁶³ and 1 ≤ width ≤ 256."""
    if not 0 <= level <= LEVEL_MAX:
        raise BadInput(f"a tile level is between 0 and 63, not {level}")
    return f"tile/{level}/{_format_index(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """The path of an entry bundle. Raises BadInput unless 0 ≤ index < 2⁶³ and 1 ≤ width ≤ 256."""
    return f"tile/entries/{_format_index(index, width)}"


def parse_path(path: str) -> TilePath:
    """What `path` names. Raises BadInput for every text that `tile_path` and `bundle_path` do not write."""
    match = _PATH.fullmatch(path) if len(path) <= _PATH_CHARS_MAX else None
    if match is not None:
        index = int(match[2].replace("/", "").replace("x", ""))
        width = int(match[3] or WIDTH)
        if match[1] == "entries":
            named, written = TilePath("entries", index, width), bundle_path(index, width)
        else:
            level = int(match[1])
            named, written = TilePath(level, index, width), tile_path(level, index, width)
        if written == path:
            return named
    raise BadInput("this is not the path of a tile or an entry bundle", place=ascii(path[:_PATH_CHARS_MAX]))


def width_at(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) of a tree of `size` holds: 0 (there is no such tile) … 256 (it is full)."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - WIDTH * index))


def partial_tiles(size: int) -> list[TilePath]:
    """The partial tiles of a tree of `size`, lowest level first, at most one a level: the right edge. No bundle."""
    tiles = []
    level = 0
    while size:
        index, width = divmod(size, WIDTH)
        if width:
            tiles.append(TilePath(level, index, width))
        size = index
        level += 1
    return tiles


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bundle of these entries. Raises BadInput unless there are 1 … 256, each of at most 65,535 bytes."""
    if not 1 <= len(entries) <= WIDTH:
        raise BadInput(f"a bundle holds 1 to 256 entries, not {len(entries)}")
    if max(map(len, entries)) > ENTRY_BYTES_MAX:
        raise BadInput("an entry in a bundle has at most 65535 bytes")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def decode_bundle(data: bytes, count: int, *, place: str = "") -> list[bytes]:
    """The entries of a bundle that must hold `count`. Raises Disproved with `place` for more, fewer, or a cut one."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < count:
        length = int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(data) or len(entries) != count:
        raise Disproved(f"this is not an entry bundle of {count} entries", place=place)
    return entries


def encode_entries(entries: bytes) -> bytes:
    """`encode_bundle` for entries of 32 bytes, handed in joined and without lengths. Raises BadInput likewise."""
    count, rest = divmod(len(entries), GRAVEN_ENTRY_BYTES)
    if rest or not 1 <= count <= WIDTH:
        raise BadInput(f"{len(entries)} bytes are not 1 to 256 entries of 32 bytes")
    return _LENGTH + _LENGTH.join(unpack("32s" * count, entries))


def decode_entries(data: bytes, count: int, *, place: str = "") -> list[bytes]:
    """`decode_bundle` for a bundle of 32-byte entries: any other length is Disproved as well."""
    if len(data) != (2 + GRAVEN_ENTRY_BYTES) * count or data[0::34] + data[1::34] != bytes(count) + b"\x20" * count:
        raise Disproved(f"this is not an entry bundle of {count} entries of 32 bytes", place=place)
    return list(unpack("2x32s" * count, data))


def tile_nodes(fetch: Fetch, size: int) -> Nodes:
    """A reader of the complete subtrees of the tree of `size`, from the tiles that `fetch` brings.

    Each call fetches a tile once, whatever it needs of it, and keeps nothing for the next. A partial tile that is gone,
    because it was collected when the full one came, is cut from the full one. Cost: at most 254 hashes a tile, none
    where only its own hashes are wanted.

    Raises BadInput for a size out of range. The reader raises BadInput for a subtree that is not complete at `size`,
    Disproved with the path for a tile of the wrong length, Broken with the path for a missing tile, and what `fetch`
    raises.
    """

    if not 0 <= size <= SIZE_MAX:
        raise BadInput(f"a tree size is between 0 and 2^63-1, not {size}")

    def read(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        tiles: dict[tuple[int, int], list[list[bytes]]] = {}  # the nodes in each tile, by height above its level
        hashes = []
        for height, index in wanted:
            if not 0 <= height < 64 or index < 0 or (index + 1) << height > size:
                raise BadInput(f"a tree of size {size} has no complete subtree {index} of height {height}")
            level, inner = divmod(height, HEIGHT)
            first = index << inner
            tile = (level, first // WIDTH)
            if tile not in tiles:
                tiles[tile] = [_fetch_tile(fetch, *tile, width_at(*tile, size))]
            nodes = tiles[tile]
            while len(nodes) <= inner:
                nodes.append(hash_pairs(nodes[-1]))
            hashes.append(nodes[inner][first % WIDTH >> inner])
        return hashes

    return read


def _fetch_tile(fetch: Fetch, level: int, index: int, width: int) -> list[bytes]:
    """The hashes of a tile, from its own path or else the full one's. Raises Disproved or Broken with the path."""
    for stored in (width, WIDTH):
        path = tile_path(level, index, stored)
        try:
            data = fetch(path)
        except (FileNotFoundError, KeyError):
            continue
        if len(data) != HASH_BYTES * stored:
            expected = f"{HASH_BYTES * stored} bytes"
            raise Disproved("a tile has the wrong length", expected=expected, found=str(len(data)), place=path)
        return list(unpack("32s" * width, data[: HASH_BYTES * width]))
    raise Broken("a tile is missing", place=tile_path(level, index, width))


def _format_index(index: int, width: int) -> str:
    if not 0 <= index <= SIZE_MAX:
        raise BadInput(f"a tile index is between 0 and 2^63-1, not {index}")
    if not 1 <= width <= WIDTH:
        raise BadInput(f"a tile width is between 1 and 256, not {width}")
    path = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03}/{path}"
    return path if width == WIDTH else f"{path}.p/{width}"


_LENGTH = GRAVEN_ENTRY_BYTES.to_bytes(2, "big")
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")
_PATH_CHARS_MAX = 64
