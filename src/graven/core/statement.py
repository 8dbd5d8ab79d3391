"""What an agent says under its own key: batches, heartbeats, its enrolment.

Each is a signed note (0x01) by one key whose name is the agent's:

    graven-batch/v1           graven-heartbeat/v1         graven-enrol/v1
    <agent>                   <agent>                     <vkey of the agent>
    <sequence, from 1>        alive | goodbye             <time, µs since the Unix epoch>
    <previous, base64>        <last sequence, 0: none>
    <records>                 <its digest, base64>
    <root, base64>            <bytes that wait>
    <salt, base64>            <challenge, base64>
    <body, base64>            <time, µs>
    <time, µs>

The digest of a batch is the SHA-256 of its statement's text; `previous` is that of the batch before (32 zero bytes in
front of the first), so an agent's batches are a chain of which nothing can be left out or changed unseen. `root` is the
RFC 6962 root over the leaves SHA-256(0x00 ‖ salt ‖ record), `body` the SHA-256 of the bytes that were sent, before
compression. The salt is random: whoever loses the statement's bytes cannot guess an erased record from the root.

Strict, as every text of the log: what is parsed is formatted again and must be the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeVar

from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaves, root_of
from graven.core.note import (
    ED25519,
    Key,
    VerifySignature,
    check_key_name,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
)
from graven.core.spelling import HASH_BYTES, check_number, decode_hash, encode_base64, parse_decimal

NOTE_BYTES_MAX = 4096
RECORDS_MAX = 100_000
NO_BATCH = bytes(HASH_BYTES)
"""What stands for the batch before the first."""

_T = TypeVar("_T")
_BATCH, _HEARTBEAT, _ENROL = "graven-batch/v1", "graven-heartbeat/v1", "graven-enrol/v1"


@dataclass(frozen=True, slots=True)
class BatchStatement:
    """One batch of an agent: its place in the agent's chain, and what it holds. Raises BadInput when impossible."""

    agent: str
    sequence: int
    previous: bytes
    records: int
    root: bytes
    salt: bytes
    body: bytes
    time_us: int

    def __post_init__(self) -> None:
        check_key_name(self.agent)
        check_number(self.time_us, place="time")
        if check_number(self.sequence, place="sequence") == 0 or not 1 <= self.records <= RECORDS_MAX:
            raise BadInput("a batch has a sequence from 1, and 1 to 100000 records", place=self.agent)
        if any(len(value) != HASH_BYTES for value in (self.previous, self.root, self.salt, self.body)):
            raise BadInput("a hash or salt that has not 32 bytes", place=self.agent)

    @property
    def digest(self) -> bytes:
        """What the next batch calls `previous`."""
        return sha256(format_batch(self).encode()).digest()

    def verify_records(self, records: Sequence[bytes]) -> Sequence[bytes]:
        """`records` when they are those of the batch, in its order. Raises Disproved."""
        found = records_root(records, self.salt) if len(records) == self.records else b""
        if found != self.root:
            raise Disproved(
                "these are not the records the agent signed",
                expected=f"{self.records} records under {encode_base64(self.root)}",
                found=f"{len(records)} records under {encode_base64(found) or 'another root'}",
                place=f"{self.agent}, batch {self.sequence}",
            )
        return records


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An agent is there, and has given out batches up to `sequence`. `word` "goodbye": it will not come back."""

    agent: str
    word: Literal["alive", "goodbye"]
    sequence: int
    digest: bytes
    waiting_bytes: int
    challenge: bytes
    time_us: int

    def __post_init__(self) -> None:
        check_key_name(self.agent)
        for value, place in ((self.sequence, "sequence"), (self.waiting_bytes, "bytes"), (self.time_us, "time")):
            check_number(value, place=place)
        if self.word not in ("alive", "goodbye") or len(self.digest) != HASH_BYTES or len(self.challenge) != HASH_BYTES:
            raise BadInput("not a heartbeat", place=self.agent)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An agent shows that it holds the key it asks to be known by."""

    key: Key
    time_us: int

    def __post_init__(self) -> None:
        check_number(self.time_us, place="time")
        if self.key.type != ED25519:
            raise BadInput("an agent's key is an Ed25519 key", place=self.key.name)


def records_root(records: Sequence[bytes], salt: bytes) -> bytes:
    """The root over an agent's records, each salted."""
    return root_of(hash_leaves([salt + record for record in records]))


