"""The doors for agents, attacked: forged, replayed, reordered, oversized; and what of it becomes an event."""

import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.agents import acts, enrolled, raws, write_config
from graven.agent.identity import Identity, load_identity, make_identity
from graven.agent.wire import Run, compress, decode_body, encode_body
from graven.core.errors import BadInput
from graven.core.statement import (
    NO_BATCH,
    BatchStatement,
    Enrolment,
    Heartbeat,
    format_batch,
    format_enrolment,
    format_heartbeat,
    records_root,
)
from graven.ingest.protocol.compressed import ZSTD_WINDOW_LOG_MAX
from graven.server.agents import BATCHES_PATH
from server.running import Answer, Server

NOW_US = 1_700_000_000_000_000


@dataclass
class Sender:
    """Makes and sends batches by hand."""

    server: Server
    identity: Identity

    def statement(self, sequence: int, previous: bytes, records: list[bytes], body: bytes) -> BatchStatement:
        salt = os.urandom(32)
        return BatchStatement(
            self.identity.name, sequence, previous, len(records),
            records_root(records, salt), salt, sha256(body).digest(), NOW_US,
        )  # fmt: skip

    def send(
        self,
        sequence: int,
        previous: bytes,
        records: list[bytes],
        *,
        change: dict[str, object] | None = None,
        body: bytes | None = None,
        signer: Identity | None = None,
        packed: bytes | None = None,
    ) -> tuple[Answer, BatchStatement]:
        real = encode_body([Run("", {"from": "a test"}, records)])
        statement = replace(self.statement(sequence, previous, records, real), **(change or {}))  # type: ignore[arg-type]
        note = (signer or self.identity).sign(format_batch(statement))
        headers = {"Graven-Statement": b64encode(note).decode(), "Content-Encoding": "zstd"}
        sent = packed if packed is not None else compress(real if body is None else body)
        return self.server.ask("POST", BATCHES_PATH, sent, headers=headers), statement


@pytest.fixture
def sender(server: Server, tmp_path: Path) -> Iterator[Sender]:
    config = enrolled(write_config(tmp_path, server.url), server)
    yield Sender(server, load_identity(Path(config.state)))


def test_the_chain(sender: Sender) -> None:
    first, said = sender.send(1, NO_BATCH, [b"one", b"two"])
    assert first.status == 200
    assert first.json()["accepted"] == 3
    second, then = sender.send(2, said.digest, [b"three"])
    assert second.status == 200
    assert second.json()["position"]["sequence"] == 2
    for sequence, previous, why in ((1, NO_BATCH, "replay"), (2, said.digest, "fork"), (3, said.digest, "fork")):
        refused, _ = sender.send(sequence, previous, [b"another"])
        assert refused.status == 409
        assert refused.json()["position"]["sequence"] == 2
        assert why
    gap, _ = sender.send(9, os.urandom(32), [b"nine"])
    assert gap.status == 200
    assert raws(sender.server.directory) == [b"one", b"two", b"three", b"nine"]
    assert acts(sender.server.directory, "graven.agent.gap") == [{"agent": "host-1", "after": 2, "sequence": 9}]
    (told,) = acts(sender.server.directory, "graven.agent.refused")  # the others within a minute are counted
    assert told == {"agent": "host-1", "why": "replay", "since": 1}
    assert then.sequence == 2
    row = next(one for one in sender.server.control.sources() if one["name"] == "host-1")
    did = row["activity"]
    assert (did["gaps"], did["replays"], did["forks"], did["forged"], did["events"]) == (1, 1, 2, 0, 7)
    assert (row["state"], row["agent"]["sequence"], did["heartbeat"]) == ("seen", 9, None)


def test_the_very_same_batch_is_answered_and_not_stored(sender: Sender) -> None:
    records = [b"one"]
    body = encode_body([Run("", {}, records)])
    note = sender.identity.sign(format_batch(sender.statement(1, NO_BATCH, records, body)))
    headers = {"Graven-Statement": b64encode(note).decode(), "Content-Encoding": "zstd"}
    for _ in range(3):
        answer = sender.server.ask("POST", BATCHES_PATH, compress(body), headers=headers)
        assert answer.status == 200
        assert answer.json()["position"]["sequence"] == 1
    assert raws(sender.server.directory) == records


def test_forgeries_are_refused_and_told(sender: Sender) -> None:
    stranger = make_identity("host-1")
    forged, _ = sender.send(1, NO_BATCH, [b"x"], signer=stranger)
    assert forged.status == 401
    other_body, _ = sender.send(1, NO_BATCH, [b"x"], body=encode_body([Run("", {}, [b"y"])]))
    assert other_body.status == 401
    other_records, _ = sender.send(1, NO_BATCH, [b"x"], change={"root": os.urandom(32)})
    assert other_records.status == 401
    assert raws(sender.server.directory) == []
    assert acts(sender.server.directory, "graven.agent.refused") == [{"agent": "host-1", "why": "forged", "since": 1}]


