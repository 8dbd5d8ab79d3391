"""Checkpoints: C2SP tlog-checkpoint, and what each kind of key signs of one (tlog-cosignature).

The note text is three lines, `origin`, `size` in decimal and the base64 root hash, then possibly extension lines. Our
own logs write none: the ML-DSA-44 signature does not cover them. `Checkpoint` is words anyone can write;
`SignedCheckpoint` exists only after a key of the log was found good over it. The log's own ML-DSA-44 line is a
cosignature whose cosigner name is the origin.

    0x01   the note text
    0x04   "cosignature/v1\\ntime <seconds>\\n" ‖ the note text
    0x06   "subtree/v1\\n\\0" ‖ u8 length ‖ cosigner name ‖ u64 time ‖ u8 length ‖ origin ‖ u64 0 ‖ u64 size ‖ root

Not here: whether two checkpoints of different sizes agree (a consistency proof, `core/merkle.py`) and quorums
(`core/policy.py`).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graven.core.errors import BadInput, Disproved, NotSigned
from graven.core.note import (
    COSIG_ED25519,
    COSIG_MLDSA44,
    ED25519,
    Key,
    Note,
    Signed,
    VerifySignature,
    check_key_name,
    open_note,
    parse_note,
)
from graven.core.spelling import HASH_BYTES, check_number, decode_hash, encode_base64, parse_decimal

MAX_ORIGIN_BYTES = 240
LOG_KEY_TYPES = (ED25519, COSIG_MLDSA44)
"""The types a log's own key may have. 0x04 says that somebody else has seen a checkpoint."""

