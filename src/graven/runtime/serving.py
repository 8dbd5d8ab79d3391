"""An HTTP server inside a process of ours: a bound port, and uvicorn on it without what we do ourselves.

Ports are bound before anything else begins, so that a port that is taken is said at once; signals and the order of
starting and stopping are the caller's business, not uvicorn's. No lifespan, no WebSockets, no access log, no header
that names the server, no belief in proxies.
"""

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any

import uvicorn

from graven.core.errors import BadInput
from graven.runtime.handshake import Gate


class Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers; `up` is set once it accepts connections. Made inside a running loop."""

    def __init__(
        self,
        application: Callable[..., Any],
        *,
        gate: Callable[[socket.socket, Callable[[], asyncio.Protocol]], Gate] | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of `uvicorn.Config`; the last word on what the module says is here. `gate` makes what
        accepts and secures connections on a socket in uvicorn's place.
        """
        super().__init__(
            uvicorn.Config(
                application, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
                proxy_headers=False, server_header=False, **options,
            )
        )  # fmt: skip
        self.up = asyncio.Event()
        self._gate = gate

    def stop(self) -> None:
        """Accept no more, answer what is at work, end. On the loop's thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._gate is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            gates: list[Any] = [self._gate(one, self._protocol) for one in sockets or ()]
            self.servers = gates
        self.up.set()

    def _protocol(self) -> asyncio.Protocol:
        """Of one connection, as uvicorn makes it."""
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int, *, backlog: int, mend: str) -> socket.socket:
    """A TCP socket that listens at `host`, an address or a name of this machine; port 0 takes a free one.

    Raises BadInput, saying how to `mend` it: no such address, a port that is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BadInput(
            f"there is no address {host!r}", place=str(error), mend="give an address of this machine"
        ) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        what = f"port {port} of {host} is taken" if error.errno == errno.EADDRINUSE else error.strerror
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise BadInput(what or "the address cannot be used", place=place, mend=mend) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """HOST:PORT as one writes it, the host of IPv6 in brackets."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def on_signals(tell: Callable[[str], None]) -> None:
    """Call `tell` with the signal's name at SIGTERM and SIGINT, on the running loop; main thread only, else nothing."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, tell, number.name)
