"""The short way for a request to append that is all there: no task, no ASGI messages, its answer in one write.

    the head says POST to the intake's path → its body comes with the same read → `Intake.take_now` → the answer

Whatever does not go that way in the turn in which it began (a body still on its way, an encoding, a wish to wait) goes
the ordinary way from its beginning; nothing of it has been looked at but its bytes. While such a request is at work, it
stands where uvicorn looks for the request at work, so that pipelining, stopping and bounds treat it like any other.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from graven.server.intake import CONTENT_TYPE, PATH
from graven.server.protocol import BoundedHttp

_URL = PATH.encode()


class ExpressHttp(BoundedHttp):
    """One TCP connection. `_parts` is the body so far of a request that may go the short way."""

    _parts: list[bytes] | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._parts is not None:  # it is not all there
            parts, self._parts = self._parts, None
            if not self.transport.is_closing():
                self._take_slowly(parts)

    def on_headers_complete(self) -> None:
        if self._may_be_short():
            self._in_head = False
            self._parts = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._parts is None:
            super().on_message_complete()
            return
        parts, self._parts = self._parts, None
        path, _, query = self.url.partition(b"?")
        self.scope |= {"method": "POST", "path": PATH, "raw_path": path, "query_string": query}
        intake = self.app.intake(self.scope)
        earlier, self.cycle = self.cycle, _AtWork(keep_alive=self.parser.should_keep_alive())  # type: ignore[assignment]
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if intake is None or not intake.take_now(self.scope, body, self._answer_to(self.cycle)):
            self.cycle = earlier
            self._take_slowly(parts)
            super().on_message_complete()

    def _may_be_short(self) -> bool:
        url, cycle = self.url, self.cycle
        return (
            (url == _URL or url.startswith(_URL + b"?"))
            and b"#" not in url
            and (cycle is None or cycle.response_complete)
            and not self.pipeline
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )

    def _take_slowly(self, parts: list[bytes]) -> None:
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _answer_to(self, work: Any) -> Any:
        def respond(status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
            if work.disconnected or self.transport.is_closing():
                return
            work.response_complete = True
            fields = headers if work.keep_alive else [*headers, (b"connection", b"close")]
            more = b"".join([b"%b: %b\r\n" % field for field in fields]) if fields else b""
            head = _common.lines(self.server_state.default_headers)
            self.transport.write_all(  # type: ignore[attr-defined]
                b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], head, len(body), more, body)
            )
            if not work.keep_alive:
                self.transport.close()
            self.on_response_complete()

        return respond


class _CommonHead:
    """The header lines that every answer has. uvicorn makes its own anew each second, for the date."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def lines(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if fields is not self._fields:
            self._lines = b"".join(b"%b: %b\r\n" % field for field in (*fields, CONTENT_TYPE))
            self._fields = fields
        return self._lines


_common = _CommonHead()


class _AtWork:
    """What uvicorn and `BoundedHttp` ask of a request at work, for one that has no task."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    more_body = response_started = False

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False

    @property
    def message_event(self) -> "_AtWork":
        return self

    def set(self) -> None:
        """Nobody waits: there is no task."""
