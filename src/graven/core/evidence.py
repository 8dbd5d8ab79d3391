"""Evidence: one event disclosed, with its salt and its proof, as a single JSON document. `graven-evidence/v1`.

    format   "graven-evidence/v1"
    index    the position in the log; the proof's index must be the same
    head     "graven/1 <source> <received-µs>\\n"
    event    {"bytes": string, verbatim; "salt": base64}  or  {"digest": base64} when it is not disclosed
    raw      null, when there is none;  {"base64", "salt"};  or  {"digest": base64} when it is not disclosed
    proof    tlog-proof text
    vkeys    verifier keys, for information: never trusted
    anchors  [{"type", "base64"}]: other fixings of the checkpoint; kept, and not checked here

What it proves, given trust in a key or a policy from elsewhere: that the log committed to these bytes at this index,
no later than the checkpoint. The JSON may be laid out in any way; its values have one spelling. `vkeys` can only ever
make a check fail: the log's keys named there must all have signed the checkpoint, so that a damaged signature is
noticed also by those who trust one key. Bounded: 8 MiB. Zeros are nobody's digest, and refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from graven.core.checkpoint import LOG_KEY_TYPES, SignedCheckpoint, open_checkpoint
from graven.core.commitment import NO_RAW, Head, entry_of, parse_head
from graven.core.disclosed import Disclosed as Disclosed
from graven.core.disclosed import Withheld as Withheld
from graven.core.disclosed import digest_of, format_event, format_raw, parse_event, parse_raw
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaf
from graven.core.note import Key, Signed, VerifySignature, parse_vkey
from graven.core.policy import Policy, Trust
from graven.core.proof import TlogProof, format_proof, parse_proof, verify_proof_counting
from graven.core.spelling import check_number, decode_base64, encode_base64

FORMAT = "graven-evidence/v1"
MAX_EVIDENCE_BYTES = 8 << 20
MAX_VKEYS = 100
MAX_ANCHORS = 100


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something outside the operator's control that fixes the checkpoint. Kept as it is; nothing here checks one."""

    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence as written, verified by nobody yet.

    Raises Disproved when it contradicts itself about the index; BadInput for a head or a vkey that is not one.
    """

    index: int
    head: bytes
    event: Disclosed | Withheld
    raw: Disclosed | Withheld | None
    proof: TlogProof
    vkeys: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = ()

    def __post_init__(self) -> None:
        check_number(self.index, place="index")
        try:
            parse_head(self.head)
        except BadInput as error:
            raise BadInput(error.what, place="head") from None
        for number, vkey in enumerate(self.vkeys):
            try:
                parse_vkey(vkey)
            except BadInput as error:
                raise BadInput(error.what, place=f"vkeys[{number}]", mend=error.mend) from None
        if self.proof.index != self.index:
            raise Disproved(
                "the proof is for another index than the evidence",
                expected=str(self.index),
                found=str(self.proof.index),
            )


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of evidence has shown. `event` and `raw` are None when withheld (`raw` also when `raw_digest` is
    None: absent).

    `witnesses` are those of the policy that count. `anchors` were not checked.
    """

    index: int
    head: Head
    event: bytes | None
    raw: bytes | None
    event_digest: bytes
    raw_digest: bytes | None
    entry: bytes
    checkpoint: SignedCheckpoint
    witnesses: tuple[str, ...]
    anchors: tuple[Anchor, ...]

    @property
    def signed(self) -> tuple[Signed, ...]:
        return self.checkpoint.signed


def parse_evidence(data: bytes) -> Evidence:
    """Read evidence.

    Raises BadInput with the path in the document, Disproved when it contradicts itself about the index.
    """
    document = parse_document(data, max_bytes=MAX_EVIDENCE_BYTES, what="evidence")
    fields = as_object(document, "evidence", keys=_KEYS)
    if fields["format"] != FORMAT:
        raise BadInput(
            "not evidence of a format known here", place="evidence.format", mend=f"this version reads {FORMAT}"
        )
    vkeys = as_list(fields["vkeys"], "vkeys", count_max=MAX_VKEYS)
    return Evidence(
        as_number(fields["index"], "index"),
        as_text(fields["head"], "head").encode(),
        parse_event(fields["event"]),
        parse_raw(fields["raw"]),
        parse_proof(as_text(fields["proof"], "proof").encode()),
        tuple(as_text(vkey, f"vkeys[{number}]") for number, vkey in enumerate(vkeys)),
        parse_anchors(fields["anchors"]),
    )


