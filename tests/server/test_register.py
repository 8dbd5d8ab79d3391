"""Tokens and sources over HTTP."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from graven.app import open_view
from graven.core.errors import BadInput
from graven.runtime.clock import rfc3339
from graven.server import register
from server.running import Answer, Server


@pytest.fixture(scope="module")
def admin(shared_server: Server) -> str:
    return shared_server.token("admin", name="admin")


def send(server: Server, method: str, target: str, document: object, token: str) -> Answer:
    return server.ask(method, target, json.dumps(document).encode(), token=token)


def test_the_life_of_a_source(shared_server: Server, admin: str) -> None:
    made = send(shared_server, "POST", "/api/v1/sources", {"name": "db", "type": "database", "owner": "Eve"}, admin)
    assert made.status == 201
    row = made.json()
    assert (row["type"], row["grade"], row["classes"]) == ("database", "authenticated sender", [])
    changed = send(shared_server, "PATCH", "/api/v1/sources/db", {"grade": "network", "owner": ""}, admin).json()
    assert changed == row | {"grade": "network", "owner": ""}
    before = shared_server.control.status()["size"]
    assert send(shared_server, "PATCH", "/api/v1/sources/db", {"grade": "network"}, admin).json() == changed
    assert shared_server.control.status()["size"] == before  # nothing changed, so nothing is recorded
    retired = shared_server.ask("DELETE", "/api/v1/sources/db", token=admin).json()
    assert retired == changed | {"retired": True}
    listed = shared_server.ask("GET", "/api/v1/sources", token=admin).json()["sources"]
    found = next(one for one in listed if one["name"] == "db")
    assert found == retired | {"state": "retired", "last_seen": None, "agent": None, "activity": None}
    assert shared_server.ask("GET", "/api/v1/sources/db", token=admin).json() == found
    again = send(shared_server, "POST", "/api/v1/sources", {"name": "db"}, admin)
    assert again.status == 400


def test_sources_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source once, in the order of the numbers, whatever is registered meanwhile; an answer is bounded."""
    monkeypatch.setattr(register, "SOURCES_MAX", 4)
    with Server(tmp_path / "log") as server:
        token = server.token("read", "admin")
        for number in range(9):
            assert send(server, "POST", "/api/v1/sources", {"name": f"s{number}"}, token).status == 201
        seen: list[tuple[int, str]] = []
        after, sizes = 0, []
        while after is not None:
            page = server.ask("GET", f"/api/v1/sources?limit=3&after={after}", token=token).json()
            seen += [(one["number"], one["name"]) for one in page["sources"]]
            sizes.append(len(page["sources"]))
            if len(sizes) == 2:
                assert send(server, "POST", "/api/v1/sources", {"name": "late"}, token).status == 201
            after = page["next"]
        names = [name for _, name in seen]
        assert seen == sorted(set(seen)) and set(names) == {"local", "late"} | {f"s{number}" for number in range(9)}
        assert max(sizes) == 3 and 0 not in sizes
        whole = server.ask("GET", "/api/v1/sources", token=token).json()
        assert len(whole["sources"]) == 4 and whole["next"] == whole["sources"][-1]["number"]
        assert [one["name"] for one in server.control.sources()] == names
        last = server.ask("GET", f"/api/v1/sources?after={seen[-1][0]}", token=token).json()
        assert last == {"sources": [], "next": None}
        for query in ("limit=0", "limit=5", "limit=-1", "limit=x", "after=-1", "after=1e3", "limit=1&limit=2",
                      "after=" + "9" * 16, "after=\u0663", "after=", "page=1"):  # fmt: skip
            refused = server.ask("GET", "/api/v1/sources?" + quote(query, safe="=&"), token=token)
            assert refused.status == 400, query
        assert server.ask("GET", "/api/v1/sources?after=" + "9" * 15, token=token).json()["sources"] == []


