"""HTTP to an agent's own doors: nothing is answered before it is durable, and a repeat is known in the log."""

import contextlib
import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.agents import Running, enrolled, raws, records, wait_for, write_config
from agent.doors.test_doors_syslog import address
from graven.agent.agent import Agent
from graven.agent.config import AgentConfig
from graven.agent.doors.http import RECORDS_MAX
from graven.agent.doors.spoken import Asked, find_spoken
from graven.agent.wire import Body, Run, decode_body, encode_body, records_of, run_of
from graven.core.errors import BadInput
from graven.ingest.record import Record
from server.running import Server

SECRET = "a-secret-of-32-characters-or-more"
DOORS = """
[[http]]
name = "port"
listen = "127.0.0.1:0"
token_file = "door-token"
labels = { zone = "a" }

[[http]]
name = "unix"
socket = "http.sock"
max_request_bytes = 100000
"""
EVENT = b'{"action":"file.read","actor":{"id":"u-1"},"data":{"n":%d}}'
LOGS = (
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000001",'
    b'"body":{"stringValue":"user %d logged in"}}]}]}]}'
)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=180)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def post(agent: Agent, path: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, Any]:
    host, _, port = address(agent, "port").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=180)
    sent = {"Authorization": f"Bearer {SECRET}"} | {key.replace("_", "-"): value for key, value in headers.items()}
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def config(server: Server, tmp_path: Path) -> AgentConfig:
    token = tmp_path / "door-token"
    token.write_text(SECRET + "\n")
    token.chmod(0o600)
    return enrolled(write_config(tmp_path, server.url, DOORS), server)


@pytest.fixture
def agent(config: AgentConfig) -> Iterator[Agent]:
    with Running(config) as running:
        yield running.agent


def test_each_protocol_reaches_the_log(server: Server, agent: Agent, tmp_path: Path) -> None:
    status, body = post(agent, "/services/collector", b'{"event":' + EVENT % 1 + b',"host":"h"}')
    assert (status, json.loads(body)) == (200, {"text": "Success", "code": 0})
    assert post(agent, "/services/collector/raw?source=s", b"line one\nline two\n")[0] == 200
    assert post(agent, "/v1/logs", LOGS % 7, Content_Type="application/json") == (200, b"{}")
    packed = gzip.compress(EVENT % 2 + b"\n" + EVENT % 3)
    assert json.loads(post(agent, "/ingest", packed, Content_Encoding="gzip")[1]) == {"spooled": 2}
    connection = UnixConnection(tmp_path / "http.sock")  # its mode is the credential
    connection.request("POST", "/ingest/graven", EVENT % 4)
    assert connection.getresponse().status == 200
    wait_for(lambda: agent.delivery.sent_records >= 8)
    found = records(server.directory)
    assert sorted(event["data"]["n"] for event, _ in found if event["action"] == "file.read") == [1, 2, 3, 4]
    logged_in = [event for event, raw in found if raw == b"user 7 logged in"]
    assert [event["labels"]["graven.type"] for event in logged_in] == ["otel"]
    assert {event["labels"]["zone"] for event, raw in found if raw == b"user 7 logged in"} == {"a"}
    assert raws(server.directory).count(b"line one") == 1


def test_the_health_of_the_collector_needs_no_token(agent: Agent) -> None:
    status, body = post(agent, "/services/collector/health", b"", "GET", Authorization="")
    assert (status, json.loads(body)["code"]) == (200, 17)


