"""HTTP/1.1 on one connection: uvicorn's httptools protocol, with the bounds it lacks.

    a head (request line and headers) of more than 64 KiB beyond its first read       431
    no whole head within 75 s of the connection, or of the last answer                closed
    a body of which nothing comes for 30 s, or that comes below 1 KiB/s after 60 s    408
    a body in more framing than body: 1 MiB and eight bytes for each of its own       400
    a body that goes on for 4 MiB after its request was refused                       closed
    an answer of which nothing is taken for 60 s                                      closed
    more than so many connections                                                     503
        but those where nothing is asked for 5 s are closed for new ones

Fields behind the last chunk are nothing to us: they come after the head was judged. What is no HTTP behind a whole
request ends the connection once that is answered; so does an end of what the client sends.

A wish to upgrade (h2c, as Java's client and `curl --http2` send it) is not heard, as RFC 9110 has it: the request is
answered as if it had not been made. httptools cannot be told so: it takes what follows for another protocol, and
uvicorn would then read a body as the next request. So the head is parsed once more without that header.

`sweep` is called for every connection every few seconds, so that a request costs no timer of its own.
"""

import os
import sys
from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from graven.core.errors import Busy, GravenError
from graven.runtime.sockets import peer_credentials
from graven.server.answers import Refused, format_error, status_of

CONNECTIONS_MAX = 4096
HEAD_BYTES_MAX = 64 << 10
HEAD_S_MAX = 75.0
BODY_IDLE_S_MAX = 30.0
BODY_SLOW_S, BODY_RATE_MIN = 60.0, 1024
FRAMING_BYTES_MAX, FRAMING_PER_BYTE_MAX = 1 << 20, 8
DRAIN_BYTES_MAX = 4 << 20
UNREAD_S_MAX = 60.0
QUIET_S = 5.0
_MADE_WAY_AT_ONCE = 64

HANG_UP = "graven.hang_up"
"""The ASGI extension that ends a connection without an answer."""


