"""The edge of the tree, from what is surely on disk and the blocks of the journal behind it."""

from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Broken, Disproved
from graven.core.merkle import hash_leaves
from graven.journal.mark import SYNCED, Mark, read_mark
from graven.log.block import open_block
from graven.log.cut import REMEDY
from graven.log.reader import JournalReader, KeyFinder
from graven.log.tail import Tail


def replay(
    directory: Path,
    reader: JournalReader,
    log_id: bytes,
    find_key: KeyFinder,
    published: SignedCheckpoint,
    size: int,
) -> tuple[Tail, int]:
    """The tree's edge at `size`, and the size whose tiles are surely on disk. Every frame's root is checked.

    Raises:
        Broken: a block that does not open, or does not lead to the root its frame states.
        Disproved: a frame that is damaged.
    """
    log = directory / "log"
    tail = _load_edge(directory, published) or Tail.empty(log)
    on_disk = tail.size
    for place in reader.places(on_disk, size) if on_disk < size else ():
        if place.header.start != tail.size:
            raise Broken("a block does not begin where the last one ended", place=str(place))

        def find(key_id: bytes, start: int = place.segment.start) -> object:
            return find_key(key_id, start)

        opened = open_block(reader.sections(place), place.header.count, find, log_id, str(place))  # type: ignore[arg-type]
        if opened.unreadable or None in opened.entries:
            raise Broken(
                "a block cannot be replayed: its data key is not in the keyring",
                place=str(place),
                mend="restore the keyring: graven keys restore",
            )
        entries = [entry for entry in opened.entries if entry is not None]
        extended, completed = tail.range.extend(hash_leaves(entries))
        if extended.root() != place.header.root:
            raise Broken("a block does not lead to the root its frame states", place=str(place), mend=REMEDY)
        tail.add(extended, completed, entries)
    return tail, on_disk


def _load_edge(directory: Path, published: SignedCheckpoint) -> Tail | None:
    """The edge of the largest tree whose tiles are whole: the synced cursor, else the published checkpoint."""
    synced = read_mark(str(directory / "state" / "synced"), SYNCED)
    shown = Mark(published.checkpoint.size, published.checkpoint.root)
    for mark in ([synced] if synced and synced.size <= shown.size else []) + [shown]:
        try:
            tail = Tail.load(directory / "log", mark.size)
        except (OSError, Disproved, Broken):
            continue
        if tail.range.root() == mark.root:
            return tail
    return None
