"""The running witness: published requests, races, crashes, bounds."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.signers import LOG, ORIGIN, ed25519, seed_of
from graven.core.checkpoint import open_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.note import ED25519, Key
from graven.core.witness_request import format_add_checkpoint
from graven.keys.signature import verify_signature
from graven.witness import door as door_module
from graven.witness import serve as serve_module
from graven.witness.cosigner import Cosigner
from graven.witness.store import Store
from graven.witness.witness import Witness
from witness.logs import NAME, Tree, cosignatures, made
from witness.running import STARTED_S_MAX, InProcess, InThread, ask, post

TREE, OTHER = Tree(), Tree(salt=7)
PATH = f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[InThread]:
    with InThread(made(tmp_path / "w")) as running:
        yield running


def test_every_published_request_is_answered_as_expected(shared: Path, tmp_path: Path) -> None:
    """FiloSottile/sunlight, internal/witness/witness_test.go, TestAddCheckpoint (ISC)."""
    vectors = json.loads((shared / "vectors" / "witness_add_checkpoint.json").read_text())
    key = Key(vectors["log_origin"], ED25519, bytes.fromhex(vectors["log_pubkey_hex"]))
    directory = made(tmp_path / "w", key)
    with InThread(directory) as running:
        for case in vectors["cases"]:
            got = post(running.url, case["body"].encode())
            assert got.status == case["want_status"], case["name"]
            wanted = case["want_body_contains"].replace("example.com/witness", NAME)
            assert wanted in got.body.decode(), case["name"]
            kind = "text/x.tlog.size" if got.status == 409 else "text/plain; charset=utf-8"
            assert got.headers["content-type"] == kind
            if got.status == 200:
                note = case["body"].encode().partition(b"\n\n")[2]
                assert len(cosignatures(Cosigner(directory).keys, note, got.body)) == 2
    assert len(vectors["cases"]) == 11


def test_monitoring(witness: InThread) -> None:
    assert ask(witness.url, "GET", PATH).status == 404
    assert post(witness.url, TREE.request(0, 5)).status == 200
    got = ask(witness.url, "GET", PATH)
    assert got.status == 200 and got.headers["content-type"] == "text/plain; charset=utf-8"
    assert open_checkpoint(got.body, [LOG.key], verify_signature).checkpoint.size == 5
    head = ask(witness.url, "HEAD", PATH)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(got.body)))


def test_other_paths_and_methods(witness: InThread) -> None:
    for method, path, status in (
        ("GET", "/", 404), ("GET", "/checkpoint", 404), ("POST", "/", 404), ("GET", PATH.upper(), 404),
        ("GET", "/add-checkpoint", 405), ("POST", PATH, 405), ("PUT", "/add-checkpoint", 405),
        ("GET", f"{PATH}/", 404), ("POST", "/add-checkpoint/", 404),
    ):  # fmt: skip
        assert ask(witness.url, method, path, b"x" if method != "GET" else None).status == status, (method, path)


def test_a_log_added_while_it_runs(witness: InThread, tmp_path: Path) -> None:
    origin = "late.invalid/log"
    late = ed25519(origin, seed_of("late"))
    body = format_add_checkpoint(0, (), TREE.note(4, (late,), origin))
    assert post(witness.url, body).status == 404
    store = Store(tmp_path / "w")
    store.add_key(late.key)
    store.close()
    assert post(witness.url, body).status == 200


def test_one_connection_serves_many_requests(witness: InThread) -> None:
    connection = http.client.HTTPConnection(urlsplit(witness.url).netloc, timeout=180)
    for size in range(1, 6):
        assert post("", TREE.request(size - 1, size), connection).status == 200
    connection.close()


@pytest.mark.parametrize("servers", [1, 2])
def test_racers_from_one_old_size(tmp_path: Path, servers: int) -> None:
    """Eight histories fight over each size, through one server or two over one directory: one history comes of it."""
    directory = made(tmp_path / "w")
    racers = [Tree(salt) for salt in range(8)]
    with InThread(directory) as one, InThread(directory) as other:
        urls = [one.url, other.url][:servers]
        with ThreadPoolExecutor(len(racers)) as pool:
            size, winner = 0, None
            for new in (1, 2, 5, 9):
                barrier = threading.Barrier(len(racers))

                def race(number: int, old: int = size, new: int = new, start: threading.Barrier = barrier) -> int:
                    start.wait()
                    return post(urls[number % servers], racers[number].request(old, new)).status

                statuses = list(pool.map(race, range(len(racers))))
                assert statuses.count(200) == 1 and set(statuses) <= {200, 409, 422}
                assert winner is None or statuses[winner] == 200
                size, winner = new, statuses.index(200)
                note = ask(urls[0], "GET", PATH).body
                head = open_checkpoint(note, [LOG.key], verify_signature).checkpoint
                assert (head.size, head.root) == (size, racers[winner].root(size))


def test_larger_and_smaller_racers(witness: InThread) -> None:
    """The race the specification describes: an older request must not roll the state back."""
    assert post(witness.url, TREE.request(0, 10)).status == 200
    sizes = list(range(11, 51))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda size: post(witness.url, TREE.request(10, size)), sizes))
    good = [size for size, answer in zip(sizes, answers, strict=True) if answer.status == 200]
    assert len(good) == 1
    assert {answer.body for answer in answers if answer.status == 409} == {b"%d\n" % good[0]}


KILL = """
import os
from graven.witness.witness import Witness
answered = Witness.add_checkpoint
def killed(self, body):
    answer = answered(self, body)
    if b"\\n7\\n" in body:
        os.kill(os.getpid(), 9)
    return answer
