"""The beginning of a signed tree: proof that the tree of a checkpoint begins with a smaller tree of a certain root.

    graven-prefix/v1
    <size>                         of the smaller tree
    <base64 root>                  of the smaller tree
    <base64 hash>                  the consistency proof, RFC 9162 §2.1.4.1, one a line
                                   an empty line
    <checkpoint>                   of the larger tree, as the log signed it

It makes a fork portable where the two checkpoints have different sizes: whoever holds this file and a checkpoint of the
smaller size with another root needs nothing else to see that the log showed two histories.
"""

from dataclasses import dataclass

from graven.core.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from graven.core.errors import BadInput
from graven.core.merkle import verify_consistency
from graven.core.note import MAX_NOTE_BYTES, VerifySignature, parse_note
from graven.core.policy import Trust, open_trusted
from graven.core.spelling import HASH_BYTES, check_number, decode_hash, encode_base64, parse_decimal

FIRST_LINE = "graven-prefix/v1"
MAX_HASHES = 64
MAX_PREFIX_BYTES = MAX_NOTE_BYTES + (1 << 13)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The claim as written, verified by nobody yet. `checkpoint` is a whole signed note.

    Raises BadInput for a size, root or number of hashes no tree has, or a `checkpoint` that is not one.
    """

    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        larger = parse_checkpoint(parse_note(self.checkpoint).text)[0]
        if not 1 <= check_number(self.size, place="prefix size") < larger.size:
            raise BadInput(f"a beginning of {self.size} entries of a tree of {larger.size}", mend="a smaller size")
        if len(self.hashes) > MAX_HASHES or not set(map(len, (self.root, *self.hashes))) <= {HASH_BYTES}:
            raise BadInput(f"a prefix has a root and at most {MAX_HASHES} hashes of 32 bytes")


def parse_prefix(data: bytes) -> Prefix:
    """Read a prefix file. Raises BadInput for anything that `format_prefix` would not write."""
    if len(data) > MAX_PREFIX_BYTES:
        raise BadInput(f"a prefix of more than {MAX_PREFIX_BYTES} bytes")
    header, blank, checkpoint = data.partition(b"\n\n")
    lines = header.decode("ascii", "replace").split("\n")
    if not blank or lines[0] != FIRST_LINE or not 3 <= len(lines) <= 3 + MAX_HASHES:
        raise BadInput("not a prefix of a tree", mend=f"{FIRST_LINE}, size, root, proof, an empty line, a checkpoint")
    hashes = tuple(decode_hash(line, place=f"prefix hash {number}") for number, line in enumerate(lines[3:]))
    size, root = parse_decimal(lines[1], place="prefix size"), decode_hash(lines[2], place="prefix root")
    prefix = Prefix(size, root, hashes, checkpoint)
    if format_prefix(prefix) != data:
        raise BadInput("a prefix that is not spelled as it is written here")
    return prefix


def format_prefix(prefix: Prefix) -> bytes:
    """The bytes of a prefix file."""
    hashes = map(encode_base64, (prefix.root, *prefix.hashes))
    return "".join(f"{line}\n" for line in (FIRST_LINE, prefix.size, *hashes, "")).encode() + prefix.checkpoint


def open_prefix(
    data: bytes, trust: Trust, verify: VerifySignature
) -> tuple[SignedCheckpoint, SignedCheckpoint, tuple[str, ...]]:
    """The larger checkpoint, the smaller tree it vouches for under the same signatures, and the witnesses that count.

    Raises BadInput when it is no prefix, Disproved when nobody trusted signed the checkpoint or the proof fails.
    """
    prefix = parse_prefix(data)
    larger, witnesses = open_trusted(prefix.checkpoint, trust, verify)
    head = larger.checkpoint
    verify_consistency(prefix.hashes, old=prefix.size, new=head.size, old_root=prefix.root, new_root=head.root)
    smaller = Checkpoint(head.origin, prefix.size, prefix.root)
    return larger, SignedCheckpoint(smaller, larger.note, larger.data, larger.signed), witnesses