class BoundedHttp(HttpToolsProtocol):
    """One TCP connection. `last_s` is when bytes last came; `_rest_s` since when no request is in work."""

    connections_max = CONNECTIONS_MAX
    lost: Callable[[str], None] = staticmethod(lambda _why: None)
    """Told of connections that are refused (`connections`) or closed for new ones (`made_way`)."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(_Gathered(transport, self.loop))  # type: ignore[arg-type]
        self.last_s = self._rest_s = self._begun_s = self.loop.time()
        self._in_head, self._head_bytes, self._body_bytes, self._unwanted_bytes = False, 0, 0, 0
        self._unread_since_s: float | None = None
        self._upgrading, self._upgrade_at = False, -1
        self._clear_bytes, self._is_deaf = 0, False
        if len(self.connections) > self.connections_max and not self._make_way():
            self.lost("connections")
            self.refuse(Busy("too many connections are open", retry_after_s=5))

    def data_received(self, data: bytes) -> None:
        if self._is_deaf or self.transport.is_closing():
            return
        self.last_s = self.loop.time()
        self._body_bytes += len(data)
        in_head = self._in_head
        super().data_received(data)
        if self._upgrading:
            self._go_on_without_upgrade(memoryview(data))
        if self._in_head and in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.refuse(Refused(431, f"the head has more than {HEAD_BYTES_MAX} bytes", reason="too_large"))
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and cycle.more_body:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > DRAIN_BYTES_MAX:
                self.transport.close()
        elif cycle is not None and cycle.more_body:
            framing = self._body_bytes - self._clear_bytes
            if framing > FRAMING_BYTES_MAX + FRAMING_PER_BYTE_MAX * self._clear_bytes:
                self.refuse(Refused(400, "the body has more framing than body", reason="bad_request"))

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. Whether it is kept for answers to what is wholly here; TLS knows no such state."""
        if self._at_work and self.transport.get_extra_info("sslcontext") is None and self._end_after_answers():
            return True
        self.transport.close()  # with what was answered and is not written yet
        return False

    def send_400_response(self, msg: str) -> None:
        """What comes is no HTTP. An answer out of turn would be taken for that to an earlier request."""
        if not (self._at_work and self._end_after_answers()):
            super().send_400_response(msg)

    @property
    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_after_answers(self) -> bool:
        """Read no more, and close when what is wholly here was answered; False where the last is not wholly here."""
        if self.cycle.more_body:
            return False
        self._is_deaf, self.cycle.keep_alive = True, False
        return True

    def _make_way(self) -> bool:
        """Whether some of those were closed where nothing has been asked for longest."""
        since_s = self.loop.time() - QUIET_S
        others = [one for one in self.connections if isinstance(one, BoundedHttp) and one is not self]
        quiet = [one for one in others if not one._at_work and one._rest_s < since_s]
        quiet.sort(key=lambda one: one._rest_s)
        for one in quiet[:_MADE_WAY_AT_ONCE]:
            self.lost("made_way")
            one.transport.close()
        return bool(quiet)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. Raises HttpParserError for a transfer coding other than chunked."""
        if self._in_head:
            super().on_header(name, value)
            if len(name) == 17 and name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
                raise httptools.HttpParserError("a transfer coding that is not known")

    def on_body(self, body: bytes) -> None:
        self._clear_bytes += len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._body_bytes, self._unwanted_bytes = True, 0, 0, 0
        self._clear_bytes = 0
        self._begun_s = self.last_s
        self.scope["extensions"] = {HANG_UP: self.hang_up}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self.parser.should_upgrade():
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserError("this is no proxy")
        else:
            self._upgrading = True

    def on_message_complete(self) -> None:
        if not self._upgrading:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Called by uvicorn while it handles `HttpParserUpgrade`, which says how much of the data was read."""
        error = sys.exc_info()[1]
        self._upgrade_at = error.args[0] if error is not None else 0

    def _go_on_without_upgrade(self, rest: memoryview) -> None:
        while self._upgrading and self._upgrade_at >= 0:
            rest, head = rest[self._upgrade_at :], self._head_without_upgrade()
            self._upgrading, self._upgrade_at = False, -1
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            super().data_received(head)
            super().data_received(rest)  # type: ignore[arg-type]

    def _head_without_upgrade(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join([line, *fields, b"\r\n"])

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer of idle connections: `sweep` sees to them."""
        self._rest_s = self.loop.time()
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        self._unread_since_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since_s = None
        super().resume_writing()

    def sweep(self, now_s: float) -> None:
        """End what takes too long."""
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if self._unread_since_s is not None and now_s - self._unread_since_s > UNREAD_S_MAX:
            self.transport.abort()
        elif cycle is None or cycle.response_complete:
            if now_s - self._rest_s > HEAD_S_MAX:
                self.transport.close()
        elif cycle.more_body:
            took_s = now_s - self._begun_s
            slow = took_s > BODY_SLOW_S and self._body_bytes < BODY_RATE_MIN * took_s
            if slow or now_s - self.last_s > BODY_IDLE_S_MAX:
                self.refuse(Refused(408, "the body comes too slowly", reason="timeout", mend="send it at once"))

    def hang_up(self) -> None:
        """End the connection without an answer to the request at work: for a client that takes any answer as final."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.abort()

    def refuse_unfinished(self, error: GravenError) -> None:
        """Refuse a request whose body is not all here; leave any other alone."""
        if self.cycle is not None and self.cycle.more_body and not self.cycle.response_started:
            self.refuse(error)

    def refuse(self, error: GravenError) -> None:
        """Answer with an error, if it is this request's turn to be answered, and close.

        The application, if it waits for the rest of a body, is told that the client is gone.
        """
        if self.transport.is_closing():
            return
        cycle = self.cycle
        at_work = cycle is not None and not cycle.response_complete
        in_turn = not at_work or (not self._in_head and not cycle.response_started)
        if in_turn and not self.pipeline:
            body, headers = format_error(error)
            headers = {"Content-Type": "application/json", **headers, "Connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = STATUS_LINE[status_of(error)] + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
            self.transport.write(head + body)
        if at_work:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


class ControlHttp(BoundedHttp):
    """One connection of the control socket: the kernel says who is at the other end (SO_PEERCRED)."""

    _uid = -1

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._uid = peer_credentials(transport.get_extra_info("socket")).uid

    def data_received(self, data: bytes) -> None:
        if self._uid in (0, os.geteuid()):
            super().data_received(data)
        else:
            self.refuse(Refused(403, "the control socket is for the server's own user and root", reason="forbidden"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] |= {"graven.peer": {"uid": self._uid}}


class _Gathered:
    """A transport that gathers what is written to it until the loop's next turn: one system call, one packet."""

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def write_all(self, data: bytes) -> None:
        """Write a whole answer: nothing will follow that could be gathered with it."""
        if self._parts:
            self.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self.is_closing():
            self._transport.write(b"".join(parts))