def format_batch(batch: BatchStatement) -> str:
    """The text of a batch statement."""
    return _text(
        _BATCH, batch.agent, batch.sequence, encode_base64(batch.previous), batch.records,
        encode_base64(batch.root), encode_base64(batch.salt), encode_base64(batch.body), batch.time_us,
    )  # fmt: skip


def parse_batch(text: str) -> BatchStatement:
    """The batch a note's text spells. Raises BadInput unless it is exactly its nine lines."""
    agent, sequence, previous, records, root, salt, body, time_us = _lines(text, _BATCH, 8)
    return BatchStatement(
        agent, parse_decimal(sequence, place="sequence"), decode_hash(previous, place="previous"),
        parse_decimal(records, place="records"), decode_hash(root, place="root"), decode_hash(salt, place="salt"),
        decode_hash(body, place="body"), parse_decimal(time_us, place="time"),
    )  # fmt: skip


def format_heartbeat(beat: Heartbeat) -> str:
    """The text of a heartbeat."""
    return _text(
        _HEARTBEAT, beat.agent, beat.word, beat.sequence, encode_base64(beat.digest), beat.waiting_bytes,
        encode_base64(beat.challenge), beat.time_us,
    )  # fmt: skip


def parse_heartbeat(text: str) -> Heartbeat:
    """The heartbeat a note's text spells. Raises BadInput unless it is exactly its eight lines."""
    agent, word, sequence, digest, waiting, challenge, time_us = _lines(text, _HEARTBEAT, 7)
    return Heartbeat(
        agent, _word(word), parse_decimal(sequence, place="sequence"), decode_hash(digest, place="digest"),
        parse_decimal(waiting, place="bytes"), decode_hash(challenge, place="challenge"),
        parse_decimal(time_us, place="time"),
    )  # fmt: skip


def format_enrolment(enrolment: Enrolment) -> str:
    """The text an agent signs to be enrolled."""
    return _text(_ENROL, format_vkey(enrolment.key), enrolment.time_us)


def parse_enrolment(text: str) -> Enrolment:
    """The enrolment a note's text spells. Raises BadInput unless it is exactly its three lines."""
    vkey, time_us = _lines(text, _ENROL, 2)
    return Enrolment(parse_vkey(vkey), parse_decimal(time_us, place="time"))


def open_batch(data: bytes, key: Key, verify: VerifySignature) -> BatchStatement:
    """The batch statement of a note that the agent's `key` signed. Raises BadInput; Disproved: it did not."""
    batch = parse_batch(_open(data, key, verify))
    return _of_agent(batch, batch.agent, key)


def open_heartbeat(data: bytes, key: Key, verify: VerifySignature) -> Heartbeat:
    """The heartbeat of a note that the agent's `key` signed. Raises BadInput; Disproved: it did not."""
    beat = parse_heartbeat(_open(data, key, verify))
    return _of_agent(beat, beat.agent, key)


def open_enrolment(data: bytes, verify: VerifySignature) -> Enrolment:
    """The enrolment of a note signed by the very key it names. Raises BadInput; Disproved: it is not."""
    _check_size(data)
    enrolment = parse_enrolment(parse_note(data).text)
    _open(data, enrolment.key, verify)
    return enrolment


def agent_named(data: bytes) -> str:
    """The agent a note says it is of, believing nothing yet. Raises BadInput."""
    _check_size(data)
    lines = parse_note(data).text.split("\n", 2)
    if len(lines) < 3 or lines[0] not in (_BATCH, _HEARTBEAT):
        raise BadInput("not a statement of an agent")
    return lines[1]


def _word(text: str) -> Literal["alive", "goodbye"]:
    if text == "alive":
        return "alive"
    if text == "goodbye":
        return "goodbye"
    raise BadInput("a heartbeat says alive or goodbye")


def _of_agent(statement: _T, name: str, key: Key) -> _T:
    if name != key.name:
        raise Disproved("a statement under another agent's name", expected=key.name, found=name[:80])
    return statement


def _open(data: bytes, key: Key, verify: VerifySignature) -> str:
    _check_size(data)
    note = parse_note(data)
    open_note(note, [key], verify, only_known=True)
    return note.text


def _check_size(data: bytes) -> None:
    if len(data) > NOTE_BYTES_MAX:
        raise BadInput(f"a statement of more than {NOTE_BYTES_MAX} bytes")


def _text(*lines: object) -> str:
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str, kind: str, count: int) -> list[str]:
    lines = text.split("\n")
    if len(lines) != count + 2 or lines[0] != kind or lines[-1]:
        raise BadInput(f"not the lines of {kind}")
    return lines[1:-1]
