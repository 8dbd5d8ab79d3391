"""Connections of hostile clients, by raw sockets: what they send harms nobody else, and is never answered wrongly."""

import contextlib
import http.client
import re
import socket
import time
from pathlib import Path

import pytest

from graven.server import protocol
from server.running import STARTED_S_MAX, GatedFiles, Server
from server.test_protocol import EVENT, connect, head, read_all

CHUNKED = b"Transfer-Encoding: chunked\r\n"
REFUSED: tuple[list[int], ...] = ([400], [])
"""A connection that is closed over what the server had not read yet may be reset, and its answer with it."""


def posted(token: str, fields: bytes = b"", path: bytes = b"/api/v1/events") -> bytes:
    """The head of a request to append, without its body's length."""
    said = b"POST %b HTTP/1.1\r\nHost: x\r\n%b" % (path, fields)
    return said + (b"Authorization: Bearer %b\r\n\r\n" % token.encode() if token else b"\r\n")


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def told(server: Server, *pieces: bytes, half: bool = False) -> list[int]:
    """The status of each answer until the server closes, which it must."""
    with connect(server) as raw:
        with contextlib.suppress(ConnectionError):  # it may have closed before it had all
            for piece in pieces:
                raw.sendall(piece)
            if half:
                raw.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while part := raw.recv(65_536):
                found += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]


@pytest.fixture(scope="module")
def token(shared_server: Server) -> str:
    return shared_server.token(name="hostile")


def test_fields_behind_the_body_are_none_of_the_head(shared_server: Server, token: str) -> None:
    """Neither who asks, nor as which source, nor anything else may come after the head was judged."""
    before = shared_server.size
    trailer = b"Authorization: Bearer %b\r\nConnection: close\r\n" % token.encode()
    body = chunks(EVENT, end=b"0\r\n" + trailer + b"\r\n")
    assert told(shared_server, posted("", CHUNKED + b"Connection: close\r\n") + body) == [401]
    assert shared_server.size == before
    other = chunks(EVENT, end=b"0\r\nGraven-Source: other\r\n\r\n")
    for path in (b"/api/v1/events", b"/ingest"):
        assert told(shared_server, posted(token, CHUNKED + b"Connection: close\r\n", path) + other) == [200]


def test_fields_behind_the_body_take_no_memory(shared_server: Server, token: str) -> None:
    """However many there are: they count as framing, and that has a bound."""
    end = b"0\r\n" + b"X-A: b\r\n" * 300_000
    assert told(shared_server, posted(token, CHUNKED) + chunks(EVENT, end=end)) in REFUSED


@pytest.mark.parametrize("framing", [b"e;" + b"x" * 3_000_000, b"0" * 3_000_000])
def test_framing_without_end_is_refused(shared_server: Server, token: str, framing: bytes) -> None:
    assert told(shared_server, posted(token, CHUNKED) + framing) in REFUSED


def test_chunks_of_one_byte_are_a_body(shared_server: Server, token: str) -> None:
    event = b'{"action":"x","message":"' + b"y" * 300_000 + b'"}'
    body = chunks(*[event[at : at + 1] for at in range(len(event))])
    assert told(shared_server, posted(token, CHUNKED + b"Connection: close\r\n") + body) == [200]


LIES = [
    CHUNKED + b"Content-Length: 4\r\n",
    b"Content-Length: 14\r\n" + CHUNKED,
    b"Content-Length: 14\r\nContent-Length: 13\r\n",
    b"Content-Length: +14\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 14, 14\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    CHUNKED * 2,
    CHUNKED + b"X: a\0b\r\n",
    CHUNKED + b"X: a\rY: b\r\n",
    CHUNKED + b"X: a\r\n b\r\n",
]
CHUNK_LIES = [
    b"0xe\r\n" + EVENT,
    b"-e\r\n" + EVENT,
    b"f" * 17 + b"\r\n" + EVENT,
    b"d\r\n" + EVENT + b"\r\n0\r\n\r\n",
    b"e\n" + EVENT,
]


@pytest.mark.parametrize("fields", LIES)
@pytest.mark.parametrize("path", [b"/api/v1/events", b"/services/collector/event"])
def test_a_head_that_lies_about_its_body_is_refused(
    shared_server: Server, token: str, fields: bytes, path: bytes
) -> None:
    """And what follows is no second request."""
    before = shared_server.size
    smuggled = posted(token, b"Content-Length: 14\r\n") + EVENT
    assert told(shared_server, posted(token, fields, path) + chunks(EVENT) + smuggled) in REFUSED
    assert shared_server.size == before


