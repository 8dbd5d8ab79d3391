"""The doors for syslog: UDP, TCP (both framings), TLS with certificates of the senders (RFC 5425).

    bytes → messages (`ingest.protocol.framing`) → records → events → the writer's queue

Syslog knows no acknowledgement, so back-pressure is not reading: a stream that has much on its way, or a log that is
full, leaves bytes in the sender's own queue. Datagrams cannot be held back; what the kernel dropped is counted, never
guessed. What cannot be framed, or is too long, is kept in quarantine. One thread: the loop's.
"""

import asyncio
import socket
import ssl
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from time import perf_counter
from typing import Any

from graven.config import SyslogConfig
from graven.config.doors import parse_senders
from graven.core.errors import Busy, GravenError
from graven.ingest.audit_messages import AuditAssembly
from graven.ingest.protocol.framing import TOO_LONG, Frame, Framer, faulty_frame
from graven.ingest.record import Record
from graven.log.acts import rfc3339
from graven.log.types import Batch
from graven.log.writer import Answer
from graven.runtime.handshake import Gate
from graven.runtime.sockets import Datagrams
from graven.runtime.telemetry import get_logger
from graven.server.live import Live
from graven.server.shippers.door import batch_of
from graven.server.syslog_tls import certificate_names

__all__ = ["FALLBACK_TYPE", "SyslogDoor"]

FALLBACK_TYPE = "syslog"
"""The source type of a message that no other type recognises."""

BATCH_MESSAGES_MAX = 4_000
ON_THE_WAY_BYTES_MAX = 16 << 20  # of one stream; beyond it is not read
WAITING_BYTES_MAX = 128 << 20  # of all; beyond it no stream is read, and datagrams are lost, and counted
MESSAGE_WEIGHT_BYTES = 1024  # what a message weighs beyond its bytes, as long as it is on its way
HELD_BYTES_MAX = 64 << 20  # of unfinished messages, all streams together
HELD_BYTES_FREE = 64 << 10  # of one stream: never closed for less
RETRY_S = 0.05
QUIET_S = 60.0  # a stream without a whole message for so long makes way when there are too many
HANDSHAKE_S_MAX = 10.0
STOP_S_MAX = 20.0

_DATAGRAMS_A_TURN = 512

logger = get_logger("syslog")


@dataclass(slots=True)
class _Pending:
    """Messages of one source that are not yet with the writer; `weights`: (stream, bytes) of those that came by one."""

    records: list[Record]
    weights: list[tuple["_Stream", int]]
    size_bytes: int = 0


@dataclass(slots=True)
class _Ready:
    """A batch for the writer, as often as it takes."""

    batch: Batch
    weights: list[tuple["_Stream", int]]
    size_bytes: int
    source: str
    quarantined: int


