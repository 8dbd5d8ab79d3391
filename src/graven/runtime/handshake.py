"""TLS for connections that are counted before they are secured.

A server that is given its TLS context accepts any number of connections that never say hello, each for a minute, and
belonging to nobody until their handshake is done. Here a connection has its place from the first moment, and its time.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

__all__ = ["Gate"]

PAUSE_S = 0.5
"""After an accept that failed: no file descriptor is left."""


class Gate:
    """Accepts on `listener` and secures by `context`; `make` gives the protocol of a connection that is secure. At most
    `waiting_max` handshakes at once, each within `seconds_max`; `turned_away` is called for each connection beyond
    them. On the running loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        *,
        waiting_max: int,
        turned_away: Callable[[], None],
        seconds_max: float,
    ) -> None:
        self._listener, self._context, self._make = listener, context, make
        self._waiting_max, self._turned_away, self._seconds_max = waiting_max, turned_away, seconds_max
        self._waiting: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

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

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(PAUSE_S)
                continue
            if len(self._waiting) >= self._waiting_max:
                self._turned_away()
                connection.close()
                continue
            task = loop.create_task(self._secure(connection))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _secure(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=self._seconds_max
            )
