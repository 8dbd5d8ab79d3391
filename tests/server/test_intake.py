"""POST /api/v1/events, over a real socket."""

import base64
import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from backports import zstd

from graven.config import Config, IntakeConfig, load_config
from graven.core.errors import Broken
from graven.core.receipt import open_receipt, verify_opened
from graven.keys.signature import verify_signature
from server.running import STARTED_S_MAX, GatedFiles, Server

EVENT = b'{"action":"file.read","actor":{"id":"u-1"}}'


@pytest.fixture(scope="module")
def token(shared_server: Server) -> str:
    return shared_server.token("ingest", "read")


def small_intake(directory: Path, **knobs: int) -> Config:
    config = load_config(directory / "graven.toml")
    return msgspec.structs.replace(config, intake=msgspec.structs.replace(IntakeConfig(), **knobs))


@pytest.mark.parametrize(
    ("body", "content_type", "count"),
    [
        (EVENT, "application/json", 1),
        (b"[" + EVENT + b", " + EVENT + b"]", "application/json", 2),
        (EVENT + b"\n\n" + EVENT + b"\r\n" + EVENT, "application/x-ndjson", 3),
        (EVENT + b"\n" + EVENT, "text/plain", 2),
    ],
)
def test_an_object_an_array_and_lines_are_stored_verbatim(
    shared_server: Server, token: str, body: bytes, content_type: str, count: int
) -> None:
    answer = shared_server.append(body, token, Content_Type=content_type)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["accepted"] == count
    assert said["size"] == said["first_index"] + count
    assert (said["duplicates"], said["state"]) == ([], "committed")
    for index in range(said["first_index"], said["size"]):
        stored = shared_server.ask("GET", f"/api/v1/events/{index}", token=token)
        assert b'"event":' + EVENT + b',"raw":null' in stored.body


def test_the_answer_has_the_keys_others_script_against(shared_server: Server, token: str) -> None:
    said = shared_server.append(EVENT, token).json()
    assert list(said) == ["accepted", "first_index", "size", "duplicates", "state", "receipt"]
    assert said["receipt"].startswith("graven-receipt/v1\nexample.com/served\n")


def test_a_receipt_holds_under_its_certificate(shared_server: Server, token: str) -> None:
    said = shared_server.append(EVENT, token).json()
    certificate = shared_server.ask("GET", "/api/v1/receipt-certificate")
    assert certificate.status == 200
    receipt = open_receipt(said["receipt"].encode(), certificate.body, shared_server.keys, verify_signature)
    assert (receipt.origin, receipt.size) == ("example.com/served", said["size"])


def test_an_opened_receipt_convinces_the_producer(shared_server: Server, token: str) -> None:
    events = [b'{"action":"a","id":"opened-%d"}' % number for number in range(5)]
    first = shared_server.append(b"\n".join(events[:3]), token, "?receipt=full").json()
    assert verify_opened(first, events[:3], shared_server.keys, verify_signature).size == first["size"]
    again = shared_server.append(b"\n".join(events), token, "?receipt=full").json()
    assert (again["accepted"], len(again["duplicates"])) == (2, 3)
    assert again["duplicates"][2] == {"position": 2, "index": first["first_index"] + 2}
    verify_opened(again, events, shared_server.keys, verify_signature)


def test_waiting_until_it_is_published(shared_server: Server, token: str) -> None:
    said = shared_server.append(EVENT, token, "?wait=published").json()
    assert said["state"] == "published"
    status = shared_server.ask("GET", "/api/v1/status").json()
    assert status["published"]["size"] >= said["size"]


def test_one_bad_event_refuses_all_with_every_fault_named(shared_server: Server, token: str) -> None:
    before = shared_server.ask("GET", "/api/v1/status").json()["size"]
    body = EVENT + b'\n{"act":"x"}\n' + EVENT + b'\n{"action":"x","verb":"destroy"}'
    answer = shared_server.append(body, token)
    assert answer.status == 400
    error = answer.error
    assert error["kind"] == "bad_input"
    assert [(one["position"], one["path"]) for one in error["errors"]] == [(1, "$.act"), (3, "$.verb")]
    assert all(one["what"] and one["mend"] for one in error["errors"])
    assert shared_server.ask("GET", "/api/v1/status").json()["size"] == before


