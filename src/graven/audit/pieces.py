"""Full entry bundles with their level-0 tiles: had from the copy or the log, checked against each other, kept.

`derive` takes a run of them and returns the root of each: what the tree goes on with. It is given plain values and
shares nothing, so runs may be derived in processes of their own: hashing is what an audit costs.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from graven.core.errors import Broken, Disproved
from graven.core.merkle import HASH_BYTES, CompactRange, hash_leaves
from graven.core.tile import WIDTH, bundle_path, decode_entries, tile_path, width_at
from graven.runtime.files import Files, LocalFiles, write_atomic
from graven.runtime.pipelining import Pipeline, Wanted
from graven.runtime.site import CONNECTIONS, FolderSite, HttpSite, Site

ENTRY_BYTES = 34
RUN_BUNDLES = 256
"""How many bundles one run holds at most: those under one tile of level 1."""
_ASKED_BUNDLES = 8


@dataclass(frozen=True, slots=True)
class Run:
    """Full bundles [first, first + count). `fresh`: nothing that is on disk counts."""

    directory: Path
    base: str
    first: int
    count: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Derived:
    """The roots of a run's bundles, 32 bytes each; whether any was on disk already; which of those were damaged."""

    roots: bytes
    kept: bool
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A bundle and its level-0 tile, cut to the same width; `kept` when both were on disk."""

    bundle: bytes
    tile: bytes
    kept: bool


def derive(run: Run) -> Derived:
    """Derive a run from its base: a URL or a folder, whose connections last from run to run. Raises as `derive_run`."""
    return derive_run(run, *_source(run.base))


def derive_run(run: Run, site: Site, pipeline: Pipeline | None = None, files: Files | None = None) -> Derived:
    """Every bundle of a run checked against its tile, both kept. `pipeline`: to the same server as `site`, if there is.

    Raises Disproved, Broken: what is served is not good, or cannot be had.
    """
    files, folder, made = files or LocalFiles(), FolderSite(run.directory), set[Path]()
    roots: list[bytes] = []
    damaged: list[str] = []
    any_kept = False
    for index, piece in _pieces(run, site, pipeline, folder):
        found = piece
        try:
            leaves = leaves_of(piece, index, WIDTH)
        except Disproved as error:
            if piece.kept:
                damaged.append(error.place)
            found = fetch_piece(site, index, WIDTH)  # the plain way, before anybody is said to serve what is wrong
            leaves = leaves_of(found, index, WIDTH)
        any_kept |= found.kept
        if not found.kept:
            put(files, run.directory, bundle_path(index), found.bundle, made)
            put(files, run.directory, tile_path(0, index), found.tile, made)
        roots.append(CompactRange.EMPTY.extend(leaves)[0].hashes[0])
    return Derived(b"".join(roots), any_kept, tuple(damaged))


def read_piece(folder: Site, index: int, width: int) -> Piece | None:
    """A bundle and tile of the copy; None unless both are there in full length."""
    bundle = on_disk(folder, bundle_path(index, width), ENTRY_BYTES * width)
    tile = on_disk(folder, tile_path(0, index, width), HASH_BYTES * width) if bundle is not None else None
    return Piece(bundle, tile, True) if bundle is not None and tile is not None else None


def fetch_piece(site: Site, index: int, size: int) -> Piece:
    """A bundle and tile as the log serves them; `size` is that of the tree, or WIDTH for a full one."""
    width = size if size == WIDTH else width_at(0, index, size)
    return Piece(
        fetch(site, bundle_path(index, width), bundle_path(index), ENTRY_BYTES, width),
        fetch(site, tile_path(0, index, width), tile_path(0, index), HASH_BYTES, width),
        False,
    )


def leaves_of(piece: Piece, index: int, width: int) -> list[bytes]:
    """The leaf hashes of a bundle. Raises Disproved: it is none, or its tile says otherwise."""
    path = bundle_path(index, width)
    leaves = hash_leaves(decode_entries(piece.bundle, width, place=path))
    if b"".join(leaves) != piece.tile:
        raise Disproved("a tile holds another hash than the bundle leads to", place=tile_path(0, index, width))
    return leaves


def fetch(site: Site, path: str, full: str, unit: int, width: int) -> bytes:
    """The file at `path`, or the beginning of what it became once it was full. Raises Broken, Disproved."""
    data, count = site.get(path, unit * width), width
    if data is None and path != full:
        data, count = site.get(full, unit * WIDTH), WIDTH
    if data is None:
        raise Broken("the server does not have a file of the tree", place=path)
    if len(data) != unit * count:
        raise Disproved(
            "a file of the tree has the wrong length",
            expected=str(unit * count), found=str(len(data)), place=path,
        )  # fmt: skip
    return data[: unit * width]


def on_disk(folder: Site, path: str, size: int) -> bytes | None:
    """A file of the copy, if it is there in full length."""
    try:
        data = folder.get(path, size)
    except Disproved:
        return None
    return data if data is not None and len(data) == size else None


def put(files: Files, directory: Path, path: str, data: bytes, made: set[Path] | None = None) -> None:
    """Keep a file of the tree; one that is to replace another waits in `anew/`. `made`: folders known to be there."""
    target = directory / path
    if target.exists():
        target = directory / "anew" / path
    try:
        if made is None or target.parent not in made:
            _make_folder(files, target.parent)
            if made is not None:
                made.add(target.parent)
        write_atomic(files, str(target), data, sync=False)
    except OSError as error:
        raise Broken(f"the copy cannot be written: {error.strerror}", place=str(target)) from error


def _make_folder(files: Files, folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(files, folder.parent)
        with suppress(FileExistsError):
            files.mkdir(str(folder))


def _pieces(run: Run, site: Site, pipeline: Pipeline | None, folder: FolderSite) -> Iterator[tuple[int, Piece]]:
    """The pieces of a run in order, a few at a time: from disk; the others asked for together."""
    batches = [
        range(at, min(at + _ASKED_BUNDLES, run.first + run.count))
        for at in range(run.first, run.first + run.count, _ASKED_BUNDLES)
    ]
    kept: list[dict[int, Piece]] = []

    def wanted() -> Iterator[list[Wanted]]:
        for batch in batches:
            found = {} if run.fresh else {
                index: piece for index in batch if (piece := read_piece(folder, index, WIDTH)) is not None
            }  # fmt: skip
            kept.append(found)
            yield [one for index in batch if index not in found for one in _wanted(index)]

    def alone(index: int) -> Piece:
        return fetch_piece(site, index, WIDTH)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        each = map if isinstance(site, FolderSite) else threads.map
        for number, files in enumerate(_together(pipeline, wanted())):
            found, kept[number] = kept[number], {}
            rest = [index for index in batches[number] if index not in found]
            had = {
                index: Piece(bundle, tile, False)
                for index, bundle, tile in zip(rest, files[::2], files[1::2], strict=True)
                if bundle is not None and tile is not None
            }
            missing = [index for index in rest if index not in had]
            had |= zip(missing, each(alone, missing), strict=True)
            for index in batches[number]:
                yield index, found.get(index) or had[index]


def _wanted(index: int) -> tuple[Wanted, Wanted]:
    return (bundle_path(index), ENTRY_BYTES * WIDTH), (tile_path(0, index), HASH_BYTES * WIDTH)


def _together(pipeline: Pipeline | None, batches: Iterator[list[Wanted]]) -> Iterator[Sequence[bytes | None]]:
    """Files asked for ahead, where there is a server; None for each that has to be asked for alone."""
    if pipeline is not None:
        yield from pipeline.get(batches)
    else:
        for batch in batches:
            yield [None] * len(batch)


@lru_cache(maxsize=1)
def _source(base: str) -> tuple[Site, Pipeline | None]:
    return (HttpSite(base), Pipeline(base)) if "://" in base else (FolderSite(Path(base)), None)
