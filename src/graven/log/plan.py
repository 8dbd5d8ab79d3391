"""Planning a commit: which events of a group are new, and where each will stand.

    batches → keyed hashes of their ids → the idempotency window → indexes, duplicates, notes of Graven's own

A batch whose ids never came before is taken whole. Where one did come, the event is compared with the stored bytes: the
same is a duplicate, answered with the first one's index; another is stored, and named by an event. Nothing changes here
but the plan: it becomes true when its frame is durable.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import NamedTuple

import msgspec

from graven.log import acts
from graven.log.block import Draft
from graven.log.reader import JournalReader
from graven.log.types import Batch
from graven.log.window import CANDIDATES_MAX, Window
from graven.runtime.clock import Clock

CLOCK_FALL_US = 1_000_000


class _Id(msgspec.Struct):
    id: str | None = None


_read_id = msgspec.json.Decoder(_Id).decode


class Placed(NamedTuple):
    """Where a batch's new events will stand, how many they are, and its (position, index of the first copy) pairs."""

    first: int
    fresh: int
    duplicates: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Plan:
    """One group, sorted out. The lists are one entry an event, `heads` runs over all of them.

    `fingerprints` and `indexes` are what the window is to remember. `self_events` are the indexes of Graven's own.
    `raws` is None as long as no event has one.
    """

    start: int
    events: list[bytes] = field(default_factory=list)
    heads: list[tuple[int, int, int]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    raws: list[bytes | None] | None = None
    fingerprints: list[int] = field(default_factory=list)
    indexes: Sequence[int] = ()
    self_events: list[int] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The index behind the last event so far."""
        return self.start + len(self.events)

    def draft(self) -> Draft:
        """The block to be built."""
        names = set(self.classes)
        return Draft(self.events, tuple(self.heads), names.pop() if len(names) == 1 else self.classes, self.raws)

    def take(self, batch: Batch) -> Placed:
        """Give all events of a batch the next indexes."""
        placed = Placed(self.end, len(batch.events))
        self._add(batch.source, batch.received_us, batch.events, batch.class_name, batch.raws)
        return placed

    def take_some(self, batch: Batch, keep: Sequence[int]) -> None:
        """Give the events at these positions of a batch the next indexes."""
        if not keep:
            return
        names, raws = batch.class_name, batch.raws
        self._add(
            batch.source,
            batch.received_us,
            [batch.events[position] for position in keep],
            names if isinstance(names, str) else [names[position] for position in keep],
            None if raws is None else [raws[position] for position in keep],
        )

    def take_notes(self, notes: Sequence[bytes], now_us: int) -> None:
        """Give events of Graven's own the next indexes."""
        if notes:
            self._add(acts.SELF_SOURCE, now_us, notes, acts.SELF_CLASS, None)

    def source_at(self, index: int) -> int:
        """The source of an event of this group."""
        end = self.start
        for count, source, _ in self.heads:
            end += count
            if index < end:
                return source
        raise IndexError(index)

    def _add(
        self,
        source: int,
        received_us: int,
        events: Sequence[bytes],
        classes: str | Sequence[str],
        raws: Sequence[bytes | None] | None,
    ) -> None:
        count = len(events)
        if source == acts.SELF_SOURCE:
            self.self_events += range(self.end, self.end + count)
        if raws is not None and self.raws is None:
            self.raws = [None] * len(self.events)
        if self.raws is not None:
            self.raws += [None] * count if raws is None else raws
        self.events += events
        self.heads.append((count, source, received_us))
        self.classes += [classes] * count if isinstance(classes, str) else classes


class Planner:
    """Makes plans for the writer, on its thread."""

    def __init__(self, window: Window, reader: JournalReader, clock: Clock) -> None:
        self._window, self._reader, self._clock = window, reader, clock

    def plan(
        self, batches: Sequence[Batch], *, start: int, last_received_us: int, riders: Sequence[bytes] = ()
    ) -> tuple[Plan, list[Placed]]:
        """Place a group's batches from index `start` on. `last_received_us` is of the last batch before them.

        `riders` are events of Graven's own that go with a block and never make one: without a new event they stay out.

        Raises: as `JournalReader.read`, where an earlier event must be compared.
        """
        plan, notes = Plan(start), list[bytes]()
        marks = self._fingerprints(batches)
        flat = list(chain.from_iterable(marks))
        known = self._window.known(flat)
        if not known and len(set(flat)) == len(flat):  # no id came before
            placed = [plan.take(batch) for batch in batches]
            plan.fingerprints = flat
            if len(flat) == len(plan.events):
                plan.indexes = range(start, plan.end)
            else:
                ids = chain.from_iterable(batch.ids for batch in batches)
                plan.indexes = [index for index, event_id in enumerate(ids, start) if event_id is not None]
        else:
            comparison = _Comparison(plan, self._window, self._reader)
            placed = [comparison.place(batch, one, known) for batch, one in zip(batches, marks, strict=True)]
            plan.indexes = comparison.indexes
            notes += [self._act(acts.ID_CONFLICT, data) for data in comparison.conflicts]
        for batch in batches:
            notes += batch.acts
            if batch.received_us < last_received_us - CLOCK_FALL_US:
                notes.append(self._act(acts.CLOCK_FALL, {"before_us": last_received_us, "after_us": batch.received_us}))
            last_received_us = batch.received_us
        if plan.events:
            notes += riders
        plan.take_notes(notes, self._clock.now_us())
        return plan, placed

    def _fingerprints(self, batches: Sequence[Batch]) -> list[list[int]]:
        """Of each batch, the keyed hashes of the ids there are, in order. All of one source are hashed at once."""
        found: list[list[int]] = []
        for source, run in groupby(batches, key=lambda batch: batch.source):
            ids = [[event_id for event_id in batch.ids if event_id is not None] for batch in run]
            marks = self._window.fingerprints(source, chain.from_iterable(ids))
            at = 0
            for some in ids:
                found.append(marks[at : at + len(some)])
                at += len(some)
        return found

    def _act(self, action: str, data: dict[str, object]) -> bytes:
        return acts.act(action, now_us=self._clock.now_us(), data=data)


class _Comparison:
    """Places the batches of a group in which some id may have come before; event by event where one may have."""

    def __init__(self, plan: Plan, window: Window, reader: JournalReader) -> None:
        self.indexes: list[int] = []
        self.conflicts: list[dict[str, object]] = []
        self._plan, self._window, self._reader = plan, window, reader
        self._seen: dict[int, list[int]] = {}  # fingerprint -> indexes of this group

    def place(self, batch: Batch, marks: Sequence[int], known: AbstractSet[int]) -> Placed:
        """`marks` are the keyed hashes of the batch's ids, `known` those of the group that the window holds."""
        plan, first = self._plan, self._plan.end
        fresh = set(marks)
        if len(fresh) == len(marks) and known.isdisjoint(fresh) and self._seen.keys().isdisjoint(fresh):
            positions = (position for position, event_id in enumerate(batch.ids) if event_id is not None)
            for mark, position in zip(marks, positions, strict=True):
                self._remember(mark, first + position)
            return plan.take(batch)
        keep: list[int] = []
        duplicates: list[tuple[int, int]] = []
        next_mark = iter(marks)
        for position, event_id in enumerate(batch.ids):
            index = first + len(keep)
            if event_id is not None:
                mark = next(next_mark)
                # Bounded, or one id sent over and over with other bytes would cost more each time.
                candidates = [*self._window.find(mark), *self._seen.get(mark, ())][:CANDIDATES_MAX]
                copy, other = self._resolve(batch, candidates, event_id, position, keep, first)
                if copy is not None:
                    duplicates.append((position, copy))
                    continue
                if other is not None:
                    self.conflicts.append({"source": batch.source, "first": other, "second": index})
                if len(candidates) < CANDIDATES_MAX:
                    self._remember(mark, index)
            keep.append(position)
        plan.take_some(batch, keep)
        return Placed(first, len(keep), tuple(duplicates))

    def _remember(self, mark: int, index: int) -> None:
        self._seen.setdefault(mark, []).append(index)
        self._plan.fingerprints.append(mark)
        self.indexes.append(index)

    def _resolve(
        self,
        batch: Batch,
        candidates: Sequence[int],
        event_id: str,
        position: int,
        keep: Sequence[int],
        first: int,
    ) -> tuple[int | None, int | None]:
        """(index of an identical earlier event, index of one with this id and other bytes)."""
        plan = self._plan
        event, raw = batch.events[position], batch.raws[position] if batch.raws else None
        other: int | None = None
        for index in candidates:
            if index >= first:  # earlier in this very batch, not yet in the plan
                earlier = keep[index - first]
                stored, stored_raw = batch.events[earlier], batch.raws[earlier] if batch.raws else None
            elif index >= plan.start:
                if plan.source_at(index) != batch.source:
                    continue
                at = index - plan.start
                stored, stored_raw = plan.events[at], plan.raws[at] if plan.raws else None
            else:
                record = self._reader.read(index)
                if record.event is None or record.head is None or record.head.source != batch.source:
                    continue
                if record.head.received_us < batch.received_us - self._window.window_us:
                    continue
                stored, stored_raw = record.event, record.raw
            if stored == event and stored_raw == raw:
                return index, None
            if other is None and _read_id(stored).id == event_id:
                other = index
        return None, other
