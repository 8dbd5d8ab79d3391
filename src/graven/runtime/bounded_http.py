"""HTTP/1.1 connections that may not stay for nothing: for small doors; the server's own have finer bounds.

h11 bounds the head of a request to 64 KiB.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BoundedHttp", "bounded_http"]


def bounded_http(*, connections_max: int, answer_s_max: float) -> "type[BoundedHttp]":
    """The protocol for a server of which so many connections may be open, each cut when nothing was answered on it for
    so long, whatever it does meanwhile.
    """
    return type("Http", (BoundedHttp,), {"connections_max": connections_max, "answer_s_max": answer_s_max})


class BoundedHttp(H11Protocol):
    """One connection."""

    connections_max: int
    answer_s_max: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wind()
        if len(self.connections) > self.connections_max:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def on_response_complete(self) -> None:
        self._wind()
        super().on_response_complete()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.answer_s_max, self.transport.abort)
