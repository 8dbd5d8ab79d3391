"""A bound port and uvicorn on it: refusals that say how to go on, signals that are the caller's."""

import asyncio
import os
import signal
import socket
import threading
from typing import Any

import pytest
from lab.ports import free_port

from graven.core.errors import BadInput
from graven.runtime.serving import Uvicorn, address_of, bind, on_signals


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_a_free_port_is_taken_once() -> None:
    with bind("127.0.0.1", 0, backlog=8, mend="") as listener:
        host, _, port = address_of(listener).rpartition(":")
        assert (host, int(port)) == listener.getsockname()
    with bind("127.0.0.1", free_port(), backlog=8, mend="another") as listener:
        port = address_of(listener).rpartition(":")[2]
        with pytest.raises(BadInput, match=f"port {port} of 127.0.0.1 is taken") as refused:
            bind("127.0.0.1", int(port), backlog=8, mend="another")
        assert (refused.value.place, refused.value.mend) == (f"127.0.0.1:{port}", "another")
    bind("127.0.0.1", int(port), backlog=8, mend="").close()  # let go of, it is free


def test_ipv6_is_written_in_brackets() -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    with bind("::1", 0, backlog=8, mend="") as listener:
        assert address_of(listener) == f"[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "203.0.113.7", "\u0130" * 70])
def test_what_is_no_address_of_this_machine(host: str) -> None:
    with pytest.raises(BadInput):
        bind(host, 0, backlog=8, mend="")


def test_it_serves_until_a_signal() -> None:
    told: list[str] = []

    async def run() -> bytes:
        server = Uvicorn(hello)

        def tell(name: str) -> None:
            told.append(name)
            server.stop()

        with bind("127.0.0.1", 0, backlog=8, mend="") as listener:
            on_signals(tell)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await server.up.wait()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
        return answer

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello")
    assert b"\r\nserver:" not in answer.lower()
    assert told == ["SIGTERM"]


def test_signals_are_left_alone_elsewhere() -> None:
    """A server that a thread runs inside another program does not take that program's signals."""
    before = signal.getsignal(signal.SIGTERM)

    async def run() -> None:
        on_signals(lambda _: None)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
