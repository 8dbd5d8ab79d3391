"""Syslog of the host: UDP and TCP on loopback, or a Unix socket as /dev/log is one.

The framing and its bounds are those of the server's door (`ingest.protocol.framing`). Syslog acknowledges nothing:
back-pressure is not reading, so what a program writes waits in its socket, or makes it wait; over UDP the kernel drops,
and what it dropped becomes an event. The kernel names the process behind each message of a Unix socket, whatever the
message says.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from graven.agent.doors.config import SyslogConfig
from graven.agent.doors.door import Inlet
from graven.agent.notices import SYSLOG_LOST, notice
from graven.agent.source import Taken
from graven.agent.wire import OTHERWISE, run_of
from graven.ingest.audit_messages import AuditAssembly
from graven.ingest.protocol.framing import TOO_LONG, Frame, Framer, faulty_frame
from graven.ingest.record import Record
from graven.runtime.sockets import Datagram, Datagrams

__all__ = ["FALLBACK_TYPE", "SyslogDoor"]

FALLBACK_TYPE = "syslog"
IDLE_S = 60.0
"""A connection that said nothing for so long makes way when there are too many."""

LOST_TOLD_S = 1.0
"""Between two events that say what was lost."""

_DATAGRAMS_A_TURN, _LAST_TURNS = 256, 256
_LOGGER = logging.getLogger("graven.agent")


class SyslogDoor:
    """One section's sockets. `begin`, `finish`, `close` are called on the loop; `take` by the agent's thread."""

    def __init__(self, config: SyslogConfig, inlet: Inlet, now: Callable[[], str]) -> None:
        self.name, self.config = config.name, config
        self._inlet, self._now = inlet, now
        self._loop: asyncio.AbstractEventLoop
        self._audit: AuditAssembly
        self._server: asyncio.Server | None = None
        self._datagrams: Datagrams | None = None
        self._reading = False
        self._streams: set[_Stream] = set()
        self._lost = 0

    async def begin(self, tcp: socket.socket | None, datagrams: Datagrams) -> None:
        self._loop = asyncio.get_running_loop()
        self._audit = AuditAssembly(
            lambda held: self._put([held.raw], held.around), now_s=self._loop.time, later=self._loop.call_later
        )
        self._datagrams = datagrams
        if tcp is not None:
            self._server = await self._loop.create_server(partial(_Stream, self), sock=tcp)
        self.resume()

    async def finish(self) -> None:
        """Read what waits, then nothing more."""
        if self._server is not None:
            self._server.close()
        if self._datagrams is not None:
            for _ in range(_LAST_TURNS):
                if not self._read_datagrams():
                    break
            self._stop_reading()
            if self._lost:
                self._tell_lost()
            self._datagrams.close()
            self._datagrams = None
            if self.config.socket is not None:
                Path(self.config.socket).unlink(missing_ok=True)
        for stream in list(self._streams):
            stream.end()
        self._audit.flush()

    async def close(self) -> None:
        await self.finish()

    def take(self, bytes_max: int) -> list[Taken]:
        return self._inlet.take(bytes_max)

    def resume(self) -> None:
        """There is room again."""
        if self._datagrams is not None and not self._reading:
            self._reading = True
            self._loop.add_reader(self._datagrams.socket.fileno(), self._read_datagrams)
        for stream in self._streams:
            stream.transport.resume_reading()

    def came(self, messages: Sequence[bytes | Frame], around: dict[str, str]) -> None:
        """Messages as they were framed; audit records of one event go on together. Without room, nothing more is read
        until there is.
        """
        if passing := self._audit.pass_on(messages, around):
            self._put(passing, around)

    def _put(self, messages: Sequence[bytes | Frame], around: dict[str, str]) -> None:
        said = {**self.config.labels, **around, "time": self._now()}
        if not self.config.type:
            said[OTHERWISE] = FALLBACK_TYPE
        for whole, some in groupby(messages, lambda one: isinstance(one, bytes)):
            if whole:
                self._inlet.put(Taken(self.config.type, said, [one for one in some if isinstance(one, bytes)]))
                continue
            faulty = [one for one in some if isinstance(one, Frame)]
            records = [Record(one.raw, "", said, "", "", one.fault, one.size_bytes, one.sha256) for one in faulty]
            self._inlet.put(Taken(runs=[run_of(record) for record in records]))
        if not self._inlet.has_room:
            self._stop_reading()
            for stream in self._streams:
                stream.transport.pause_reading()

    def admit(self, stream: "_Stream") -> bool:
        """Whether there is room for one more connection, be it that of one that says nothing."""
        if len(self._streams) >= self.config.max_connections:
            quiet = min(self._streams, key=lambda one: one.last_s)
            if self._loop.time() - quiet.last_s < IDLE_S:
                return False
            quiet.end()
        self._streams.add(stream)
        if not self._inlet.has_room:
            stream.transport.pause_reading()
        return True

    def forget(self, stream: "_Stream") -> None:
        self._streams.discard(stream)

    def now_s(self) -> float:
        return self._loop.time()

    def _stop_reading(self) -> None:
        if self._datagrams is not None and self._reading:
            self._reading = False
            self._loop.remove_reader(self._datagrams.socket.fileno())

    def _read_datagrams(self) -> bool:
        """Read some of what waits; whether there was anything."""
        assert self._datagrams is not None
        try:
            found = self._datagrams.read(_DATAGRAMS_A_TURN)
        except OSError as error:
            _LOGGER.warning("%s cannot be read: %s", self.name, error.strerror)
            return False
        if self._datagrams.lost:
            if not self._lost:
                self._loop.call_later(LOST_TOLD_S, self._tell_lost)
            self._lost += self._datagrams.lost
            self._datagrams.lost = 0
        for around, some in groupby(found, self._around):
            messages: list[bytes | Frame] = []
            for one in some:
                message = one.data.rstrip(b"\r\n\0")
                if len(message) > self.config.max_message_bytes or one.is_cut:
                    messages.append(faulty_frame(message, TOO_LONG))
                elif message:
                    messages.append(message)
            if messages:
                self.came(messages, around)
        return bool(found)

    def _tell_lost(self) -> None:
        """What is known to be lost, as an event: never more of them than there is time between."""
        lost, self._lost = self._lost, 0
        if lost:
            _LOGGER.warning("%s: %d datagrams were lost", self.name, lost)
            said = {"source": self.name, "count": lost}
            self._inlet.put(notice(SYSLOG_LOST, "datagrams were lost", said))

    def _around(self, one: Datagram) -> dict[str, str]:
        if one.credentials is None:
            return {"syslog.transport": "udp" if self.config.socket is None else "unix"}
        said = {"syslog.transport": "unix", "syslog.uid": str(one.credentials.uid)}
        if one.credentials.pid:  # 0: of another namespace
            said["syslog.pid"] = str(one.credentials.pid)
        return said


class _Stream(asyncio.Protocol):
    """One TCP connection. `last_s` is when bytes last came."""

    def __init__(self, door: SyslogDoor) -> None:
        self._door = door
        self._framer = Framer(max_message_bytes=door.config.max_message_bytes)
        self.transport: Any = None
        self.last_s = 0.0
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.last_s = transport, self._door.now_s()
        self._open = self._door.admit(self)
        if not self._open:
            _LOGGER.warning("%s: too many connections", self._door.name)
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._open:
            return
        self.last_s = self._door.now_s()
        if messages := self._framer.feed(data):
            self._door.came(messages, {"syslog.transport": "tcp"})

    def connection_lost(self, error: Exception | None) -> None:
        if not self._open:
            return
        self._open = False
        self._door.forget(self)
        if rest := self._framer.finish():
            self._door.came(rest, {"syslog.transport": "tcp"})

    def end(self) -> None:
        self.transport.close()
        self.connection_lost(None)
