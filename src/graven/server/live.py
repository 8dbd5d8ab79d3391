"""What the doors of one server share: the log once it is open, the bounded pools, who waits for a checkpoint.

The loop thread owns everything here. `Log.open` runs on another thread while the doors answer 503.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from graven.app import VERSION, Log, build_pipeline
from graven.config import Config
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Broken, Busy
from graven.log.history import checkpoint_time_s
from graven.log.types import Committed
from graven.log.view import events_only_here
from graven.log.writer import Answer, Done
from graven.runtime.telemetry import Metrics, get_logger
from graven.server.activity import Activity
from graven.server.answers import Reached
from graven.server.body import Allowance
from graven.server.copying import watch_copy
from graven.server.turns import Turns
from graven.server.watch import Watch

READERS = 4
READS_MAX = 64
WAIT_S = 60.0
"""How long a request waits for a state beyond committed, in all."""

_PARSERS = 2
_BODIES_SHARE = 4  # bodies in flight may take this many times the largest request, at least

T = TypeVar("T")
logger = get_logger("server")


class ReadPool:
    """Threads for whatever reads disk. Full is a clear refusal."""

    def __init__(self, threads: int = READERS, reads_max: int = READS_MAX) -> None:
        self._executor = ThreadPoolExecutor(threads, "graven-read")
        self._reads_max = reads_max
        self.busy = 0

    async def run(self, function: Callable[[], T]) -> T:
        """`function()` on a thread. Raises Busy when too many wait already, and what it raises."""
        if self.busy >= self._reads_max:
            raise Busy("too many reads are waiting", retry_after_s=1, mend="ask again after the pause")
        self.busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function)
        finally:
            self.busy -= 1

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class Arrivals:
    """Requests that wait until something covers a tree of their size: a checkpoint, a time stamp. On the loop only."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[bool], int] = {}
        self._over = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, size: int, reached: int, timeout_s: float) -> bool:
        """Whether `size` was covered in time; `reached` is covered already."""
        if reached >= size:
            return True
        if self._over or timeout_s <= 0:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[future] = size
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(future, None)

    def arrived(self, size: int) -> None:
        """A tree of this size is covered."""
        for future in [future for future, wanted in self._waiting.items() if wanted <= size]:
            _settle(future, True)

    def give_up(self) -> None:
        """Nothing will come any more, as far as requests can wait."""
        self._over = True
        for future in list(self._waiting):
            _settle(future, False)


