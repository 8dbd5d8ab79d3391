"""The writer: the serial part of the log, one thread.

    drain the queue → check the idempotency window → assign indexes → seal → extend the tree → append one frame, sync
    → move the committed mark → sign → wake the doors once

Only what is durable is ever signed or shown to a follower. While one write is in flight the next group gathers; there
is no fixed delay. A failed write or sync stops the writer for good: whoever waits is told, nothing is tried again.
A full disk is no failure: the group is refused, and nothing of it was stored.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.core.merkle import CompactRange
from graven.journal import frame
from graven.journal.files import Files
from graven.journal.frame import EVENTS, RAWS, SegmentHeader
from graven.journal.mark import Mark, MarkFile
from graven.journal.segment import SegmentWriter
from graven.keys.keyring import Keyring
from graven.keys.signer import LogSigner, ReceiptSigner
from graven.log import acts
from graven.log.block import Built, Draft, SectionKeys, build
from graven.log.opened import open_receipt_for
from graven.log.reader import JournalReader
from graven.log.registers import Registers
from graven.log.seal import ZSTD_LEVEL, DataKey, zstd
from graven.log.tail import Tail
from graven.log.types import Batch, Committed
from graven.log.window import CANDIDATES_MAX, Window
from graven.runtime.clock import Clock

Answer = Committed | GravenError
Done = Callable[[Answer], None]
Wake = Callable[[Sequence[tuple[Done, Answer]]], None]

RECEIPT_SPAN = 1 << 24
"""How many sizes one certificate of the receipt key covers: what a thief of that key could sign."""

EVENTS_MAX = frame.COUNT_MAX // 4
"""Events in one batch: a frame has room for them, the rest of their group, and a note on each."""

_CLOCK_FALL_US = 1_000_000


class _Id(msgspec.Struct):
    id: str | None = None


_read_id = msgspec.json.Decoder(_Id).decode


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the writer. See docs/configuration.md, [intake], [journal]."""

    queued_events: int = 200_000
    queued_bytes: int = 256 << 20
    group_events: int = 4_000
    group_bytes: int = 16 << 20
    segment_bytes: int = 64 << 20
    segment_age_us: int = 86_400_000_000
    unpublished_events: int = 1_000_000


@dataclass(slots=True)
class WriterState:
    """Everything the writer owns, as recovery left it."""

    files: Files
    journal: Path
    origin: str
    log_id: bytes
    classes: tuple[str, ...]
    keyring: Keyring
    signer: LogSigner
    receipts: ReceiptSigner
    reader: JournalReader
    tail: Tail
    window: Window
    registers: Registers
    mark: MarkFile
    segment: SegmentWriter | None
    last_received_us: int = 0


@dataclass(slots=True)
class _Plan:
    """One group, sorted out: what is new and where it will stand."""

    start: int
    events: list[bytes] = field(default_factory=list)
    heads: list[tuple[int, int, int]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    raws: list[bytes | None] = field(default_factory=list)
    any_raw: bool = False
    window: list[tuple[int, int]] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)  # fingerprint -> first index of this group
    more: dict[int, list[int]] = field(default_factory=dict)  # and the others, where bytes differ
    last_received_us: int = 0
    notes: list[bytes] = field(default_factory=list)
    self_events: list[int] = field(default_factory=list)

    def take(self, batch: Batch, keep: Sequence[int], first: int) -> None:
        """Give the kept positions of a batch the next indexes."""
        if not keep:
            return
        whole = len(keep) == len(batch.events)
        names: str | list[str] = batch.class_name
        if not isinstance(names, str) and not whole:
            names = [names[position] for position in keep]
        self.add(batch.source, batch.received_us, batch.events if whole else [batch.events[p] for p in keep], names)
        if batch.raws:
            self.any_raw = True
            self.raws += [batch.raws[position] for position in keep]
        else:
            self.raws += [None] * len(keep)
        if batch.source == acts.SELF_SOURCE:
            self.self_events += range(first, first + len(keep))

    def add(self, source: int, received_us: int, events: Sequence[bytes], classes: str | Sequence[str]) -> None:
        self.events += events
        self.heads.append((len(events), source, received_us))
        self.classes += [classes] * len(events) if isinstance(classes, str) else classes

    def source_at(self, index: int) -> int:
        """The source of an event of this group."""
        end = self.start
        for count, source, _ in self.heads:
            end += count
            if index < end:
                return source
        raise IndexError(index)