def test_strangers_learn_nothing_and_leave_nothing(sender: Sender) -> None:
    stranger = make_identity("nobody")
    answer, _ = Sender(sender.server, stranger).send(1, NO_BATCH, [b"x"])
    assert (answer.status, answer.error["what"]) == (401, "no agent in use has this name")
    for headers in ({}, {"Graven-Statement": "%%%"}, {"Graven-Statement": b64encode(os.urandom(300)).decode()}):
        answer = sender.server.ask("POST", BATCHES_PATH, b"", headers={"Content-Encoding": "zstd", **headers})
        assert answer.status == 400
    assert acts(sender.server.directory, "graven.agent.refused") == []


def test_a_bomb_is_refused(sender: Sender) -> None:
    from graven.log.seal import zstd

    packed = zstd.compress(bytes(200 << 20), options={zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG_MAX})
    answer, _ = sender.send(1, NO_BATCH, [b"x"], packed=packed)
    assert answer.status == 413


def test_one_bad_record_harms_no_other(sender: Sender) -> None:
    records = [b"\xff\xfe not text", b'{"deep":' * 5_000, b"x" * (2 << 20), b"plain", b"\x00"]
    answer, _ = sender.send(1, NO_BATCH, records)
    assert answer.status == 200
    found = raws(sender.server.directory)
    assert len(found) == len(records)
    assert found[0] == records[0]
    assert found[2] == records[2][: 64 << 10]


def test_a_heartbeat_cannot_be_shown_again(sender: Sender) -> None:
    def beat(challenge: bytes, word: str = "alive", signer: Identity | None = None) -> Answer:
        said = Heartbeat("host-1", word, 0, NO_BATCH, 0, challenge, NOW_US)  # type: ignore[arg-type]
        note = (signer or sender.identity).sign(format_heartbeat(said))
        return sender.server.ask("POST", "/api/v1/agent/heartbeats", note)

    first = beat(NO_BATCH)
    assert first.status == 409
    challenge = msgspec.json.decode(b'"' + first.json()["position"]["challenge"].encode() + b'"', type=bytes)
    assert beat(challenge).status == 200
    row = next(one for one in sender.server.control.sources() if one["name"] == "host-1")
    assert row["activity"]["heartbeat"] and row["activity"]["clock_ahead_ms"] < -60_000
    assert beat(challenge).status == 409
    assert beat(challenge, signer=make_identity("host-1")).status == 401
    assert len(acts(sender.server.directory, "graven.agent.skew")) == 1  # 2023 is long ago
    again = beat(NO_BATCH).json()["position"]["challenge"]
    assert beat(msgspec.json.decode(f'"{again}"', type=bytes), "goodbye").status == 200
    assert acts(sender.server.directory, "graven.agent.goodbye") == [{"agent": "host-1", "sequence": 0}]
    row = next(one for one in sender.server.control.sources() if one["name"] == "host-1")
    assert (row["state"], row["agent"]["ended"]) == ("gone", True)


def test_who_may_be_enrolled(sender: Sender) -> None:
    server = sender.server
    token = server.token("enrol", name="another-join")

    def enrol(identity: Identity, time_us: int, secret: str = token) -> Answer:
        note = identity.sign(format_enrolment(Enrolment(identity.key, time_us)))
        body = msgspec.json.encode({"enrolment": b64encode(note).decode()})
        return server.ask("POST", "/api/v1/agent/enrol", body, token=secret)

    import time

    now_us = time.time_ns() // 1000
    assert enrol(make_identity("old"), now_us - 7_200_000_000).status == 400
    assert enrol(make_identity("graven"), now_us).status == 400
    assert enrol(make_identity("local"), now_us).status == 400
    assert enrol(make_identity("bad name".replace(" ", "/")), now_us).status == 400
    assert enrol(make_identity("fine"), now_us, server.token("ingest", "read", name="web")).status == 403
    for _ in range(2):  # an answer that was lost
        fine = make_identity("fine")
    assert enrol(fine, now_us).status == 201
    assert enrol(fine, now_us).status == 201
    assert enrol(make_identity("fine"), now_us).status == 400


@given(st.binary(max_size=400))
def test_any_bytes_are_a_body_or_refused(data: bytes) -> None:
    try:
        decode_body(data)
    except BadInput:
        return


def test_bodies_beyond_the_bounds() -> None:
    for runs in ([Run("", {str(n): "" for n in range(65)}, [])], [Run("x" * 5_000, {}, [])]):
        with pytest.raises(BadInput):
            decode_body(encode_body(runs))
    with pytest.raises(BadInput):
        decode_body(encode_body([Run("", {}, [b""] * 100_001)]))
