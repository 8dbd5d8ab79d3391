"""The two doors: an ASGI application for TCP, and another for the control socket.

They share endpoints and nothing else: each has its own way of knowing who asks, and only the control socket's has the
control endpoints. Appending stands in front of the router, because it is the hot path.
"""

from collections.abc import Sequence
from typing import Any

from graven.server import control, events, health, openapi, tlog
from graven.server.access import Access, ControlAccess, TokenAccess, TokenUses
from graven.server.intake import PATH, Intake, Receive, Send
from graven.server.live import Live
from graven.server.register import Register
from graven.server.routes import Endpoint, build_app


class Door:
    """One ASGI application."""

    def __init__(self, live: Live, access: Access, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._intake = Intake(live, access)
        self._rest: Any = build_app(live, access, self.endpoints)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == PATH:
            await self._intake(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


def network_door(live: Live, access: TokenAccess) -> Door:
    """For TCP: bearer tokens."""
    return Door(live, access, _shared(access.uses, public=live.config.server.public_log))


def control_door(live: Live, uses: TokenUses) -> Door:
    """For the control socket: whoever the kernel let through administers the log."""
    return Door(live, ControlAccess(), (*_shared(uses, public=True), *control.ENDPOINTS))


def _shared(uses: TokenUses, *, public: bool) -> tuple[Endpoint, ...]:
    return (
        *events.ENDPOINTS,
        *health.ENDPOINTS,
        *Register(uses).endpoints(),
        *tlog.endpoints(public=public),
        openapi.ENDPOINT,
    )
