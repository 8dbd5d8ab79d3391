"""What a real PostgreSQL writes, in each of its three forms: the same events, none quarantined."""

import time
from pathlib import Path

import msgspec
import psycopg
import pytest

from graven.event import Event, decode_event
from graven.ingest import Pipeline, split_records
from ingest.postgres_server import serve

STATEMENTS = (
    "CREATE EXTENSION pgaudit",
    "CREATE ROLE guarded LOGIN PASSWORD 'Tr0ub4dor'",
    "CREATE ROLE banned LOGIN",
    "CREATE TABLE customers (id int, name text, note text)",
    "INSERT INTO customers VALUES (1, 'Mara', 'a \"quoted\" line\nand, another')",
    "SELECT *\n  FROM customers\n WHERE id = 1",
    "UPDATE customers SET name = 'Leon' WHERE id = 1",
    "GRANT SELECT ON customers TO guarded",
    "REVOKE SELECT ON customers FROM guarded",
    "DELETE FROM customers",
    "SET ROLE guarded",
    "SELECT * FROM customers",
)
FORMS = ("server.json", "server.csv", "server.log")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log files of a server on which people logged in, were refused, and executed STATEMENTS."""
    place = tmp_path_factory.mktemp("postgres")
    with serve() as (dsn, directory):
        with psycopg.connect(dsn, autocommit=True, application_name="books") as db:
            for statement in STATEMENTS[:-1]:
                db.execute(statement.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(STATEMENTS[-1].encode())
        for user, reason in (("guarded", "password"), ("banned", "rejects")):
            wrong = dsn.replace("user=postgres", f"user={user} password=wrong")
            with pytest.raises(psycopg.OperationalError, match=reason):
                psycopg.connect(wrong)
        until_s = time.monotonic() + 90  # the collector writes a moment later, and each form for itself
        while not all(is_whole(directory / form) for form in FORMS):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        kept = {form: (directory / form).read_bytes() for form in FORMS}
    for form, data in kept.items():
        (place / form).write_bytes(data)
    return place


def is_whole(path: Path) -> bool:
    """Whether the last words of each connection are there."""
    text = path.read_text() if path.exists() else ""
    last = ("disconnection: session time", "authentication failed", "rejects connection")
    return text.endswith("\n") and all(words in text for words in last)


def events_of(path: Path) -> list[tuple[str, Event]]:
    found = Pipeline().run(split_records(path.read_bytes()))
    assert [one.quarantined for one in found if one.quarantined] == []
    return [(one.type, decode_event(one.event)) for one in found]


def named(events: list[tuple[str, Event]], action: str) -> Event:
    return next(event for _, event in events if event.action == action)


@pytest.mark.parametrize("form", FORMS)
def test_every_entry_is_read(logs: Path, form: str) -> None:
    events = events_of(logs / form)
    assert {type_ for type_, _ in events} == {"postgresql", "pgaudit"}

    insert = named(events, "WRITE INSERT")
    assert (insert.verb, insert.category, insert.message) == ("create", "data", STATEMENTS[4])
    assert insert.actor is not None and insert.actor.name == "postgres"
    assert insert.scope is not None and insert.scope.project == "postgres"
    assert insert.time is not None and abs(insert.time.timestamp() - time.time()) < 3600
    assert named(events, "READ SELECT").message == STATEMENTS[5]
    assert named(events, "ROLE GRANT").verb == "grant" and named(events, "ROLE REVOKE").verb == "revoke"
    assert named(events, "ROLE CREATE ROLE").message == "CREATE ROLE guarded LOGIN PASSWORD <REDACTED>"
    created = named(events, "DDL CREATE TABLE")
    assert created.targets is not None
    assert (created.targets[0].type, created.targets[0].name) == ("table", "public.customers")

    denied = named(events, "permission denied")
    assert (denied.outcome, denied.data["statement"]) == ("denied", STATEMENTS[-1])
    failed = named(events, "authentication failed")
    assert failed.actor is not None
    assert (failed.actor.name, failed.verb, failed.outcome) == ("guarded", "login", "failure")
    rejected = named(events, "pg_hba.conf rejects connection")
    assert rejected.origin is not None
    assert (rejected.outcome, rejected.origin.ip) == ("denied", "127.0.0.1")
    assert named(events, "connection authorized").outcome == "success"
    assert named(events, "disconnection").verb == "logout"


def test_the_forms_say_the_same(logs: Path) -> None:
    """Beside the json and csv forms, which say all, the stderr form lacks what its prefix does not hold."""
    shown = [
        [(type_, msgspec.structs.replace(event, labels=None, data=None)) for type_, event in events_of(logs / form)]
        for form in ("server.json", "server.csv")
    ]
    assert len(shown[0]) > 20
    assert shown[0] == shown[1]
    lines = [(type_, event.action, event.outcome) for type_, event in events_of(logs / "server.log")]
    assert lines == [(type_, event.action, event.outcome) for type_, event in shown[0]]
