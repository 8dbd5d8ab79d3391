"""Running a witness: `graven witness serve`.

A connection on which nothing is answered for 60 s is cut, whatever it does meanwhile, and only so many are open; h11
bounds the head of a request to 64 KiB. SIGTERM: requests at work are answered, then the end.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graven.core.errors import Broken
from graven.runtime.bounded_http import bounded_http
from graven.runtime.clock import Clock
from graven.runtime.serving import Uvicorn, address_of, bind, on_signals
from graven.runtime.telemetry import set_up_logging
from graven.witness.door import Door
from graven.witness.witness import Witness

CONNECTIONS_MAX = 512
CONNECTION_S_MAX = 60.0
KEEP_ALIVE_S = 30
STOP_S_MAX = 10
MEND = "give a free port of this machine"


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
    with (
        contextlib.closing(Witness(directory, clock)) as witness,
        bind(host, port, backlog=CONNECTIONS_MAX, mend=MEND) as listener,
    ):
        asyncio.run(_run(witness, listener, ready))


async def _run(witness: Witness, listener: socket.socket, ready: Callable[[Running], None]) -> None:
    loop = asyncio.get_running_loop()
    failures: list[Broken] = []

    def fail(error: Broken) -> None:
        failures.append(error)
        server.stop()

    def stop_from_elsewhere() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
            loop.call_soon_threadsafe(server.stop)

    door = Door(witness, fail)
    server = Uvicorn(
        door,
        http=bounded_http(connections_max=CONNECTIONS_MAX, answer_s_max=CONNECTION_S_MAX),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S_MAX,
    )
    on_signals(lambda _: server.stop())
    serving = loop.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    ready(Running(f"http://{address_of(listener)}", stop_from_elsewhere))
    await serving
    await asyncio.to_thread(door.close)
    if failures:
        raise failures[0]
