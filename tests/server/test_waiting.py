"""Requests that wait: for a checkpoint, for a time stamp over one; and what they are told when it does not come."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from anchor.authorities import Authority, make_authority, openssl, serving
from anchor.timed import Pretender, pretender
from core.tokens import granted
from graven.client import Client
from graven.config import AuthorityConfig, Config, load_config
from graven.core.timestamp_request import parse_request
from graven.log import anchoring
from graven.server import live
from server.running import Server

EVENT = b'{"action":"x"}'

pytestmark = openssl


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[Authority, Pretender]]:
    """A served authority whose answers are in the test's hand."""
    one = pretender(tmp_path / "pretender")

    def reply(asked: bytes) -> tuple[int, bytes]:
        request = parse_request(asked)
        one.asked += 1
        if one.wrong is not None:
            return 500, one.wrong(b"")
        return 200, granted(replace(one.maker, nonce=request.nonce, imprint=request.imprint).token(b"", one.now()))

    with serving(make_authority(tmp_path / "authority")) as served:
        served.reply = reply
        yield served, one


def config_of(directory: Path, served: Authority, one: Pretender) -> Config:
    config = load_config(directory / "graven.toml")
    row = AuthorityConfig(url=served.url, ca_file=str(one.ca_file), interval_s=86_400, timeout_ms=3_000)
    publish = msgspec.structs.replace(config.publish, interval_ms=10)
    return msgspec.structs.replace(config, authorities={"one": row}, publish=publish)


@pytest.fixture
def stamped(tmp_path: Path, authority: tuple[Authority, Pretender]) -> Iterator[Server]:
    """A server whose authority is due once a day."""
    with Server(tmp_path / "log"):
        pass
    with Server(tmp_path / "log", config_of(tmp_path / "log", *authority)) as server:
        yield server


def test_a_stamp_covers_the_event_long_before_the_interval_is_over(
    stamped: Server, authority: tuple[Authority, Pretender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "DEMAND_S", 0.0)
    token = stamped.token("ingest", "read")
    for _ in range(3):
        said = stamped.append(EVENT, token, "?wait=timestamped").json()
        assert said["state"] == "timestamped" and "missing" not in said
        assert said["timestamp"]["authority"] == "one" and said["timestamp"]["size"] >= said["size"]
        evidence = stamped.ask("GET", f"/api/v1/events/{said['first_index']}/evidence", token=token).json()
        assert [row["type"] for row in evidence["anchors"] if row["type"] == "rfc3161"]
    assert authority[1].asked >= 3


def test_demands_share_a_stamp_and_do_not_wear_an_authority_out(
    stamped: Server, authority: tuple[Authority, Pretender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "DEMAND_S", 3_600.0)
    token = stamped.token("ingest")
    assert stamped.append(EVENT, token, "?wait=timestamped").json()["state"] == "timestamped"
    asked = authority[1].asked
    monkeypatch.setattr(live, "WAIT_S", 0.5)
    for _ in range(3):
        said = stamped.append(EVENT, token, "?wait=timestamped").json()
        assert (said["state"], said["missing"]) == (
            "published", "no time stamp covers them yet: no authority gave one in time",
        )  # fmt: skip
    assert authority[1].asked == asked, "the next demand is heard when the pause is over"


def test_an_authority_that_fails_is_left_alone(
    stamped: Server, authority: tuple[Authority, Pretender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "DEMAND_S", 0.0)
    monkeypatch.setattr(live, "WAIT_S", 1.0)
    token = stamped.token("ingest")
    authority[1].wrong = lambda _: b"no"
    states = [stamped.append(EVENT, token, "?wait=timestamped").json() for _ in range(3)]
    assert {said["state"] for said in states} == {"published"} and all(said["missing"] for said in states)
    assert all(said["accepted"] == 1 for said in states), "stored all the same"
    assert authority[1].asked <= 2


def test_without_an_authority_it_is_refused_before_anything_is_stored(server: Server) -> None:
    token = server.token("ingest")
    before = server.ask("GET", "/api/v1/status").json()["size"]
    answer = server.append(EVENT, token, "?wait=timestamped")
    assert answer.status == 400 and "no time authority" in answer.error["what"]
    assert server.ask("GET", "/api/v1/status").json()["size"] == before


def test_a_checkpoint_that_does_not_come_is_missing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.Arrivals, "arrived", lambda self, size: None)
    monkeypatch.setattr(live, "WAIT_S", 0.3)
    said = server.append(EVENT, server.token("ingest"), "?wait=published").json()
    assert said["state"] == "committed" and said["missing"].startswith("no checkpoint covers them yet")


def test_the_client_waits_too(stamped: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "DEMAND_S", 0.0)
    vkey = load_config(stamped.directory / "graven.toml").vkeys
    with Client(stamped.url, stamped.token("ingest"), vkey=vkey, allow_http=True) as client:
        answer = client.append({"action": "x"}, wait="timestamped")
        assert (answer.state, answer.missing) == ("timestamped", "")
