"""From a table of endpoints to an ASGI application, on Starlette's router.

An endpoint is a function from `Ask` to a response. It runs on a thread of the bounded read pool, unless it only looks
at memory (`inline`). Who asks, what they may, the query, the body and every error are dealt with here, for all alike.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from graven.app import Log
from graven.core.errors import BadInput, Broken, GravenError
from graven.runtime.telemetry import get_logger
from graven.server.access import Access, Principal, unauthenticated
from graven.server.answers import Refused, format_error, status_of
from graven.server.body import ClientGone, Receive, Share, read_body
from graven.server.live import Live

BODY_BYTES_MAX = 64 << 10

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"

Values = tuple[str, ...]
NUMBER: Values = ()
_DIGITS_MAX = 15

T = TypeVar("T")
logger = get_logger("http")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, as an endpoint sees it. `principal` is None for nobody in particular."""

    live: Live
    principal: Principal | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""

    @property
    def log(self) -> Log:
        """Raises Busy while it is being opened."""
        return self.live.opened()

    @property
    def actor(self) -> Mapping[str, object] | None:
        """How the audit log names who asks."""
        return self.principal.actor if self.principal is not None else None

    def number(self, key: str, default: int) -> int:
        """A number of the query."""
        return int(self.query.get(key, default))

    def document(self, kind: type[T]) -> T:
        """The JSON body. Raises BadInput with its path."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(
                "the body is not what this takes", place=str(error), mend="see /api/v1/openapi.json"
            ) from None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `scope` None: open to anybody. `query` maps the keys it knows to their values; NUMBER is
    any number."""

    method: str
    path: str
    answer: Callable[[Ask], Response]
    scope: str | None = None
    query: Mapping[str, Values] | None = None
    inline: bool = False
    knows_callers: bool = True
    body_bytes_max: int = BODY_BYTES_MAX


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that no cache keeps."""
    body = document if isinstance(document, bytes) else msgspec.json.encode(document) + b"\n"
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, JSON)


def error_response(error: GravenError) -> Response:
    body, headers = format_error(error)
    return json_response(body, status_of(error), headers)


def build_app(live: Live, access: Access, endpoints: Sequence[Endpoint]) -> Starlette:
    """The ASGI application of these endpoints."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in endpoints:
        by_path[endpoint.path][endpoint.method] = endpoint
    app = Starlette(
        routes=[
            _Route(path, partial(_serve, live, access, methods), methods=list(methods))
            for path, methods in by_path.items()
        ],
        exception_handlers={HTTPException: partial(_no_route, live)},
    )
    app.router.redirect_slashes = False
    return app


class _Route(Route):
    """A route whose path is all there is: Starlette's own takes `/metrics%0a` for `/metrics`, as no proxy would."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE, {}) if scope["path"].endswith("\n") else super().matches(scope)


async def _serve(live: Live, access: Access, methods: Mapping[str, Endpoint], request: Request) -> Response:
    endpoint = methods["GET" if request.method == "HEAD" else request.method]
    try:
        response = await _answer(live, access, endpoint, request)
    except GravenError as error:
        if status_of(error) == 500:
            logger.error("a request failed", extra={"fields": {"route": endpoint.path, "why": str(error)}})
        response = error_response(error)
    except ClientGone:
        response = Response(status_code=499)
    except Exception as error:
        logger.error("a request failed", exc_info=error, extra={"fields": {"route": endpoint.path}})
        response = error_response(Broken(f"the request failed: {type(error).__name__}"))
    live.metrics.requests.add(1, endpoint.path, str(response.status_code))
    return response


async def _answer(live: Live, access: Access, endpoint: Endpoint, request: Request) -> Response:
    principal = None
    if endpoint.knows_callers:
        tokens = request.headers.getlist("authorization")
        if len(tokens) > 1:
            raise unauthenticated()
        principal = access.who(live.opened(), request.scope, tokens[0].encode("latin-1") if tokens else None)
        if endpoint.scope is not None:
            if principal is None:
                raise unauthenticated()
            principal.check(endpoint.scope)
    query = _query(request, endpoint.query or {})
    if endpoint.method in ("POST", "PATCH"):
        share = Share(live.allowance)
        try:
            bytes_max = min(endpoint.body_bytes_max, live.config.intake.max_request_bytes)
            body = await read_body(_receive(request), _length(request), bytes_max=bytes_max, share=share)
            ask = Ask(live, principal, request.path_params, query, body)
            return endpoint.answer(ask) if endpoint.inline else await live.reads.run(partial(endpoint.answer, ask))
        finally:
            share.give_back()
    ask = Ask(live, principal, request.path_params, query)
    return endpoint.answer(ask) if endpoint.inline else await live.reads.run(partial(endpoint.answer, ask))


def _query(request: Request, known: Mapping[str, Values]) -> dict[str, str]:
    given: dict[str, str] = {}
    for key, value in request.query_params.multi_items():
        if key not in known or not _is_one_of(value, known[key]) or key in given:
            allowed = "; ".join(f"{name}={'|'.join(values) or 'NUMBER'}" for name, values in known.items())
            raise BadInput(f"the query says {key[:64]!r} = {value[:64]!r}", mend=allowed or "this takes no query")
        given[key] = value
    return given


def _is_one_of(value: str, known: Values) -> bool:
    if known:
        return value in known
    return value.isascii() and value.isdecimal() and len(value) <= _DIGITS_MAX


def _length(request: Request) -> int | None:
    length = request.headers.get("content-length")
    return None if length is None else int(length)


def _receive(request: Request) -> Receive:
    receive: Any = request.receive
    return receive  # type: ignore[no-any-return]


async def _no_route(live: Live, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    live.metrics.requests.add(1, "none", str(error.status_code))
    if error.status_code == 405:
        headers = dict(error.headers or {})
        return error_response(Refused(405, "this path does not take that method", reason="method", headers=headers))
    return error_response(Refused(404, "there is nothing at this path", reason="path", mend="see /api/v1/openapi.json"))
