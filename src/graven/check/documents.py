"""One file: which kind it is, and what it proves to someone who trusts a key or follows a policy.

The kind of a file is read off its content, never its name. Nothing here opens a socket, a log or a keyring; keys that a
file brings along are believed by nobody.
"""

from collections.abc import Callable, Mapping

from graven.check.auditors import (
    AUDIT_STATEMENT,
    CHALLENGE,
    CHALLENGE_ANSWER,
    CHALLENGE_STATEMENT,
    check_audit_statement,
    check_challenge,
    check_challenge_answer,
    check_challenge_statement,
)
from graven.check.receipts import (
    ANSWER,
    ANSWER_BYTES_MAX,
    CERTIFICATE,
    RECEIPT,
    check_answer,
    check_certificate,
    check_receipt,
)
from graven.check.signed import SIGNED, check_signed
from graven.check.signers import add_signers
from graven.check.times import ANCHOR, add_bracket, add_range_bracket, check_anchor
from graven.check.verdict import Good, Trust
from graven.check.words import counted, head_row, history_rows
from graven.core.challenge_answer import FORMAT as CHALLENGE_ANSWER_FORMAT
from graven.core.document import as_object, parse_document
from graven.core.doubled import duplicate_keys
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.merkle import hash_leaf
from graven.core.note import format_vkey
from graven.core.policy import open_trusted
from graven.core.prefix import open_prefix
from graven.core.proof import entry_of_proof, parse_proof, verify_proof_counting
from graven.core.range import FORMAT as RANGE_FORMAT
from graven.core.range import parse_range, verify_opened_range
from graven.core.signed import FORMAT as SIGNED_FORMAT
from graven.core.spelling import encode_base64
from graven.core.succession import handover_of, may_hand_over, verify_handover
from graven.keys.signature import verify_signature

_EVIDENCE, _PROOF, _CHECKPOINT, _PREFIX, _RANGE = "evidence", "tlog-proof", "checkpoint", "prefix", "range"
_HANDOVER = "hand-over"


def check_document(data: bytes, trust: Trust) -> Good:
    """Judge one file.

    Raises:
        BadInput: it is nothing that can be checked, or lacks what its check needs. Disproved: it does not hold.
    """
    kind = kind_of(data)
    checks: Mapping[str, Callable[[bytes, Trust], Good]] = {
        _EVIDENCE: _check_evidence, _PROOF: _check_proof, ANSWER: check_answer, RECEIPT: check_receipt,
        CERTIFICATE: check_certificate, _CHECKPOINT: _check_checkpoint, _PREFIX: _check_prefix,
        _RANGE: _check_range,
        ANCHOR: check_anchor,
        CHALLENGE: check_challenge,
        CHALLENGE_ANSWER: check_challenge_answer,
        CHALLENGE_STATEMENT: check_challenge_statement,
        AUDIT_STATEMENT: check_audit_statement,
        SIGNED: check_signed,
    }  # fmt: skip
    good = checks[kind](data, trust)
    good.data = data
    return good


def kind_of(data: bytes) -> str:
    """Which kind of file this is. What is nothing else is taken for a checkpoint, whose first word is its origin.

    Raises BadInput for JSON that cannot be read.
    """
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        fields = as_object(parse_document(data, max_bytes=ANSWER_BYTES_MAX, what="a file"), "file", keys=(), more=None)
        formats = {RANGE_FORMAT: _RANGE, CHALLENGE_ANSWER_FORMAT: CHALLENGE_ANSWER, SIGNED_FORMAT: SIGNED}
        if (kind := formats.get(str(fields.get("format")))) is not None:
            return kind
        return ANSWER if "receipt" in fields and "format" not in fields else _EVIDENCE
    starts = (
        (b"c2sp.org/tlog-proof@", _PROOF), (b"graven-receipt/", RECEIPT), (b"graven-prefix/", _PREFIX),
        (b"graven-anchor/", ANCHOR),
        (b"graven-challenge/", CHALLENGE), (b"graven-challenge-statement/", CHALLENGE_STATEMENT),
        (b"graven-audit-statement/", AUDIT_STATEMENT),
    )  # fmt: skip
    for start, kind in starts:
        if data.startswith(start):
            return kind
    return CERTIFICATE if data.startswith(b"graven-receipt-key/") else _CHECKPOINT


def _check_evidence(data: bytes, trust: Trust) -> Good:
    evidence = parse_evidence(data)
    handover = handover_of(evidence)
    if handover is not None and may_hand_over(handover, trust.either):
        return _check_handover(data, trust)
    found = verify_evidence(evidence, trust=trust.either, verify=verify_signature)
    head = found.checkpoint.checkpoint
    good = Good(_EVIDENCE, checkpoints=[found.checkpoint])
    good.rows = [
        ("proved", f"event {found.index} of {head.origin}, in its tree of {counted(head.size, 'entry', 'entries')}"),
        head_row(found.head),
    ]
    if found.event is not None:
        good.rows += trust.rows(found.event)
        good.rows += (history := history_rows(found.event, found.head))
        good.fields["history"] = bool(history)
        good.fields["event_text"] = found.event.decode()
        good.fields["duplicate_keys"] = duplicate_keys(found.event)
    else:
        good.rows.append(("event", "withheld: its digest is proved, not its text"))
    if found.raw_digest is not None:
        what = f"{len(found.raw)} bytes, as the producer sent them" if found.raw is not None else "withheld"
        good.rows.append(("raw", what))
    good.fields |= {
        "index": found.index, "source": found.head.source, "received_us": found.head.received_us,
        "entry": found.entry.hex(), "event_disclosed": found.event is not None,
        "raw_disclosed": found.raw is not None,
    }  # fmt: skip
    add_bracket(good, found, trust)
    add_signers(good, found.checkpoint, found.witnesses, trust)
    return good


