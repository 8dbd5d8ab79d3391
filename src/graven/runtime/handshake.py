"""TLS for connections that are counted before they are secured.

A server that is given its TLS context accepts any number of connections that never say hello, each for a minute, and
belonging to nobody until their handshake is done. Here a connection has its place from the first moment, and its time.
Whoever holds all places and says nothing keeps nobody out for longer than a moment: who waits longest makes way.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

__all__ = ["Gate"]

PAUSE_S = 0.5
"""After an accept that failed: no file descriptor is left."""

MOMENT_S = 1.0
"""An honest handshake takes milliseconds: one that takes longer makes way where there is no room."""


class Gate:
    """Accepts on `listener` and secures by `context`; `make` gives the protocol of a connection that is secure. At most
    `waiting_max` handshakes at once, each within `seconds_max`. `lost` is told of each connection that comes to nothing
    by these bounds: `handshake`, it was not done in time; `made_way`, for another, after a moment; `connections`, there
    was no room. On the running loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        *,
        waiting_max: int,
        lost: Callable[[str], None],
        seconds_max: float,
    ) -> None:
        self._listener, self._context, self._make = listener, context, make
        self._waiting_max, self._lost, self._seconds_max = waiting_max, lost, seconds_max
        self._waiting: dict[asyncio.Task[None], float] = {}  # since when, the oldest first
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._accepting = self._loop.create_task(self._accept())

    @property
    def waiting(self) -> int:
        """Connections whose handshake is not done."""
        return len(self._waiting)

    def close(self) -> None:
        """Accept no more, and let nobody in who is still waiting."""
        self._accepting.cancel()
        for task in list(self._waiting):
            task.cancel()
        self._listener.close()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: those who got in are their protocols' business."""

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            if len(self._waiting) >= self._waiting_max and not self._make_way():
                self._lost("connections")
                connection.close()
                continue
            task = self._loop.create_task(self._secure(connection))
            self._waiting[task] = self._loop.time()
            task.add_done_callback(self._forget)

    def _make_way(self) -> bool:
        """Whether the one that waits longest was sent away."""
        oldest, since_s = next(iter(self._waiting.items()))
        if self._loop.time() - since_s < MOMENT_S:
            return False
        self._lost("made_way")
        oldest.cancel()
        self._forget(oldest)
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._waiting.pop(task, None)

    async def _secure(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=self._seconds_max
            )
        except ConnectionAbortedError:
            self._lost("handshake")
        except OSError:  # ssl.SSLError is one
            pass