class Writer:
    """Takes batches from any thread, commits them in groups, answers through `wake`."""

    def __init__(self, state: WriterState, clock: Clock, limits: Limits, wake: Wake | None = None) -> None:
        self.state = state
        self.wake: Wake = wake or _call_here
        self.published_size: Callable[[], int] = lambda: state.tail.size
        """How far the tree is published; beyond it hashes are held in memory, so intake is bounded by it."""
        self._clock, self._limits = clock, limits
        self._queue: deque[tuple[Batch, Done]] = deque()
        self._queued_events = self._queued_bytes = 0
        self._ready = threading.Condition()
        self._stopping = False
        self._error: GravenError | None = None
        self._after_commit: list[Callable[[int], None]] = []
        self._compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
        self._keys: SectionKeys = {}
        if state.segment is not None:
            self._keys = _open_keys(state.keyring, state.segment.header)
        self._certificate: tuple[int, bytes] | None = None
        self._classes = frozenset(state.classes)
        self._thread = threading.Thread(target=self._run, name="graven-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def size(self) -> int:
        """Committed entries."""
        return self.state.tail.size

    @property
    def error(self) -> GravenError | None:
        """Why the writer stopped, None while it works."""
        return self._error

    @property
    def queued(self) -> tuple[int, int]:
        """(events, bytes) that wait."""
        return self._queued_events, self._queued_bytes

    @property
    def certificate(self) -> bytes | None:
        """The note that certifies the receipt key for the receipts being signed; None before the first."""
        return self._certificate[1] if self._certificate else None

    def after_commit(self, callback: Callable[[int], None]) -> None:
        """Call `callback(size)` on the writer's thread after each commit. It must be quick and not raise."""
        self._after_commit.append(callback)

    def submit(self, batch: Batch, done: Done) -> None:
        """Queue a batch; `done` is called once, through `wake`, with what became of it.

        Raises:
            Busy: the intake is full. Broken: the writer has stopped. BadInput: an unknown class, or no event.
        """
        names = {batch.class_name} if isinstance(batch.class_name, str) else set(batch.class_name)
        if not names <= self._classes:
            raise BadInput(
                f"no class is called {sorted(names - self._classes)[0]!r}", mend="declare it under [classes]"
            )
        count, size = len(batch.events), batch.size_bytes
        if not count or count > EVENTS_MAX or size > frame.PAYLOAD_SIZE_MAX // 2:
            raise BadInput(f"a request of {count} events and {size} bytes is out of bounds")
        with self._ready:
            if self._error is not None:
                raise self._error
            if self._stopping:
                raise Busy("the log is stopping", retry_after_s=5)
            if self._queue and (
                self._queued_events + count > self._limits.queued_events
                or self._queued_bytes + size > self._limits.queued_bytes
            ):
                raise Busy("the intake is full", mend="send again after the pause, more slowly")
            if self.state.tail.size - self.published_size() > self._limits.unpublished_events:
                raise Busy("publishing is behind", retry_after_s=30, mend="is the disk of the data directory full?")
            self._queue.append((batch, done))
            self._queued_events += count
            self._queued_bytes += size
            self._ready.notify()

    def halt(self, error: GravenError) -> None:
        """Stop for good because another part of the log failed: who waits is told, later batches are refused."""
        self.wake(self._fail((), error))
        with self._ready:
            self._stopping = True
            self._ready.notify()

    def stop(self) -> None:
        """Commit what was queued, then end. Later batches are refused."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join()
        if self.state.segment is not None:
            self.state.segment.close()
        self.state.mark.close()
        self.state.window.close()

    def _run(self) -> None:
        while group := self._take():
            try:
                answers = self._commit(group)
            except Busy as error:
                answers = [(done, error) for _, done in group]
            except GravenError as error:
                answers = self._fail(group, error)
            except Exception as error:  # an invariant failed: stop, lose nothing
                answers = self._fail(group, Broken(f"the writer stopped: {type(error).__name__}: {error}"))
            try:
                self.wake(answers)
            except Exception as error:  # somebody was not told what became of his events: take no more
                failed = Broken(f"an answer could not be delivered: {type(error).__name__}: {error}")
                with contextlib.suppress(Exception):
                    self.wake(self._fail((), failed))

    def _take(self) -> list[tuple[Batch, Done]]:
        group: list[tuple[Batch, Done]] = []
        events = size = 0
        with self._ready:
            while not self._queue:
                if self._stopping:
                    return []
                self._ready.wait()
            while self._queue:
                count, bytes_ = len(self._queue[0][0].events), self._queue[0][0].size_bytes
                if group and (events + count > self._limits.group_events or size + bytes_ > self._limits.group_bytes):
                    break
                group.append(self._queue.popleft())
                events += count
                size += bytes_
            self._queued_events -= events
            self._queued_bytes -= size
        return group

    def _fail(self, group: Iterable[tuple[Batch, Done]], error: GravenError) -> list[tuple[Done, Answer]]:
        with self._ready:
            self._error = error
            waiting = [*group, *self._queue]
            self._queue.clear()
            self._queued_events = self._queued_bytes = 0
        return [(done, error) for _, done in waiting]

    def _commit(self, group: list[tuple[Batch, Done]]) -> list[tuple[Done, Answer]]:
        state = self.state
        plan = _Plan(state.tail.size)
        now_us = self._clock.now_us()
        placed = [self._place(plan, batch) for batch, _ in group]
        self._note_clock(plan, [batch.received_us for batch, _ in group])
        if plan.notes:
            plan.self_events += range(plan.start + len(plan.events), plan.start + len(plan.events) + len(plan.notes))
            plan.add(acts.SELF_SOURCE, now_us, plan.notes, acts.SELF_CLASS)
            plan.raws += [None] * len(plan.notes)
        built = self._append(plan, now_us) if plan.events else None
        state.last_received_us = plan.last_received_us
        receipt = self._receipt()
        answers: list[tuple[Done, Answer]] = []
        for (batch, done), (first, fresh, duplicates) in zip(group, placed, strict=True):
            opened = None
            if batch.full:
                opened = open_receipt_for(
                    batch, first, fresh, duplicates, plan.start, built,
                    certificate=self._certificate[1] if self._certificate else b"",
                    tail=state.tail, reader=state.reader,
                )  # fmt: skip
            answers.append(
                (done, Committed(fresh, first if fresh else None, duplicates, state.tail.size, receipt, opened))
            )
        for callback in self._after_commit:
            callback(state.tail.size)
        return answers

    def _place(self, plan: _Plan, batch: Batch) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """Find duplicates, give the rest their indexes: (first index, how many are new, duplicates)."""
        first = plan.start + len(plan.events)
        with_id = [position for position, event_id in enumerate(batch.ids) if event_id is not None]
        marks = self.state.window.fingerprints(
            batch.source, [event_id for event_id in batch.ids if event_id is not None]
        )
        fresh_marks = dict.fromkeys(marks)
        seen = len(fresh_marks) < len(marks) or not plan.marks.keys().isdisjoint(fresh_marks)
        if seen or self.state.window.known(marks):
            return self._place_one_by_one(plan, batch, first, dict(zip(with_id, marks, strict=True)))
        plan.take(batch, range(len(batch.events)), first)
        pairs = [(mark, first + position) for mark, position in zip(marks, with_id, strict=True)]
        plan.window += pairs
        plan.marks.update(pairs)
        return first, len(batch.events), ()

    def _place_one_by_one(
        self, plan: _Plan, batch: Batch, first: int, marks: dict[int, int]
    ) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """As `_place`, for a batch of which some id may have come before."""
        keep: list[int] = []
        duplicates: list[tuple[int, int]] = []
        for position, event_id in enumerate(batch.ids):
            index = first + len(keep)
            if event_id is not None:
                mark = marks[position]
                candidates = self._candidates(plan, mark)
                copy, other = self._resolve(plan, batch, candidates, event_id, position, keep, first)
                if copy is not None:
                    duplicates.append((position, copy))
                    continue
                if other is not None:
                    data = {"source": batch.source, "first": other, "second": index}
                    plan.notes.append(acts.act(acts.ID_CONFLICT, now_us=self._clock.now_us(), data=data))
                if len(candidates) < CANDIDATES_MAX:
                    if plan.marks.setdefault(mark, index) != index:
                        plan.more.setdefault(mark, []).append(index)
                    plan.window.append((mark, index))
            keep.append(position)
        plan.take(batch, keep, first)
        return first, len(keep), tuple(duplicates)

    def _candidates(self, plan: _Plan, mark: int) -> list[int]:
        """Indexes of earlier events that may have this id, those of this group last; bounded, or one id sent over and
        over with other bytes would cost more each time."""
        candidates = self.state.window.find(mark)
        if mark in plan.marks:
            candidates = [*candidates, plan.marks[mark], *plan.more.get(mark, ())]
        return candidates[:CANDIDATES_MAX]

    def _resolve(
        self,
        plan: _Plan,
        batch: Batch,
        candidates: Sequence[int],
        event_id: str,
        position: int,
        keep: Sequence[int],
        first: int,
    ) -> tuple[int | None, int | None]:
        """(index of an identical earlier event, index of one with this id and other bytes)."""
        event, raw = batch.events[position], batch.raws[position] if batch.raws else None
        other: int | None = None
        for index in candidates:
            if index >= first:  # earlier in this very batch, not yet in the plan
                earlier = keep[index - first]
                stored, stored_raw = batch.events[earlier], batch.raws[earlier] if batch.raws else None
            elif index >= plan.start:
                if plan.source_at(index) != batch.source:
                    continue
                stored, stored_raw = plan.events[index - plan.start], plan.raws[index - plan.start]
            else:
                record = self.state.reader.read(index)
                if record.event is None or record.head is None or record.head.source != batch.source:
                    continue
                if record.head.received_us < batch.received_us - self.state.window.window_us:
                    continue
                stored, stored_raw = record.event, record.raw
            if stored == event and stored_raw == raw:
                return index, None
            if other is None and _read_id(stored).id == event_id:
                other = index
        return None, other

    def _note_clock(self, plan: _Plan, received: Sequence[int]) -> None:
        last = self.state.last_received_us
        for received_us in received:
            if received_us < last - _CLOCK_FALL_US:
                plan.notes.append(
                    acts.act(
                        acts.CLOCK_FALL, now_us=self._clock.now_us(), data={"before_us": last, "after_us": received_us}
                    )
                )
            last = received_us
        plan.last_received_us = last

    def _append(self, plan: _Plan, now_us: int) -> Built:
        """One durable frame. Nothing of the state changes unless it is."""
        state = self.state
        names = set(plan.classes)
        if state.segment is None or self._is_full(state.segment, now_us) or not self._has_keys(names):
            self._roll(now_us)
        assert state.segment is not None
        draft = Draft(
            plan.events,
            tuple(plan.heads),
            names.pop() if len(names) == 1 else plan.classes,
            plan.raws if plan.any_raw else None,
        )
        built = build(draft, self._keys, state.log_id, self._compressor)
        extended, completed = state.tail.range.extend(built.leaves)
        data = frame.encode_block(
            start=plan.start, count=len(plan.events), root=extended.root(), sections=built.sections
        )
        state.segment.append(data, plan.start)
        self._committed(plan, built, extended, completed, now_us)
        return built

    def _committed(
        self, plan: _Plan, built: Built, extended: CompactRange, completed: list[list[bytes]], now_us: int
    ) -> None:
        state = self.state
        state.tail.add(extended, completed, built.entries)
        try:
            state.mark.write(Mark(extended.size, extended.root()))
            state.window.add(plan.window, now_us, size=extended.size)
        except OSError as error:
            raise Broken("the log's state could not be written", place=error.strerror or "") from None
        for index in plan.self_events:
            state.registers.apply(index, plan.events[index - plan.start])

    def _is_full(self, segment: SegmentWriter, now_us: int) -> bool:
        if not segment.blocks:
            return False
        age_us = now_us - segment.header.created_us
        return segment.offset >= self._limits.segment_bytes or age_us >= self._limits.segment_age_us

    def _has_keys(self, names: Iterable[str]) -> bool:
        """Whether the open segment can hold these classes; one that was declared later begins a new segment."""
        return all((name, kind) in self._keys for name in names for kind in (EVENTS, RAWS))

    def _roll(self, now_us: int) -> None:
        """Close the open segment and begin the next: key durable in the keyring → file → directory → first frame.

        An open segment without a block is begun again, as a higher generation of the same start.
        """
        state = self.state
        empty = state.segment if state.segment is not None and not state.segment.blocks else None
        at = state.tail.range
        generated = state.keyring.new_data_keys(at.size, list(state.classes))
        header = SegmentHeader(
            state.origin, state.log_id, at.size, empty.header.generation + 1 if empty else 0, now_us,
            at.root(), at.hashes,
            tuple((name, _KINDS[kind], key_id) for (name, kind), (key_id, _) in generated.items()),
        )  # fmt: skip
        if state.segment is not None and empty is None:
            state.segment.finish(at.size, at.root())
            state.segment = None
        state.segment = SegmentWriter.create(state.files, str(state.journal), header)
        if empty is not None:
            empty.close()
            state.files.remove(empty.path)
        self._keys = {
            (name, _KINDS[kind]): DataKey(key_id, AESGCM(key)) for (name, kind), (key_id, key) in generated.items()
        }

    def _receipt(self) -> bytes:
        size = self.state.tail.size
        if self._certificate is None or size > self._certificate[0]:
            last = size + RECEIPT_SPAN
            self._certificate = last, self.state.receipts.certificate(size, last)
        return self.state.receipts.sign(size, self.state.tail.range.root())


_KINDS = {"event": EVENTS, "raw": RAWS}


def _open_keys(keyring: Keyring, header: SegmentHeader) -> SectionKeys:
    keys: dict[tuple[str, int], DataKey] = {}
    for class_name, kind, key_id in header.keys:
        key = keyring.data_key(key_id, header.start)
        if key is not None:
            keys[class_name, kind] = DataKey(key_id, AESGCM(key))
    return keys


def _call_here(answers: Sequence[tuple[Done, Answer]]) -> None:
    failed: Exception | None = None
    for done, answer in answers:
        try:
            done(answer)
        except Exception as error:
            failed = error
    if failed is not None:
        raise failed
