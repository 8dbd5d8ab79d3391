"""Running a witness: `graven witness serve`.

A connection on which nothing is answered for 60 s is cut, whatever it does meanwhile, and only so many are open; h11
bounds the head of a request to 64 KiB. SIGTERM: requests at work are answered, then the end.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from graven.core.errors import BadInput, Broken
from graven.runtime.clock import Clock
from graven.runtime.telemetry import set_up_logging
from graven.witness.door import Door
from graven.witness.witness import Witness

CONNECTIONS_MAX = 512
CONNECTION_S_MAX = 60.0
KEEP_ALIVE_S = 30
STOP_S_MAX = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A witness that listens. `stop` may be called from any thread."""

    url: str
    stop: Callable[[], None]


def serve(
    directory: Path, host: str, port: int, *, ready: Callable[[Running], None], clock: Clock | None = None
) -> None:
    """Serve the witness in `directory` until SIGTERM, SIGINT or `stop`. `ready` is called once, when it listens.

    Raises BadInput: no witness, or an address that cannot be used. Broken: damaged keys or database; and what made the
    witness stop, if something did.
    """
    set_up_logging()
    with contextlib.closing(Witness(directory, clock)) as witness, _bind(host, port) as listener:
        asyncio.run(_run(witness, listener, ready))


async def _run(witness: Witness, listener: socket.socket, ready: Callable[[Running], None]) -> None:
    loop = asyncio.get_running_loop()
    failures: list[Broken] = []

    def fail(error: Broken) -> None:
        failures.append(error)
        server.should_exit = True

    def stop() -> None:
        server.should_exit = True

    def stop_from_elsewhere() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
            loop.call_soon_threadsafe(stop)

    door = Door(witness, fail)
    server = _Uvicorn(door)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
    serving = loop.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    ready(Running(_url(listener), stop_from_elsewhere))
    await serving
    await asyncio.to_thread(door.close)
    if failures:
        raise failures[0]


def _bind(host: str, port: int) -> socket.socket:
    """Raises BadInput."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=CONNECTIONS_MAX)
    except OSError as error:
        raise BadInput(
            f"the witness cannot listen there: {error.strerror}",
            place=f"{host}, port {port}",
            mend="give a free port of this machine",
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _BoundedHttp(H11Protocol):
    """One connection, cut when it answers nothing for too long."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wind()
        if len(self.connections) > CONNECTIONS_MAX:
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
        self._timer = self.loop.call_later(CONNECTION_S_MAX, self.transport.abort)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers; `up` is set once it accepts connections."""

    def __init__(self, door: Door) -> None:
        super().__init__(
            uvicorn.Config(
                door,
                http=_BoundedHttp,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S_MAX,
            )
        )
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
