"""Evidence: read strictly, recomputed from what it discloses, and trusted for no reason of its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ledger import Ledger
from core.signers import LOG, LOG_KEYS, LOG_PQ, ORIGIN, STRANGER, WITNESS, WITNESS_PQ, sign_checkpoint
from graven.core.commitment import Head, format_head
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.evidence import (
    MAX_EVIDENCE_BYTES,
    Anchor,
    Disclosed,
    Evidence,
    Withheld,
    format_evidence,
    parse_evidence,
    verify_evidence,
)
from graven.core.note import format_vkey
from graven.core.policy import parse_policy
from graven.core.proof import TlogProof, format_proof
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature

LEDGER = Ledger()
for action in ("login", "read", "export"):
    LEDGER.seal(b'{"action":"%s","message":"caf\xc3\xa9 \\u0007 \\""}' % action.encode())
LEDGER.seal(b'{"action":"normalised"}', b"\xff\x00 raw", source=4_294_967_295)
LEDGER.seal(b'{\n  "action": "pretty"\n}', source=0, received_us=0)
PLAIN, WITH_RAW = LEDGER.evidence(2), LEDGER.evidence(3)
DATA = format_evidence(WITH_RAW)


def check(evidence: Evidence, **trust: Any) -> Any:
    return verify_evidence(evidence, verify=verify_signature, **(trust or {"keys": LOG_KEYS}))


hashes = st.binary(min_size=32, max_size=32)
withheld = st.builds(Withheld, hashes.filter(any))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
events = st.builds(Disclosed, texts.map(str.encode), hashes) | withheld
raws = st.none() | st.builds(Disclosed, st.binary(max_size=30), hashes) | withheld
heads = st.builds(Head, st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1)).map(format_head)
anchors = st.lists(st.builds(Anchor, texts, st.binary(max_size=9)), max_size=2).map(tuple)
vkeys = st.lists(st.sampled_from([format_vkey(one.key) for one in (LOG, WITNESS, LOG_PQ)]), max_size=2).map(tuple)
documents = st.builds(Evidence, st.just(3), heads, events, raws, st.just(LEDGER.proof(3)), vkeys, anchors)


@given(documents)
def test_evidence_round_trips(evidence: Evidence) -> None:
    data = format_evidence(evidence)
    assert parse_evidence(data) == evidence
    assert parse_evidence(json.dumps(json.loads(data)).encode()) == evidence


def test_the_document() -> None:
    slot = LEDGER.slots[3]
    assert json.loads(DATA) == {
        "format": "graven-evidence/v1",
        "index": 3,
        "head": "graven/1 4294967295 1700000000000000\n",
        "event": {"bytes": '{"action":"normalised"}', "salt": encode_base64(slot.event_salt)},
        "raw": {"base64": encode_base64(b"\xff\x00 raw"), "salt": encode_base64(slot.raw_salt)},
        "proof": format_proof(WITH_RAW.proof).decode(),
        "vkeys": [format_vkey(LOG.key), format_vkey(LOG_PQ.key)],
        "anchors": [],
    }
    assert json.loads(format_evidence(PLAIN))["raw"] is None
    assert json.loads(format_evidence(PLAIN))["event"]["bytes"] == LEDGER.slots[2].event.decode()


@pytest.mark.parametrize("index", range(5))
def test_every_event_is_shown(index: int) -> None:
    slot = LEDGER.slots[index]
    shown = check(parse_evidence(format_evidence(LEDGER.evidence(index))))
    assert (shown.index, shown.event, shown.raw, shown.entry) == (index, slot.event, slot.raw, slot.entry)
    assert format_head(shown.head) == slot.head
    assert (shown.event_digest, shown.raw_digest) == (slot.d_event, None if slot.raw is None else slot.d_raw)
    assert shown.checkpoint.checkpoint.origin == ORIGIN
    assert [one.key for one in shown.signed] == list(LOG_KEYS)


def test_parts_can_be_withheld() -> None:
    slot = LEDGER.slots[3]
    for event in (WITH_RAW.event, Withheld(slot.d_event)):
        for raw in (WITH_RAW.raw, Withheld(slot.d_raw)):
            shown = check(parse_evidence(format_evidence(replace(WITH_RAW, event=event, raw=raw))))
            assert shown.event == (slot.event if isinstance(event, Disclosed) else None)
            assert shown.raw == (slot.raw if isinstance(raw, Disclosed) else None)
            assert shown.entry == slot.entry


@pytest.mark.parametrize(
    "changed",
    [
        replace(PLAIN, head=b"graven/1 7 1700000000000001\n"),
        replace(PLAIN, head=b"graven/1 8 1700000000000000\n"),
        replace(PLAIN, event=Disclosed(b"{}", LEDGER.slots[2].event_salt)),
        replace(PLAIN, event=Disclosed(LEDGER.slots[2].event, bytes(32))),
        replace(PLAIN, event=Withheld(b"\x01" * 32)),
        replace(PLAIN, raw=Withheld(b"\x01" * 32)),
        replace(PLAIN, raw=Disclosed(b"", bytes(32))),
        replace(WITH_RAW, raw=None),
        replace(WITH_RAW, raw=Withheld(b"\x01" * 32)),
        replace(WITH_RAW, raw=Disclosed(b"\xff\x00 rav", LEDGER.slots[3].raw_salt)),
        replace(PLAIN, index=1, proof=replace(PLAIN.proof, index=1)),
        replace(PLAIN, proof=replace(PLAIN.proof, hashes=PLAIN.proof.hashes[:-1])),
        replace(PLAIN, proof=replace(PLAIN.proof, checkpoint=sign_checkpoint(5, bytes(32)))),
        replace(PLAIN, proof=replace(PLAIN.proof, checkpoint=LEDGER.checkpoint((STRANGER, LOG_PQ)))),
        replace(PLAIN, proof=replace(PLAIN.proof, extra=LEDGER.slots[1].entry)),
    ],
)
def test_whatever_is_not_what_was_sealed_is_disproved(changed: Evidence) -> None:
    with pytest.raises(Disproved):
        check(parse_evidence(format_evidence(changed)))


def test_the_entry_may_stand_in_the_proof() -> None:
    assert check(replace(PLAIN, proof=LEDGER.proof(2, bare=True))).entry == LEDGER.slots[2].entry


def test_an_index_that_is_not_the_proofs_is_disproved() -> None:
    with pytest.raises(Disproved, match="another index") as caught:
        parse_evidence(DATA.replace(b'"index": 3', b'"index": 2'))
    assert (caught.value.expected, caught.value.found) == ("2", "3")


def test_trust_comes_from_outside_only() -> None:
    for trust in ({"keys": None}, {"keys": LOG_KEYS, "policy": parse_policy("quorum none")}):
        with pytest.raises(BadInput, match="a key or a policy"):
            check(PLAIN, **trust)
    with pytest.raises(BadInput, match="no trusted"):
        check(PLAIN, keys=[])
    forged = replace(
        PLAIN,
        proof=LEDGER.proof(2, signers=(STRANGER,)),
        vkeys=(format_vkey(STRANGER.key),),
    )
    assert check(forged, keys=[STRANGER.key]).index == 2
    with pytest.raises(Disproved, match="no signature by a trusted key"):
        check(forged)
    with pytest.raises(BadInput, match="without a log"):
        check(PLAIN, policy=parse_policy("quorum none"))


def test_a_policy_names_the_witnesses_that_count() -> None:
    policy = parse_policy(
        f"log {format_vkey(LOG.key)}\nwitness a {format_vkey(WITNESS.key)}\n"
        f"witness b {format_vkey(WITNESS_PQ.key)}\ngroup g any a b\nquorum g\n"
    )
    with pytest.raises(Disproved, match="quorum"):
        check(PLAIN, policy=policy)
    witnessed = replace(PLAIN, proof=LEDGER.proof(2, signers=(LOG, LOG_PQ, WITNESS_PQ)))
    assert check(witnessed, policy=policy).witnesses == ("b",)
    assert check(witnessed).witnesses == ()


def test_the_keys_in_the_file_can_only_make_a_check_fail() -> None:
    """Who trusts one key still notices that the line of another was damaged or taken away."""
    stripped = replace(PLAIN, proof=LEDGER.proof(2, signers=(LOG,)))
    with pytest.raises(Disproved, match="must sign has not signed"):
        check(stripped, keys=[LOG.key])
    assert check(replace(stripped, vkeys=(format_vkey(LOG.key),)), keys=[LOG.key]).index == 2
    assert check(replace(stripped, vkeys=()), keys=[LOG.key]).index == 2
    assert check(replace(stripped, vkeys=(format_vkey(WITNESS.key),)), keys=[LOG.key]).index == 2
    pq_of_another_tree = LOG_PQ.line(sign_checkpoint(5, bytes(32), (LOG,)).decode().partition("\n\n")[0] + "\n")
    damaged = LEDGER.checkpoint((LOG,)).decode() + sign_line(pq_of_another_tree)
    with pytest.raises(Disproved, match="does not match"):
        check(replace(PLAIN, proof=replace(PLAIN.proof, checkpoint=damaged.encode())), keys=[LOG.key])


def sign_line(line: Any) -> str:
    return f"\u2014 {line.name} {encode_base64(line.key_id + line.blob)}\n"


def test_anchors_of_any_type_are_kept_unchecked() -> None:
    anchored = replace(PLAIN, anchors=(Anchor("rfc3161", b"token"), Anchor("of tomorrow", b"")))
    assert check(parse_evidence(format_evidence(anchored))).anchors == anchored.anchors


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
@settings(max_examples=500, deadline=None)
def test_no_byte_of_evidence_may_change_its_meaning(position: int, mask: int) -> None:
    """Also for one who trusts a single key: it is refused, or it is the same evidence in another layout."""
    changed = bytearray(DATA)
    changed[position] ^= mask
    try:
        evidence = parse_evidence(bytes(changed))
        check(evidence, keys=[LOG.key])
    except GravenError:
        return
    assert evidence == WITH_RAW


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda e: e.update(format="graven-evidence/v2"), "evidence.format"),
        (lambda e: e.update(format=1), "evidence.format"),
        (lambda e: e.update(more=1), "evidence.'more'"),
        (lambda e: e.pop("raw"), "evidence"),
        (lambda e: e.pop("anchors"), "evidence"),
        (lambda e: e.update(index=True), "index"),
        (lambda e: e.update(index="3"), "index"),
        (lambda e: e.update(index=-1), "index"),
        (lambda e: e.update(index=2**63), "index"),
        (lambda e: e.update(head="graven/1 7 1700000000000000"), "head"),
        (lambda e: e.update(head="graven/1 07 1700000000000000\n"), "head"),
        (lambda e: e.update(head="graven/2 7 1700000000000000\n"), "head"),
        (lambda e: e.update(head="graven/1 4294967296 0\n"), "head"),
        (lambda e: e.update(head=None), "head"),
        (lambda e: e.update(event=None), "event"),
        (lambda e: e.update(event={}), "event"),
        (lambda e: e["event"].pop("salt"), "event"),
        (lambda e: e["event"].update(more=1), "event.'more'"),
        (lambda e: e["event"].update(digest=encode_base64(b"\x01" * 32)), "event.'bytes'"),
        (lambda e: e["event"].update(bytes="\ud800"), "event.bytes"),
        (lambda e: e["event"].update(salt=encode_base64(bytes(31))), "event.salt"),
        (lambda e: e["event"].update(salt=encode_base64(bytes(32))[:-1]), "event.salt"),
        (lambda e: e["event"].update(salt="A" * 42 + "B="), "event.salt"),
        (lambda e: e.update(event={"digest": "A" * 40}), "event.digest"),
        (lambda e: e["raw"].update(base64="/wAgcmF3 "), "raw.base64"),
        (lambda e: e["raw"].update(base64="AB=="), "raw.base64"),
        (lambda e: e.update(raw={"bytes": "x", "salt": encode_base64(bytes(32))}), "raw"),
        (lambda e: e.update(raw=[]), "raw"),
        (lambda e: e.update(proof=None), "proof"),
        (lambda e: e.update(vkeys=None), "vkeys"),
        (lambda e: e.update(vkeys=["not a key"]), "vkeys[0]"),
        (lambda e: e.update(vkeys=[1]), "vkeys[0]"),
        (lambda e: e.update(vkeys=e["vkeys"] * 51), "vkeys"),
        (lambda e: e.update(anchors={}), "anchors"),
        (lambda e: e.update(anchors=[{"type": "x"}]), "anchors[0]"),
        (lambda e: e.update(anchors=[{"type": "x", "base64": "!"}]), "anchors[0].base64"),
        (lambda e: e.update(anchors=[{"type": "x", "base64": "", "more": 1}]), "anchors[0].'more'"),
    ],
)
def test_what_is_not_evidence_and_where(change: Change, place: str) -> None:
    document = json.loads(DATA)
    change(document)
    with pytest.raises(BadInput) as refused:
        parse_evidence(json.dumps(document).encode())
    assert refused.value.place == place


@pytest.mark.parametrize("part", ["event", "raw"])
def test_a_digest_of_zeros_is_refused(part: str) -> None:
    document = json.loads(DATA)
    document[part] = {"digest": encode_base64(bytes(32))}
    with pytest.raises(BadInput, match="not all zero"):
        parse_evidence(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", DATA[:-3], DATA + b"{}", DATA.replace(b'"index"', b'"head"'), b"\xff" + DATA, b"[" * 99_999],
)
def test_what_is_not_even_the_document(data: bytes) -> None:
    with pytest.raises(BadInput):
        parse_evidence(data)


def test_bounds() -> None:
    with pytest.raises(BadInput, match="more than 8388608 bytes"):
        parse_evidence(DATA + b" " * MAX_EVIDENCE_BYTES)
    with pytest.raises(BadInput, match="more than 8388608 bytes"):
        format_evidence(replace(WITH_RAW, raw=Disclosed(bytes(7 << 20), bytes(32))))
    with pytest.raises(BadInput, match="not UTF-8"):
        format_evidence(replace(PLAIN, event=Disclosed(b"\xff", bytes(32))))
    with pytest.raises(BadInput):
        TlogProof(None, 0, (bytes(32),) * 64, LEDGER.checkpoint((LOG,)))
