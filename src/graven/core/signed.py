"""One event, and the signature that its agent gave it at the source: a single JSON document. `graven-signed/v1`.

    format     "graven-signed/v1"
    position   the record's place in its batch, from 0
    hashes     base64: its inclusion in the batch, as in a tree of that many records
    event      evidence of the event: its raw disclosed, or, where it has none, the event
    statement  evidence of the event behind the batch, its raw (the signed statement) disclosed
    enrolment  evidence of the log's own event that made the agent's key known

What it proves, given trust in the log's key or a policy: the log recorded that this key is the agent's; the holder of
that key signed, as batch N, records of which this is number `position`; and the log committed to all three, in that
order. Whether that key was the agent's own is the word of the log at the enrolment; the signature needs no word of it.
Bounded: 24 MiB.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from graven.core.commitment import Head
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import MAX_EVIDENCE_BYTES, Evidence, Verified, parse_evidence, verify_evidence
from graven.core.merkle import hash_leaf, verify_inclusion
from graven.core.note import Key, VerifySignature, parse_vkey
from graven.core.policy import Trust
from graven.core.spelling import decode_hash, encode_base64
from graven.core.statement import BatchStatement, open_batch

FORMAT = "graven-signed/v1"
MAX_SIGNED_BYTES = 3 * MAX_EVIDENCE_BYTES
STATEMENT_ACTION = "graven.agent.statement"
"""The event that stands behind a batch's events; its raw is the signed statement."""

ENROL_ACTION = "graven.agent.enrol"

_HASHES_MAX = 17  # of a tree of 100,000 records
_EVENT_BYTES_MAX = 1 << 20
_KEYS = ("format", "position", "hashes", "event", "statement", "enrolment")


@dataclass(frozen=True, slots=True)
class Signed:
    """The document as written, verified by nobody yet."""

    position: int
    hashes: tuple[bytes, ...]
    event: Evidence
    statement: Evidence
    enrolment: Evidence


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """What a check has shown: `event` is number `position` of the records that `key` signed as `batch`."""

    event: Verified
    statement: Verified
    enrolment: Verified
    key: Key
    batch: BatchStatement
    position: int


def format_signed(position: int, hashes: Sequence[bytes], *, event: bytes, statement: bytes, enrolment: bytes) -> bytes:
    """The document of three pieces of evidence, as `format_evidence` wrote them. Raises BadInput: too large."""
    document = {
        "format": FORMAT,
        "position": position,
        "hashes": [encode_base64(one) for one in hashes],
        "event": json.loads(event),
        "statement": json.loads(statement),
        "enrolment": json.loads(enrolment),
    }
    data = (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
    if len(data) > MAX_SIGNED_BYTES:
        raise BadInput(f"a document of more than {MAX_SIGNED_BYTES} bytes", mend="withhold the event: --no-event")
    return data


def parse_signed(data: bytes) -> Signed:
    """Read the document. Raises BadInput with the path in it, Disproved as `parse_evidence`."""
    document = parse_document(data, max_bytes=MAX_SIGNED_BYTES, what="a signed event")
    fields = as_object(document, "document", keys=_KEYS)
    if fields["format"] != FORMAT:
        raise BadInput("a format that is not known here", place="format", mend=f"this version reads {FORMAT}")
    rows = as_list(fields["hashes"], "hashes", count_max=_HASHES_MAX)
    return Signed(
        as_number(fields["position"], "position"),
        tuple(decode_hash(as_text(row, f"hashes[{at}]"), place=f"hashes[{at}]") for at, row in enumerate(rows)),
        _evidence(fields["event"], "event"),
        _evidence(fields["statement"], "statement"),
        _evidence(fields["enrolment"], "enrolment"),
    )


def verify_signed(signed: Signed, trust: Trust, verify: VerifySignature) -> SignedEvent:
    """What the document shows to someone who trusts the log's keys or follows a policy.

    Raises:
        Disproved: a piece of evidence does not hold, the statement is not signed by the enrolled key, the record is not
            among those that were signed, or the three do not belong together. BadInput: what is needed is withheld.
    """
    event, statement, enrolment = (
        verify_evidence(one, trust=trust, verify=verify) for one in (signed.event, signed.statement, signed.enrolment)
    )
    origins = {one.checkpoint.checkpoint.origin for one in (event, statement, enrolment)}
    if len(origins) > 1:
        raise Disproved("evidence of different logs", found=", ".join(sorted(origins))[:200])
    key = _enrolled(enrolment)
    note = statement.raw
    if note is None or _action(statement) != STATEMENT_ACTION:
        raise BadInput("the statement is not disclosed, or none", place="statement", mend="its raw is what was signed")
    batch = open_batch(note, key, verify)
    if not enrolment.index < statement.index or not event.index < statement.index:
        raise Disproved("a statement that stands before what it is about", place=f"index {statement.index}")
    if event.head != statement.head:
        raise Disproved(
            "the event did not come in this batch", expected=_shown(statement.head), found=_shown(event.head)
        )
    leaf = hash_leaf(batch.salt + _record(event))
    try:
        verify_inclusion(leaf, signed.hashes, index=signed.position, size=batch.records, root=batch.root)
    except Disproved:
        raise Disproved(
            "this record is not the one that the agent signed",
            expected=f"record {signed.position} of batch {batch.sequence}",
            place=f"{batch.agent}, index {event.index}",
        ) from None
    return SignedEvent(event, statement, enrolment, key, batch, signed.position)


def record_of(event: bytes, raw: bytes | None) -> bytes:
    """What the agent signed of an event: its raw, or where it has none the event itself."""
    return event if raw is None else raw


def enrolled_key(event: bytes) -> Key | None:
    """The key that an event of the log's own makes known; None where it is none of that kind. Raises BadInput."""
    try:
        document = parse_document(event, max_bytes=_EVENT_BYTES_MAX, what="an event")
        fields = as_object(document, "event", keys=("action", "data"), more=None)
    except BadInput:
        return None
    if fields["action"] != ENROL_ACTION:
        return None
    data = as_object(fields["data"], "data", keys=("name", "vkey"), more=None)
    key = parse_vkey(as_text(data["vkey"], "vkey"))
    if key.name != data["name"]:
        raise BadInput("a key under another name than its agent's", place="enrolment")
    return key


def _enrolled(enrolment: Verified) -> Key:
    if enrolment.head.source != 0:
        raise Disproved("an enrolment that the log itself did not write", found=f"source {enrolment.head.source}")
    key = enrolled_key(enrolment.event) if enrolment.event is not None else None
    if key is None:
        raise BadInput("the enrolment is not disclosed, or none", place="enrolment")
    return key


def _record(event: Verified) -> bytes:
    if event.raw_digest is None and event.event is not None:
        return event.event
    if event.raw is None:
        raise BadInput("what was signed is withheld", place="event", mend="disclose its raw, or, without one, itself")
    return event.raw


def _action(one: Verified) -> object:
    if one.event is None:
        return None
    document = parse_document(one.event, max_bytes=_EVENT_BYTES_MAX, what="an event")
    return as_object(document, "event", keys=("action",), more=None)["action"]


def _shown(head: Head) -> str:
    return f"source {head.source}, received at {head.received_us}"


def _evidence(value: object, place: str) -> Evidence:
    fields = as_object(value, place, keys=(), more=None)
    try:
        return parse_evidence(json.dumps(dict(fields), ensure_ascii=False).encode())
    except BadInput as error:
        error.place = f"{place}: {error.place}" if error.place else place
        raise