def _check_handover(data: bytes, trust: Trust) -> Good:
    """The log's keys handed over, by its own event, so that the new ones count above the size it names."""
    relied = verify_handover(data, trust.either, verify_signature)
    handover, head = relied.handover, relied.checkpoint.checkpoint
    good = Good(_HANDOVER, checkpoints=[relied.checkpoint])
    size = counted(head.size, "entry", "entries")
    good.rows = [
        ("proved", f"event {relied.index} of {head.origin}, in its tree of {size}"),
        ("says", f"the keys trusted sign nothing above {counted(handover.last, 'entry', 'entries')}; from there on"),
        *(("", format_vkey(key)) for key in handover.new),
    ]
    good.fields = {
        "index": relied.index, "last_size": handover.last,
        "old": [format_vkey(key) for key in handover.old], "new": [format_vkey(key) for key in handover.new],
    }  # fmt: skip
    add_signers(good, relied.checkpoint, relied.witnesses, trust)
    return good


def _check_proof(data: bytes, trust: Trust) -> Good:
    proof = parse_proof(data)
    entry = entry_of_proof(proof)
    signed, witnesses = verify_proof_counting(proof, hash_leaf(entry), trust.either, verify_signature)
    head = signed.checkpoint
    good = Good(_PROOF, checkpoints=[signed])
    good.rows = [
        ("proved", f"entry {proof.index} of {head.origin}, in its tree of {counted(head.size, 'entry', 'entries')}"),
        ("entry", entry.hex()),
        ("not shown", "what the entry commits to: that takes evidence"),
    ]
    good.fields = {"index": proof.index, "entry": entry.hex()}
    add_signers(good, signed, witnesses, trust)
    return good


def _check_checkpoint(data: bytes, trust: Trust) -> Good:
    signed, witnesses = open_trusted(data, trust.either, verify_signature)
    head = signed.checkpoint
    good = Good(_CHECKPOINT, checkpoints=[signed])
    good.rows = [
        ("proved", f"{head.origin} signed a tree of {counted(head.size, 'entry', 'entries')}"),
        ("root", encode_base64(head.root)),
    ]
    add_signers(good, signed, witnesses, trust)
    return good


def _check_prefix(data: bytes, trust: Trust) -> Good:
    """Two trees at once: the one that was signed, and the smaller one it provably begins with."""
    larger, smaller, witnesses = open_prefix(data, trust.either, verify_signature)
    head, beginning = larger.checkpoint, smaller.checkpoint
    good = Good(_PREFIX, checkpoints=[larger, smaller])
    good.rows = [
        ("proved", f"{head.origin} signed a tree of {counted(head.size, 'entry', 'entries')}"),
        ("begins", f"with a tree of {counted(beginning.size, 'entry', 'entries')} of this root"),
        ("root", encode_base64(beginning.root)),
    ]
    good.fields = {"prefix_size": beginning.size, "prefix_root": encode_base64(beginning.root)}
    add_signers(good, larger, witnesses, trust)
    return good


def _check_range(data: bytes, trust: Trust) -> Good:
    """How many events of a source stand in a range, with none left out."""
    found = verify_opened_range(parse_range(data), trust.either, verify_signature)
    head = found.checkpoint.checkpoint
    good = Good(_RANGE, checkpoints=[found.checkpoint])
    size, length = counted(head.size, "entry", "entries"), counted(found.end - found.start, "entry", "entries")
    good.rows = [("proved", f"[{found.start}, {found.end}) of {head.origin}, all {length}, in its tree of {size}")]
    sources = [found.source] if found.source is not None else sorted(found.counts)
    for source in sources:
        good.rows.append((f"source {source}", _how_many(*found.of(source))))
    if found.source is not None:
        others = sum(count for source, count in found.counts.items() if source != found.source)
        good.rows.append(("others", f"{counted(others, 'event')} of other sources, their heads opened"))
    if found.first is not None and found.last is not None:
        good.rows += [("first", head_row(found.first)[1]), ("last", head_row(found.last)[1])]
    if found.closed:
        good.rows.append(
            ("not opened", f"{counted(len(found.closed), 'entry', 'entries')}, of a source nobody can say")
        )
    good.rows.append(("disclosed", f"{counted(len(found.disclosed), 'event')} with their text"))
    good.fields = {
        "start": found.start, "end": found.end, "source": found.source,
        "counts": {str(source): found.counts[source] for source in sorted(found.counts)},
        "not_opened": list(found.closed),
        "disclosed": {str(index): event.decode() for index, event in found.disclosed.items()},
    }  # fmt: skip
    if found.source is not None:
        good.fields["at_least"], good.fields["at_most"] = found.of(found.source)
    add_range_bracket(good, found, trust)
    add_signers(good, found.checkpoint, found.witnesses, trust)
    return good


def _how_many(least: int, most: int) -> str:
    return f"exactly {counted(least, 'event')}" if least == most else f"{least} to {most} events"
