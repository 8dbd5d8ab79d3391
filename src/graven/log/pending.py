"""Proving what is committed and not yet published: against the root of its own frame.

The published tree is on disk; the frames behind it, up to the one asked about, are read again, their entries derived,
and the tree extended by them. Each must lead to the root its frame states. That costs what lies behind the published
checkpoint, which is a second or so of events where a server runs.
"""

from graven.core.errors import Broken, Disproved
from graven.core.merkle import EMPTY_ROOT, CompactRange, compact_range_at, hash_leaves
from graven.core.tile import tile_nodes
from graven.log.tail import disk_fetch
from graven.log.types import Record
from graven.log.view import View


def prove_pending(view: View, record: Record) -> tuple[int, bytes]:
    """(size, root) of the frame that holds `record`, found to follow from the published tree and the events themselves.

    Raises:
        Disproved: a frame does not lead to the root it states, or does not hold the record's entry. Broken: an event
            on the way cannot be opened.
    """
    published = view.published.checkpoint
    at = CompactRange.EMPTY
    if published.size:
        at = compact_range_at(tile_nodes(disk_fetch(view.directory / "log"), published.size), published.size)
    if (at.root() if published.size else EMPTY_ROOT) != published.root:
        raise Disproved("the tiles do not lead to the published root", place=str(view.directory / "log" / "tile"))
    for place in view.reader.places(published.size, record.index + 1):
        records = view.reader.records(place.header.start, place.header.end)
        entries = [one.entry for one in records if one.entry is not None]
        if len(entries) != place.header.count:
            raise Broken("an event before it cannot be opened, so it cannot be proved yet", place=str(place))
        at, _ = at.extend(hash_leaves(entries))
        if at.root() != place.header.root:
            raise Disproved("a block does not lead to the root its frame states", place=str(place))
        if place.header.end > record.index and entries[record.index - place.header.start] != record.entry:
            raise Disproved("the entry is not the one in its frame", place=str(place))
    return at.size, at.root()
