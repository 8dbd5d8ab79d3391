"""What all shippers' doors share, raw ASGI:

    path → protocol → who asks → the body, bounded, clear → the clock, once → records → events → the queue → its answer

Nothing is acknowledged before it is durable. A record that cannot be read is kept in quarantine and costs no other; so
a request is refused only as a whole, for what is wrong with it as a whole, and every refusal is said in the protocol's
own words. What the protocol has no room for stands in headers of ours.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from graven.app import Log
from graven.core.errors import Broken, Busy, GravenError
from graven.ingest.protocol.compressed import ENCODINGS
from graven.ingest.protocol.credential import as_bearer
from graven.ingest.protocol.delivery import Delivery, TooMany
from graven.ingest.record import Normalised
from graven.log.registers import Source
from graven.log.types import Batch, Committed
from graven.log.writer import Answer
from graven.runtime.telemetry import get_logger
from graven.server.access import Access, Principal, unauthenticated
from graven.server.answers import Refused, reason_of
from graven.server.body import ClientGone, Receive, Share, read_body, unpack_body
from graven.server.live import Live
from graven.server.protocol import HANG_UP
from graven.server.shippers.call import Call, Outcome, Parcel, Reply, Route, parse_query

Send = Callable[[dict[str, Any]], Any]

_INLINE_BYTES_MAX = 128 << 10  # a body beyond that is taken apart on another thread,
_INLINE_LONG_BYTES_MAX = 512 << 10  # unless, up to here, it has so few lines and objects that a thread is not worth it
_INLINE_MARKS_MAX = 5_000
_ENCODINGS = {"x-gzip": "gzip", "identity": "", "snappy": "", **{name: name for name in ENCODINGS}}
_SOURCE_HEADER = "graven-source"

logger = get_logger("shippers")


class ShippersDoor:
    """The ASGI application of every shippers' protocol. `find` knows which paths are theirs."""

    def __init__(self, live: Live, access: Access, find: Callable[[str], Route | None]) -> None:
        self._live, self._access, self.find = live, access, find

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        route = self.find(scope["path"])
        assert route is not None
        live, shipper = self._live, route.shipper
        call = Call(scope["method"], scope["path"], scope["headers"], _headers(scope["headers"]), {})
        try:
            reply = await self._answer(route, call, scope, receive)
        except GravenError as error:
            reply = self._refuse(route, call, error)
        except ClientGone:
            live.metrics.refused.add(1, "gone")
            return
        except Exception as error:
            logger.error("a shippers' door failed", exc_info=error, extra={"fields": {"door": shipper.name}})
            reply = self._refuse(route, call, Broken(f"the door failed: {type(error).__name__}"))
        live.metrics.requests.add(1, shipper.name, str(reply.status))
        if reply.hang_up and (hang_up := scope.get("extensions", {}).get(HANG_UP)) is not None:
            hang_up()
            return
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    *([(b"content-type", reply.content_type)] if reply.body else []),
                    *([] if reply.status == 204 else [(b"content-length", b"%d" % len(reply.body))]),
                    *reply.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    def _refuse(self, route: Route, call: Call, error: GravenError) -> Reply:
        self._live.metrics.refused.add(1, reason_of(error))
        reply = route.shipper.refuse(call, error)
        extra = [(b"retry-after", b"%d" % error.retry_after_s)] if isinstance(error, Busy) else []
        if isinstance(error, Refused):
            extra += [(name.lower().encode(), value.encode("latin-1")) for name, value in error.headers.items()]
        return Reply(reply.status, reply.body, reply.content_type, [*reply.headers, *extra], reply.hang_up)

    async def _answer(self, route: Route, call: Call, scope: dict[str, Any], receive: Receive) -> Reply:
        live = self._live
        call.query = parse_query(scope["query_string"])
        principal: Principal | None = None
        if route.needs_token:
            principal = self._who(call, scope)
        if call.method in ("GET", "HEAD"):
            found = route.shipper.take(call)
            if isinstance(found, Reply):
                return found
            raise Refused(405, "records are sent with POST", reason="method", headers={"Allow": "POST"})
        share = Share(live.allowance)
        try:
            call.body = await self._body(call, receive, share)
            log = live.taking()
            received_us = log.clock.now_us()
            name = principal.source(call.headers.get(_SOURCE_HEADER)) if principal else _signer(route)(call)
            source = _source(log, name)
            if _is_quick(call.body):
                parcel, normalised = self._events(route, call)
            else:
                work = partial(self._events, route, call)
                parcel, normalised = await asyncio.get_running_loop().run_in_executor(live.parses, work)
            if isinstance(parcel, Reply):
                return parcel
            if not normalised:
                return parcel.reply(Outcome((), None))
            batch, unallowed = batch_of(normalised, source, received_us, parcel.delivery)
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            live.taking()
            queued_s = perf_counter()
            log.submit(batch, partial(_settle, answer))
        finally:
            share.give_back()
        committed = await answer
        if isinstance(committed, GravenError):
            raise committed
        quarantined = sum([1 for one in normalised if one.quarantined])
        live.count(
            source.name, committed, events=batch.events, size_bytes=len(call.body), received_us=received_us,
            quarantined=quarantined, took_s=perf_counter() - queued_s,
        )  # fmt: skip
        reply = parcel.reply(Outcome(normalised, committed))
        return Reply(
            reply.status, reply.body, reply.content_type, [*reply.headers, *_receipt(committed, quarantined, unallowed)]
        )

    def _who(self, call: Call, scope: dict[str, Any]) -> Principal:
        given = [value for name, value in call.fields if name == b"authorization"]
        if len(given) > 1:
            raise unauthenticated()
        principal = self._access.who(self._live.opened(), scope, as_bearer(given[0] if given else None))
        if principal is None:
            raise unauthenticated()
        call.token_id = str(principal.actor.get("id", ""))
        return principal

    async def _body(self, call: Call, receive: Receive, share: Share) -> bytes:
        """The clear body. Raises Refused (411, 413, 415, 400), Full, ClientGone."""
        length = call.headers.get("content-length")
        if length is None and "transfer-encoding" not in call.headers:
            raise Refused(411, "the request has no body", reason="no_length", mend="send Content-Length, or chunks")
        encoding = _ENCODINGS.get(call.headers.get("content-encoding", "").strip().lower() or "identity")
        if encoding is None:
            raise Refused(
                415, "the encoding of the body is not known", reason="bad_encoding", mend="gzip, zstd, or none",
                headers={"Accept-Encoding": ", ".join(ENCODINGS)},
            )  # fmt: skip
        bytes_max = self._live.config.intake.max_request_bytes
        body = await read_body(receive, None if length is None else int(length), bytes_max=bytes_max, share=share)
        if not encoding:
            return body
        return await unpack_body(body, encoding, bytes_max=bytes_max, share=share, pool=self._live.parses)

    def _events(self, route: Route, call: Call) -> tuple[Parcel | Reply, list[Normalised]]:
        try:
            parcel = route.shipper.take(call)
        except TooMany as error:
            raise Refused(413, error.what, reason="too_large", mend=error.mend) from None
        if isinstance(parcel, Reply):
            return parcel, []
        return parcel, self._live.pipeline.run(parcel.delivery.records)


