"""What `check` finds in a file, and what it proves to someone who trusts a key or follows a policy.

The kind of a file is read off its content, never its name. Nothing here opens a socket, a log or a keyring; keys that a
file brings along are believed by nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graven.anchor.policies import describe_trust
from graven.cli.event_lines import Row, event_rows, head_row
from graven.cli.output import counted
from graven.core.checkpoint import SignedCheckpoint
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.merkle import hash_leaf
from graven.core.note import Key
from graven.core.policy import Policy, open_trusted, shown
from graven.core.prefix import open_prefix
from graven.core.proof import entry_of_proof, parse_proof, verify_proof_counting
from graven.core.receipt import Receipt, open_certificate, open_receipt, verify_opened
from graven.core.spelling import encode_base64
from graven.event import duplicate_keys, split_body
from graven.keys.signature import verify_signature
from graven.log.acts import rfc3339

ANSWER_BYTES_MAX = 256 << 20
_EVIDENCE, _PROOF, _ANSWER, _RECEIPT, _CERTIFICATE, _CHECKPOINT, _PREFIX = (
    "evidence", "tlog-proof", "answer", "receipt", "certificate", "checkpoint", "prefix",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader believes in: verifier keys, or a policy. `certificate` and `sent` go with receipts.

    `sent` is the body that was sent, to be compared with an opened receipt; `normalised` says that the log makes events
    of what is sent, so the bytes sent are the raws.
    """

    keys: tuple[Key, ...] = ()
    policy: Policy | None = None
    certificate: bytes | None = None
    sent: bytes | None = None
    normalised: bool = False

    @property
    def either(self) -> Policy | Sequence[Key]:
        return self.policy if self.policy is not None else self.keys

    @property
    def log_keys(self) -> list[Key]:
        return [key for key, _ in self.policy.logs] if self.policy is not None else list(self.keys)


@dataclass(slots=True)
class Good:
    """A file that holds what it claims: what was proved, for people (`rows`) and for programs (`fields`)."""

    kind: str
    rows: list[Row] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    checkpoints: list[SignedCheckpoint] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)


def check_document(data: bytes, trust: Trust) -> Good:
    """Judge one file.

    Raises:
        BadInput: it is nothing that can be checked, or lacks what its check needs. Disproved: it does not hold.
    """
    kind = kind_of(data)
    checks: Mapping[str, Callable[[bytes, Trust], Good]] = {
        _EVIDENCE: _check_evidence, _PROOF: _check_proof, _ANSWER: _check_answer, _RECEIPT: _check_receipt,
        _CERTIFICATE: _check_certificate, _CHECKPOINT: _check_checkpoint, _PREFIX: _check_prefix,
    }  # fmt: skip
    return checks[kind](data, trust)


def kind_of(data: bytes) -> str:
    """Which kind of file this is. What is nothing else is taken for a checkpoint, whose first word is its origin.

    Raises BadInput for JSON that cannot be read.
    """
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        fields = as_object(parse_document(data, max_bytes=ANSWER_BYTES_MAX, what="a file"), "file", keys=(), more=None)
        return _ANSWER if "receipt" in fields and "format" not in fields else _EVIDENCE
    starts = ((b"c2sp.org/tlog-proof@", _PROOF), (b"graven-receipt/", _RECEIPT), (b"graven-prefix/", _PREFIX))
    for start, kind in starts:
        if data.startswith(start):
            return kind
    return _CERTIFICATE if data.startswith(b"graven-receipt-key/") else _CHECKPOINT


def _check_evidence(data: bytes, trust: Trust) -> Good:
    evidence = parse_evidence(data)
    if trust.policy is not None:
        found = verify_evidence(evidence, policy=trust.policy, verify=verify_signature)
    else:
        found = verify_evidence(evidence, keys=trust.keys, verify=verify_signature)
    head = found.checkpoint.checkpoint
    good = Good(_EVIDENCE, checkpoints=[found.checkpoint])
    good.rows = [
        ("proved", f"event {found.index} of {head.origin}, in its tree of {counted(head.size, 'entry', 'entries')}"),
        head_row(found.head),
    ]
    if found.event is not None:
        good.rows += event_rows(found.event)
        good.fields["event_text"] = found.event.decode()
        good.fields["duplicate_keys"] = duplicate_keys(found.event)
    else:
        good.rows.append(("event", "withheld: its digest is proved, not its text"))
    if found.raw_digest is not None:
        what = f"{len(found.raw)} bytes, as the producer sent them" if found.raw is not None else "withheld"
        good.rows.append(("raw", what))
    if found.anchors:
        good.rows.append(("anchors", f"{len(found.anchors)}, not checked here"))
    good.fields |= {
        "index": found.index, "source": found.head.source, "received_us": found.head.received_us,
        "entry": found.entry.hex(), "event_disclosed": found.event is not None,
        "raw_disclosed": found.raw is not None, "anchors_not_checked": len(found.anchors),
    }  # fmt: skip
    _add_signers(good, found.checkpoint, found.witnesses, trust)
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
    _add_signers(good, signed, witnesses, trust)
    return good