@pytest.mark.parametrize("body", CHUNK_LIES)
def test_chunks_that_lie_are_refused(shared_server: Server, token: str, body: bytes) -> None:
    before = shared_server.size
    assert told(shared_server, posted(token, CHUNKED) + body) in REFUSED
    assert shared_server.size == before


@pytest.mark.parametrize("size", [10, 200_000])
@pytest.mark.parametrize("path", [b"/api/v1/events", b"/ingest"])
def test_a_client_that_sends_no_more_is_answered(shared_server: Server, token: str, size: int, path: bytes) -> None:
    """As `nc -N` does: its end of the connection is closed, and it waits for the answer."""
    event = b'{"action":"x","message":"' + b"y" * size + b'"}'
    one = posted(token, b"Content-Length: %d\r\n" % len(event), path) + event
    for count in (1, 3):
        assert told(shared_server, one * count, half=True) == [200] * count
    assert told(shared_server, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", half=True) == [200]


def test_a_client_that_stops_in_the_middle_is_not(shared_server: Server, token: str) -> None:
    before = shared_server.size
    for whole in (head(token, len(EVENT)) + EVENT[:-3], posted(token, CHUNKED) + b"e\r\n" + EVENT, head(token, 5)[:40]):
        assert told(shared_server, whole, half=True) == []
    assert shared_server.size == before


def test_what_is_no_http_behind_requests_costs_them_no_answer(shared_server: Server, token: str) -> None:
    """A refusal in between would be taken for the answer to the first of them."""
    before = shared_server.size
    one = head(token, len(EVENT)) + EVENT
    assert told(shared_server, one * 3 + b"garbage\r\n\r\n" + one) == [200] * 3
    assert shared_server.size == before + 3
    assert told(shared_server, b"garbage\r\n\r\n" + one) in REFUSED


def test_a_client_that_is_gone_costs_no_other_its_answer(tmp_path: Path) -> None:
    """Whoever is in one commit is answered at one stroke; some sent what is no HTTP, or reset their connections."""
    files = GatedFiles()
    with Server(tmp_path / "log", files=files) as server:
        token = server.token("ingest")
        one = head(token, len(EVENT)) + EVENT
        files.shut()
        with connect(server) as first, connect(server) as last:
            first.sendall(one)
            files.wait_until_held()  # what comes now gathers for the next commit
            before = queued(server, 0)
            for behind in (b"", one, b"garbage\r\n\r\n", one + b"garbage\r\n\r\n", one[:-1]) * 2:
                with connect(server) as leaving:
                    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    leaving.sendall(one + behind)
                    before = queued(server, before + 1)
            last.sendall(one)
            queued(server, before + 1)
            files.gate.set()
            for waiting in (first, last):
                assert waiting.recv(65_536).startswith(b"HTTP/1.1 200 ")


def queued(server: Server, count: int) -> int:
    """Wait until so many events wait for the writer; how many do."""
    until_s = time.monotonic() + STARTED_S_MAX
    while True:
        lines = server.ask("GET", "/metrics").body.decode().splitlines()
        found = int(float(next(line for line in lines if line.startswith("graven_queue_events ")).split()[1]))
        if found >= count:
            return found
        assert time.monotonic() < until_s, found


def test_connections_that_ask_nothing_make_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow heads hold every place there is; whoever asks is answered when they have had their time."""
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 8)
    monkeypatch.setattr(protocol, "QUIET_S", 0.2)
    with Server(tmp_path / "log") as server, contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(server)).sendall(b"GET /health/live HTTP/1.1\r\nX-A: ")
        until_s = time.monotonic() + STARTED_S_MAX
        found = b""
        while b'graven_http_connections_lost_total{why="made_way"}' not in found:
            assert time.monotonic() < until_s
            with contextlib.suppress(ConnectionError, http.client.HTTPException):  # refused before it had asked
                found = server.ask("GET", "/metrics").body


def test_a_request_at_work_makes_no_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(protocol, "QUIET_S", 0.0)
    with Server(tmp_path / "log") as server:
        token = server.token("ingest")
        with connect(server) as first, connect(server) as second:
            for one in (first, second):
                one.sendall(posted(token, b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(EVENT)))
                assert one.recv(65_536).startswith(b"HTTP/1.1 100 ")  # the server is at it
            with connect(server) as third:
                assert read_all(third).startswith(b"HTTP/1.1 503 ")
            for one in (first, second):
                one.sendall(EVENT)
                assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")