class Live:
    """One server. `log` is None until it is open; `stopping` is set once, when it is told to stop."""

    def __init__(self, directory: Path, config: Config) -> None:
        self.directory, self.config = directory, config
        self.log: Log | None = None
        self.stopping = False
        self.started_s = time.monotonic()
        self.metrics = Metrics(VERSION)
        self.reads = ReadPool()
        self.parses = ThreadPoolExecutor(_PARSERS, "graven-parse")
        self.allowance = Allowance(max(config.intake.max_bytes, _BODIES_SHARE * config.intake.max_request_bytes))
        self.publications, self.stampings = Arrivals(), Arrivals()
        self.pipeline = build_pipeline(config)
        self.watch = Watch()
        self.activity = Activity()
        self.importing = Turns()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self.started_s

    def opened(self) -> Log:
        """The log. Raises Busy while it is being opened."""
        if self.log is None:
            raise Busy("the log is being opened and checked", retry_after_s=1, mend="ask again after the pause")
        return self.log

    def taking(self) -> Log:
        """The log, if events can be appended now. Raises Busy, or why the writer stopped."""
        if self.stopping:
            raise Busy("the server is stopping", retry_after_s=5, mend="send again when it is back")
        log = self.opened()
        if log.writer.error is not None:
            raise log.writer.error
        return log

    def count(
        self,
        source: str,
        committed: Committed,
        *,
        events: Sequence[bytes],
        size_bytes: int,
        received_us: int,
        quarantined: int = 0,
        took_s: float | None = None,
    ) -> None:
        """A request of this source is durable. On the loop."""
        duplicates, metrics = len(committed.duplicates), self.metrics
        self.watch.heard(source)
        self.activity.took(
            source, now_us=received_us, events=committed.accepted, duplicates=duplicates, quarantined=quarantined,
            last=events[-1],
        )  # fmt: skip
        metrics.accepted.add(committed.accepted, source)
        metrics.bytes.add(size_bytes)
        if took_s is not None:
            metrics.commit_s.observe(took_s)
        if duplicates:
            metrics.duplicates.add(duplicates, source)
        if quarantined:
            metrics.quarantined.add(quarantined)

    def count_soon(self, source: str, committed: Committed, **what: Any) -> None:
        """`count`, from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self._loop.call_soon_threadsafe(partial(self.count, source, committed, **what))

    def check_ready(self) -> None:
        """Raises why events cannot be appended and published now."""
        log = self.taking()
        if log.publisher.error is not None:
            raise log.publisher.error

    async def reach(self, log: Log, size: int, wait: str) -> Reached:
        """Wait, `WAIT_S` at most, until the tree of `size` entries is in the state `wait`: committed, published,
        timestamped. What is committed stays so, however this ends."""
        if wait == "committed":
            return Reached("committed")
        until_s = time.monotonic() + WAIT_S
        published = log.published.checkpoint.size
        stopped = published < size and log.publisher.error is not None
        if stopped or not await self.publications.wait(size, published, WAIT_S):
            return Reached("committed", "no checkpoint covers them yet: it did not come in time, or publishing stopped")
        if wait == "published":
            return Reached("published")
        anchoring = log.anchoring
        anchoring.want(size)
        if not await self.stampings.wait(size, anchoring.stamped_size, until_s - time.monotonic()):
            return Reached("published", "no time stamp covers them yet: no authority gave one in time")
        return Reached("timestamped", stamp=anchoring.stamp_over(size))

    def adopt(self, log: Log, loop: asyncio.AbstractEventLoop) -> None:
        """Take over the open log: its answers come to this loop, once a commit; so does each checkpoint."""
        last_size, self._loop = log.size, loop

        def committed(size: int) -> None:
            nonlocal last_size
            self.metrics.group_events.observe(size - last_size)
            last_size = size

        def answered(answers: Sequence[tuple[Done, Answer]]) -> None:
            loop.call_soon_threadsafe(answer_all, answers)

        def published(checkpoint: SignedCheckpoint) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self.publications.arrived, checkpoint.checkpoint.size)

        def stamped(size: int) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.stampings.arrived, size)

        log.anchoring.after_stamp(stamped)
        log.writer.after_commit(committed)
        log.publisher.after_publish(published)
        log.set_wake(answered)
        self._watch(log)
        self.watch.begin()
        self.log = log

    def sweep(self) -> None:
        """Now and then: whoever waits for a checkpoint that will not come is told so."""
        if self.log is not None and self.log.publisher.error is not None:
            self.give_up()

    def give_up(self) -> None:
        """Whoever waits for a checkpoint or a stamp is told that none will come in time."""
        self.publications.give_up()
        self.stampings.give_up()

    def close(self) -> None:
        self.reads.close()
        self.parses.shutdown(wait=False, cancel_futures=True)

    def _watch(self, log: Log) -> None:
        watch, writer, window = self.metrics.watch, log.writer, log.writer.state.window
        clock = log.clock

        def published_age_s() -> float:
            time_s = checkpoint_time_s(log.published.data)
            return float("nan") if time_s is None else max(0.0, clock.now_us() / 1e6 - time_s)

        def window_age_s() -> float:
            oldest_us = window.oldest_us
            return 0.0 if oldest_us is None else max(0.0, (clock.now_us() - oldest_us) / 1e6)

        watch("graven_committed_size", "Entries that are durable.", lambda: log.size)
        watch(
            "graven_published_size", "Entries the published checkpoint covers.", lambda: log.published.checkpoint.size
        )
        watch("graven_published_age_seconds", "Age of the published checkpoint.", published_age_s)
        panel = log.publisher.panel
        if panel is not None:
            meaning = "Members of the policy's quorum that cosigned the published checkpoint."
            watch("graven_witnesses_met", meaning, lambda: panel.numbers[0])
            watch("graven_witnesses", "Members of the policy's quorum.", lambda: panel.numbers[1])
            meaning = "1 while the published checkpoint has fewer cosignatures than the policy asks for."
            watch("graven_witnesses_short", meaning, lambda: float(not panel.numbers[2]))
        self._watch_anchors(log)
        watch_copy(self.metrics, log)
        registers = log.registers
        watch("graven_sources_missing", "Expected sources that are silent.", lambda: len(registers.silent))
        meaning = "Since an expected source was heard."
        self.metrics.watch_each("graven_source_age_seconds", meaning, "source", lambda: self._ages(log))
        watch("graven_queue_events", "Events queued for the writer.", lambda: writer.queued[0])
        watch("graven_queue_bytes", "Bytes queued for the writer.", lambda: writer.queued[1])
        watch("graven_bodies_in_flight_bytes", "Memory of bodies on their way in.", lambda: self.allowance.taken_bytes)
        watch("graven_reads_in_flight", "Reads running or waiting.", lambda: self.reads.busy)
        watch("graven_writer_up", "1 while the writer works, 0 once it stopped.", lambda: float(writer.error is None))
        watch("graven_publisher_up", "1 while checkpoints are made.", lambda: float(log.publisher.error is None))
        watch("graven_events_only_here", "Events that no recovery kit opens.", lambda: only_here(log))
        watch("graven_window_ids", "Ids the idempotency window holds.", lambda: len(window))
        watch("graven_window_ids_max", "Ids it holds at most.", lambda: self.config.idempotency.max_ids)
        watch("graven_window_age_seconds", "How far back the window reaches now.", window_age_s)
        watch("graven_window_bound_seconds", "How far back it reaches at most.", lambda: window.window_us / 1e6)

    def _ages(self, log: Log) -> Iterator[tuple[str, float]]:
        """(expected source, seconds since it was last heard) of those that ever were."""
        registers, now_us = log.registers, log.clock.now_us()
        for source in list(registers.sources.values()):
            if source.expect_s is not None and not source.retired and source.number in registers.heard:
                yield source.name, max(0.0, (now_us - registers.heard[source.number]) / 1e6)

    def _watch_anchors(self, log: Log) -> None:
        watch, anchoring, clock = self.metrics.watch, log.anchoring, log.clock

        def newest_us() -> int:
            return max((state.time_us for state in anchoring.states), default=0)

        def age_s() -> float:
            return (clock.now_us() - newest_us()) / 1e6 if newest_us() else float("nan")

        def left_s() -> float:
            ends_us = max((state.expires_us for state in anchoring.states), default=0)
            return (ends_us - clock.now_us()) / 1e6 if ends_us else float("nan")

        if anchoring.states:
            states = anchoring.states
            watch("graven_time_authorities", "Time authorities configured.", lambda: len(states))
            meaning = "Time authorities that gave no good stamp when last asked."
            watch("graven_time_authorities_failing", meaning, lambda: sum(state.failures > 0 for state in states))
            meaning = "Stamps obtained since the start."
            watch("graven_stamps", meaning, lambda: sum(state.stamps for state in states))
            meaning = "Times that an authority stopped giving stamps, since the start."
            watch("graven_stamp_outages", meaning, lambda: sum(state.outages for state in states))
            watch("graven_stamp_age_seconds", "Age of the newest stamp.", age_s)
            watch("graven_stamp_expires_seconds", "Until the best newest stamp's certificate ends.", left_s)
        meaning = "How far this host's clock and an anchor disagree, the worst of them."
        watch("graven_clock_disagreement_seconds", meaning, lambda: anchoring.clock_alarm.disagreement_us / 1e6)
        meaning = "1 while this host's clock and an anchor disagree by more than the bound."
        watch("graven_clock_alarm", meaning, lambda: float(bool(anchoring.clock_alarm.alarmed)))


def only_here(log: Log) -> int:
    """Events that no recovery kit opens."""
    return events_only_here(log.directory, log.registers.kit_segment, log.size)


def stopped(log: Log) -> Broken | None:
    """Why the log no longer takes or publishes events, None while it does."""
    error = log.writer.error or log.publisher.error
    return error if isinstance(error, Broken) or error is None else Broken(error.what, place=error.place)


def answer_all(answers: Sequence[tuple[Done, Answer]]) -> None:
    """Tell all of a commit. Whatever telling one of them meets, the others are told."""
    for done, answer in answers:
        try:
            done(answer)
        except Exception as error:
            logger.error("an answer could not be given", exc_info=error)


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)
