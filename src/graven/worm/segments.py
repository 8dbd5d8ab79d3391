"""The journal's part of a round: closed segments whole, and read back; of the open one what is committed.

Frames of the open segment lie under a short lock, lengthened as long as they are needed: until the whole segment was
read back from the store.
"""

from collections.abc import Callable
from pathlib import Path

from graven.core.errors import Disproved
from graven.journal.segment import SegmentFile
from graven.worm import layout
from graven.worm.material import Material
from graven.worm.placing import Placing, digest_part
from graven.worm.state import Held
from graven.worm.store import Part, Store, end_of_day, versions_of


class SegmentCopies:
    """Copies segments and frames of one log."""

    def __init__(
        self, material: Material, store: Store, placing: Placing, *,
        until: Callable[[int, frozenset[str]], int], open_days: int, check_stop: Callable[[], None],
    ) -> None:  # fmt: skip
        """`until` says how long a segment with events of these classes is locked: (now, classes), in seconds."""
        self._material, self._store, self._placing = material, store, placing
        self._until, self._open_days, self._check_stop = until, open_days, check_stop

    def copy(self, published: int, committed: int, now_s: int) -> None:
        """Segments whose end is published, whole: no loss can be declared of them. Of later ones what is committed."""
        state = self._placing.state
        for segment in self._material.segments():
            self._check_stop()
            end = self._material.closed_end(segment) if self._undone(segment) else None
            if end is not None and end <= published:
                self._whole(segment, now_s)
                if segment.generation:
                    state.rewritten.append(segment.name)
                if segment.start == state.next_segment:
                    state.next_segment, state.covered = end, max(state.covered, end)
                    self._drop_pieces(segment.start)
            elif segment.start >= state.next_segment:
                self._frames(segment, committed, now_s)

    def _undone(self, segment: SegmentFile) -> bool:
        state = self._placing.state
        done = segment.start < state.next_segment
        return not done or (segment.generation > 0 and segment.name not in state.rewritten)

    def _drop_pieces(self, start: int) -> None:
        """The segment is there whole: the locks of its frames may lapse."""
        state, prefix = self._placing.state, f"{start:020d}."
        state.held = [one for one in state.held if not one.name.startswith(layout.OPEN + prefix)]
        state.pieces = {name: offset for name, offset in state.pieces.items() if not name.startswith(prefix)}

    def _whole(self, segment: SegmentFile, now_s: int) -> None:
        """A closed segment: put, read back, its lock looked at."""
        found = self._material.whole(segment)
        until_s = self._until(now_s, found.classes)
        name, part = layout.JOURNAL + segment.name, Part(Path(segment.path), 0, found.end)
        self._placing.put(name, part, until_s)
        wanted = digest_part(part)
        for version in versions_of(self._store, name):
            if not version.marker and version.size == part.size and self._placing.digest(version) == wanted:
                held = self._store.lock(version)
                if held is None or held.until_s < until_s:
                    what = "the store did not lock what was put there"
                    raise Disproved(what, place=f"{self._store.url}/{name}", mend="graven worm doctor")
                return
        raise Disproved("a segment does not read back as it was put", place=f"{self._store.url}/{name}")

    def _frames(self, segment: SegmentFile, committed: int, now_s: int) -> None:
        state, until_s = self._placing.state, end_of_day(now_s, self._open_days)
        while (found := self._material.frames(segment, state.pieces.get(segment.name, 0), committed)) is not None:
            self._check_stop()
            part = Part(Path(segment.path), found.offset, found.end - found.offset)
            name = layout.piece_name(segment.name, found.offset, digest_part(part))
            self._placing.put(name, part, until_s)
            state.held.append(Held(name, until_s))
            state.pieces[segment.name], state.covered = found.end, max(state.covered, found.size)
