"""The writer: the serial part of the log, one thread.

    drain the queue → check the idempotency window → assign indexes → seal → extend the tree → append one frame, sync
    → move the committed mark → sign → wake the doors once

Only what is durable is ever promised to anybody or shown to a follower; the receipt of a lone commit is signed while
its frame syncs, and held until that is done (`log/promise`). While one write is in flight the next group gathers; there
is no fixed delay. A failed write or sync stops the writer for good: whoever waits is told, nothing is tried again.
A full disk is no failure: the group is refused, and nothing of it was stored.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.core.merkle import CompactRange
from graven.journal import frame
from graven.journal.mark import Mark, MarkFile
from graven.keys.receipts import ReceiptSigner
from graven.log.anchorings import Anchorings
from graven.log.block import Built, build
from graven.log.certificates import Certificates
from graven.log.open_segment import OpenSegment
from graven.log.opened import open_receipt_for
from graven.log.plan import Plan, Planner
from graven.log.promise import PromiseAhead
from graven.log.reader import JournalReader
from graven.log.registers import Registers
from graven.log.seal import ZSTD_LEVEL, zstd
from graven.log.tail import Tail
from graven.log.types import Batch, Committed
from graven.log.window import Window
from graven.runtime.clock import Clock

Answer = Committed | GravenError
Done = Callable[[Answer], None]
Wake = Callable[[Sequence[tuple[Done, Answer]]], None]


RIDERS_MAX = 256
RIDERS_A_BLOCK_BYTES = 1 << 20
EVENTS_MAX = frame.COUNT_MAX // 4
"""Events in one batch: a frame has room for them, the rest of their group, and a note on each."""


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

    log_id: bytes
    classes: tuple[str, ...]
    receipts: ReceiptSigner
    certificates: Certificates
    reader: JournalReader
    tail: Tail
    window: Window
    registers: Registers
    mark: MarkFile
    anchorings: Anchorings
    segment: OpenSegment
    last_received_us: int = 0


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
        self._riders: dict[str, bytes] = {}
        self._stopping = False
        self._error: GravenError | None = None
        self._after_commit: list[Callable[[int], None]] = []
        self._compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
        self._committed_mark: Mark | None = None
        self._planner = Planner(state.window, state.reader, clock)
        self._ahead = PromiseAhead(state.receipts)
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
        return self.state.certificates.note

    def after_commit(self, callback: Callable[[int], None]) -> None:
        """Call `callback(size)` on the writer's thread after each commit, once its answers are on their way. It must be
        quick and not raise."""
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

    def ride(self, key: str, event: bytes) -> None:
        """Let an event of source 0 go into the next block that holds another one; it never makes a block itself.

        One of the same `key` that still waits is replaced. At most 256 wait; the oldest goes then, as all do when this
        process ends: whoever gives one must know it again.
        """
        with self._ready:
            self._riders.pop(key, None)
            while len(self._riders) >= RIDERS_MAX:
                del self._riders[next(iter(self._riders))]
            self._riders[key] = event

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
        self._ahead.stop()
        self.state.segment.close()
        self.state.mark.close()
        self.state.window.close()

    def _run(self) -> None:
        while group := self._take():
            before = self.state.tail.size
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
            try:
                self._tidy(before)
            except Exception as error:
                self.halt(Broken(f"the writer stopped: {type(error).__name__}: {error}"))

    def _tidy(self, before: int) -> None:
        """What nobody waits for."""
        size = self.state.tail.size
        if size > before:
            for callback in self._after_commit:
                callback(size)

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
        batches = [batch for batch, _ in group]
        riders = self._waiting_riders()
        plan, placed = self._planner.plan(
            batches, start=state.tail.size, last_received_us=state.last_received_us, riders=list(riders.values())
        )
        self._certify(plan.start, plan.end)  # before the commit: who signs certificates may be away
        built: Built | None = None
        if plan.events:
            try:
                built = self._append(plan, is_alone=len(group) == 1 and not self._queue)
            except BaseException:
                self._ahead.drop()
                raise
            self._arrived(riders)
        state.last_received_us = batches[-1].received_us
        for batch in batches:
            state.registers.hear(batch.source, batch.received_us)
        state.registers.size = state.tail.size
        receipt = self._ahead.take() or self._receipt()
        answers: list[tuple[Done, Answer]] = []
        for (batch, done), (first, fresh, duplicates) in zip(group, placed, strict=True):
            opened = None
            if batch.full:
                opened = open_receipt_for(
                    batch, first, fresh, duplicates, plan.start, built,
                    certificate=state.certificates.note or b"",
                    tail=state.tail, reader=state.reader,
                )  # fmt: skip
            answers.append(
                (done, Committed(fresh, first if fresh else None, duplicates, state.tail.size, receipt, opened))
            )
        return answers

    def _append(self, plan: Plan, *, is_alone: bool) -> Built:
        """One durable frame. Nothing of the state changes unless it is. If nobody else waits, its receipt is begun.

        The window's records go to their file before the frame to its own: whenever the process is killed, no event is
        in the journal whose id nobody noted. One that stands beside its event could not be read from there again.
        """
        state, limits, now_us = self.state, self._limits, self._clock.now_us()
        state.segment.make_ready(
            set(plan.classes), state.tail.range, now_us,
            size_max=limits.segment_bytes, age_max_us=limits.segment_age_us,
        )  # fmt: skip
        built = build(plan.draft(), state.segment.keys, state.log_id, self._compressor)
        extended, completed = state.tail.range.extend(built.leaves)
        root = extended.root()
        data = frame.encode_block(start=plan.start, count=len(plan.events), root=root, sections=built.sections)
        state.window.announce(plan.fingerprints, plan.indexes, now_us, size=extended.size)
        state.segment.append(data, plan.start, partial(self._meanwhile, plan, extended.size, root, now_us, is_alone))
        self._committed(plan, built, extended, root, completed)
        return built

    def _meanwhile(self, plan: Plan, size: int, root: bytes, now_us: int, is_alone: bool) -> None:
        """Between a frame's write and its sync."""
        self.state.window.add(plan.fingerprints, plan.indexes, now_us, size=size)
        self.state.window.flush()
        if is_alone:
            self._ahead.begin(size, root)

    def _committed(
        self,
        plan: Plan,
        built: Built,
        extended: CompactRange,
        root: bytes,
        completed: list[list[bytes]],
    ) -> None:
        state = self.state
        state.tail.add(extended, completed, built.entries)
        self._committed_mark = mark = Mark(extended.size, root)
        try:
            state.mark.write(mark)
        except OSError as error:
            raise Broken("the log's state could not be written", place=error.strerror or "") from None
        for index in plan.self_events:
            event = plan.events[index - plan.start]
            state.registers.apply(index, event)
            state.anchorings.apply(index, event)

    def _waiting_riders(self) -> dict[str, bytes]:
        taken: dict[str, bytes] = {}
        size = 0
        with self._ready:
            for key, event in self._riders.items():
                size += len(event)
                if taken and size > RIDERS_A_BLOCK_BYTES:
                    break
                taken[key] = event
        return taken

    def _arrived(self, riders: Mapping[str, bytes]) -> None:
        """These stand in the log; one that was replaced meanwhile waits on."""
        with self._ready:
            for key, event in riders.items():
                if self._riders.get(key) is event:
                    del self._riders[key]

    def _receipt(self) -> bytes:
        tree, mark = self.state.tail.range, self._committed_mark
        root = mark.root if mark is not None and mark.size == tree.size else tree.root()
        return self.state.receipts.sign(tree.size, root)

    def _certify(self, start: int, end: int) -> None:
        """Receipts of the tree that grows from `start` to `end` are certified. Raises Busy: nothing was stored."""
        try:
            self.state.certificates.cover(min(start + 1, end), end)
        except OSError as error:
            place = f"{error.filename}: {error.strerror}"
            raise Broken("the certificate of the receipt key could not be kept", place=place) from None


def _call_here(answers: Sequence[tuple[Done, Answer]]) -> None:
    failed: Exception | None = None
    for done, answer in answers:
        try:
            done(answer)
        except Exception as error:
            failed = error
    if failed is not None:
        raise failed
