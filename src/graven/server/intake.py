"""`POST /api/v1/events`: the way in. Raw ASGI, in front of the router: this is the hot path.

    who asks → how they ask → the body, bounded → the clock, once → the events → the writer's queue → its answer

Decoding happens here, on the loop's thread, unless the body is large. Nothing is acknowledged before the writer says
that it is durable, and a request is either wholly in one frame or wholly refused.

There are two ways through. A request whose bytes are all there is taken in one turn of the loop (`take_now`, called by
`server/express.py`). Any other has a task that waits: for the rest of its body, for a thread, for a checkpoint.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from graven.app import Log
from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.event import Parsed, parse_body
from graven.ingest.protocol.compressed import ENCODINGS
from graven.log.registers import Source
from graven.log.types import Committed
from graven.log.writer import Answer, Done
from graven.runtime.telemetry import get_logger
from graven.server.access import Access, Principal, unauthenticated
from graven.server.answers import JSON, AnswerWriter, Full, Reached, Refused, format_error, reason_of, status_of
from graven.server.body import LARGE_BYTES, ClientGone, Share, read_body, unpack_body
from graven.server.live import Live

PATH = "/api/v1/events"

_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Respond = Callable[[int, bytes, list[tuple[bytes, bytes]]], None]
"""Takes an answer: its status, its body, the headers beside content type and length."""

logger = get_logger("intake")


class Options(msgspec.Struct, frozen=True):
    """How a request wants to be treated: its query."""

    full: bool = False
    wait: str = "committed"
    on_invalid: str = "refuse"
    source: str | None = None


class _Head(msgspec.Struct):
    """The headers that matter here."""

    authorization: bytes | None = None
    content_type: str = ""
    encoding: str = ""
    length: int | None = None
    chunked: bool = False


class _Asked(NamedTuple):
    """A request that was let in: the log, the source it appends as, how it wants to be treated."""

    log: Log
    source: Source
    options: Options


class Intake:
    """The ASGI application of the way in, for one door."""

    def __init__(self, live: Live, access: Access) -> None:
        self._live, self._access = live, access
        self._answers = AnswerWriter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            status, body, headers = 200, await self._take(scope, receive), _NO_HEADERS
        except ClientGone:
            self._live.metrics.refused.add(1, "gone")
            return
        except Exception as error:
            status, body, headers = self._refuse(error)
        self._live.metrics.requests.add(1, PATH, str(status))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [CONTENT_TYPE, (b"content-length", b"%d" % len(body)), *headers],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def take_now(self, scope: dict[str, Any], body: bytes, respond: Respond) -> bool:
        """Take a request that is all there, without a task. `respond` is called once, now or after the commit.

        False, and nothing has happened: it is one that must wait (see `__call__`).
        """
        live, bytes_max = self._live, min(LARGE_BYTES, self._live.config.intake.max_request_bytes)
        asked: _Asked | None = None
        try:
            head = _read_head(scope["headers"])
            if head.encoding or head.length is None or len(body) > bytes_max or not live.allowance.has_room(len(body)):
                return False
            asked = self._admit(scope, head)
            if asked.options.wait != "committed":
                return False
            received_us = asked.log.clock.now_us()
            parsed = parse_body(body, head.content_type, on_invalid=asked.options.on_invalid)
            queued_s = perf_counter()

            def done(answer: Answer) -> None:
                if isinstance(answer, GravenError):
                    status, text, headers = self._refuse(answer)
                else:
                    status, text, headers = 200, self._answers.write(answer, _COMMITTED), _NO_HEADERS
                respond(status, text, headers)  # first: the client waits, the counters do not
                self._live.metrics.requests.add(1, PATH, str(status))
                if isinstance(answer, Committed):
                    self._count(answer, parsed, asked, received_us, len(body), perf_counter() - queued_s)

            self._submit(asked, parsed, received_us, done)
        except Exception as error:
            if asked is not None:
                self._note_refused(asked, error)
            status, text, headers = self._refuse(error)
            self._live.metrics.requests.add(1, PATH, str(status))
            respond(status, text, headers)
        return True

    async def _take(self, scope: dict[str, Any], receive: Receive) -> bytes:
        live, head = self._live, _read_head(scope["headers"])
        asked = self._admit(scope, head)
        share = Share(live.allowance)
        try:
            body = await read_body(receive, head.length, bytes_max=live.config.intake.max_request_bytes, share=share)
            received_us = asked.log.clock.now_us()
            if head.encoding:
                body = await unpack_body(
                    body, head.encoding, bytes_max=live.config.intake.max_request_bytes, share=share, pool=live.parses
                )
            parsed = await self._parse(body, head.content_type, asked.options.on_invalid)
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            live.taking()
            queued_s = perf_counter()
            self._submit(asked, parsed, received_us, partial(_settle, answer))
        except BadInput as error:
            self._note_refused(asked, error)
            raise
        finally:
            share.give_back()
        committed = await answer
        if isinstance(committed, GravenError):
            raise committed
        self._count(committed, parsed, asked, received_us, len(body), perf_counter() - queued_s)
        return self._answers.write(committed, await live.reach(asked.log, committed.size, asked.options.wait))

    def _admit(self, scope: dict[str, Any], head: "_Head") -> "_Asked":
        """Who asks, how, and as which source. Raises what refuses the request before its body is read."""
        if scope["method"] != "POST":
            raise Refused(405, "events are appended with POST", reason="method", headers={"Allow": "POST"})
        log = self._live.taking()
        principal = self._access.who(log, scope, head.authorization)
        if principal is None:
            raise unauthenticated()
        options = parse_options(scope["query_string"])
        source = _source(log, principal, options.source)
        if options.wait == "timestamped" and not log.anchoring.may_stamp:
            raise Refused(
                400, "this log has no time authority to ask", reason="bad_query",
                mend="wait=published; or, its operator: [authorities.NAME] url, ca_file in graven.toml",
            )  # fmt: skip
        if head.length is None and not head.chunked:
            raise Refused(411, "the request has no body", reason="no_length", mend="send Content-Length, or chunks")
        return _Asked(log, source, options)

    def _submit(self, asked: "_Asked", parsed: Parsed, received_us: int, done: Done) -> None:
        """Into the writer's queue. Raises Full, or why an event may not stand in its class."""
        batch = asked.log.batch(parsed, source=asked.source.name, full=asked.options.full, received_us=received_us)
        try:
            asked.log.submit(batch, done)
        except Busy as error:
            raise Full(error.what, retry_after_s=error.retry_after_s, mend=error.mend) from None

    async def _parse(self, body: bytes, content_type: str, on_invalid: str) -> Parsed:
        if len(body) <= LARGE_BYTES:
            return parse_body(body, content_type, on_invalid=on_invalid)
        work = partial(parse_body, body, content_type, on_invalid=on_invalid)
        return await asyncio.get_running_loop().run_in_executor(self._live.parses, work)

    def _count(
        self, committed: Committed, parsed: Parsed, asked: "_Asked", received_us: int, size: int, took_s: float
    ) -> None:
        self._live.count(
            asked.source.name, committed, events=parsed.slices, size_bytes=size, received_us=received_us,
            quarantined=len(parsed.quarantined) if parsed.raws is not None else 0, took_s=took_s,
        )  # fmt: skip

    def _note_refused(self, asked: "_Asked", error: Exception) -> None:
        """What a source sent was refused for what was in it, if that is why."""
        if isinstance(error, BadInput):
            self._live.activity.refused(asked.source.name, asked.log.clock.now_us())

    def _refuse(self, error: Exception) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if not isinstance(error, GravenError):
            logger.error("the intake failed", exc_info=error)
            error = Broken(f"the intake failed: {type(error).__name__}")
        self._live.metrics.refused.add(1, reason_of(error))
        body, headers = format_error(error)
        status = status_of(error)
        if status == 500:  # our storage stopped: the caller's events are as good as before, elsewhere or later
            status = 503
        return status, body, [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


@lru_cache(maxsize=256)
def parse_options(query: bytes) -> Options:
    """The query of a request. Raises Refused (400) for a key or value that is not known, or one given twice."""
    if not query:
        return _DEFAULTS
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise _bad_query("the query cannot be read") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise _bad_query("a key stands twice in the query")
    for key, value in pairs:
        allowed = _QUERY.get(key)
        if allowed is None or not (_SOURCE.fullmatch(value) if key == "source" else value in allowed):
            raise _bad_query(f"the query says {key[:64]!r} = {value[:64]!r}")
    return Options(
        full=given.get("receipt") == "full",
        wait=given.get("wait", "committed"),
        on_invalid=given.get("on_invalid", "refuse"),
        source=given.get("source"),
    )


_DEFAULTS = Options()
_COMMITTED = Reached("committed")
_QUERY: dict[str, tuple[str, ...]] = {
    "receipt": ("note", "full"),
    "wait": ("committed", "published", "timestamped"),
    "on_invalid": ("refuse", "quarantine"),
    "source": (),
}
CONTENT_TYPE = (b"content-type", JSON)
_NO_HEADERS: list[tuple[bytes, bytes]] = []


def _read_head(headers: list[tuple[bytes, bytes]]) -> _Head:
    """Raises Refused: an encoding that is not known (415), two tokens (401)."""
    head = _Head()
    for name, value in headers:
        match name:
            case b"authorization":
                if head.authorization is not None:
                    raise unauthenticated()
                head.authorization = value
            case b"content-type":
                head.content_type = value.decode("latin-1")
            case b"content-length":
                head.length = int(value)
            case b"transfer-encoding":
                head.chunked = True
            case b"content-encoding":
                head.encoding = _encoding(value)
            case _:
                pass
    return head


def _encoding(value: bytes) -> str:
    encoding = value.strip().lower().decode("latin-1")
    if encoding in ("", "identity"):
        return ""
    if encoding not in ENCODINGS:
        raise Refused(
            415, f"the encoding {encoding[:40]!a} is not known", reason="bad_encoding",
            mend="gzip, zstd, or none", headers={"Accept-Encoding": ", ".join(ENCODINGS)},
        )  # fmt: skip
    return encoding


def _source(log: Log, principal: Principal, asked: str | None) -> Source:
    name = principal.source(asked)
    source = log.registers.sources.get(name)
    if source is None or source.retired:
        raise Refused(403, f"the source {name!r} is not registered, or was retired", reason="forbidden")
    return source


def _bad_query(what: str) -> Refused:
    return Refused(
        400, what, reason="bad_query",
        mend="receipt=full, wait=committed|published|timestamped, on_invalid=refuse|quarantine, source=NAME",
    )  # fmt: skip


def _settle(answer: "asyncio.Future[Answer]", value: Answer) -> None:
    if not answer.done():
        answer.set_result(value)