class SyslogDoor:
    """Every syslog socket of one server. Made once the log is open; `begin` it, and `end` it before the log closes."""

    def __init__(self, live: Live, config: SyslogConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.live, self.config = live, config
        self._loop = loop
        self._senders = parse_senders(config.sources)
        self._pending: dict[str, _Pending] = defaultdict(lambda: _Pending([], []))
        self._ready: deque[_Ready] = deque()
        self._flushing, self._retry = False, False
        self._at_work = 0  # batches with the writer
        self._waiting_bytes = 0
        self._ended = False
        self._audit = AuditAssembly(
            lambda held: self._add([held.raw], held.around, held.source, None), now_s=loop.time, later=loop.call_later
        )
        self.streams: set[_Stream] = set()
        self._paused: set[_Stream] = set()
        self.held_bytes = 0
        self._servers: list[asyncio.Server] = []
        self._gate: Gate | None = None
        self._udp: Datagrams | None = None
        live.metrics.watch("graven_syslog_connections", "Open syslog connections.", lambda: len(self.streams))

    async def begin(
        self, *, tcp: socket.socket | None, udp: socket.socket | None, tls: socket.socket | None,
        context: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        """Listen on these sockets, each bound already."""
        if tcp is not None:
            self._servers.append(await self._loop.create_server(partial(_Stream, self, "tcp"), sock=tcp))
        if tls is not None:
            assert context is not None
            make = partial(_Stream, self, "tls")
            self._gate = Gate(
                tls, context, make, waiting_max=self.config.max_connections, turned_away=self._turn_away,
                seconds_max=HANDSHAKE_S_MAX,
            )  # fmt: skip
        if udp is not None:
            self._udp = Datagrams(udp)
            self._loop.add_reader(udp.fileno(), self._read_datagrams, self._udp)

    async def end(self) -> None:
        """Accept and read no more; hand over what was read, and wait until it is durable, within bounds."""
        if self._ended:
            return
        for server in self._servers:
            server.close()
        if self._udp is not None:
            self._read_datagrams(self._udp)
            self._loop.remove_reader(self._udp.socket.fileno())
            self._udp.close()
        if self._gate is not None:
            self._gate.close()
        for stream in list(self.streams):
            stream.close()
        self._audit.flush()
        self._flush()
        until_s = self._loop.time() + STOP_S_MAX
        while (self._at_work or self._ready or self._pending) and self._loop.time() < until_s:
            await asyncio.sleep(0.01)
        self._ended = True

    def sweep(self, now_s: float) -> None:
        """Close the streams from which nothing came for too long."""
        for stream in list(self.streams):
            if now_s - stream.last_s > self.config.idle_s and not stream.on_the_way_bytes:
                stream.close()

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
        self, messages: Sequence[bytes | Frame], around: dict[str, str], source: str, stream: "_Stream | None"
    ) -> None:
        """Messages as they were framed, to be handed on in the loop's next turn; audit records that belong together
        when all of an event are there.
        """
        self.live.metrics.syslog.add(len(messages), around["syslog.transport"])
        if passing := self._audit.pass_on(messages, around, source):
            self._add(passing, around, source, stream)

    def _add(
        self, messages: Sequence[bytes | Frame], around: dict[str, str], source: str, stream: "_Stream | None"
    ) -> None:
        """Records of their own, to be handed on in the loop's next turn."""
        log = self.live.log
        assert log is not None
        said = {**around, "time": rfc3339(log.clock.now_us())}
        pending = self._pending[source]
        size = 0
        for message in messages:
            if isinstance(message, bytes):
                pending.records.append(Record(message, "", said, "", FALLBACK_TYPE))
                size += len(message) + MESSAGE_WEIGHT_BYTES
            else:
                record = Record(message.raw, "", said, "", "", message.fault, message.size_bytes, message.sha256)
                pending.records.append(record)
                size += len(message.raw) + MESSAGE_WEIGHT_BYTES
        pending.size_bytes += size
        self._waiting_bytes += size
        if stream is not None:
            stream.on_the_way_bytes += size
            pending.weights.append((stream, size))
        if self._waiting_bytes > WAITING_BYTES_MAX:
            for one in self.streams:
                self.pause(one)
        elif stream is not None and stream.on_the_way_bytes > ON_THE_WAY_BYTES_MAX:
            self.pause(stream)
        if len(pending.records) >= BATCH_MESSAGES_MAX:
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def admit(self, stream: "_Stream") -> bool:
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

    def pause(self, stream: "_Stream") -> None:
        """Leave what comes in the sender's queue for now."""
        if stream not in self._paused:
            self._paused.add(stream)
            stream.transport.pause_reading()

    def forget(self, stream: "_Stream") -> None:
        """It is closed."""
        self.streams.discard(stream)
        self._paused.discard(stream)

    def _flush(self) -> None:
        self._flushing = False
        log = self.live.log
        if log is None:
            return
        pending, self._pending = self._pending, defaultdict(lambda: _Pending([], []))
        for name, one in pending.items():
            source = log.registers.sources.get(name)
            if source is None or source.retired:
                self._lose(one.weights, one.size_bytes, len(one.records), "no_source")
                continue
            received_us = log.clock.now_us()
            for start in range(0, len(one.records), BATCH_MESSAGES_MAX):
                normalised = self.live.pipeline.run(one.records[start : start + BATCH_MESSAGES_MAX])
                batch, _ = batch_of(normalised, (), source, received_us)
                last = start + BATCH_MESSAGES_MAX >= len(one.records)
                quarantined = sum(1 for event in normalised if event.quarantined)
                weights, size = (one.weights, one.size_bytes) if last else ([], 0)
                self._ready.append(_Ready(batch, weights, size, name, quarantined))
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

    def _lose(self, weights: Sequence[tuple["_Stream", int]], size: int, count: int, why: str) -> None:
        self.live.metrics.syslog_lost.add(count, why)
        self._done(weights, size)

    def _done(self, weights: Sequence[tuple["_Stream", int]], size_bytes: int) -> None:
        self._waiting_bytes -= size_bytes
        for stream, size in weights:
            stream.on_the_way_bytes -= size
        if self._paused and self._waiting_bytes < WAITING_BYTES_MAX // 2:
            for stream in list(self._paused):
                if stream.on_the_way_bytes < ON_THE_WAY_BYTES_MAX // 2:
                    self._paused.discard(stream)
                    stream.transport.resume_reading()

    def _read_datagrams(self, udp: Datagrams) -> None:
        by_sender: dict[str, list[bytes | Frame]] = defaultdict(list)
        try:
            found = udp.read(_DATAGRAMS_A_TURN)
        except OSError as error:
            logger.warning("datagrams could not be read", extra={"fields": {"why": error.strerror}})
            return
        for one in found:
            message = one.data.rstrip(b"\r\n\0")
            if message:
                too_long = len(message) > self.config.max_message_bytes
                by_sender[one.address].append(faulty_frame(message, TOO_LONG) if too_long else message)
        if udp.lost:
            count, udp.lost = udp.lost, 0
            self.live.metrics.syslog_lost.add(count, "kernel")
            logger.warning("datagrams were lost", extra={"fields": {"count": count}})
        for sender, messages in by_sender.items():
            if self._waiting_bytes > WAITING_BYTES_MAX:
                self.live.metrics.syslog_lost.add(len(messages), "full")
                continue
            around = {"syslog.peer": sender, "syslog.transport": "udp"}
            self.take(messages, around, self.source_of(sender, ()), None)


class _Stream(asyncio.Protocol):
    """One connection. `last_s` is when bytes last came, `message_s` when a whole message did; `on_the_way_bytes` are
    not yet known to be durable.
    """

    def __init__(self, door: SyslogDoor, transport_name: str) -> None:
        self._door, self._name = door, transport_name
        self._framer = Framer(max_message_bytes=door.config.max_message_bytes)
        self.transport: Any = None
        self.on_the_way_bytes, self.last_s, self.message_s = 0, 0.0, 0.0
        self._around: dict[str, str] = {}
        self._source = ""
        self._held = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        door = self._door
        self.last_s = self.message_s = door._loop.time()
        if not door.admit(self):
            self.transport.abort()
            return
        address = str((transport.get_extra_info("peername") or ("",))[0])
        names = certificate_names(transport.get_extra_info("peercert"))
        self._around = {"syslog.peer": address, "syslog.transport": self._name}
        if names:
            self._around["syslog.certificate"] = names[0][:256]
        self._source = door.source_of(address, names)

    def data_received(self, data: bytes) -> None:
        door = self._door
        if self not in door.streams:
            return
        self.last_s = door._loop.time()
        messages = self._framer.feed(data)
        door.held_bytes += self._framer.held_bytes - self._held
        self._held = self._framer.held_bytes
        if messages:
            self.message_s = self.last_s
            door.take(messages, self._around, self._source, self)
        if door.held_bytes > HELD_BYTES_MAX and self._held > HELD_BYTES_FREE:
            door.live.metrics.syslog_lost.add(1, "unfinished")
            self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        door = self._door
        if self not in door.streams:
            return
        door.forget(self)
        rest = self._framer.finish()
        door.held_bytes -= self._held
        self._held = 0
        if rest:
            door.take(rest, self._around, self._source, None)

    def close(self) -> None:
        self.transport.close()
        self.connection_lost(None)

    def abort(self) -> None:
        self.transport.abort()