def _check_checkpoint(data: bytes, trust: Trust) -> Good:
    signed, witnesses = open_trusted(data, trust.either, verify_signature)
    head = signed.checkpoint
    good = Good(_CHECKPOINT, checkpoints=[signed])
    good.rows = [
        ("proved", f"{head.origin} signed a tree of {counted(head.size, 'entry', 'entries')}"),
        ("root", encode_base64(head.root)),
    ]
    _add_signers(good, signed, witnesses, trust)
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
    _add_signers(good, larger, witnesses, trust)
    return good


def _check_receipt(data: bytes, trust: Trust) -> Good:
    return _receipt_alone(Good(_RECEIPT), data, trust)


def _check_certificate(data: bytes, trust: Trust) -> Good:
    certificate = open_certificate(data, trust.log_keys, verify_signature)
    good = Good(_CERTIFICATE)
    good.rows = [
        (
            "proved",
            f"{certificate.origin} lets this key sign its receipts for sizes {certificate.first} to {certificate.last}",
        ),
        ("key", certificate.vkey),
    ]
    good.fields = {
        "origin": certificate.origin,
        "vkey": certificate.vkey,
        "first": certificate.first,
        "last": certificate.last,
    }
    return good


def _check_answer(data: bytes, trust: Trust) -> Good:
    """The answer to an append: one request, or (`requests`) those of a file that took several."""
    answer = as_object(
        parse_document(data, max_bytes=ANSWER_BYTES_MAX, what="an answer"), "answer", keys=("receipt",), more=None
    )
    good = Good(_ANSWER)
    requests = [answer]
    if "requests" in answer:
        listed = as_list(answer["requests"], "requests", count_max=1 << 20)
        requests = [
            as_object(one, f"requests[{number}]", keys=("receipt",), more=None) for number, one in enumerate(listed)
        ]
    if not all("opened" in one for one in requests):
        if trust.sent is not None:
            raise BadInput(
                "the answer does not open its receipt, so what was sent cannot be compared",
                mend="append with --receipt full (over HTTP: ?receipt=full), and keep the answer",
            )
        return _receipt_alone(good, as_text(answer["receipt"], "receipt").encode(), trust)
    sent = None if trust.sent is None else split_body(trust.sent)
    at = 0
    for number, one in enumerate(requests):
        if sent is None:
            opened = as_object(one["opened"], f"requests[{number}].opened", keys=("certificate",), more=None)
            certificate = as_text(opened["certificate"], "opened.certificate").encode()
            receipt = open_receipt(
                as_text(one["receipt"], "receipt").encode(), certificate, trust.log_keys, verify_signature
            )
        else:
            count = _count(one)
            receipt = verify_opened(
                one, sent[at : at + count], trust.log_keys, verify_signature, normalised=trust.normalised
            )
            at += count
        good.receipts.append(receipt)
    if sent is not None and at != len(sent):
        raise Disproved(
            "the answer does not account for every event that was sent", expected=str(len(sent)), found=str(at)
        )
    _add_receipt(good, good.receipts[-1])
    if sent is None:
        good.rows.append(("not shown", "that the log sealed what was sent: give it with --events FILE"))
    else:
        good.rows.append(("sealed", f"exactly the {counted(len(sent), 'event')} sent, byte for byte"))
    good.fields["events_compared"] = None if sent is None else len(sent)
    return good


def _count(answer: Mapping[str, object]) -> int:
    """How many events of a request an answer accounts for."""
    duplicates = as_list(answer.get("duplicates"), "duplicates", count_max=1 << 20)
    return as_number(answer.get("accepted"), "accepted") + len(duplicates)


def _receipt_alone(good: Good, note: bytes, trust: Trust) -> Good:
    if trust.certificate is None:
        raise BadInput(
            "a receipt is signed by a key that the log certifies, and the certificate is not here",
            mend="--certificate FILE (`opened.certificate` of an answer with its receipt in full)",
        )
    receipt = open_receipt(note, trust.certificate, trust.log_keys, verify_signature)
    good.receipts.append(receipt)
    _add_receipt(good, receipt)
    return good


def _add_receipt(good: Good, receipt: Receipt) -> None:
    good.rows = [
        ("proved", f"{receipt.origin} promised a tree of {counted(receipt.size, 'entry', 'entries')}"),
        ("root", encode_base64(receipt.root)),
        ("note", "a promise: give the checkpoint of this size beside it to see whether it was kept"),
    ]
    good.fields |= {"origin": receipt.origin, "size": receipt.size, "root": encode_base64(receipt.root)}


def _add_signers(good: Good, signed: SignedCheckpoint, witnesses: Sequence[str], trust: Trust) -> None:
    """Who vouches for the checkpoint: keys of the log, and witnesses that count."""
    head = signed.checkpoint
    keys = [f"{one.key.name}+{one.key.id.hex()}" for one in signed.signed]
    times = [one.time for one in signed.signed if one.time is not None]
    good.rows.append(("signed by", ", ".join(keys)))
    if times:
        good.rows.append(("signed at", f"{rfc3339(max(times) * 1_000_000)} (the newest time a signer states)"))
    good.rows.append(("witnesses", describe_trust(trust.policy, witnesses)))
    seen, members = trust.policy.tally(witnesses) if trust.policy is not None else ((), ())
    good.fields |= {
        "origin": head.origin, "size": head.size, "root": encode_base64(head.root),
        "signed_by": keys, "witnesses": [shown(name) for name in witnesses],
        "trust": describe_trust(trust.policy, witnesses), "cosigned": list(seen), "cosigners": list(members),
    }  # fmt: skip