Witness.add_checkpoint = killed
"""


def test_killed_between_persisting_and_answering(tmp_path: Path) -> None:
    directory = made(tmp_path / "w")
    with InProcess(directory, KILL) as running:
        assert post(running.url, TREE.request(0, 3)).status == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            post(running.url, TREE.request(3, 7))
        assert running.process.wait(90) == -signal.SIGKILL
    with InThread(directory) as again:
        head = open_checkpoint(ask(again.url, "GET", PATH).body, [LOG.key], verify_signature).checkpoint
        assert (head.size, head.root) == (7, TREE.root(7))
        got = post(again.url, TREE.request(3, 7))
        assert (got.status, got.body) == (409, b"7\n")
        assert post(again.url, Tree(3, shared=3).request(3, 7)).status == 409
        assert post(again.url, Tree(3, shared=3).request(7, 7)).status == 422
        assert post(again.url, TREE.request(7, 7)).status == 200  # what the log does after the 409
        assert post(again.url, TREE.request(7, 9)).status == 200


def test_sigterm(tmp_path: Path) -> None:
    with InProcess(made(tmp_path / "w")) as running:
        assert running.line.startswith("listening on http://127.0.0.1:")
        assert post(running.url, TREE.request(0, 3)).status == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(90) == 0


def test_a_body_that_is_too_large(witness: InThread) -> None:
    body = b"x" * (door_module.BODY_BYTES_MAX + 1)
    assert post(witness.url, body).status == 413
    assert post(witness.url, body[1:]).status == 400
    assert post(witness.url, TREE.request(0, 3)).status == 200


def _raw(url: str, data: bytes) -> socket.socket:
    connection = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=180)
    connection.sendall(data)
    return connection


def test_a_body_that_comes_too_slowly(witness: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n"
    with monkeypatch.context() as patched:
        patched.setattr(door_module, "BODY_S_MAX", 0.2)
        with _raw(witness.url, head + b"old 0") as slow:
            assert b" 408 " in slow.recv(1000)
    assert post(witness.url, TREE.request(0, 3)).status == 200


@pytest.mark.parametrize("begun", [b"", b"POST /add-check", b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"])
def test_a_connection_that_gets_nowhere_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(serve_module, "CONNECTION_S_MAX", 0.3)
    with (
        InThread(made(tmp_path / "w")) as running,
        contextlib.suppress(ConnectionError),
        _raw(running.url, begun) as slow,
    ):
        assert slow.recv(1000) == b""


def test_only_so_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "CONNECTIONS_MAX", 2)
    with InThread(made(tmp_path / "w")) as running:
        held = [_raw(running.url, b"POST") for _ in range(2)]
        time.sleep(0.2)
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(running.url, "GET", PATH)
        for one in held:
            one.close()
        until_s = time.monotonic() + STARTED_S_MAX
        while not _is_let_in(running.url):
            assert time.monotonic() < until_s


def _is_let_in(url: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(url, "GET", PATH).status == 404
    return False


def test_a_head_without_end(witness: InThread) -> None:
    with (
        contextlib.suppress(ConnectionError),
        _raw(witness.url, b"GET / HTTP/1.1\r\nX: " + b"y" * (1 << 20)) as endless,
    ):
        assert b" 400 " in endless.recv(1000)
    assert ask(witness.url, "GET", PATH).status == 404


def test_a_store_that_fails_stops_the_witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made(tmp_path / "w")
    asked = []

    def fails(_self: Witness, body: bytes) -> None:
        asked.append(body)
        raise Broken("the database of this witness failed: disk I/O error")

    monkeypatch.setattr(Witness, "add_checkpoint", fails)
    running = InThread(directory)
    with running:
        assert post(running.url, b"x").status == 500
        running.join()
    assert isinstance(running.failure, Broken) and len(asked) == 1


def test_a_fault_of_ours_undoes_the_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with InThread(made(tmp_path / "w")) as running:
        with monkeypatch.context() as patched:
            patched.setattr(Cosigner, "cosign", lambda *_: 1 // 0)
            assert post(running.url, TREE.request(0, 3)).status == 500
        assert ask(running.url, "GET", PATH).status == 404
        assert post(running.url, TREE.request(0, 3)).status == 200


def test_a_store_that_is_held_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.witness.store.LOCK_WAIT_S", 0.2)
    directory = made(tmp_path / "w")
    holder = Store(directory)
    with InThread(directory) as running:
        with holder.transaction():
            got = post(running.url, TREE.request(0, 3))
            assert (got.status, got.headers["retry-after"]) == (503, "1")
        assert post(running.url, TREE.request(0, 3)).status == 200
    holder.close()


def test_an_address_that_is_taken(witness: InThread, tmp_path: Path) -> None:
    port = urlsplit(witness.url).port
    assert port is not None
    with pytest.raises(BadInput, match=f"port {port} of .* is taken"):
        serve_module.serve(tmp_path / "w", "127.0.0.1", port, ready=lambda _: None)
    with pytest.raises(BadInput, match="no witness here"):
        serve_module.serve(tmp_path / "none", "127.0.0.1", 0, ready=lambda _: None)