def batch_of(
    normalised: Sequence[Normalised], source: Source, received_us: int, delivery: Delivery | None = None
) -> tuple[Batch, int]:
    """(the batch, how many events asked for a class their source may not use: they get the source's own).

    `delivery`: what the records came in, which may know a repeat of one whose event has no id.
    """
    classes: str | list[str] = source.class_name
    unallowed = 0
    asked = [one.class_ for one in normalised]
    if asked.count(None) < len(asked):
        allowed = {source.class_name, *source.classes}
        unallowed = sum(1 for name in asked if name and name not in allowed)
        classes = [name if name in allowed and name else source.class_name for name in asked]
    raws: list[bytes | None] | None = [one.raw for one in normalised]
    if raws is not None and raws.count(None) == len(raws):
        raws = None
    return Batch(
        [one.event for one in normalised], ids_of(normalised, delivery), source.number, received_us, classes, raws
    ), unallowed


def ids_of(normalised: Sequence[Normalised], delivery: Delivery | None) -> list[str | None]:
    """What tells each event from a repeat: its own id, else the key of its record; None for nothing."""
    ids = [one.id for one in normalised]
    if delivery is not None and None in ids and (keys := delivery.keys):
        return [id_ or _key(keys, normalised, at) for at, id_ in enumerate(ids)]
    return ids


def _key(keys: Sequence[str], normalised: Sequence[Normalised], at: int) -> str | None:
    """The key of an event's record; of several events of one record each has its own."""
    position = normalised[at].position
    key = keys[position]
    if not key:
        return None
    first = at
    while first and normalised[first - 1].position == position:
        first -= 1
    return key if at == first else f"{key}+{at - first}"


def _receipt(committed: Committed, quarantined: int, unallowed: int) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"graven-accepted", b"%d" % committed.accepted),
        (b"graven-size", b"%d" % committed.size),
        (b"graven-receipt", base64.b64encode(committed.receipt)),
    ]
    if committed.first_index is not None:
        headers.append((b"graven-first-index", b"%d" % committed.first_index))
    if committed.duplicates:
        headers.append((b"graven-duplicates", b"%d" % len(committed.duplicates)))
    if quarantined:
        headers.append((b"graven-quarantined", b"%d" % quarantined))
    if unallowed:
        headers.append((b"graven-class-not-allowed", b"%d" % unallowed))
    return headers


def _is_quick(body: bytes) -> bool:
    """Whether the loop may take it apart itself, in a few milliseconds."""
    size = len(body)
    return size <= _INLINE_BYTES_MAX or (
        size <= _INLINE_LONG_BYTES_MAX and body.count(b"\n") + body.count(b"{") <= _INLINE_MARKS_MAX
    )


def is_cloudevent(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request to the native API's path holds a CloudEvent."""
    for name, value in fields:
        if name == b"content-type" and value[:23].lower() == b"application/cloudevents":
            return True
        if name == b"ce-specversion":
            return True
    return False


def _headers(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}


def _signer(route: Route) -> Callable[[Call], str]:
    assert route.source is not None
    return route.source


def _source(log: Log, name: str) -> Source:
    source = log.registers.sources.get(name)
    if source is None or source.retired:
        raise Refused(403, f"the source {name!r} is not registered, or was retired", reason="forbidden")
    return source


def _settle(answer: "asyncio.Future[Answer]", value: Answer) -> None:
    if not answer.done():
        answer.set_result(value)