def test_quarantine_keeps_what_cannot_be_read(shared_server: Server, token: str) -> None:
    said = shared_server.append(EVENT + b"\nnot json\n" + EVENT, token, "?on_invalid=quarantine").json()
    assert said["accepted"] == 3
    stored = shared_server.ask("GET", f"/api/v1/events/{said['first_index'] + 1}", token=token).json()
    assert stored["event"]["action"] == "graven.quarantined"
    assert base64.b64decode(stored["raw"]) == b"not json"


@pytest.mark.parametrize(
    "query",
    [
        "?wait=soon",
        "?receipt=yes",
        "?receipt=full&receipt=full",
        "?sauce=web",
        "?wait",
        "?source=a%20b",
        "?=",
        "?%ff=1",
    ],
)
def test_what_the_query_says_is_known_or_refused(shared_server: Server, token: str, query: str) -> None:
    answer = shared_server.append(EVENT, token, query)
    assert answer.status == 400
    assert "receipt=full" in answer.error["mend"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_refused(shared_server: Server, token: str, method: str) -> None:
    answer = shared_server.ask(method, "/api/v1/events", token=token)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("body", [b"", b"   \n", b"[]", b"{", b"[1]", b'"text"', b"\xff", b'{"action":"\xff"}'])
def test_no_event_is_no_request(shared_server: Server, token: str, body: bytes) -> None:
    answer = shared_server.append(body, token)
    assert answer.status == 400
    assert answer.error["errors"]


def test_very_deep_documents_are_refused(shared_server: Server, token: str) -> None:
    body = b'{"action":"x","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert shared_server.append(body, token).status == 400


def test_a_post_without_a_body_wants_a_length(shared_server: Server, token: str) -> None:
    with socket.create_connection(shared_server.address) as raw:
        raw.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 411 ")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies(shared_server: Server, token: str, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zstd.compress
    lines = b"".join(EVENT + b"\n" for _ in range(3_000))
    for body in (pack(lines), pack(EVENT + b"\n") + pack(EVENT), pack(EVENT * 1)):
        answer = shared_server.append(body, token, Content_Encoding=encoding)
        assert answer.status == 200
    assert shared_server.append(pack(lines * 9), token, Content_Encoding=encoding).json()["accepted"] == 27_000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_broken_compression_is_refused(shared_server: Server, token: str, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zstd.compress
    for body in (EVENT, pack(EVENT)[:-3], pack(EVENT) + b"more", b""):
        answer = shared_server.append(body, token, Content_Encoding=encoding)
        assert answer.status == 400
        assert encoding in answer.error["what"]


def test_unknown_encodings_are_refused(shared_server: Server, token: str) -> None:
    answer = shared_server.append(EVENT, token, Content_Encoding="br")
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, zstd")
    assert shared_server.append(EVENT, token, Content_Encoding="identity").status == 200


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
def test_too_much_is_too_much_however_it_is_packed(tmp_path: Path, encoding: str) -> None:
    with Server(tmp_path / "log"):
        pass
    limit = 1 << 20
    with Server(tmp_path / "log", small_intake(tmp_path / "log", max_request_bytes=limit)) as server:
        token = server.token("ingest")
        packers: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
        pack = packers[encoding]
        headers = {"Content_Encoding": encoding} if encoding else {}
        fits = EVENT + b" " * (limit - len(EVENT))
        assert server.append(pack(fits), token, **headers).status == 200
        answer = server.append(pack(fits + b" "), token, **headers)
        assert answer.status == 413
        assert "max_request_bytes" in answer.error["mend"]
        assert server.append(pack(bytes(200 << 20)) if encoding else b"", token, **headers).status in (400, 413)
        status = server.control.status()
        assert status["queue"]["bytes"] == 0


def test_a_declared_length_is_refused_before_a_byte_of_it_is_read(shared_server: Server, token: str) -> None:
    with socket.create_connection(shared_server.address) as raw:
        raw.sendall(
            b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nExpect: 100-continue\r\n"
            b"Content-Length: 99999999999\r\n\r\n" % token.encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_chunked_bodies_are_read_and_bounded(shared_server: Server, token: str) -> None:
    def send(chunks: list[bytes]) -> int:
        connection = http.client.HTTPConnection(*shared_server.address, timeout=180)
        connection.request(
            "POST", "/api/v1/events", iter(chunks), {"Authorization": f"Bearer {token}"}, encode_chunked=True
        )
        status = connection.getresponse().status
        connection.close()
        return status

    assert send([EVENT, b"\n", EVENT[:9], EVENT[9:]]) == 200
    assert send([b" " * (1 << 20)] * 17) == 413


def test_a_full_queue_is_a_clear_refusal(tmp_path: Path) -> None:
    with Server(tmp_path / "log"):
        pass
    disk = GatedFiles()
    config = small_intake(tmp_path / "log", max_events=3)
    with Server(tmp_path / "log", config, disk) as server:
        token = server.token("ingest")
        disk.shut()
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(server.append, EVENT, token)]  # is being committed
            disk.wait_until_held()
            waiting += [pool.submit(server.append, EVENT, token) for _ in range(3)]  # fill the queue
            until(lambda: server.control.status()["queue"]["events"] == 3)
            refused = server.append(EVENT, token)
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert refused.error["kind"] == "busy"
            disk.gate.set()
            assert [one.result().status for one in waiting] == [200] * 4
        assert server.append(EVENT, token).status == 200
        metrics = server.ask("GET", "/metrics").body.decode()
        assert 'graven_intake_refused_total{reason="full"} 1.0' in metrics
        assert 'graven_events_accepted_total{source="web"} 5.0' in metrics


def test_bodies_in_flight_share_one_allowance(tmp_path: Path) -> None:
    with Server(tmp_path / "log"):
        pass
    mib = 1 << 20
    with Server(tmp_path / "log", small_intake(tmp_path / "log", max_request_bytes=mib, max_bytes=mib)) as server:
        token = server.token("ingest")
        head = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
        slow = [socket.create_connection(server.address) for _ in range(4)]
        for one in slow:
            one.sendall(head % (token.encode(), mib) + b" " * 100)
        until(lambda: b"graven_bodies_in_flight_bytes 4.194304e+06" in server.ask("GET", "/metrics").body)
        assert server.append(EVENT, token).status == 429
        for one in slow:
            one.close()
        until(lambda: b"graven_bodies_in_flight_bytes 0.0" in server.ask("GET", "/metrics").body)
        assert server.append(EVENT, token).status == 200


def test_a_broken_disk_refuses_everything_that_follows(tmp_path: Path) -> None:
    with Server(tmp_path / "log"):
        pass
    disk = GatedFiles()
    server = Server(tmp_path / "log", None, disk)
    with server:
        token = server.token("ingest", "read")
        size = server.append(EVENT, token).json()["size"]
        disk.broken = True
        assert server.append(EVENT, token).status == 503
        again = server.append(EVENT, token)
        assert (again.status, again.error["kind"]) == (503, "broken")
        assert server.ask("GET", "/health/ready").status == 503
        assert server.ask("GET", "/health/live").status == 200
        assert b"graven_writer_up 0.0" in server.ask("GET", "/metrics").body
        assert server.ask("GET", f"/api/v1/events/{size - 1}", token=token).status == 200
        assert server.control.status()["state"] == "stopped"
    assert isinstance(server.failure, Broken)


def test_many_producers_at_once(server: Server) -> None:
    """Every request stands in a row, in one piece, and nothing is lost or twice."""
    tokens = [server.token("ingest", name=f"p{number}") for number in range(8)]
    reader = server.token("read", name="reader")
    rounds, width = 12, 5

    def produce(number: int) -> list[tuple[int, list[str]]]:
        done = []
        for turn in range(rounds):
            ids = [f"{number}-{turn}-{k}" for k in range(width)]
            body = b"\n".join(json.dumps({"action": "x", "id": one}).encode() for one in ids)
            said = server.append(body, tokens[number]).json()
            assert said["accepted"] == width
            done.append((said["first_index"], ids))
        return done

    with ThreadPoolExecutor(8) as pool:
        produced = [row for rows in pool.map(produce, range(8)) for row in rows]
    taken = [index for first, _ in produced for index in range(first, first + width)]
    assert len(set(taken)) == len(taken) == 8 * rounds * width
    for first, ids in produced[:: len(produced) // 10]:
        for offset, one in enumerate(ids):
            stored = server.ask("GET", f"/api/v1/events/{first + offset}", token=reader).json()
            assert stored["event"]["id"] == one
            assert stored["head"]["source_name"] == f"p{one.split('-')[0]}"


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    until_s = time.monotonic() + STARTED_S_MAX
    while not holds():
        assert time.monotonic() < until_s, "it did not come to hold"
        time.sleep(0.02)
