"""Every syslog socket of one server, and the way of messages from them into the log.

    bytes → messages (`ingest.protocol.framing`) → records → events → the writer's queue

Syslog knows no acknowledgement, so back-pressure is not reading: a stream that has much on its way, or a log that is
full, leaves bytes in the sender's own queue. Datagrams cannot be held back; what the kernel dropped is counted, never
guessed. What cannot be framed, or is too long, is kept in quarantine. One thread: the loop's.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from time import perf_counter

from graven.config import SyslogConfig
from graven.config.doors import parse_senders
from graven.core.errors import Busy, GravenError
from graven.ingest.audit_messages import AuditAssembly
from graven.ingest.protocol.framing import TOO_LONG, Frame, faulty_frame
from graven.ingest.record import Record
from graven.log.acts import rfc3339
from graven.log.types import Batch
from graven.log.writer import Answer
from graven.runtime.handshake import Gate
from graven.runtime.sockets import Datagrams
from graven.runtime.telemetry import get_logger
from graven.server.live import Live
from graven.server.shippers.door import batch_of
from graven.server.syslog.losses import Losses
from graven.server.syslog.stream import Stream

__all__ = ["FALLBACK_TYPE", "SyslogDoor"]

FALLBACK_TYPE = "syslog"
"""The source type of a message that no other type recognises."""

BATCH_MESSAGES_MAX = 1_000  # read, normalised and handed over in one turn of the loop
ON_THE_WAY_BYTES_MAX = 16 << 20  # of one stream; beyond it is not read
WAITING_BYTES_MAX = 128 << 20  # of all; beyond it no stream is read, and datagrams are lost, and counted
MESSAGE_WEIGHT_BYTES = 1024  # what a message weighs beyond its bytes, as long as it is on its way
RETRY_S = 0.05
QUIET_S = 60.0  # a stream without a whole message for so long makes way when there are too many
HANDSHAKE_S_MAX = 10.0
STOP_S_MAX = 20.0

_DATAGRAMS_A_TURN = 512

logger = get_logger("syslog")


@dataclass(slots=True)
class _Read:
    """Messages of one source as read, at most a batch. `weights`: (stream, bytes) of those that came by one."""

    source: str
    records: list[Record]
    weights: list[tuple[Stream, int]]
    size_bytes: int = 0


@dataclass(slots=True)
class _Ready:
    """A batch for the writer, as often as it takes."""

    batch: Batch
    weights: list[tuple[Stream, int]]
    size_bytes: int
    source: str
    quarantined: int


class SyslogDoor:
    """Every syslog socket of one server. Made once the log is open; `begin` it, and `end` it before the log closes."""

    def __init__(self, live: Live, config: SyslogConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.live, self.config = live, config
        self._loop = loop
        self._senders = parse_senders(config.sources)
        self._read: deque[_Read] = deque()
        self._open: dict[str, _Read] = {}  # the one of each source that has room
        self._ready: deque[_Ready] = deque()
        self._turning, self._retry = False, False
        self._at_work = 0  # batches with the writer
        self._waiting_bytes = 0
        self._ended = False
        self._audit = AuditAssembly(
            lambda held: self._add([held.raw], held.around, held.source, None), now_s=loop.time, later=loop.call_later
        )
        self.streams: set[Stream] = set()
        self._paused: set[Stream] = set()
        self.held_bytes = 0
        self._servers: list[asyncio.Server] = []
        self._gate: Gate | None = None
        self._udp: Datagrams | None = None
        self._losses = Losses()
        live.metrics.watch("graven_syslog_connections", "Open syslog connections.", lambda: len(self.streams))

    async def begin(
        self, *, tcp: socket.socket | None, udp: socket.socket | None, tls: socket.socket | None,
        context: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        """Listen on these sockets, each bound already."""
        if tcp is not None:
            self._servers.append(await self._loop.create_server(partial(Stream, self, "tcp"), sock=tcp))
        if tls is not None:
            assert context is not None
            make = partial(Stream, self, "tls")
            self._gate = Gate(
                tls, context, make, waiting_max=self.config.max_connections,
                lost=partial(self.live.metrics.syslog_lost.add, 1), seconds_max=HANDSHAKE_S_MAX,
            )  # fmt: skip
        if udp is not None:
            self._udp = Datagrams(udp)
            self._loop.add_reader(udp.fileno(), self._take_datagrams, self._udp)

    async def end(self) -> None:
        """Accept and read no more; hand over what was read, and wait until it is durable, within bounds."""
        if self._ended:
            return
        for server in self._servers:
            server.close()
        if self._udp is not None:
            self._take_datagrams(self._udp)
            self._loop.remove_reader(self._udp.socket.fileno())
            self._udp.close()
        if self._gate is not None:
            self._gate.close()
        for stream in list(self.streams):
            stream.close()
        self._audit.flush()
        until_s = self._loop.time() + STOP_S_MAX
        while (self._at_work or self._ready or self._read) and self._loop.time() < until_s:
            await asyncio.sleep(0.01)
        await self._tell_losses(last=True)
        self._ended = True

    def now_s(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    async def sweep(self, now_s: float) -> None:
        """Close the streams from which nothing came for too long; tell the log what was lost."""
        for stream in list(self.streams):
            if now_s - stream.last_s > self.config.idle_s and not stream.on_the_way_bytes:
                stream.close()
        if not self.live.stopping:
            await self._tell_losses()

    def source_of(self, address: str, names: Sequence[str]) -> str:
        """The source of a sender: by a name in its certificate, else by its address."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            ip = None
        if ip is not None and ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        for who, source in self._senders:
            if who in names if isinstance(who, str) else ip is not None and ip.version == who.version and ip in who:
                return source
        return self.config.source

    def take(
        self, messages: Sequence[bytes | Frame], around: dict[str, str], source: str, stream: Stream | None
    ) -> None:
        """Messages as they were framed, to be handed on in the loop's next turns, a batch in each; audit records that
        belong together when all of an event are there.
        """
        self.live.metrics.syslog.add(len(messages), around["syslog.transport"])
        if passing := self._audit.pass_on(messages, around, source):
            self._add(passing, around, source, stream)

    def _add(
        self, messages: Sequence[bytes | Frame], around: dict[str, str], source: str, stream: Stream | None
    ) -> None:
        """Records of their own, to be handed on in the loop's next turns."""
        log = self.live.log
        assert log is not None
        said = {**around, "time": rfc3339(log.clock.now_us())}
        for start in range(0, len(messages), BATCH_MESSAGES_MAX):
            some = messages[start : start + BATCH_MESSAGES_MAX]
            records = [
                Record(one, "", said, "", FALLBACK_TYPE)
                if isinstance(one, bytes)
                else Record(one.raw, "", said, "", "", one.fault, one.size_bytes, one.sha256)
                for one in some
            ]
            size = sum([len(record.raw) for record in records]) + MESSAGE_WEIGHT_BYTES * len(some)
            read = self._open.get(source)
            if read is None or len(read.records) + len(records) > BATCH_MESSAGES_MAX:
                read = self._open[source] = _Read(source, [], [])
                self._read.append(read)
            read.records += records
            read.size_bytes += size
            self._waiting_bytes += size
            if stream is not None:
                stream.on_the_way_bytes += size
                read.weights.append((stream, size))
        if self._waiting_bytes > WAITING_BYTES_MAX:
            for one in self.streams:
                self.pause(one)
        elif stream is not None and stream.on_the_way_bytes > ON_THE_WAY_BYTES_MAX:
            self.pause(stream)
        self._turn_soon()

    def admit(self, stream: "Stream") -> bool:
        """Whether there is room for one more, be it that of a stream from which no whole message came for a minute."""
        if len(self.streams) >= self.config.max_connections:
            quiet = min(self.streams, key=lambda one: one.message_s)
            if self._loop.time() - quiet.message_s < QUIET_S or quiet.on_the_way_bytes:
                self._turn_away()
                return False
            self.live.metrics.syslog_lost.add(1, "made_way")
            quiet.close()
        self.streams.add(stream)
        return True

    def _turn_away(self) -> None:
        self.live.metrics.syslog_lost.add(1, "connections")

    def pause(self, stream: "Stream") -> None:
        """Leave what comes in the sender's queue for now."""
        if stream not in self._paused:
            self._paused.add(stream)
            stream.transport.pause_reading()

    def forget(self, stream: "Stream") -> None:
        """It is closed."""
        self.streams.discard(stream)
        self._paused.discard(stream)

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Normalise one batch; others on this loop have their turn before the next."""
        self._turning = False
        log = self.live.log
        if log is None or not self._read:
            return
        read = self._read.popleft()
        if self._open.get(read.source) is read:
            del self._open[read.source]
        if self._read:
            self._turn_soon()
        source = log.registers.sources.get(read.source)
        if source is None or source.retired:
            self._lose(read.weights, read.size_bytes, len(read.records), "no_source")
            return
        normalised = self.live.pipeline.run(read.records)
        batch, _ = batch_of(normalised, source, log.clock.now_us())
        quarantined = sum([1 for event in normalised if event.quarantined])
        self._ready.append(_Ready(batch, read.weights, read.size_bytes, read.source, quarantined))
        self._submit()

    def _submit(self) -> None:
        """Hand over what is ready, in order; a log that is full is asked again after a pause."""
        self._retry = False
        log = self.live.log
        while self._ready and log is not None:
            ready = self._ready[0]
            try:
                log.submit(ready.batch, partial(self._committed, ready, perf_counter()))
            except Busy:
                if not self._retry:
                    self._retry = True
                    self._loop.call_later(RETRY_S, self._submit)
                return
            except GravenError as error:
                self._ready.popleft()
                self._broken(ready, error)
                continue
            self._ready.popleft()
            self._at_work += 1

    def _committed(self, ready: _Ready, queued_s: float, answer: Answer) -> None:
        self._at_work -= 1
        if isinstance(answer, Busy):  # the disk was full: nothing of it was stored
            self._ready.appendleft(ready)
            if not self._retry:
                self._retry = True
                self._loop.call_later(RETRY_S, self._submit)
            return
        if isinstance(answer, GravenError):
            self._broken(ready, answer)
            return
        self.live.count(
            ready.source, answer, events=ready.batch.events, size_bytes=ready.size_bytes,
            received_us=ready.batch.received_us, quarantined=ready.quarantined, took_s=perf_counter() - queued_s,
        )  # fmt: skip
        self._done(ready.weights, ready.size_bytes)

    def _broken(self, ready: _Ready, error: GravenError) -> None:
        """The writer has stopped: senders must not believe that anybody listens."""
        logger.error("syslog messages could not be stored", extra={"fields": {"why": error.what}})
        self._lose(ready.weights, ready.size_bytes, len(ready.batch.events), "not_stored")
        for stream in list(self.streams):
            stream.abort()

    def _lose(self, weights: Sequence[tuple["Stream", int]], size: int, count: int, why: str) -> None:
        self.live.metrics.syslog_lost.add(count, why)
        self._done(weights, size)

    def _done(self, weights: Sequence[tuple["Stream", int]], size_bytes: int) -> None:
        self._waiting_bytes -= size_bytes
        for stream, size in weights:
            stream.on_the_way_bytes -= size
        if self._paused and self._waiting_bytes < WAITING_BYTES_MAX // 2:
            for stream in list(self._paused):
                if stream.on_the_way_bytes < ON_THE_WAY_BYTES_MAX // 2:
                    self._paused.discard(stream)
                    stream.transport.resume_reading()

    def _take_datagrams(self, udp: Datagrams) -> None:
        by_sender: dict[str, list[bytes | Frame]] = {}
        try:
            found = udp.read(_DATAGRAMS_A_TURN)
        except OSError as error:
            logger.warning("datagrams could not be read", extra={"fields": {"why": error.strerror}})
            return
        for one in found:
            if message := one.data.rstrip(b"\r\n\0"):
                fits = len(message) <= self.config.max_message_bytes
                by_sender.setdefault(one.address, []).append(message if fits else faulty_frame(message, TOO_LONG))
        if udp.lost:
            count, udp.lost = udp.lost, 0
            self._lost("kernel", count)
            logger.warning("datagrams were lost", extra={"fields": {"count": count}})
        for sender, messages in by_sender.items():
            if self._waiting_bytes > WAITING_BYTES_MAX:
                self._lost("full", len(messages))
                continue
            around = {"syslog.peer": sender, "syslog.transport": "udp"}
            self.take(messages, around, self.source_of(sender, ()), None)

    def _lost(self, why: str, count: int) -> None:
        """Datagrams are gone: counted now, told in the log soon."""
        assert self.live.log is not None
        self.live.metrics.syslog_lost.add(count, why)
        self._losses.note(why, count, self.live.log.clock.now_us())

    async def _tell_losses(self, *, last: bool = False) -> None:
        log, told = self.live.log, self._losses.due(self.now_s(), last=last)
        if log is not None and told is not None:
            with contextlib.suppress(GravenError):  # the metric has them; a log that takes nothing has said so
                await asyncio.to_thread(self._losses.tell, log, told)