def test_nothing_is_answered_before_it_is_in_the_spool(config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a spool that has no room, the sender is told to come back, and what it sent is not kept behind its back."""
    monkeypatch.setattr("graven.agent.doors.http.KEPT_S_MAX", 0.2)
    agent = Agent(config)
    try:
        status, body = post(agent, "/services/collector", b'{"event":' + EVENT % 1 + b"}")
        assert (status, json.loads(body)["code"]) == (503, 9)
        assert agent.doors[0].take(1 << 20) == []
    finally:
        agent.close()


def test_a_repeat_is_one_event_where_it_can_be_known(server: Server, agent: Agent) -> None:
    timed = b'{"event":{"action":"again"},"time":1700000000.25}'
    for _ in range(3):
        assert post(agent, "/services/collector", timed)[0] == 200
        assert post(agent, "/v1/logs", LOGS % 1, Content_Type="application/json")[0] == 200
        assert post(agent, "/ingest", b'{"time":"2026-03-02T08:14:31Z","message":"m","user":"u"}')[0] == 200
    wait_for(lambda: agent.delivery.sent_records >= 9)
    found = records(server.directory)
    assert [event["action"] for event, _ in found].count("again") == 1
    assert raws(server.directory).count(b"user 1 logged in") == 1
    assert raws(server.directory).count(b'{"time":"2026-03-02T08:14:31Z","message":"m","user":"u"}') == 1


def test_two_alike_in_one_request_are_two(server: Server, agent: Agent) -> None:
    one = b'{"event":{"action":"twice"},"time":1700000000.25}'
    assert post(agent, "/services/collector", one + one)[0] == 200
    wait_for(lambda: agent.delivery.sent_records >= 2)
    assert [event["action"] for event, _ in records(server.directory)].count("twice") == 2


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Basic !!", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}"])
def test_without_the_secret_nothing_is_taken(config: AgentConfig, value: str) -> None:
    agent = Agent(config)  # nobody takes from its doors
    try:
        assert post(agent, "/ingest", EVENT % 1, Authorization=value)[0] == 401
        assert agent.doors[0].take(1 << 20) == []
    finally:
        agent.close()


def test_refusals(agent: Agent) -> None:
    assert post(agent, "/", b"x")[0] == 404
    assert post(agent, "/ingest/NO%20TYPE", b"x")[0] == 404
    assert post(agent, "/ingest", b"", "GET")[0] == 405
    assert post(agent, "/ingest", b" \n")[0] == 400
    assert post(agent, "/ingest", b"x", Content_Encoding="br")[0] == 415
    assert post(agent, "/ingest", b"x", Content_Encoding="gzip")[0] == 400
    assert post(agent, "/ingest", gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")[0] == 413
    assert post(agent, "/ingest", bytes(5 << 20))[0] == 413
    assert post(agent, "/ingest", b"a\n" * (RECORDS_MAX + 1))[0] == 413
    assert post(agent, "/v1/logs", b"\xff", Content_Type="application/x-protobuf")[0] == 400
    assert post(agent, "/v1/logs", b"x", Content_Type="text/plain")[0] == 400
    host = "h" * 1000
    wide = b'{"event":"x"}' * 9_000
    assert post(agent, f"/services/collector?host={host}&source={host}", wide)[0] == 413


def test_a_slow_request_is_cut_and_holds_up_nobody(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.agent.doors.http.BODY_S_MAX", 2.0)
    host, _, port = address(agent, "port").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=180) as slow:
        head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 100\r\n\r\n"
        slow.sendall(head.encode() + b"x")
        assert post(agent, "/ingest", EVENT % 1)[0] == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_connection_that_answers_nothing_is_cut(config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.agent.doors.http.CONNECTION_S_MAX", 0.2)
    with Running(config) as running:
        host, _, port = address(running.agent, "port").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=180) as slow, contextlib.suppress(ConnectionError):
            for byte in b"POST /ingest HTTP/1.1\r\n":
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
            assert slow.recv(1) == b""


def test_a_token_that_others_may_read_is_refused(config: AgentConfig, tmp_path: Path) -> None:
    for text, mode, says in (
        (SECRET, 0o640, "others may read"),
        ("short", 0o600, "no token"),
        ("", 0o600, "no secret"),
    ):
        (tmp_path / "door-token").write_text(text)
        (tmp_path / "door-token").chmod(mode)
        with pytest.raises(BadInput, match=says):
            Agent(config)


PATHS = ["/services/collector", "/services/collector/raw", "/v1/logs", "/ingest", "/ingest/json"]
MEDIA = ["application/json", "application/x-protobuf", "text/plain"]


@given(st.sampled_from(PATHS), st.sampled_from(MEDIA), st.binary(max_size=300))
def test_any_request_is_records_or_refused(path: str, media: str, body: bytes) -> None:
    spoken = find_spoken(path, media)
    assert spoken is not None
    try:
        delivery = spoken.read(Asked(path, media, {"host": "h"}, body))
    except BadInput as error:
        spoken.refused(400, error.what)
        return
    keys = delivery.keys or [""] * len(delivery.records)
    runs = [run_of(record, key) for record, key in zip(delivery.records, keys, strict=True)]
    again, known = records_of(decode_body(encode_body(runs)))
    assert [one.raw for one in again] == [one.raw for one in delivery.records]
    assert [(one.otherwise, one.fault) for one in again] == [(one.otherwise, one.fault) for one in delivery.records]
    assert known == list(keys)


@settings(max_examples=30)
@given(st.text(max_size=20), st.integers(0, 1 << 70), st.text(max_size=20), st.text(max_size=10))
def test_what_an_agent_says_of_a_record_is_taken_with_care(fault: str, size: int, sha256: str, key: str) -> None:
    """An agent may say anything in these names: nothing of it raises, and a key numbers its run's records."""
    around = {"graven.fault": fault, "graven.size_bytes": str(size), "graven.sha256": sha256, "graven.key": key}
    found, keys = records_of(Body([Run("", around, [b"a", b"b"])]))
    assert all(one.size_bytes < 10**18 and len(one.sha256) in (0, 64) for one in found)
    assert keys == ([key, f"{key}#2"] if key else ["", ""])
    assert found[0].raw == b"a" and found[0].fault == fault


def test_too_much_around_a_record_is_cut() -> None:
    record = Record(b"x", around={f"hec.fields.{number}": "v" * 9_000 for number in range(90)}, otherwise="otel")
    run = run_of(record, "k" * 9_000)
    assert decode_body(encode_body([run])).runs[0].around["graven.otherwise"] == "otel"
    assert len(run.around) == 64 and max(map(len, run.around.values())) <= 4096
