"""One connection of a syslog sender, TCP or TLS. One thread: the loop's."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from graven.config import SyslogConfig
from graven.ingest.protocol.framing import Frame, Framer
from graven.server.live import Live
from graven.server.syslog.tls import certificate_names

__all__ = ["Stream"]

HELD_BYTES_MAX = 64 << 20  # of unfinished messages, all streams together
HELD_BYTES_FREE = 64 << 10  # of one stream: never closed for less


class Door(Protocol):
    """What a stream asks of its door."""

    live: Live
    config: SyslogConfig
    streams: set["Stream"]
    held_bytes: int

    def now_s(self) -> float:
        """The loop's clock."""
        ...

    def source_of(self, address: str, names: Sequence[str]) -> str:
        """The source of a sender."""
        ...

    def take(
        self, messages: Sequence[bytes | Frame], around: dict[str, str], source: str, stream: "Stream | None"
    ) -> None:
        """Messages as they were framed."""
        ...

    def admit(self, stream: "Stream") -> bool:
        """Whether there is room for it."""
        ...

    def forget(self, stream: "Stream") -> None:
        """It is closed."""
        ...


class Stream(asyncio.Protocol):
    """One connection. `last_s` is when bytes last came, `message_s` when a whole message did; `on_the_way_bytes` are
    not yet known to be durable.
    """

    def __init__(self, door: "Door", transport_name: str) -> None:
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
        self.last_s = self.message_s = door.now_s()
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
        self.last_s = door.now_s()
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
