"""Exchanges that end by the clock: servers that never end their answers, each in a way of its own."""

import socket
import threading

import pytest
import urllib3

from dripping import endless, serving
from graven.runtime import timed_http
from graven.runtime.timed_http import HEAD_BYTES_MAX, TimedPool, bounded

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER_ENDING = {
    "a head": (OK, b"X-A: b\r\n"),
    "a line of a head": (OK + b"X-A: ", b"b"),
    "a status": (b"HTTP/1.1 200 ", b"O"),
    "answers before the answer": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body without a length": (OK + b"\r\n", b"x"),
    "the size of a chunk": (CHUNKED, b"0"),
    "what stands beside the size of a chunk": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "lines behind the last chunk": (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
}


def ask(scheme: str, address: tuple[str, int], *, timeout_s: float = 60.0) -> tuple[int, bytes]:
    """An exchange as those who ask do it."""
    pool = TimedPool(retries=False, cert_reqs="CERT_NONE")
    try:
        url = f"{scheme}://{address[0]}:{address[1]}/x"
        answer = pool.request("GET", url, timeout=timeout_s, preload_content=False, redirect=False)
        data = b""
        while part := answer.read1(1 << 16):
            data += part
        answer.close()
        return int(answer.status), data
    finally:
        pool.clear()


@pytest.mark.parametrize("where", NEVER_ENDING)
def test_what_never_ends_ends(where: str) -> None:
    """Each wait is shorter than its timeout, so that only the clock ends it."""
    begin, again = NEVER_ENDING[where]
    with (
        serving(lambda: endless(begin, again)) as address,
        bounded(0.3, wire_bytes_max=1 << 20),
        pytest.raises(urllib3.exceptions.TimeoutError),
    ):
        ask("http", address)


def test_a_handshake_that_never_ends_ends() -> None:
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # the beginning of a ServerHello that is to be long
    with (
        serving(lambda: endless(record, b"\0")) as address,
        bounded(0.3, wire_bytes_max=1 << 20),
        pytest.raises(urllib3.exceptions.HTTPError),
    ):
        ask("https", address)


@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"X" * 4096, b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_has_a_bound_in_bytes(piece: bytes) -> None:
    sent = [OK if piece[:1] == b"X" else b""] + [piece] * (4 * HEAD_BYTES_MAX // len(piece))
    with (
        serving(lambda: iter([b"".join(sent)])) as address,
        bounded(60, wire_bytes_max=1 << 30),
        pytest.raises(urllib3.exceptions.ProtocolError),
    ):
        ask("http", address)


@pytest.mark.parametrize("body", [b"x" * 300_000, b"1\r\nx\r\n" * 60_000])
def test_an_answer_has_a_bound_in_bytes(body: bytes) -> None:
    head = CHUNKED if b"\r" in body else OK + b"\r\n"
    with (
        serving(lambda: iter([head, body])) as address,
        bounded(60, wire_bytes_max=1 << 16),
        pytest.raises(urllib3.exceptions.ProtocolError),
    ):
        ask("http", address)


@pytest.mark.parametrize("is_bounded", [True, False])
def test_what_ends_in_time_is_as_it_was_sent(is_bounded: bool) -> None:
    answer = OK + b"Content-Length: 10\r\n\r\n"
    with serving(lambda: iter([answer, *[b"%d" % n for n in range(10)]]), pause_s=0.001) as address:
        if not is_bounded:
            assert ask("http", address) == (200, b"0123456789")
            return
        with bounded(60, wire_bytes_max=1 << 20):
            assert ask("http", address) == (200, b"0123456789")


def test_a_connection_is_used_again_and_each_exchange_has_its_own_time() -> None:
    """What the first had left of its time is nothing to the second."""
    answer, connections = OK + b"Content-Length: 2\r\n\r\nok", []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connections.append(connection)
            with connection:
                while connection.recv(65_536):
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        pool = TimedPool(retries=False)
        for _ in range(3):
            with bounded(60, wire_bytes_max=1 << 20):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                assert pool.request("GET", url, timeout=60.0).data == b"ok"
        pool.clear()
    assert len(connections) == 1


def test_addresses_that_take_nobody_are_tried_in_the_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may have any number of addresses: so many are tried."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, and nobody listens
        tried: list[object] = []

        def resolve(*args: object, **named: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", free.getsockname())] * 100

        class Counted(socket.socket):
            def connect(self, address: object) -> None:
                tried.append(address)
                super().connect(address)  # type: ignore[arg-type]

        monkeypatch.setattr("socket.getaddrinfo", resolve)
        monkeypatch.setattr("socket.socket", Counted)
        with bounded(60, wire_bytes_max=1), pytest.raises(urllib3.exceptions.NewConnectionError):
            ask("http", free.getsockname())
    assert len(tried) == timed_http.ADDRESSES_MAX


def test_no_time_is_no_connection() -> None:
    with bounded(0.0, wire_bytes_max=1), pytest.raises(urllib3.exceptions.ConnectTimeoutError):
        ask("http", ("127.0.0.1", 1))


def test_a_name_that_nobody_knows_and_one_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with bounded(60, wire_bytes_max=1), pytest.raises(urllib3.exceptions.NewConnectionError):
        ask("http", ("a" * 70, 1))

    def resolve(*args: object, **named: object) -> None:
        raise socket.gaierror(-2, "not known")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with bounded(60, wire_bytes_max=1), pytest.raises(urllib3.exceptions.NameResolutionError):
        ask("http", ("nobody.invalid", 1))
