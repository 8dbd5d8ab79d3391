"""The published files of a tree, made apart from the log's own code: C2SP tiles, entry bundles, a checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path

from graven.core.checkpoint import Checkpoint
from graven.core.merkle import hash_leaves, root_of
from graven.core.tile import bundle_path, encode_entries, tile_path

WIDTH = 256


def write_tree(folder: Path, origin: str, entries: Sequence[bytes], sign: Callable[[Checkpoint], bytes]) -> bytes:
    """Write the files of a tree of these entries below `folder`; returns its checkpoint, which is written last."""
    level, hashes = 0, hash_leaves(entries)
    root = root_of(hashes)
    for at in range(0, len(entries), WIDTH):
        part = entries[at : at + WIDTH]
        _write(folder / bundle_path(at // WIDTH, len(part)), encode_entries(b"".join(part)))
    while hashes:
        for at in range(0, len(hashes), WIDTH):
            tile = hashes[at : at + WIDTH]
            _write(folder / tile_path(level, at // WIDTH, len(tile)), b"".join(tile))
        hashes = [root_of(hashes[at : at + WIDTH]) for at in range(0, len(hashes) - WIDTH + 1, WIDTH)]
        level += 1
    note = sign(Checkpoint(origin, len(entries), root))
    _write(folder / "checkpoint", note)
    return note


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
