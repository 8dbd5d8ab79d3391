"""The doors' thread: sockets bound at once, so that a taken port is said at the start, then served by one loop."""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from graven.agent.doors.config import HttpConfig, SyslogConfig, parse_address
from graven.agent.doors.door import Door, Inlet
from graven.agent.doors.http import HttpDoor, load_secret
from graven.agent.doors.syslog import SyslogDoor
from graven.agent.source import Taken
from graven.core.errors import BadInput
from graven.log.acts import rfc3339
from graven.runtime.clock import Clock
from graven.runtime.serving import address_of, bind
from graven.runtime.sockets import Datagrams, bind_udp, bind_unix

__all__ = ["OpenDoor", "listen"]

BACKLOG = 512
STOP_S_MAX = 10.0

_UNIX_DATAGRAM_BYTES_MAX = 512 << 10


class OpenDoor:
    """A door as the agent's loop sees it: every call goes to the doors' thread but `take`. `addresses`: where it is."""

    def __init__(self, door: SyslogDoor | HttpDoor, thread: "_Thread", addresses: Sequence[str]) -> None:
        self.name, self.addresses = door.name, tuple(addresses)
        self._door, self._thread = door, thread
        self._closed = False

    def take(self, bytes_max: int) -> list[Taken]:
        return self._door.take(bytes_max)

    def finish(self) -> None:
        self._thread.call(self._door.finish())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._thread.call(self._door.close())
            self._thread.leave()


def listen(
    syslog: Sequence[SyslogConfig], http: Sequence[HttpConfig], rouse: Callable[[], None], clock: Clock
) -> Sequence[Door]:
    """Every door of a configuration, open. Raises BadInput: a place that is taken, a secret that cannot be used."""
    thread = _Thread(len(syslog) + len(http))
    opened: list[OpenDoor] = []

    def now() -> str:
        return rfc3339(clock.now_us())

    try:
        for one in syslog:
            opened.append(_open_syslog(one, thread, rouse, now))
        for other in http:
            opened.append(_open_http(other, thread, rouse, now))
    except BaseException:
        for door in opened:
            door.close()
        thread.stop()
        raise
    return opened


def _open_syslog(
    config: SyslogConfig, thread: "_Thread", rouse: Callable[[], None], now: Callable[[], str]
) -> OpenDoor:
    door = SyslogDoor(config, Inlet(rouse=rouse, emptied=lambda: thread.soon(door.resume)), now)
    if config.socket is not None:
        bound = _bound_unix(config.name, config.socket, socket.SOCK_DGRAM, config.mode)
        thread.call(door.begin(None, Datagrams(bound, bytes_max=_UNIX_DATAGRAM_BYTES_MAX)))
        return OpenDoor(door, thread, [config.socket])
    tcp = _bound_tcp(config.name, config.listen or "")
    address = tcp.getsockname()
    try:
        udp = bind_udp(address, tcp.family)  # the two share a port
    except OSError as error:
        tcp.close()
        raise _taken(config.name, str(config.listen), error) from None
    thread.call(door.begin(tcp, Datagrams(udp)))
    return OpenDoor(door, thread, [address_of(tcp)])


def _open_http(config: HttpConfig, thread: "_Thread", rouse: Callable[[], None], now: Callable[[], str]) -> OpenDoor:
    secret = load_secret(config.token_file) if config.token_file is not None else b""
    door = HttpDoor(config, Inlet(rouse=rouse, emptied=lambda: None), secret, now)
    if config.socket is not None:
        bound = _bound_unix(config.name, config.socket, socket.SOCK_STREAM, config.mode)
        thread.call(door.begin(bound))
        return OpenDoor(door, thread, [config.socket])
    bound = _bound_tcp(config.name, config.listen or "")
    thread.call(door.begin(bound))
    return OpenDoor(door, thread, [address_of(bound)])


def _bound_tcp(name: str, listen: str) -> socket.socket:
    host, port = parse_address(listen, place=name)
    return bind(host, port, backlog=BACKLOG, mend=f"stop what listens there, or give the door {name} another port")


def _bound_unix(name: str, path: str, kind: int, mode: str) -> socket.socket:
    try:
        return bind_unix(Path(path), kind, int(mode, 8))
    except OSError as error:
        raise _taken(name, path, error) from None


def _taken(name: str, where: str, error: OSError) -> BadInput:
    why = "somebody listens there already" if error.errno == errno.EADDRINUSE else error.strerror
    return BadInput(f"the door {name} cannot listen: {why}", place=where, mend="stop what is there, or choose another")


class _Thread:
    """A loop on a thread of its own, until so many doors were closed."""

    def __init__(self, doors: int) -> None:
        self._doors = doors
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="graven-agent-doors", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it there, and wait."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_S_MAX)

    def soon(self, do: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(do)

    def leave(self) -> None:
        """One door is closed."""
        self._doors -= 1
        if not self._doors:
            self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_S_MAX)
            self._loop.close()
