"""The short way for requests that are all there: it must not be told from the ordinary one by its answers."""

import re
import socket
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from graven.server.express import ExpressHttp
from graven.server.intake import Intake
from graven.server.protocol import ControlHttp
from server.running import GatedFiles, Server

EVENT = b'{"action":"x"}'


def request(token: str, body: bytes = EVENT, *, query: str = "", head: str = "", method: str = "POST") -> bytes:
    lines = f"{method} /api/v1/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{head}"
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(server: Server, *pieces: bytes) -> bytes:
    """Send the pieces, a moment apart, and read to the end."""
    with socket.create_connection(server.address, timeout=180) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.05)
            raw.sendall(piece)
        parts = []
        while part := raw.recv(65536):
            parts.append(part)
    return b"".join(parts)


def told(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    """(status line, header lines in order of name, body) without what differs from event to event."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    kept = sorted(line.lower() for line in lines if not line.lower().startswith((b"date:", b"content-length:")))
    body = re.sub(rb'"receipt":"[^"]*"|"first_index":[0-9]+|"size":[0-9]+', b"", body)
    return status, kept, body


CLOSE = "Connection: close\r\n"
CASES: dict[str, dict[str, Any]] = {
    "one event": {},
    "an array": {"body": b"[%b,%b]" % (EVENT, EVENT)},
    "a bad event": {"body": b'{"action":1}'},
    "no JSON": {"body": b"no"},
    "an empty body": {"body": b""},
    "quarantined": {"body": b'{"action":1}', "query": "?on_invalid=quarantine"},
    "an unknown query": {"query": "?x=1"},
    "a query twice": {"query": "?receipt=full&receipt=note"},
    "another source": {"query": "?source=elsewhere"},
    "until published": {"query": "?wait=published"},
    "an unknown encoding": {"head": CLOSE + "Content-Encoding: br\r\n"},
    "a broken encoding": {"head": CLOSE + "Content-Encoding: gzip\r\n"},
    "another method": {"method": "PUT"},
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_answer_alike(shared_server: Server, case: str) -> None:
    token = shared_server.token("ingest", name="a" + str(list(CASES).index(case)))
    whole = request(token, **{"head": CLOSE, **CASES[case]})
    at = whole.index(b"\r\n\r\n") + 4
    assert told(ask(shared_server, whole)) == told(ask(shared_server, whole[: at - 1], whole[at - 1 :]))
    if len(whole) > at:
        assert told(ask(shared_server, whole)) == told(ask(shared_server, whole[: at + 1], whole[at + 1 :]))


@pytest.mark.parametrize("token", ["gvn_wrong", "", "two words"])
def test_strangers_are_refused_alike(shared_server: Server, token: str) -> None:
    whole = request(token, head=CLOSE)
    short, slow = told(ask(shared_server, whole)), told(ask(shared_server, whole[:-1], whole[-1:]))
    assert short == slow
    assert short[0] == b"HTTP/1.1 401 Unauthorized"


def test_whole_requests_go_the_short_way_and_others_do_not(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="ways")
    whole = request(token, head=CLOSE)
    with mock.patch.object(Intake, "_take", side_effect=AssertionError("the ordinary way")):
        assert b'"accepted":1' in ask(shared_server, whole)
        with socket.create_connection(shared_server.address, timeout=180) as raw:
            raw.sendall(whole[:-1])  # refused before its last byte comes
            assert raw.recv(65536).startswith(b"HTTP/1.1 503")
        assert b"HTTP/1.1 503" in ask(shared_server, request(token, head=CLOSE, query="?wait=published"))


def test_an_upgrade_and_chunks_go_the_ordinary_way(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="chunks")
    chunked = request(token, b"", head=CLOSE).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    assert b'"accepted":1' in ask(shared_server, chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT))
    upgrade = request(token, head="Connection: close, Upgrade\r\nUpgrade: h2c\r\n")
    assert b'"accepted":1' in ask(shared_server, upgrade)


def test_a_failure_of_ours_is_an_answer(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="ours")
    with mock.patch.object(Intake, "_admit", side_effect=RuntimeError("secret")):
        answer = ask(shared_server, request(token, head=CLOSE))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"RuntimeError" in answer
    assert b"secret" not in answer


def test_what_follows_waits_its_turn(tmp_path: Path) -> None:
    disk = GatedFiles()
    with Server(tmp_path / "log", files=disk) as server:
        token = server.token("ingest")
        disk.shut()
        answers: list[bytes] = []
        live = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        asking = threading.Thread(target=lambda: answers.append(ask(server, request(token) * 2, live)))
        asking.start()
        disk.wait_until_held()
        asking.join(0.3)
        assert not answers
        disk.gate.set()
        asking.join(90)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answers[0])
        assert statuses == [b"200"] * 3
        assert answers[0].rstrip().endswith(b'{"live":true}')
        assert server.control.status()["size"] >= 4


def test_who_leaves_before_the_answer_leaves_the_event(tmp_path: Path) -> None:
    disk = GatedFiles()
    with Server(tmp_path / "log", files=disk) as server:
        token = server.token("ingest")
        before = server.control.status()["size"]
        disk.shut()
        with socket.create_connection(server.address) as raw:
            raw.sendall(request(token))
            disk.wait_until_held()
        time.sleep(0.1)  # it may be noticed that nobody waits any more
        disk.gate.set()
        assert server.append(EVENT, token).json()["size"] == before + 2


def test_a_stopping_server_answers_what_it_took(tmp_path: Path) -> None:
    disk = GatedFiles()
    with Server(tmp_path / "log", files=disk) as server:
        token = server.token("ingest")
        disk.shut()
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(ask(server, request(token))))
        asking.start()
        disk.wait_until_held()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.2)  # it may have begun to stop
        disk.gate.set()
        asking.join(90)
        stopping.join(90)
        assert answers[0].startswith(b"HTTP/1.1 200 ")
        assert b'"state":"committed"' in answers[0]


def test_a_disk_that_fails_is_no_receipt(tmp_path: Path) -> None:
    disk = GatedFiles()
    with Server(tmp_path / "log", files=disk) as server:
        token = server.token("ingest")
        disk.broken = True
        answer = ask(server, request(token, head=CLOSE))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"receipt" not in answer


def test_the_control_socket_has_no_short_way() -> None:
    assert not issubclass(ControlHttp, ExpressHttp)
