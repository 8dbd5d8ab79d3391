"""An audit event for each request of a web application: ASGI and WSGI.

The event is recorded once the answer has ended, or failed: who (as the application says), what (`GET /invoices/7`),
with what outcome, from where. Query strings, bodies and headers are never recorded: secrets stand there.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from time import perf_counter
from typing import Any

from graven.core.errors import GravenError
from graven.programs.recorder import Recorder, event_fields

Details = Callable[[Any], Mapping[str, Any] | None]
"""(ASGI scope or WSGI environ, after the answer) -> more of the event: actor, targets, …; None: record nothing."""

_VERBS = {"GET": "read", "HEAD": "read", "POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
_TEXT_CHARS_MAX = 1_024

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AuditASGI:
    """ASGI middleware. `details` may read what the application left in the scope, such as the user."""

    def __init__(self, app: Any, recorder: Recorder, *, details: Details | None = None) -> None:
        self._app, self._recorder, self._details = app, recorder, details

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status, failed = perf_counter(), 0, ""

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
            client = scope.get("client")
            event = request_event(
                scope["method"], scope["path"], status, failed,
                ip=client[0] if client else None, user_agent=headers.get(b"user-agent"),
                request_id=headers.get(b"x-request-id"), took_s=perf_counter() - started_s,
            )  # fmt: skip
            _record(self._recorder, self._details, scope, event)


class AuditWSGI:
    """WSGI middleware. `details` may read what the application left in the environ, such as REMOTE_USER."""

    def __init__(self, app: Any, recorder: Recorder, *, details: Details | None = None) -> None:
        self._app, self._recorder, self._details = app, recorder, details

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        watch = _Watch(self._recorder, self._details, environ)

        def started(status: str, *more: Any) -> Any:
            watch.status = int(status[:3]) if status[:3].isdecimal() else 0
            return start_response(status, *more)

        try:
            answer = self._app(environ, started)
        except BaseException as error:
            watch.end(type(error).__name__)
            raise
        return _Answer(answer, watch)


class _Watch:
    """One WSGI request; its event is recorded once."""

    def __init__(self, recorder: Recorder, details: Details | None, environ: dict[str, Any]) -> None:
        self._recorder, self._details, self._environ = recorder, details, environ
        self._started_s = perf_counter()
        self._ended = False
        self.status = 0

    def end(self, failed: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        environ = self._environ
        event = request_event(
            environ.get("REQUEST_METHOD", ""), environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            self.status, failed, ip=environ.get("REMOTE_ADDR"), user_agent=environ.get("HTTP_USER_AGENT"),
            request_id=environ.get("HTTP_X_REQUEST_ID"), took_s=perf_counter() - self._started_s,
        )  # fmt: skip
        _record(self._recorder, self._details, environ, event)


class _Answer:
    """The body of a WSGI answer, watched to its end."""

    def __init__(self, answer: Iterable[bytes], watch: _Watch) -> None:
        self._answer, self._watch = answer, watch

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer
        except BaseException as error:
            self._watch.end("" if isinstance(error, GeneratorExit) else type(error).__name__)
            raise
        self._watch.end()

    def close(self) -> None:
        try:
            if callable(close := getattr(self._answer, "close", None)):
                close()
        finally:
            self._watch.end()


def request_event(
    method: str,
    path: str,
    status: int,
    failed: str,
    *,
    ip: str | None,
    user_agent: str | None,
    request_id: str | None,
    took_s: float,
) -> dict[str, Any]:
    """The event of one request. `failed` names the error that ended it, "" when none did."""
    shown = path.encode("utf-8", "backslashreplace").decode()[:_TEXT_CHARS_MAX]
    if failed or status >= 500 or not status:
        outcome = "failure"
    elif status in (401, 403):
        outcome = "denied"
    else:
        outcome = "success" if status < 400 else "failure"
    origin = {"ip": ip, "user_agent": user_agent[:_TEXT_CHARS_MAX] if user_agent else None}
    event: dict[str, Any] = {
        "action": f"{method[:32]} {shown}",
        "verb": _VERBS.get(method, "other"),
        "category": "data",
        "targets": [{"type": "http.path", "id": shown}],
        "outcome": outcome,
        "reason": failed or (f"status {status}" if outcome != "success" else None),
        "origin": {key: value for key, value in origin.items() if value},
        "data": {"status": status, "duration_ms": round(took_s * 1000, 3)},
    }
    if request_id:
        event["correlation"] = {"request_id": request_id[:256]}
    return event


def _record(recorder: Recorder, details: Details | None, request: Any, event: dict[str, Any]) -> None:
    """Never in the way of the answer: what goes wrong here is logged by the recorder's own means."""
    try:
        given: Mapping[str, Any] | None = {}
        if details is not None and (given := details(request)) is None:
            return
        recorder.record(event_fields(given, event))
    except (GravenError, ValueError, TypeError, KeyError, AttributeError) as error:
        recorder.note_fault(error)
