"""Programs record what they do, through a real server: logging, ASGI, WSGI, decorated functions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from agent.agents import records
from graven.programs import AuditASGI, AuditHandler, AuditWSGI, Recorder, audited
from server.running import Server


def events(server: Server, recorder: Recorder) -> list[dict[str, Any]]:
    recorder.flush()
    return [event for event, _ in records(server.directory, "app-spool")]


def test_log_records(server: Server, recorder: Recorder) -> None:
    logger = logging.getLogger("billing.audit")
    handler = AuditHandler(recorder)
    logger.addHandler(handler)
    try:
        logger.warning("invoice %d approved", 7, extra={"audit": {"action": "invoice.approve", "actor": {"id": "ann"}}})
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("went wrong")
        logging.getLogger("graven.client").addHandler(handler)
        logging.getLogger("graven.client").warning("events wait")
    finally:
        logger.removeHandler(handler)
        logging.getLogger("graven.client").removeHandler(handler)
    first, second = events(server, recorder)
    assert (first["action"], first["actor"], first["message"]) == (
        "invoice.approve", {"id": "ann"}, "invoice 7 approved",
    )  # fmt: skip
    assert (first["severity"], first["labels"]["logger"]) == ("medium", "billing.audit")
    assert (second["action"], second["outcome"], second["reason"]) == ("billing.audit", "failure", "KeyError")


def test_what_is_no_event_never_raises_into_the_program(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("bad.audit")
    logger.addHandler(AuditHandler(recorder))
    logger.error("x", extra={"audit": {"verb": "no such verb"}})
    assert "no such verb" in capsys.readouterr().err


def test_asgi(server: Server, recorder: Recorder) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError
        scope["user"] = "ann"
        status = {"/secret": 403, "/none": 404}.get(scope["path"], 200)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def details(scope: Any) -> dict[str, Any] | None:
        return None if scope["path"] == "/health" else {"actor": {"id": scope.get("user", "nobody")}}

    wrapped = AuditASGI(app, recorder, details=details)

    async def ask(method: str, path: str) -> None:
        scope = {
            "type": "http", "method": method, "path": path, "client": ("10.0.0.7", 1), "query_string": b"token=s3cret",
            "headers": [(b"user-agent", b"curl/8"), (b"x-request-id", b"r-1"), (b"authorization", b"Bearer s3cret")],
        }  # fmt: skip

        async def send(_: Any) -> None: ...

        receive: Callable[[], Awaitable[Any]] = asyncio.Event().wait
        await wrapped(scope, receive, send)

    asyncio.run(ask("DELETE", "/invoices/7"))
    asyncio.run(ask("GET", "/secret"))
    asyncio.run(ask("GET", "/health"))
    asyncio.run(ask("GET", "/none\udcff\n"))
    with pytest.raises(RuntimeError):
        asyncio.run(ask("POST", "/broken"))
    found = events(server, recorder)
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("DELETE /invoices/7", "success"),
        ("GET /secret", "denied"),
        ("GET /none\\udcff\n", "success"),
        ("POST /broken", "failure"),
    ]
    assert found[0]["origin"] == {"ip": "10.0.0.7", "user_agent": "curl/8"}
    assert found[0]["correlation"] == {"request_id": "r-1"}
    assert found[0]["actor"] == {"id": "ann"}
    assert "s3cret" not in str(found)


def test_wsgi(server: Server, recorder: Recorder) -> None:
    closed: list[str] = []

    class Body:
        def __iter__(self) -> Any:
            yield b"a"
            yield b"b"

        def close(self) -> None:
            closed.append("yes")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError
        start_response("201 Created", [])
        return Body()

    wrapped = AuditWSGI(app, recorder)

    def ask(path: str) -> Iterable[bytes]:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "REMOTE_ADDR": "::1", "QUERY_STRING": "token=s3cret"}
        return wrapped(environ, lambda *_: None)

    answer = ask("/invoices")
    assert b"".join(answer) == b"ab"
    answer.close()  # type: ignore[attr-defined]
    half = ask("/half")
    next(iter(half))
    half.close()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        ask("/broken")
    found = events(server, recorder)
    assert [(one["action"], one["outcome"], one["data"]["status"]) for one in found] == [
        ("POST /invoices", "success", 201),
        ("POST /half", "success", 201),
        ("POST /broken", "failure", 0),
    ]
    assert closed == ["yes", "yes"]


def test_functions(server: Server, recorder: Recorder) -> None:
    @audited(recorder, "user.delete", verb="delete", details=lambda user: {"targets": [{"type": "user", "id": user}]})
    def delete(user: str) -> str:
        if user == "root":
            raise PermissionError("never")
        return user.upper()

    @audited(recorder, "report.make")
    async def make() -> int:
        raise ValueError

    @audited(recorder, "odd", details=lambda: {"verb": "no such verb"})
    def odd() -> int:
        return 7

    assert delete("ann") == "ANN"
    with pytest.raises(PermissionError):
        delete("root")
    with pytest.raises(ValueError):
        asyncio.run(make())
    assert odd() == 7
    found = events(server, recorder)
    assert [(one["action"], one.get("verb"), one["outcome"], one.get("reason")) for one in found[:3]] == [
        ("user.delete", "delete", "success", None),
        ("user.delete", "delete", "denied", "PermissionError"),
        ("report.make", None, "failure", "ValueError"),
    ]
    assert recorder.lost == 1
    assert delete.__name__ == "delete"