_SUBTREE_LABEL = b"subtree/v1\n\0"
_ORIGIN_MEND = "choose a name like example.com/audit: 1 to 240 bytes of UTF-8 without spaces, control characters or +"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of one log's tree: `size` entries whose root hash (32 bytes) is `root`.

    Raises BadInput when impossible.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise BadInput("a checkpoint whose origin is empty or has more than one line")
        check_number(self.size, place="size")
        if len(self.root) != HASH_BYTES:
            raise BadInput(f"a root hash of {len(self.root)} bytes", mend="32 bytes of SHA-256")


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that a trusted key of its log has signed.

    `data` is the note exactly as read, `signed` all good known keys.
    """

    checkpoint: Checkpoint
    note: Note
    data: bytes
    signed: tuple[Signed, ...]


def parse_checkpoint(text: str) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint a note text spells, and its extension lines (not covered by every signature; do not act on them).

    Raises BadInput: fewer than three lines, an empty line, a size or a hash in any but its one spelling.
    """
    if not text.endswith("\n"):
        raise BadInput("a checkpoint that does not end in a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise BadInput("not a checkpoint", mend="three lines: origin, size, base64 root hash")
    checkpoint = Checkpoint(
        lines[0], parse_decimal(lines[1], place="checkpoint size"), decode_hash(lines[2], place="checkpoint root hash")
    )
    extensions = tuple(lines[3:])
    if format_checkpoint(checkpoint) + "".join(line + "\n" for line in extensions) != text:
        raise BadInput("a checkpoint that is not spelled as this log spells it")
    return checkpoint, extensions


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The three lines of a checkpoint: the text to sign."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{encode_base64(checkpoint.root)}\n"


def message_to_sign(key_type: int, *, name: str, time: int | None, text: str) -> bytes:
    """The exact bytes that a key of `key_type` called `name` signs for the checkpoint `text` (a whole note text).

    `time` in POSIX seconds for 0x04 and 0x06, None for 0x01. Raises BadInput: a time missing or not wanted, a text
    that is no checkpoint, a name or origin longer than the 255 bytes the format has room for, an unknown type.
    """
    checkpoint, _ = parse_checkpoint(text)
    if (time is None) is not (key_type == ED25519):
        raise BadInput(
            f"a signature of type 0x{key_type:02x} {'needs a' if time is None else 'has no'} time", place=name
        )
    if time is None:
        return text.encode()
    check_number(time, place="time")
    if key_type == COSIG_ED25519:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    if key_type != COSIG_MLDSA44:
        raise BadInput(f"a key of type 0x{key_type:02x}, which is not supported", place=name)
    return b"".join(
        (
            _SUBTREE_LABEL,
            _short(name, "a cosigner name"),
            time.to_bytes(8, "big"),
            _short(checkpoint.origin, "an origin"),
            bytes(8),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def open_checkpoint(
    data: bytes,
    keys: Sequence[Key],
    verify: VerifySignature,
    *,
    cosigners: Sequence[Key] = (),
    require_all: bool = False,
    only_known: bool = False,
) -> SignedCheckpoint:
    """Believe a checkpoint because a key of its log signed it.

    `keys` are log keys: at least one whose name is the origin must have signed; with `require_all` each of them must.
    `cosigners` are witnesses: their good signatures are named in `.signed`, none is required, and none stands in for
    the log. `only_known` is for a log's own files: no extension lines, every signature line by one of `keys` or
    `cosigners`, none twice. Raises BadInput when the bytes are not a checkpoint, Disproved when a signature fails or a
    demand is not met.
    """
    note = parse_note(data)
    checkpoint, extensions = parse_checkpoint(note.text)
    if only_known and extensions:
        raise Disproved("a checkpoint with extension lines, which this log never signs", place=checkpoint.origin)
    if not keys:
        raise BadInput("no trusted log key was given", mend="give a verifier key or a policy")
    signed = open_note(note, [*keys, *cosigners], verify, only_known=only_known, message=_message)
    good = {one.key for one in signed}
    if not any(key in good and key.name == checkpoint.origin and key.type in LOG_KEY_TYPES for key in keys):
        raise NotSigned(
            "no signature by a trusted key of this log",
            expected=f"a log key named {checkpoint.origin!r}",
            found=", ".join(key.name for key in good),
        )
    if require_all and (missing := [key for key in keys if key not in good]):
        raise NotSigned(
            "a key of the log that must sign has not signed",
            expected=", ".join(f"{key.name}+{key.id.hex()}" for key in missing),
            found=", ".join(f"{line.name}+{line.key_id.hex()}" for line in note.signatures),
        )
    return SignedCheckpoint(checkpoint, note, data, signed)


def conflicting(a: SignedCheckpoint, b: SignedCheckpoint) -> Literal["same", "undecided"]:
    """What two believed checkpoints say of their log on their own: "same" tree, or "undecided" because the sizes
    differ.

    Two different roots of one size prove that the log showed two histories, whatever its operator says: Disproved. Two
    sizes need a consistency proof. Raises BadInput when the checkpoints are of different logs.
    """
    check_same_log(a, b)
    if a.checkpoint.size != b.checkpoint.size:
        return "undecided"
    if a.checkpoint.root != b.checkpoint.root:
        raise Disproved(
            f"this log forked: {a.checkpoint.origin} signed two different trees of size {a.checkpoint.size}",
            expected=f"root {encode_base64(a.checkpoint.root)}",
            found=f"root {encode_base64(b.checkpoint.root)}",
        )
    return "same"


def check_same_log(a: SignedCheckpoint, b: SignedCheckpoint) -> str:
    """The origin both checkpoints share. Raises BadInput when they do not."""
    if a.checkpoint.origin != b.checkpoint.origin:
        raise BadInput(
            f"checkpoints of two different logs: {a.checkpoint.origin!r} and {b.checkpoint.origin!r}",
            mend="compare checkpoints of one origin",
        )
    return a.checkpoint.origin


def check_origin(origin: str) -> str:
    """`origin` itself when a log may bear it for ever. Raises BadInput with what to choose instead.

    1 to 240 bytes of UTF-8, no Unicode space, no control character, no `+`, not beginning with `graven-receipt`: so it
    is a key name, `<origin>/receipt` is one too, both fit the 255 bytes of a cosignature, and no checkpoint reads as a
    receipt.
    """
    place = f"origin {origin[:80]!r}"
    check = [
        (not origin, "an origin that is empty"),
        (any(map(str.isspace, origin)), "an origin with a space"),
        (any(unicodedata.category(character) == "Cc" for character in origin), "an origin with a control character"),
        ("+" in origin, "an origin with a plus sign"),
        (origin.startswith("graven-receipt"), "an origin that begins with graven-receipt"),
        (
            len(origin.encode("utf-8", "surrogatepass")) > MAX_ORIGIN_BYTES,
            f"an origin of more than {MAX_ORIGIN_BYTES} bytes",
        ),
    ]
    for wrong, what in check:
        if wrong:
            raise BadInput(what, place=place, mend=_ORIGIN_MEND)
    return check_key_name(origin)


def _message(key: Key, time: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time, text=text)


def _short(text: str, what: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise BadInput(f"{what} of {len(data)} bytes", mend="an ML-DSA-44 cosignature has room for 1 to 255")
    return bytes([len(data)]) + data
