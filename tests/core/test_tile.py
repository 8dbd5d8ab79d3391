"""Tiles and bundles: paths with one spelling, widths at every size, bundles, and tree nodes read from tiles."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import (
    SIZE_MAX,
    CompactRange,
    compact_range_at,
    prove_consistency,
    prove_inclusion,
    prove_range,
    verify_consistency,
    verify_inclusion,
    verify_range,
)
from graven.core.tile import (
    TilePath,
    bundle_path,
    decode_bundle,
    decode_entries,
    encode_bundle,
    encode_entries,
    parse_path,
    partial_tiles,
    tile_nodes,
    tile_path,
    width_at,
)

UNIFORM = oracle.UniformTree()


class Site:
    """Tiles as a static site holds them; remembers what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        return self.files[path]


class UniformSite:
    """The tiles of a tree of any size whose leaves are all equal; refuses paths that this size does not have."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[str] = []

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        tile = parse_path(path)
        assert isinstance(tile.level, int)
        if tile.width != width_at(tile.level, tile.index, self.size):
            raise FileNotFoundError(path)
        return tile.width * UNIFORM.by_height[8 * tile.level]


def site_of(leaves: list[bytes], *, collected: bool = False) -> Site:
    """The tiles of the tree over `leaves` and all smaller ones; with `collected`, no partial one beside a full one."""
    files = {}
    level, hashes = 0, leaves
    while hashes:
        for first in range(0, len(hashes), 256):
            tile = hashes[first : first + 256]
            full = len(tile) == 256
            for width in range(256 if full and collected else 1, len(tile) + 1):
                files[tile_path(level, first // 256, width)] = b"".join(tile[:width])
        hashes = [oracle.root(hashes[k : k + 256]) for k in range(0, len(hashes) - 255, 256)]
        level += 1
    return Site(files)


# Paths


@pytest.mark.parametrize(
    ("path", "level", "index", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/999", 0, 999, 256),
        ("tile/0/x001/000", 0, 1000, 256),
        ("tile/1/x001/x234/067", 1, 1234067, 256),
        ("tile/63/x001/x234/067.p/255", 63, 1234067, 255),
        ("tile/10/000.p/1", 10, 0, 1),
        ("tile/0/x009/x223/x372/x036/x854/x775/807.p/112", 0, SIZE_MAX, 112),
        ("tile/entries/000", "entries", 0, 256),
        ("tile/entries/x273/000.p/17", "entries", 273000, 17),
    ],
)
def test_paths_are_those_of_the_specification(path: str, level: int | str, index: int, width: int) -> None:
    named = parse_path(path)
    assert (named.level, named.index, named.width) == (level, index, width)
    assert path == (tile_path(level, index, width) if isinstance(level, int) else bundle_path(index, width))


@settings(deadline=None)
@given(st.integers(0, 63), st.integers(0, SIZE_MAX), st.integers(1, 256))
def test_every_path_reads_back(level: int, index: int, width: int) -> None:
    assert parse_path(tile_path(level, index, width)) == TilePath(level, index, width)
    assert parse_path(bundle_path(index, width)) == TilePath("entries", index, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/000/000",
        "tile/0/x001/x000",
        "tile/0/1/000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/999",
        "tile/0/000.p/5/",
        "tile/0/000.p/5\n",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/entries/x000/000",
        "tile/entries/000.p/0",
        "tile/entries/000.p/01",
        "tile/entries/000.p/256",
        "tile/entries/x009/x223/x372/x036/x854/x775/808",
        "tile/0/x009/x223/x372/x036/x854/x775/x807/000",
        "tile/0/٠٠٠",  # Arabic digits
        "tile/0/000.p/５",  # a full-width digit
        "tile/0/../0/000",
        "tile/0/X001/000",
        "checkpoint",
    ],
)
def test_a_path_with_another_spelling_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        parse_path(path)


@settings(deadline=None)
@given(st.text(alphabet="tile/nrsx0123456789.p-", max_size=40))
def test_what_is_read_is_what_would_be_written(path: str) -> None:
    try:
        named = parse_path(path)
    except BadInput:
        return
    if named.level == "entries":
        assert bundle_path(named.index, named.width) == path
    else:
        assert tile_path(named.level, named.index, named.width) == path


def test_a_long_path_is_refused_quickly_and_not_repeated() -> None:
    with pytest.raises(BadInput) as refusal:
        parse_path("tile/0/" + "x001/" * 1_000_000 + "000")
    assert len(refusal.value.place) < 100


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 256), (64, 0, 256), (0, -1, 256), (0, 2**63, 256), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_that_cannot_be_has_no_path(level: int, index: int, width: int) -> None:
    with pytest.raises(BadInput):
        tile_path(level, index, width)
    if level == 0:
        with pytest.raises(BadInput):
            bundle_path(index, width)


# Widths


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (0, []),
        (1, [(0, 0, 1)]),
        (255, [(0, 0, 255)]),
        (256, [(1, 0, 1)]),
        (257, [(0, 1, 1), (1, 0, 1)]),
        (65536, [(2, 0, 1)]),
        (70000, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]),
    ],
)
def test_the_partial_tiles_of_the_specification(size: int, tiles: list[tuple[int, int, int]]) -> None:
    assert [(tile.level, tile.index, tile.width) for tile in partial_tiles(size)] == tiles


@settings(deadline=None)
@given(st.integers(0, SIZE_MAX), st.integers(0, 8))
def test_widths_count_the_complete_subtrees(size: int, level: int) -> None:
    nodes = size // 256**level
    partial = {tile.level: tile for tile in partial_tiles(size)}
    full, rest = divmod(nodes, 256)
    if full:
        assert width_at(level, 0, size) == width_at(level, full - 1, size) == 256
    assert width_at(level, full, size) == rest
    assert width_at(level, full + 1, size) == 0
    assert partial.get(level) == (TilePath(level, full, rest) if rest else None)


# Bundles


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=256))
def test_bundles_read_back(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert len(data) == sum(2 + len(entry) for entry in entries)
    assert decode_bundle(data, len(entries)) == entries
    for wrong, count in [
        (data, len(entries) + 1),
        (data, len(entries) - 1),
        (data[:-1], len(entries)),
        (data + b"\x00", len(entries)),
        (data + b"\x00\x00", len(entries)),
    ]:
        with pytest.raises(Disproved) as refusal:
            decode_bundle(wrong, count, place="tile/entries/000")
        assert refusal.value.place == "tile/entries/000"


def test_a_bundle_is_lengths_and_entries() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 300]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x2c" + b"c" * 300
    assert len(encode_bundle([bytes(65535)])) == 65537
    for entries in ([], [b""] * 257, [bytes(65536)]):
        with pytest.raises(BadInput):
            encode_bundle(entries)


@settings(deadline=None)
@given(st.integers(1, 256), st.randoms(use_true_random=False))
def test_bundles_of_32_byte_entries_take_the_same_bytes(count: int, random: object) -> None:
    joined = random.randbytes(32 * count)  # type: ignore[attr-defined]
    entries = [joined[k : k + 32] for k in range(0, len(joined), 32)]
    data = encode_entries(joined)
    assert data == encode_bundle(entries)
    assert decode_entries(data, count) == decode_bundle(data, count) == entries
    at = 34 * random.randrange(count)  # type: ignore[attr-defined]
    for wrong in (
        data[:at] + b"\x01" + data[at + 1 :],
        data[: at + 1] + b"\x1f" + data[at + 2 :],
        data[:-1],
        data + b"\x00",
        encode_bundle([*entries[:-1], bytes(31)]),
    ):
        with pytest.raises(Disproved) as refusal:
            decode_entries(wrong, count, place="here")
        assert refusal.value.place == "here"


def test_a_full_bundle() -> None:
    entries = oracle.leaves(256)
    data = encode_bundle(entries)
    assert data == encode_entries(b"".join(entries))
    assert len(data) == 256 * 34
    assert decode_bundle(data, 256) == decode_entries(data, 256) == entries


@pytest.mark.parametrize("length_bytes", [0, 31, 33, 32 * 257])
def test_entries_that_make_no_bundle_are_refused(length_bytes: int) -> None:
    with pytest.raises(BadInput):
        encode_entries(bytes(length_bytes))


# Nodes from tiles


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700])
def test_every_complete_subtree_is_read_from_tiles(size: int) -> None:
    leaves = oracle.leaves(700)
    site = site_of(leaves)
    wanted = [(h, i) for h in range(size.bit_length()) for i in range(size >> h)]
    wanted = wanted if size < 300 else wanted[::7]
    assert tile_nodes(site, size)(wanted) == oracle.Tree(leaves)(wanted)
    assert len(site.asked) == len(set(site.asked))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, SIZE_MAX), st.data())
def test_proofs_from_the_tiles_of_a_tree_of_any_size(size: int, data: st.DataObject) -> None:
    site = UniformSite(size)
    nodes = tile_nodes(site, size)
    root = compact_range_at(nodes, size).root()
    assert root == UNIFORM.root(size)
    index = data.draw(st.integers(0, size - 1))
    leaf = UNIFORM.by_height[0]
    site.asked.clear()
    path = prove_inclusion(nodes, index=index, size=size)
    assert len(site.asked) == len(set(site.asked)) <= 16
    verify_inclusion(leaf, path, index=index, size=size, root=root)
    between = prove_consistency(nodes, old=index + 1, new=size)
    verify_consistency(between, old=index + 1, new=size, old_root=UNIFORM.root(index + 1), new_root=root)
    around = prove_range(nodes, start=index, end=index + 1, size=size)
    verify_range([leaf], around, start=index, size=size, root=root)


@pytest.mark.parametrize("error", [FileNotFoundError, KeyError])
def test_a_collected_partial_tile_is_cut_from_the_full_one(error: type[Exception]) -> None:
    leaves = oracle.leaves(600)
    site = site_of(leaves, collected=True)

    def fetch(path: str) -> bytes:
        if path not in site.files:
            raise error(path)
        return site.files[path]

    for size in (1, 100, 255, 300, 511):
        assert compact_range_at(tile_nodes(fetch, size), size) == CompactRange.EMPTY.extend(leaves[:size])[0]


def test_a_missing_tile_is_broken_and_named() -> None:
    with pytest.raises(Broken) as refusal:
        compact_range_at(tile_nodes(Site({}), 300), 300)
    assert refusal.value.place == "tile/1/000.p/1"


def test_other_errors_of_the_reader_pass_through() -> None:
    def fetch(path: str) -> bytes:
        raise PermissionError(path)

    with pytest.raises(PermissionError):
        tile_nodes(fetch, 300)([(0, 0)])


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("tile/0/001.p/44", bytes(32 * 43)),
        ("tile/0/001.p/44", bytes(32 * 45)),
        ("tile/0/001.p/44", bytes(32 * 256)),
        ("tile/0/001.p/44", bytes(32 * 44 - 1)),
        ("tile/0/001.p/44", b""),
        ("tile/0/001", bytes(32 * 44)),
        ("tile/0/001", bytes(32 * 256 + 1)),
    ],
)
def test_a_tile_of_the_wrong_length_is_disproved_and_named(path: str, data: bytes) -> None:
    with pytest.raises(Disproved) as refusal:
        tile_nodes(Site({path: data}), 300)([(0, 299)])
    assert refusal.value.place == path


@pytest.mark.parametrize(
    ("height", "index"),
    [(0, 300), (0, -1), (-1, 0), (8, 1), (9, 0), (64, 0), (10**9, 0), (0, 10**30), (300, -(2**300))],
)
def test_a_subtree_that_is_not_complete_is_bad_input(height: int, index: int) -> None:
    site = Site({})
    with pytest.raises(BadInput):
        tile_nodes(site, 300)([(height, index)])
    assert site.asked == []


def test_the_empty_tree_has_no_tiles() -> None:
    site = Site({})
    assert compact_range_at(tile_nodes(site, 0), 0) == CompactRange.EMPTY
    assert site.asked == []


@pytest.mark.parametrize("size", [-1, 2**63])
def test_a_size_that_cannot_be_is_bad_input(size: int) -> None:
    with pytest.raises(BadInput):
        tile_nodes(Site({}), size)