def format_evidence(evidence: Evidence) -> bytes:
    """The document, indented, with a final newline. Raises BadInput: an event that is not UTF-8, more than 8 MiB."""
    document: dict[str, object] = {
        "format": FORMAT,
        "index": evidence.index,
        "head": evidence.head.decode("ascii"),
        "event": format_event(evidence.event),
        "raw": format_raw(evidence.raw),
        "proof": format_proof(evidence.proof).decode("utf-8"),
        "vkeys": list(evidence.vkeys),
        "anchors": format_anchors(evidence.anchors),
    }
    data = (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode("utf-8")
    if len(data) > MAX_EVIDENCE_BYTES:
        raise BadInput(f"evidence of more than {MAX_EVIDENCE_BYTES} bytes", mend="withhold the raw or the event")
    return data


def verify_evidence(
    evidence: Evidence,
    *,
    keys: Sequence[Key] | None = None,
    policy: Policy | None = None,
    trust: Trust | None = None,
    verify: VerifySignature,
) -> Verified:
    """What `evidence` shows to someone who trusts `keys` or follows `policy`, or (`trust`) either of them.

    Digests, entry and leaf are recomputed from what is disclosed. Raises Disproved when the proof does not lead from
    them to the checkpoint, when the checkpoint is not signed as demanded, or when `extra` of the proof or a `vkeys`
    line contradicts it. BadInput when no trust is given.
    """
    if sum(one is not None for one in (keys, policy, trust)) != 1:
        raise BadInput(
            "evidence is checked with a key or a policy", mend="give one of the two; keys in a file are not trusted"
        )
    trust = policy if policy is not None else trust if trust is not None else keys or ()
    head = parse_head(evidence.head)
    event_digest = digest_of(evidence.event)
    raw_digest = None if evidence.raw is None else digest_of(evidence.raw)
    entry = entry_of(evidence.head, event_digest, NO_RAW if raw_digest is None else raw_digest)
    signed, witnesses = verify_proof_counting(evidence.proof, hash_leaf(entry), trust, verify)
    if evidence.proof.extra not in (None, entry):
        raise Disproved("the entry in the proof is not that of the evidence", expected=encode_base64(entry))
    _check_own_vkeys(evidence, signed, verify)
    return Verified(
        evidence.index,
        head,
        evidence.event.data if isinstance(evidence.event, Disclosed) else None,
        evidence.raw.data if isinstance(evidence.raw, Disclosed) else None,
        event_digest,
        raw_digest,
        entry,
        signed,
        witnesses,
        evidence.anchors,
    )


def parse_anchors(value: object) -> tuple[Anchor, ...]:
    """The `anchors` of a document. Raises BadInput."""
    rows = as_list(value, "anchors", count_max=MAX_ANCHORS)
    return tuple(_parse_anchor(row, f"anchors[{number}]") for number, row in enumerate(rows))


def format_anchors(anchors: Sequence[Anchor]) -> list[dict[str, str]]:
    """What `parse_anchors` reads."""
    return [{"type": anchor.type, "base64": encode_base64(anchor.data)} for anchor in anchors]


_KEYS = ("format", "index", "head", "event", "raw", "proof", "vkeys", "anchors")


def _check_own_vkeys(evidence: Evidence, signed: SignedCheckpoint, verify: VerifySignature) -> None:
    """Refuse a checkpoint that does not hold what the evidence's own `vkeys` promise.

    Never a reason to believe anything.
    """
    keys = [parse_vkey(vkey) for vkey in evidence.vkeys]
    own = [key for key in keys if key.name == signed.checkpoint.origin and key.type in LOG_KEY_TYPES]
    if own:
        others = [key for key in keys if key not in own]
        open_checkpoint(signed.data, own, verify, cosigners=others, require_all=True)


def _parse_anchor(value: object, place: str) -> Anchor:
    fields = as_object(value, place, keys=("type", "base64"))
    data = decode_base64(as_text(fields["base64"], f"{place}.base64"), place=f"{place}.base64")
    return Anchor(as_text(fields["type"], f"{place}.type"), data)
