"""The beginning of a signed tree, proved from tiles that anyone may serve."""

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Disproved
from graven.core.merkle import HASH_BYTES, compact_range_at, prove_consistency, verify_consistency
from graven.core.prefix import Prefix
from graven.core.tile import WIDTH, tile_nodes
from graven.runtime.site import Site


def prefix_of(site: Site, size: int, signed: SignedCheckpoint) -> Prefix:
    """The beginning of `size` entries of the tree that `signed` is of, proved from the tiles of `site`.

    The root in it is what the signed tree begins with, whoever serves the tiles. Raises BadInput unless 1 ≤ `size` <
    the tree's, Disproved when the tiles do not lead to the signed root, Broken when they cannot be had.
    """

    def fetch(path: str) -> bytes:
        data = site.get(path, HASH_BYTES * WIDTH)
        if data is None:
            raise FileNotFoundError(path)
        return data

    head = signed.checkpoint
    nodes = tile_nodes(fetch, head.size)
    root = compact_range_at(nodes, size).root()
    hashes = tuple(prove_consistency(nodes, old=size, new=head.size))
    try:
        verify_consistency(hashes, old=size, new=head.size, old_root=root, new_root=head.root)
    except Disproved as error:
        raise Disproved(
            "the tiles served do not lead to the root that was signed",
            expected=error.expected, found=error.found, place=f"tiles of size {head.size}",
        ) from None  # fmt: skip
    return Prefix(size, root, hashes, signed.data)
