"""A published log of 15 leaves, every partial tile and bundle of which we must write byte for byte from its entries."""

from pathlib import Path

import pytest

from graven.core.merkle import CompactRange, hash_leaves
from graven.core.tile import bundle_path, decode_bundle, encode_bundle, parse_path, partial_tiles, tile_path

SIZE = 15


@pytest.fixture(scope="module")
def log(shared: Path) -> Path:
    return shared / "vectors" / "tessera-log"


@pytest.fixture(scope="module")
def entries(log: Path) -> list[bytes]:
    return decode_bundle((log / bundle_path(0, SIZE)).read_bytes(), SIZE)


def test_the_entries_are_read(entries: list[bytes]) -> None:
    assert len(entries) == SIZE
    assert len(set(entries)) > 1


def test_every_tile_and_bundle_is_written_byte_for_byte(log: Path, entries: list[bytes]) -> None:
    tree = CompactRange.EMPTY
    level_0: list[bytes] = []
    written = {}
    for size in range(1, SIZE + 1):
        tree, completed = tree.extend(hash_leaves([entries[size - 1]]))
        level_0 += completed[0]
        (tile,) = partial_tiles(size)
        assert (tile.level, tile.index, tile.width) == (0, 0, size)
        written[tile_path(0, 0, size)] = b"".join(level_0)
        written[bundle_path(0, size)] = encode_bundle(entries[:size])
    published = {
        path.relative_to(log).as_posix(): path.read_bytes() for path in (log / "tile").rglob("*") if path.is_file()
    }
    assert written == published


def test_every_published_path_reads_back(log: Path) -> None:
    paths = [path.relative_to(log).as_posix() for path in (log / "tile").rglob("*") if path.is_file()]
    assert len(paths) == 2 * SIZE
    for path in paths:
        named = parse_path(path)
        assert named.index == 0
        assert named.level in (0, "entries")
        assert path.endswith(f".p/{named.width}")
