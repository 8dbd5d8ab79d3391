"""HTTPS, and those who only begin a handshake: they are in nobody's way, are cut after a time, and counted."""

import contextlib
import http.client
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from graven.app import create_log
from graven.config import Config, ServerConfig, load_config
from server.certificates import Authority
from server.running import ORIGIN, Server

MANY = 1_000
WAIT_S_MAX = 60.0
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # a ClientHello of 508 bytes begins

NO_HELLO = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 5_000, HELLO[:3], b"\x16\x03\x01\xff\xff" + b"x" * 70_000
)  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> Config:
    cert, key = authority.issue("server", "localhost")
    create_log(tmp_path / "log", origin=ORIGIN)
    found = load_config(tmp_path / "log" / "graven.toml")
    return msgspec.structs.replace(found, server=ServerConfig(tls_cert=str(cert), tls_key=str(key)))


def ask(server: Server, authority: Authority, path: str = "/metrics") -> bytes:
    """A request on a secure connection of its own, tried again as clients do."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    until_s = time.monotonic() + WAIT_S_MAX
    while True:
        connection = http.client.HTTPSConnection("127.0.0.1", server.address[1], timeout=WAIT_S_MAX, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()
        except (ConnectionError, ssl.SSLError, http.client.BadStatusLine):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        finally:
            connection.close()


def counted(server: Server, authority: Authority, name: str) -> float:
    lines = ask(server, authority).decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@contextlib.contextmanager
def hanging(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Connections that never finish: every other one says nothing at all, the rest begin to."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            one = stack.enter_context(socket.create_connection(server.address, timeout=WAIT_S_MAX))
            if number % 2:
                with contextlib.suppress(ConnectionError):
                    one.sendall(HELLO)
            found.append(one)
        yield found


def wait_until_gone(connections: list[socket.socket]) -> None:
    for one in connections:
        with contextlib.suppress(ConnectionError):
            while one.recv(4096):  # perhaps an alert
                pass


def test_a_thousand_that_never_finish_starve_nobody(
    tmp_path: Path, config: Config, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8 * MANY:
        pytest.skip("so few files may be open here that there cannot be a thousand connections")
    monkeypatch.setattr("graven.server.serve.HANDSHAKE_S_MAX", 600.0)
    with Server(tmp_path / "log", config) as server, hanging(server, MANY):
        until_s = time.monotonic() + WAIT_S_MAX
        while counted(server, authority, "graven_http_handshakes ") < MANY:  # asked beside all of them
            assert time.monotonic() < until_s
        assert counted(server, authority, "graven_http_connections_lost_total") == 0


def test_what_never_finishes_is_cut_and_counted(
    tmp_path: Path, config: Config, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graven.server.serve.HANDSHAKE_S_MAX", 1.0)
    with Server(tmp_path / "log", config) as server, hanging(server, 20) as connections:
        wait_until_gone(connections)
        until_s = time.monotonic() + WAIT_S_MAX
        while counted(server, authority, 'graven_http_connections_lost_total{why="handshake"}') < 20:
            assert time.monotonic() < until_s
        assert counted(server, authority, "graven_http_handshakes ") <= 1  # that of who asks is done, or almost


def test_whoever_holds_every_place_makes_way(
    tmp_path: Path, config: Config, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are fewer places than connections that hang, and none of them is cut by its time."""
    monkeypatch.setattr("graven.server.serve.HANDSHAKE_S_MAX", 600.0)
    monkeypatch.setattr("graven.server.serve.HANDSHAKES_MAX", 8)
    with Server(tmp_path / "log", config) as server, hanging(server, 40):
        lost = "graven_http_connections_lost_total"
        until_s = time.monotonic() + WAIT_S_MAX
        while counted(server, authority, f'{lost}{{why="made_way"}}') < 1:  # so that somebody is answered
            assert time.monotonic() < until_s
        assert counted(server, authority, lost) >= 32
        assert counted(server, authority, f'{lost}{{why="handshake"}}') == 0


def test_what_is_no_handshake_harms_nobody(tmp_path: Path, config: Config, authority: Authority) -> None:
    with Server(tmp_path / "log", config) as server:
        for said in NO_HELLO:
            with contextlib.suppress(ConnectionError), socket.create_connection(server.address, WAIT_S_MAX) as one:
                one.sendall(said)
                one.shutdown(socket.SHUT_WR)
                while one.recv(4096):
                    pass
        assert b"graven_http_handshakes" in ask(server, authority)


def test_a_server_stops_while_handshakes_hang(tmp_path: Path, config: Config) -> None:
    with Server(tmp_path / "log", config) as server, hanging(server, 10) as connections:
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_until_gone(connections)
        stopping.join()
