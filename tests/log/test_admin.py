"""Tokens and sources, without a server."""

from hashlib import sha256
from pathlib import Path

import pytest

from graven.app import Log, create_log
from graven.core.errors import BadInput
from graven.log import admin
from graven.log.registers import Registers

CLASSES = ("default", "private")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log")
    return tmp_path / "log"


def test_scopes_are_read_strictly() -> None:
    assert admin.parse_scopes("ingest,read") == ("ingest", "read")
    assert admin.parse_scopes("ingest:web-1 , admin") == ("ingest:web-1", "admin")
    for bad in ("", "ingest,", "all", "ingest:", "ingest:a b", "read,read", "INGEST", "ingest:a,ingest:a"):
        with pytest.raises(BadInput):
            admin.parse_scopes(bad)


def test_what_was_made_is_there_after_a_restart(directory: Path) -> None:
    with Log.open(directory) as log:
        token, secret = admin.create_token(log, "web", ["ingest", "read"], owner="Ada", expires_us=99)
        source = admin.add_source(log, "db", declared=CLASSES, class_name="private", classes=["default"])
        assert (token.sources, source.number) == (("web",), 3)
        assert secret.startswith("gvn_")
        assert len(secret) == 4 + 43
        assert admin.secret_sha256(secret.encode()) == sha256(secret.encode()).hexdigest() == token.sha256
    with Log.open(directory) as log:
        assert log.registers.tokens == {token.sha256: token}
        assert log.registers.source("db") == source
        assert log.registers.source("web").owner == "Ada"
        revoked = admin.revoke_token(log, token.id)
        changed = admin.change_source(log, "db", declared=CLASSES, owner="Bo", classes=[])
        assert (revoked.revoked, changed.owner, changed.classes, changed.number) == (True, "Bo", (), 3)
        retired = admin.retire_source(log, "db")
    with Log.open(directory) as log:
        assert log.registers.tokens[token.sha256] == revoked
        assert log.registers.sources["db"] == retired
        assert admin.add_source(log, "new", declared=CLASSES).number == 4  # a number is never given again


def test_two_secrets_are_never_the_same(directory: Path) -> None:
    with Log.open(directory) as log:
        made = [admin.create_token(log, f"t{number}", ["read"]) for number in range(5)]
    assert len({secret for _, secret in made}) == len({token.id for token, _ in made}) == 5


def test_refusals_append_nothing(directory: Path) -> None:
    with Log.open(directory) as log:
        admin.create_token(log, "web", ["ingest"])
        size = log.size

        def refused(words: str, call: object, *args: object, **named: object) -> None:
            assert callable(call)
            with pytest.raises(BadInput, match=words):
                call(log, *args, **named)

        refused("already", admin.create_token, "web", ["read"])
        refused("cannot be the name", admin.create_token, "a,b", ["read"])
        refused("no scope", admin.create_token, "x", ["write"])
        refused("one to 32", admin.create_token, "x", [])
        refused("no source", admin.create_token, "x", ["ingest:gone"])
        refused("no token may send", admin.create_token, "x", ["ingest:graven"])
        refused("no token may send", admin.create_token, "local", ["ingest"])
        refused("printable", admin.create_token, "x", ["read"], owner="a\nb")
        refused("no living token", admin.revoke_token, "nobody")
        refused("already", admin.add_source, "web", declared=CLASSES)
        refused("no class", admin.add_source, "y", declared=CLASSES, class_name="gone")
        refused("no class", admin.add_source, "y", declared=CLASSES, classes=["gone"])
        refused("no grade", admin.add_source, "y", declared=CLASSES, grade="superb")
        refused("no source", admin.change_source, "gone", declared=CLASSES, owner="x")
        refused("own", admin.retire_source, "local")
        assert log.size == size
        admin.change_source(log, "web", declared=CLASSES)
        assert log.size == size


def test_a_token_takes_up_a_source_that_is_there(directory: Path) -> None:
    with Log.open(directory) as log:
        first, _ = admin.create_token(log, "web", ["ingest"])
        admin.revoke_token(log, "web")
        size = log.size
        second, _ = admin.create_token(log, "web", ["ingest"])
        assert log.size == size + 1  # the token alone: the source is the same as before
        assert second.sources == first.sources == ("web",)
        admin.retire_source(log, "web")
        admin.revoke_token(log, "web")
        with pytest.raises(BadInput, match="no source"):
            admin.create_token(log, "web", ["ingest"])


def test_a_reader_s_registers_are_enough_to_plan_from() -> None:
    assert isinstance(Registers().next_source_number(), int)
