"""Inclusion proofs that travel alone: C2SP tlog-proof files.

    c2sp.org/tlog-proof@v1
    extra <base64>                 optional, vouched for by nobody
    index <n>
    <base64 hash>                  one a line, from the leaf's sibling to the root's child
                                   an empty line
    <checkpoint>                   as the log signed it

In the proofs we write, `extra` is the 32-byte entry, so that the file can be checked alone: it shows that this entry
stands at this index, not what the entry commits to. Bounded: 63 hashes, 64 KiB of extra data, a checkpoint of 1 MiB.
"""

from dataclasses import dataclass

from graven.core.checkpoint import SignedCheckpoint, parse_checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaf, verify_inclusion
from graven.core.note import MAX_NOTE_BYTES, VerifySignature, parse_note
from graven.core.policy import Trust, open_trusted
from graven.core.spelling import HASH_BYTES, check_number, decode_base64, decode_hash, encode_base64, parse_decimal

MAX_HASHES = 63
MAX_EXTRA_BYTES = 1 << 16
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES

_FIRST_LINE = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as written, verified by nobody yet. `checkpoint` is a whole signed note.

    Raises BadInput for an index or a number of hashes no tree has, extra data that is empty or too large, or a
    `checkpoint` that is not one.
    """

    extra: bytes | None
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        check_number(self.index, place="tlog-proof index")
        if self.extra is not None and not 1 <= len(self.extra) <= MAX_EXTRA_BYTES:
            raise BadInput(
                f"extra data of {len(self.extra)} bytes in a tlog-proof", mend=f"1 to {MAX_EXTRA_BYTES}, or none"
            )
        if len(self.hashes) > MAX_HASHES or not set(map(len, self.hashes)) <= {HASH_BYTES}:
            raise BadInput(f"the hashes of a tlog-proof are at most {MAX_HASHES} of 32 bytes")
        parse_checkpoint(parse_note(self.checkpoint).text)


def parse_proof(data: bytes) -> TlogProof:
    """Read a tlog-proof. Raises BadInput for anything that `format_proof` would not write."""
    if len(data) > MAX_PROOF_BYTES:
        raise BadInput(f"a tlog-proof of more than {MAX_PROOF_BYTES} bytes")
    header, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = header.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput("a tlog-proof whose header is not ASCII", place=f"byte {error.start}") from None
    if not blank or lines.pop(0) != _FIRST_LINE:
        raise BadInput(
            "not a tlog-proof", mend=f"its first line is {_FIRST_LINE}, its checkpoint follows an empty line"
        )
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), place="tlog-proof extra")
    if not lines or not lines[0].startswith("index "):
        raise BadInput("a tlog-proof without an index line")
    index = parse_decimal(lines.pop(0).removeprefix("index "), place="tlog-proof index")
    if len(lines) > MAX_HASHES:
        raise BadInput(f"a tlog-proof with more than {MAX_HASHES} hashes")
    hashes = tuple(decode_hash(line, place=f"tlog-proof hash {number}") for number, line in enumerate(lines))
    proof = TlogProof(extra, index, hashes, checkpoint)
    if format_proof(proof) != data:
        raise BadInput("a tlog-proof that is not spelled as this log spells it")
    return proof


def format_proof(proof: TlogProof) -> bytes:
    """The file. Its bytes name everything a verifier needs but the trusted keys."""
    extra = [] if proof.extra is None else [f"extra {encode_base64(proof.extra)}"]
    lines = [_FIRST_LINE, *extra, f"index {proof.index}", *map(encode_base64, proof.hashes)]
    return "".join(line + "\n" for line in [*lines, ""]).encode("ascii") + proof.checkpoint


def verify_proof(proof: TlogProof, leaf_hash: bytes, trust: Trust, verify: VerifySignature) -> SignedCheckpoint:
    """The believed checkpoint in whose tree `leaf_hash` stands at `proof.index`. `extra` is not looked at.

    Raises Disproved: not signed as `trust` demands, an index beyond the tree, hashes that do not lead to the root.
    BadInput: no key given, a policy without a log.
    """
    return verify_proof_counting(proof, leaf_hash, trust, verify)[0]


def verify_proof_counting(
    proof: TlogProof, leaf_hash: bytes, trust: Trust, verify: VerifySignature
) -> tuple[SignedCheckpoint, tuple[str, ...]]:
    """`verify_proof`, and the names of the policy's witnesses that count (none without a policy)."""
    signed, witnesses = open_trusted(proof.checkpoint, trust, verify)
    head = signed.checkpoint
    if proof.index >= head.size:
        raise Disproved(
            "the index is not in the tree of the checkpoint", expected=f"below {head.size}", found=str(proof.index)
        )
    verify_inclusion(leaf_hash, proof.hashes, index=proof.index, size=head.size, root=head.root)
    return signed, witnesses


def entry_of_proof(proof: TlogProof) -> bytes:
    """The 32-byte entry a proof of ours carries in `extra`. Raises BadInput when there is none."""
    if proof.extra is None or len(proof.extra) != HASH_BYTES:
        raise BadInput("a tlog-proof that does not carry its entry", mend="check it together with the entry it proves")
    return proof.extra


def verify_bare_proof(proof: TlogProof, trust: Trust, verify: VerifySignature) -> SignedCheckpoint:
    """`verify_proof` of the entry in the proof's own `extra`: that it stands at the index. Raises as both do."""
    return verify_proof(proof, hash_leaf(entry_of_proof(proof)), trust, verify)
