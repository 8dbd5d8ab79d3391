"""Statements of agents: one spelling, one signer, and records that nobody changed."""

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput, Disproved
from graven.core.note import ED25519, Key, Note, format_note, make_signature
from graven.core.statement import (
    NO_BATCH,
    BatchStatement,
    Enrolment,
    Heartbeat,
    agent_named,
    format_batch,
    format_enrolment,
    format_heartbeat,
    open_batch,
    open_enrolment,
    open_heartbeat,
    parse_batch,
    parse_enrolment,
    parse_heartbeat,
    records_root,
)
from graven.keys.signature import verify_signature

PRIVATE = Ed25519PrivateKey.generate()
KEY = Key("host-1", ED25519, PRIVATE.public_key().public_bytes_raw())
RECORDS = [b"one", b"", b"three \xff"]
SALT = bytes(range(32))
BATCH = BatchStatement(
    "host-1", 7, NO_BATCH, 3, records_root(RECORDS, SALT), SALT, os.urandom(32), 1_700_000_000_000_000
)
BEAT = Heartbeat("host-1", "alive", 7, BATCH.digest, 12, NO_BATCH, 5)


def sign(text: str, key: Key = KEY) -> bytes:
    return format_note(Note(text, (make_signature(key, PRIVATE.sign(text.encode())),)))


def test_what_is_formatted_is_parsed() -> None:
    assert parse_batch(format_batch(BATCH)) == BATCH
    assert parse_heartbeat(format_heartbeat(BEAT)) == BEAT
    enrolment = Enrolment(KEY, 9)
    assert parse_enrolment(format_enrolment(enrolment)) == enrolment


def test_signed_and_opened() -> None:
    assert open_batch(sign(format_batch(BATCH)), KEY, verify_signature) == BATCH
    assert open_heartbeat(sign(format_heartbeat(BEAT)), KEY, verify_signature) == BEAT
    assert open_enrolment(sign(format_enrolment(Enrolment(KEY, 9))), verify_signature).key == KEY
    assert agent_named(sign(format_batch(BATCH))) == "host-1"


@given(st.data())
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    note = bytearray(sign(format_batch(BATCH)))
    place = data.draw(st.integers(0, len(note) - 1))
    note[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((BadInput, Disproved)):
        open_batch(bytes(note), KEY, verify_signature)


@given(st.text(max_size=300))
def test_any_other_text_is_refused(text: str) -> None:
    for parse in (parse_batch, parse_heartbeat, parse_enrolment):
        with pytest.raises(BadInput):
            parse(text)


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        agent_named(data)


def test_another_agents_name_is_refused() -> None:
    text = format_batch(replace(BATCH, agent="host-2"))
    with pytest.raises(Disproved, match="another agent"):
        open_batch(sign(text), KEY, verify_signature)


def test_a_second_signature_is_refused() -> None:
    text = format_batch(BATCH)
    other = Ed25519PrivateKey.generate()
    stranger = Key("other", ED25519, other.public_key().public_bytes_raw())
    note = Note(
        text,
        (make_signature(KEY, PRIVATE.sign(text.encode())), make_signature(stranger, other.sign(text.encode()))),
    )
    with pytest.raises(Disproved):
        open_batch(format_note(note), KEY, verify_signature)


@pytest.mark.parametrize(
    "records",
    [RECORDS[:2], [*RECORDS, b""], [RECORDS[1], RECORDS[0], RECORDS[2]], [b"One", *RECORDS[1:]], [b"onethree"]],
)
def test_other_records_are_not_those_signed(records: list[bytes]) -> None:
    assert BATCH.verify_records(RECORDS) == RECORDS
    with pytest.raises(Disproved):
        BATCH.verify_records(records)


@pytest.mark.parametrize(
    "changes", [{"sequence": 0}, {"records": 0}, {"salt": b""}, {"previous": b"x"}, {"agent": "a b"}, {"time_us": -1}]
)
def test_impossible_batches(changes: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        replace(BATCH, **changes)  # type: ignore[arg-type]