@pytest.mark.parametrize(
    ("target", "document"),
    [
        ("/api/v1/sources", {"name": "a b"}),
        ("/api/v1/sources", {"name": ""}),
        ("/api/v1/sources", {"name": "x" * 65}),
        ("/api/v1/sources", {"name": "local"}),
        ("/api/v1/sources", {"name": "ok", "grade": "perfect"}),
        ("/api/v1/sources", {"name": "ok", "class": "secret"}),
        ("/api/v1/sources", {"name": "ok", "classes": ["graven"]}),
        ("/api/v1/sources", {"name": "ok", "klass": "x"}),
        ("/api/v1/sources", {"name": "ok", "owner": "a\u202eb"}),
        ("/api/v1/sources", []),
        ("/api/v1/tokens", {"name": "t"}),
        ("/api/v1/tokens", {"name": "t", "scopes": []}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["root"]}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["read", "read"]}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["ingest:nowhere"]}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["ingest:local"]}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["ingest:graven"]}),
        ("/api/v1/tokens", {"name": "local", "scopes": ["ingest"]}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["read"], "expires": "tomorrow"}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["read"], "expires": "2999-01-01T00:00:00"}),
        ("/api/v1/tokens", {"name": "t", "scopes": ["read"], "expires": "2020-01-01T00:00:00Z"}),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    shared_server: Server, admin: str, target: str, document: object
) -> None:
    before = shared_server.control.status()["size"]
    answer = send(shared_server, "POST", target, document, admin)
    assert (answer.status, answer.error["kind"]) == (400, "bad_input")
    assert shared_server.control.status()["size"] == before


def test_a_body_beyond_reason_is_refused(shared_server: Server, admin: str) -> None:
    assert send(shared_server, "POST", "/api/v1/sources", {"name": "x" * 70_000}, admin).status == 413
    deep = b'{"name":' + b"[" * 60_000
    assert shared_server.ask("POST", "/api/v1/sources", deep, token=admin).status == 400


def test_the_inventory_says_what_came_and_what_was_wrong(shared_server: Server) -> None:
    token = shared_server.token("ingest", "read", name="counted")
    before = shared_server.ask("GET", "/api/v1/sources/counted", token=token).json()
    assert (before["state"], before["last_seen"], before["activity"]) == ("unseen", None, None)
    late = (datetime.now(UTC) - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    body = b'{"action":"a","id":"1"}\n{"action":"b","id":"2","time":"%s"}' % late.encode()
    assert shared_server.append(body, token).status == 200
    assert shared_server.append(body, token).status == 200
    assert shared_server.append(b'{"no":"event"}', token).status == 400
    assert shared_server.append(b'{"no":"event"}', token, "?on_invalid=quarantine").status == 200
    assert shared_server.ask("POST", "/ingest", b'{"no": "event"}', token=token).status == 200
    assert (
        shared_server.ask("GET", "/api/v1/sources", token=shared_server.token("ingest", name="may-not")).status == 403
    )
    row = shared_server.ask("GET", "/api/v1/sources/counted", token=token).json()
    did = row["activity"]
    assert row["state"] == "seen"
    assert (did["events"], did["duplicates"], did["quarantined"], did["refused"]) == (4, 2, 2, 1)
    assert 7_200_000 <= did["lag_ms"] < 7_260_000
    assert did["rate_1m"] > 0 and did["clock_ahead_ms"] is None
    assert row["last_seen"] >= did["since"]
    assert shared_server.ask("GET", "/api/v1/sources/nobody", token=token).status == 404


def test_when_a_source_was_heard_outlives_a_crash(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        token = server.token("ingest", "read", name="web")
        server.append(b'{"action":"a"}', token)
        seen = server.ask("GET", "/api/v1/sources/web", token=token).json()["last_seen"]
        shutil.copytree(
            tmp_path / "log", tmp_path / "crashed", ignore=shutil.ignore_patterns("*.sock")
        )  # as kill -9 leaves it
        shutil.copytree(tmp_path / "log.keys", tmp_path / "crashed.keys")
    assert seen
    with Server(tmp_path / "crashed") as again:
        row = again.ask("GET", "/api/v1/sources/web", token=token).json()
        assert (row["last_seen"], row["state"], row["activity"]) == (seen, "seen", None)
    (tmp_path / "log" / "state" / "registers.json").unlink()  # a snapshot may go; the journal says it
    with open_view(tmp_path / "log") as view:
        registers = view.registers()
        assert rfc3339(registers.heard[registers.sources["web"].number]) == seen


def test_numbers_are_given_once(shared_server: Server, admin: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def make(number: int) -> int:
        return int(shared_server.control.add_source(f"row-{number}")["number"])

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(make, range(16)))
    assert len(set(numbers)) == 16


def test_events_go_to_the_class_of_their_source(shared_server: Server) -> None:
    token = shared_server.token("ingest", name="classy")
    answer = shared_server.append(b'{"action":"x","class":"other"}', token)
    assert answer.status == 400
    assert "may not use the class" in answer.error["what"]


def test_unknown_names_are_refused(shared_server: Server) -> None:
    with pytest.raises(BadInput, match="no living token"):
        shared_server.control.revoke_token("nobody")
    with pytest.raises(BadInput, match="no source"):
        shared_server.control.change_source("nobody", owner="x")
    with pytest.raises(BadInput, match="own"):
        shared_server.control.retire_source("local")
