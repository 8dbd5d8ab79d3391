"""The two doors: an ASGI application for TCP, and another for the control socket.

They share endpoints and nothing else: each has its own way of knowing who asks, and only the control socket's has the
control endpoints. Appending stands in front of the router, because it is the hot path. Requests are logged at the level
`debug` only.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from graven.runtime.telemetry import get_logger
from graven.server import anchors, control, events, health, history, openapi, tlog
from graven.server.access import Access, ControlAccess, TokenAccess, TokenUses
from graven.server.agents import BATCHES_PATH, Agents, BatchDoor
from graven.server.challenges import Challenges
from graven.server.intake import PATH, Intake, Receive, Send
from graven.server.live import Live
from graven.server.register import Register
from graven.server.routes import Endpoint, build_app
from graven.server.shippers.call import Route
from graven.server.shippers.door import ShippersDoor, is_cloudevent
from graven.server.shippers.table import find_route
from graven.server.shippers.webhooks import Hook

logger = get_logger("http")


class Door:
    """One ASGI application."""

    def __init__(
        self,
        live: Live,
        access: Access,
        endpoints: Sequence[Endpoint],
        *,
        agents: Agents | None = None,
        find: Callable[[str], Route | None] | None = None,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._rest: Any = build_app(live, access, self.endpoints)
        self._intake = Intake(live, access)
        self._streams: dict[str, Any] = {PATH: self._intake}
        if agents is not None:
            self._streams[BATCHES_PATH] = BatchDoor(live, agents)
        self._shippers = ShippersDoor(live, access, find) if find is not None else None

    def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        app = self._app(scope)
        if logger.isEnabledFor(logging.DEBUG):
            return _logged(app, scope, receive, send)
        answering: Awaitable[None] = app(scope, receive, send)
        return answering

    def intake(self, scope: dict[str, Any]) -> Intake | None:
        """What takes a request that is all there without a task; None if none does."""
        if scope["path"] != PATH or logger.isEnabledFor(logging.DEBUG) or is_cloudevent(scope["headers"]):
            return None
        return self._intake

    def _app(self, scope: dict[str, Any]) -> Any:
        path, shippers = scope["path"], self._shippers
        stream = self._streams.get(path)
        if stream is not None:
            return shippers if path == PATH and shippers is not None and is_cloudevent(scope["headers"]) else stream
        return shippers if shippers is not None and shippers.find(path) is not None else self._rest


def network_door(live: Live, access: TokenAccess, hooks: Mapping[str, Hook] | None = None) -> Door:
    """For TCP: tokens, webhooks, which are signed, and the signatures of agents."""
    agents = Agents(live)
    shared = _shared(access.uses, public=live.config.server.public_log)
    find = find_route(
        origin=live.config.origin,
        types=live.pipeline.types,
        hooks=hooks or {},
        bytes_max=live.config.intake.max_request_bytes,
        now_s=lambda: live.opened().clock.now_us() / 1e6,
    )
    challenges = Challenges(live.config.server.auditors)
    endpoints = (*shared, *challenges.endpoints(), *agents.endpoints())
    return Door(live, access, endpoints, agents=agents, find=find)


def control_door(live: Live, uses: TokenUses) -> Door:
    """For the control socket: whoever the kernel let through administers the log."""
    return Door(live, ControlAccess(), (*_shared(uses, public=True), *control.ENDPOINTS))


async def _logged(app: Any, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One line a request: never its query, its headers or its body."""
    status = 0
    started_s = perf_counter()

    async def watched(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)

    await app(scope, receive, watched)
    took_ms = round((perf_counter() - started_s) * 1000, 3)
    client = scope["client"][0] if scope.get("client") else "control socket"
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": took_ms, "client": client}
    logger.debug("request", extra={"fields": fields})


def _shared(uses: TokenUses, *, public: bool) -> tuple[Endpoint, ...]:
    return (
        *events.ENDPOINTS,
        *history.ENDPOINTS,
        *health.ENDPOINTS,
        *Register(uses).endpoints(),
        *tlog.endpoints(public=public),
        *anchors.endpoints(public=public),
        openapi.ENDPOINT,
    )
