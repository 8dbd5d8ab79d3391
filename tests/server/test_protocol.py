"""Connections that misbehave."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graven.server import protocol, serve
from server.running import STARTED_S_MAX, Server

EVENT = b'{"action":"x"}'


@pytest.fixture
def sweeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that looks often whether its patience is over. How long that is, each test says for what it tries."""
    monkeypatch.setattr(serve, "SWEEP_S", 0.05)
    with Server(tmp_path / "log") as server:
        yield server


def connect(server: Server) -> socket.socket:
    raw = socket.create_connection(server.address, timeout=180)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def head(token: str, length: int) -> bytes:
    return (
        f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def read_all(raw: socket.socket) -> bytes:
    parts = []
    while part := raw.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_body_that_stops_is_refused(sweeping: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sweeping.token("ingest")
    with connect(sweeping) as raw, monkeypatch.context() as patched:
        patched.setattr(protocol, "BODY_IDLE_S_MAX", 0.4)
        raw.sendall(head(token, 100) + EVENT)
        answer = read_all(raw)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b"too slowly" in answer
    metrics = sweeping.ask("GET", "/metrics").body
    assert b'graven_intake_refused_total{reason="gone"} 1.0' in metrics
    assert b"graven_bodies_in_flight_bytes 0.0" in metrics


def test_a_body_that_trickles_is_refused(sweeping: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sweeping.token("ingest")
    monkeypatch.setattr(protocol, "BODY_SLOW_S", 0.3)
    with connect(sweeping) as raw:
        raw.sendall(head(token, 1000))
        with pytest.raises(OSError):
            for _ in range(900):
                raw.sendall(b" ")
                time.sleep(0.05)
            raise AssertionError("it was read to the end")


def test_a_head_that_never_ends_is_dropped(sweeping: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.4)
    for start in (b"", b"GET / HT", b"GET /health/live HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"):
        with connect(sweeping) as raw:
            with contextlib.suppress(ConnectionError):  # it may be too late for the first byte already
                raw.sendall(start)
            assert read_all(raw) == b""


def test_a_long_answer_to_a_slow_question_is_not_dropped(sweeping: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a checkpoint takes longer than any of the bounds on what clients send."""
    token = sweeping.token("ingest")
    first = sweeping.append(EVENT, token, "?wait=published").json()
    assert first["state"] == "published"  # the next one waits for a second
    with connect(sweeping) as raw:
        raw.sendall(head(token, len(EVENT)).replace(b"/events ", b"/events?wait=published ") + EVENT)
        while sweeping.size == first["size"]:  # it is committed, and waits
            time.sleep(0.01)
        for name in ("BODY_IDLE_S_MAX", "HEAD_S_MAX", "BODY_SLOW_S"):
            monkeypatch.setattr(protocol, name, 0.3)
        assert b'"state":"published"' in raw.recv(65536)


def test_a_head_beyond_bounds_is_refused(shared_server: Server) -> None:
    with connect(shared_server) as raw:
        raw.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.1)
        answer = b""
        try:
            for _ in range(40):
                raw.sendall(b"X-Filler: " + b"y" * 8000 + b"\r\n")
                time.sleep(0.005)
            answer = read_all(raw)
        except OSError:
            answer = b"HTTP/1.1 431 reset while sending"
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_refused(shared_server: Server) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01", b"HELO x\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"):
        with connect(shared_server) as raw:
            raw.sendall(nonsense + b"\r\n\r\n")
            assert read_all(raw).startswith(b"HTTP/1.1 400 ")


def test_a_refused_body_is_drained_so_that_the_answer_arrives(shared_server: Server) -> None:
    with connect(shared_server) as raw:
        body = b"z" * (2 << 20)
        raw.sendall(head("gvn_wrong", len(body)) + body)
        raw.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(raw)
    assert answers.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 200 OK" in answers


def test_a_refused_body_without_end_is_cut_off(shared_server: Server) -> None:
    with connect(shared_server) as raw:
        raw.sendall(head("gvn_wrong", 1 << 40))
        with pytest.raises(OSError):
            for _ in range(1000):
                raw.sendall(b"z" * (1 << 20))
            raise AssertionError("a gigabyte was taken")


def test_pipelined_requests_are_answered_in_order(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="pipe")
    with connect(shared_server) as raw:
        one = head(token, len(EVENT)) + EVENT
        raw.sendall(one * 5 + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(raw)
    assert answers.count(b'"accepted":1') == 5
    assert answers.rstrip().endswith(b'{"live":true}')


@pytest.mark.parametrize("wish", ["h2c", "websocket"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_wish_to_upgrade_is_not_heard_and_a_body_is_no_request(
    shared_server: Server, wish: str, chunked: bool
) -> None:
    hidden = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden) if chunked else hidden
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(hidden)}"
    token = shared_server.token("ingest", name=f"up-{wish}-{chunked}")
    request = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {wish}\r\n{length}\r\n\r\n"
    ).encode()
    last = (
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: " + wish.encode() + b"\r\n\r\n"
    )
    for pieces in (
        [request + body + last],
        [request, body, last],
        [request[:99], request[99:] + body[:5], body[5:] + last],
    ):
        with connect(shared_server) as raw:
            for piece in pieces:
                raw.sendall(piece)
                time.sleep(0.05)
            answer = read_all(raw)
        assert answer.count(b"HTTP/1.1 ") == 2
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"malformed" in answer
        assert answer.endswith(b'{"live":true}\n')


def test_an_event_with_a_wish_to_upgrade_is_taken(shared_server: Server) -> None:
    request = head(shared_server.token("ingest", name="up"), len(EVENT)).replace(
        b"Host: x", b"Host: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c"
    )
    with connect(shared_server) as raw:
        raw.sendall(request + EVENT)
        assert read_all(raw).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_first_is_told_to_go_on(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="polite")
    with connect(shared_server) as raw:
        raw.sendall(head(token, len(EVENT)).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert raw.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(EVENT)
        assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_has_sent_nothing(server: Server) -> None:
    token = server.token("ingest")
    size = server.control.status()["size"]
    with connect(server) as raw:
        raw.sendall(head(token, 100) + EVENT)
    time.sleep(0.3)
    assert server.control.status()["size"] == size


def test_too_many_connections_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 5)
    monkeypatch.setattr(protocol, "QUIET_S", 600.0)
    with Server(tmp_path / "log") as server:
        held = [connect(server) for _ in range(5)]
        for one in held:
            one.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 200 ")
        with connect(server) as raw:
            answer = read_all(raw)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in answer
        for one in held:
            one.close()
        until_s = time.monotonic() + STARTED_S_MAX
        while server.ask("GET", "/health/live").status != 200:
            assert time.monotonic() < until_s
