"""HTTP exchanges that end by the wall clock, however the other side stretches them.

A socket's timeout starts anew with every byte that comes, so a server that sends one byte now and then, of a head, of a
chunk's size, of lines after the last chunk, of one `100 Continue` after the other, holds whoever asked for ever. Within
`bounded` each wait on a connection of `TimedPool` gets only what is left of the exchange, from the first connect to the
last byte of the answer, and the bytes that come are counted before anything is made of them.

Not bounded here: the system's resolver (it has times of its own), and how much of an unpacked body is kept.
"""

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

__all__ = ["HEAD_BYTES_MAX", "TimedPool", "bounded"]

HEAD_BYTES_MAX = 128 << 10
"""Of an answer's head, interim answers before it counted in."""

ADDRESSES_MAX = 8
"""Of one host: more are not tried."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """`until_s` on the monotonic clock."""

    until_s: float
    wire_bytes_max: int

    def left_s(self, timeout_s: float | None) -> float:
        """How long one wait may take. Raises TimeoutError: there is nothing left."""
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the exchange took too long")
        return left_s if timeout_s is None else min(left_s, timeout_s)


_bounds: ContextVar[_Bounds | None] = ContextVar("bounds", default=None)


@contextmanager
def bounded(seconds_max: float, *, wire_bytes_max: int) -> Iterator[None]:
    """Whatever this thread asks and reads by a `TimedPool` within takes at most so long in all, and an answer so many
    bytes as they are sent. Beyond: urllib3's ReadTimeoutError, ConnectTimeoutError, ProtocolError.
    """
    token = _bounds.set(_Bounds(time.monotonic() + seconds_max, wire_bytes_max))
    try:
        yield
    finally:
        _bounds.reset(token)


class TimedPool(urllib3.PoolManager):
    """urllib3's, whose connections keep to `bounded`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Wire(io.RawIOBase):
    """What comes in on a connection for one answer: `raw` is its stream, `timeout_s` that of one wait."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, bounds: _Bounds) -> None:
        self._raw, self._connection, self._bounds = raw, connection, bounds
        self._timeout_s = connection.gettimeout()
        self.bytes_max = HEAD_BYTES_MAX
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        if self._bytes > self.bytes_max:
            raise http.client.HTTPException("an answer of too many bytes")
        self._connection.settimeout(self._bounds.left_s(self._timeout_s))
        found = self._raw.readinto(buffer)
        self._bytes += found or 0
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that comes over a `_Wire` where there are bounds."""

    _wire: _Wire | None = None

    def __init__(self, connection: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(connection, *args, **named)
        bounds = _bounds.get()
        if bounds is not None:
            self._wire = _Wire(self.fp.detach(), connection, bounds)
            self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """The head."""
        super().begin()
        bounds = _bounds.get()
        if self._wire is not None and bounds is not None:
            self._wire.bytes_max = bounds.wire_bytes_max


class _Timed:
    """What is different in a connection, before urllib3's own."""

    response_class: Any = _Answer

    def _new_conn(self: Any) -> socket.socket:
        bounds = _bounds.get()
        if bounds is None:
            return super()._new_conn()  # type: ignore[misc,no-any-return]
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise NewConnectionError(self, f"not a name of a host: {error}") from error
        failed: OSError = OSError("no address")
        for family, kind, protocol, _, address in found[:ADDRESSES_MAX]:
            made = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(bounds.left_s(self.timeout))
                made.connect(address)
                made.settimeout(bounds.left_s(self.timeout))  # for the handshake, which counts its time as a whole
                return made
            except OSError as error:
                made.close()
                failed = error
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(self, "not connected in time") from failed
        raise NewConnectionError(self, f"not connected: {failed}") from failed


class _HttpConnection(_Timed, urllib3.connection.HTTPConnection):
    pass


class _HttpsConnection(_Timed, urllib3.connection.HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
