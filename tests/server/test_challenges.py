"""Challenges over HTTP: drawn, asked for and judged by an auditor; answered to nobody else, never off the record."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from graven.audit.statement import StatementKey
from graven.cli import graven
from graven.config import load_config
from graven.core.challenge import Challenge, format_challenge
from graven.core.challenge_answer import OPENED, judge, parse_answer
from graven.core.note import format_vkey, parse_vkey
from graven.keys.signature import verify_signature
from graven.server import challenges
from graven.server.challenges import PATH
from server.running import Server

SEED = hashlib.sha256(b"the lottery of Sunday").digest()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StatementKey]:
    folder = tmp_path_factory.mktemp("auditors")
    made: dict[str, StatementKey] = {}
    for name in ("known", "stranger"):
        done = CliRunner().invoke(graven, ["audit", "init-key", str(folder / name), "--name", f"{name}.example.com"])
        assert done.exit_code == 0, done.output
        made[name] = StatementKey(folder / name)
    return made


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, StatementKey]) -> Iterator[Server]:
    """A server that answers one auditor; its log has events."""
    directory = tmp_path_factory.mktemp("challenged") / "log"
    with Server(directory):
        pass
    config = load_config(directory / "graven.toml")
    server = msgspec.structs.replace(config.server, auditors=(format_vkey(keys["known"].key),))
    with Server(directory, msgspec.structs.replace(config, server=server)) as running:
        body = b"\n".join(b'{"action":"a%d"}' % number for number in range(20))
        assert running.append(body, running.token("ingest"), "?wait=published").status == 200
        yield running


@pytest.fixture(scope="module")
def token(open_server: Server) -> str:
    return open_server.token("challenge", name="auditor")


def drawn(server: Server, key: StatementKey, count: int = 5, end: int | None = None) -> bytes:
    checkpoint = server.ask("GET", "/log/checkpoint").body
    size = int(checkpoint.split(b"\n")[1])
    one = Challenge(0, size if end is None else end, count, SEED, "the lottery of Sunday", checkpoint)
    return key.sign(format_challenge(one))


def size_of(server: Server) -> int:
    return int(server.ask("GET", "/api/v1/status").json()["size"])


def test_what_is_drawn_is_opened_and_on_record(open_server: Server, token: str, keys: dict[str, StatementKey]) -> None:
    draw = drawn(open_server, keys["known"], 12)
    answer = open_server.ask("POST", PATH, draw, token=token)
    assert answer.status == 200, answer.body
    vkeys = tuple(parse_vkey(vkey) for vkey in load_config(open_server.directory / "graven.toml").vkeys)
    judged = judge(parse_answer(answer.body), [keys["known"].key], vkeys, verify_signature)
    assert judged.count(OPENED) == 12
    index = {name.lower(): value for name, value in answer.headers.items()}["graven-recorded-at"]
    reader = open_server.token("read", name="reader")
    event = open_server.ask("GET", f"/api/v1/events/{index}", token=reader).json()["event"]
    assert event["action"] == "graven.disclosure" and event["actor"]["id"]
    assert event["data"]["sha256"] == hashlib.sha256(answer.body).hexdigest()
    assert (event["data"]["to"], event["data"]["events"]) == ("known.example.com", 12)


def test_nobody_else_is_answered_and_nothing_is_disclosed(
    open_server: Server, token: str, keys: dict[str, StatementKey]
) -> None:
    good = drawn(open_server, keys["known"])
    strangers = drawn(open_server, keys["stranger"])
    others = [open_server.token(scope, name=f"with-{scope}") for scope in ("read", "ingest", "admin", "enrol")]
    before = size_of(open_server)
    assert open_server.ask("POST", PATH, good).status == 401
    for other in others:
        assert open_server.ask("POST", PATH, good, token=other).status == 403
    for body in (strangers, good.replace(b"count 5", b"count 6"), good[:-60], b"", b"junk", bytes(300_000)):
        answer = open_server.ask("POST", PATH, body, token=token)
        assert answer.status in (400, 403, 413), answer.body
        assert b"a1" not in answer.body
    assert size_of(open_server) == before


def test_it_is_bounded(
    open_server: Server, token: str, keys: dict[str, StatementKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = size_of(open_server)
    monkeypatch.setattr(challenges, "COUNT_MAX", 4)
    answer = open_server.ask("POST", PATH, drawn(open_server, keys["known"]), token=token)
    assert answer.status == 400 and "more than 4 entries" in answer.error["what"]
    monkeypatch.setattr(challenges, "COUNT_MAX", 100)
    monkeypatch.setattr(challenges, "ANSWER_BYTES_MAX", 10)
    answer = open_server.ask("POST", PATH, drawn(open_server, keys["known"]), token=token)
    assert answer.status == 400 and "more than 10 bytes" in answer.error["what"]
    assert size_of(open_server) == before


def test_a_server_without_auditors_answers_nobody(server: Server, keys: dict[str, StatementKey]) -> None:
    server.append(b'{"action":"x"}', server.token("ingest"), "?wait=published")
    token = server.token("challenge", name="auditor")
    answer = server.ask("POST", PATH, drawn(server, keys["known"], 1), token=token)
    assert answer.status == 403 and "no challenges over HTTP" in answer.error["what"]


def test_the_command_asks_and_judges(
    open_server: Server, token: str, keys: dict[str, StatementKey], tmp_path: Path
) -> None:
    (tmp_path / "draw").write_bytes(drawn(open_server, keys["known"], 3))
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    words = ["challenge", "ask", str(tmp_path / "draw"), "--url", open_server.url, "--token-file",
             str(tmp_path / "token"), "-o", str(tmp_path / "answer"), "--json"]  # fmt: skip
    done = CliRunner().invoke(graven, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["answers"] == 3
    assert parse_answer((tmp_path / "answer").read_bytes()).challenge == (tmp_path / "draw").read_bytes()
    (tmp_path / "draw").write_bytes(drawn(open_server, keys["stranger"], 3))
    assert CliRunner().invoke(graven, words).exit_code != 0
