"""Who is let in, as what."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from graven.core.errors import BadInput
from graven.runtime.clock import SystemClock
from server.running import Server

EVENT = b'{"action":"x"}'


def test_nobody_appends_without_a_token(shared_server: Server) -> None:
    answer = shared_server.ask("POST", "/api/v1/events", EVENT)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="graven"')
    assert "Bearer gvn_" in answer.error["mend"]


@pytest.mark.parametrize(
    "header",
    ["Bearer gvn_wrong", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "gvn_bare", "Bearer a b", "Bearer " + "x" * 5000],
)
def test_what_is_no_token_is_refused(shared_server: Server, header: str) -> None:
    for target in ("/api/v1/events", "/api/v1/status", "/api/v1/tokens"):
        method = "POST" if target == "/api/v1/events" else "GET"
        answer = shared_server.ask(method, target, EVENT, headers={"Authorization": header})
        assert answer.status == 401


def test_two_tokens_are_none(shared_server: Server) -> None:
    """Whoever stands in front may have judged the other one."""
    token = shared_server.token("ingest", "read", name="twice")
    for method, target in (("POST", "/api/v1/events"), ("GET", "/api/v1/events/0")):
        with socket.create_connection(shared_server.address, timeout=180) as raw:
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
            raw.sendall(f"{head}Authorization: Bearer {token}\r\nAuthorization: Bearer x\r\n\r\n".encode())
            assert raw.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_token_does_what_its_scopes_say(shared_server: Server) -> None:
    ingest = shared_server.token("ingest", name="scope-a")
    read = shared_server.token("read", name="scope-b")
    admin = shared_server.token("admin", name="scope-c")
    asked = [
        ("POST", "/api/v1/events", EVENT, {ingest}),
        ("GET", "/api/v1/events/0", None, {read, admin}),
        ("GET", "/api/v1/events/0/evidence", None, {read, admin}),
        ("GET", "/api/v1/tokens", None, {admin}),
        ("GET", "/api/v1/sources", None, {read, admin}),
        ("POST", "/api/v1/tokens", b'{"name":"made","scopes":["read"]}', {admin}),
    ]
    for method, target, body, allowed in asked:
        for token in (ingest, read, admin):
            answer = shared_server.ask(method, target, body, token=token)
            if token in allowed:
                assert answer.status in (200, 201), (method, target)
            else:
                assert answer.status == 403, (method, target)
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_a_token_appends_as_its_own_sources_only(shared_server: Server) -> None:
    shared_server.control.add_source("web-1")
    shared_server.control.add_source("web-2")
    token = shared_server.token("ingest:web-1", "ingest:web-2", "read", name="two")
    for query, name in (("", "web-1"), ("?source=web-1", "web-1"), ("?source=web-2", "web-2")):
        index = shared_server.append(EVENT, token, query).json()["first_index"]
        stored = shared_server.ask("GET", f"/api/v1/events/{index}", token=token).json()
        assert stored["head"]["source_name"] == name
    for query in ("?source=local", "?source=graven", "?source=web-3"):
        assert shared_server.append(EVENT, token, query).status == 403


def test_a_bare_ingest_scope_registers_a_source(shared_server: Server) -> None:
    made = shared_server.control.create_token("shop", ["ingest"], owner="Ada")
    assert made["token"]["sources"] == ["shop"]
    row = next(row for row in shared_server.control.sources() if row["name"] == "shop")
    assert (row["owner"], row["class"], row["retired"]) == ("Ada", "default", False)


def test_a_revoked_token_is_refused_at_once(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="gone")
    assert shared_server.append(EVENT, token).status == 200
    assert shared_server.control.revoke_token("gone")["revoked"] is True
    assert shared_server.append(EVENT, token).status == 401
    shared_server.token("ingest", name="gone")  # the name is free again, for the same source
    with pytest.raises(BadInput, match="already"):
        shared_server.token("ingest", name="gone")


def test_a_token_expires(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now_us = time.time_ns() // 1000
    with pytest.raises(BadInput, match="has passed"):
        shared_server.control.create_token("late", ["read"], expires_us=now_us - 1_000_000)
    expires_us = now_us + 60_000_000
    made = shared_server.control.create_token("brief", ["read"], expires_us=expires_us)
    assert shared_server.ask("GET", "/api/v1/events/0", token=made["secret"]).status == 200
    monkeypatch.setattr(SystemClock, "now_us", lambda _: expires_us)  # of the server too: it runs in a thread
    answer = shared_server.ask("GET", "/api/v1/events/0", token=made["secret"])
    assert answer.status == 401
    assert "expired" in answer.error["what"]


def test_nobody_appends_as_a_retired_source(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="old")
    shared_server.control.retire_source("old")
    assert shared_server.append(EVENT, token).status == 403
    with pytest.raises(BadInput, match="no source"):
        shared_server.control.retire_source("old")


def test_the_last_use_is_remembered_over_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        token = server.token("ingest")
        assert server.control.tokens()[0]["last_used"] is None
        server.append(EVENT, token)
        used = server.control.tokens()[0]["last_used"]
        assert used is not None
    with Server(tmp_path / "log") as server:
        assert server.control.tokens()[0]["last_used"] == used


def test_no_secret_is_stored_or_written_down(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Server(tmp_path / "log") as server:
        token = server.token("ingest", "admin")
        server.append(EVENT, token)
        listed = server.ask("GET", "/api/v1/tokens", token=token)
        assert listed.status == 200
        assert token.encode() not in listed.body
        assert b"sha256" not in listed.body
        assert token.encode() not in server.ask("GET", "/metrics").body
    for folder in (tmp_path / "log", tmp_path / "log.keys"):
        for path in folder.rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes()
    said = capfd.readouterr()
    assert token not in said.out + said.err
    assert "listening" in said.err


def test_each_change_is_an_event_that_names_who_made_it(server: Server) -> None:
    admin = server.token("admin", name="root-of-all")
    made = server.ask("POST", "/api/v1/tokens", b'{"name":"child","scopes":["ingest"],"owner":"Bo"}', token=admin)
    assert made.status == 201
    size = server.control.status()["size"]
    events = [server.ask("GET", f"/api/v1/events/{i}", token=admin).json()["event"] for i in range(size)]
    by_control = next(e for e in events if e["action"] == "graven.token.create")
    assert by_control["actor"] == {"type": "user", "id": f"uid:{os.geteuid()}", "credential": "control socket"}
    created = [e for e in events if e["action"] in ("graven.source.create", "graven.token.create")][-2:]
    assert [e["data"]["name"] for e in created] == ["child", "child"]
    assert {e["actor"]["name"] for e in created} == {"root-of-all"}
    assert made.json()["secret"] not in json.dumps(events)
