"""An anchored checkpoint: the exact bytes of a note, and what fixes them in time. `graven-anchor/v1`.

    graven-anchor/v1
    <type>                         rfc3161 or cosignature
    <base64 token>                 of rfc3161 only: a TimeStampToken over the bytes of the note below
    <base64 hash>                  in evidence: the consistency proof from this tree to that of the evidence, one a line
                                   an empty line
    <checkpoint>                   the whole note; of cosignature its lines by witnesses are the anchor

A time stamp is over the whole note with whatever cosignatures it had, so the bytes are kept with it. And an anchor as
the log holds it: an event of source 0 (`read_anchor_event`), whose index is what a lower bound stands on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from graven.core.checkpoint import Checkpoint, parse_checkpoint
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput
from graven.core.note import MAX_NOTE_BYTES, parse_note
from graven.core.spelling import HASH_BYTES, decode_base64, decode_hash, encode_base64
from graven.core.timestamp_token import MAX_TOKEN_BYTES

FIRST_LINE = "graven-anchor/v1"
RFC3161, COSIGNATURE, EVENT = "rfc3161", "cosignature", "event"
"""Types of anchors. `event` stands in evidence only: the evidence of an anchor's own event."""
TOKEN_ACT, COSIGNATURE_ACT = "graven.anchor.token", "graven.anchor.cosignature"
"""The actions of the events by which the log holds an anchor."""

MAX_HASHES = 64
MAX_ANCHOR_BYTES = MAX_NOTE_BYTES + 2 * MAX_TOKEN_BYTES + (1 << 13)
MAX_LINES = 100
_MAX_EVENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchored checkpoint as written, verified by nobody yet. `token` is None for a cosignature.

    Raises BadInput for a type that is not known, a token where none belongs, or a `checkpoint` that is none.
    """

    type: str
    token: bytes | None
    checkpoint: bytes
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.type not in (RFC3161, COSIGNATURE) or (self.token is None) is (self.type == RFC3161):
            raise BadInput("an anchor is rfc3161 with a token, or cosignature without one")
        if self.token is not None and not 0 < len(self.token) <= MAX_TOKEN_BYTES:
            raise BadInput(f"a time stamp of more than {MAX_TOKEN_BYTES} bytes, or none")
        if len(self.hashes) > MAX_HASHES or not set(map(len, self.hashes)) <= {HASH_BYTES}:
            raise BadInput(f"an anchor has at most {MAX_HASHES} hashes of 32 bytes")
        parse_checkpoint(parse_note(self.checkpoint).text)

    @property
    def head(self) -> Checkpoint:
        """The tree the note states."""
        return parse_checkpoint(parse_note(self.checkpoint).text)[0]


@dataclass(frozen=True, slots=True)
class AnchorEvent:
    """An anchor as an event of the log holds it: a token, or lines of cosignatures over a tree of this log.

    `sha256` is that of the note a token stamps, None for cosignatures.
    """

    type: str
    size: int
    root: bytes
    sha256: bytes | None
    token: bytes | None
    lines: tuple[str, ...]


def parse_anchor(data: bytes) -> Anchored:
    """Read an anchored checkpoint. Raises BadInput for anything that `format_anchor` would not write."""
    if len(data) > MAX_ANCHOR_BYTES:
        raise BadInput(f"an anchor of more than {MAX_ANCHOR_BYTES} bytes")
    header, blank, checkpoint = data.partition(b"\n\n")
    lines = header.decode("ascii", "replace").split("\n")
    if not blank or lines[0] != FIRST_LINE or not 2 <= len(lines) <= 3 + MAX_HASHES:
        raise BadInput("not an anchored checkpoint", mend=f"{FIRST_LINE}, a type, a token, an empty line, a checkpoint")
    rest, token = lines[2:], None
    if lines[1] == RFC3161 and rest:
        token, rest = decode_base64(rest[0], place="token"), rest[1:]
    hashes = tuple(decode_hash(line, place=f"anchor hash {number}") for number, line in enumerate(rest))
    anchored = Anchored(lines[1], token, checkpoint, hashes)
    if format_anchor(anchored) != data:
        raise BadInput("an anchor that is not spelled as it is written here")
    return anchored


def format_anchor(anchored: Anchored) -> bytes:
    """The bytes of an anchored checkpoint."""
    token = () if anchored.token is None else (encode_base64(anchored.token),)
    lines = (FIRST_LINE, anchored.type, *token, *map(encode_base64, anchored.hashes), "")
    return "".join(f"{line}\n" for line in lines).encode() + anchored.checkpoint


def read_anchor_event(event: bytes) -> AnchorEvent:
    """The anchor in an event of source 0. Raises BadInput: not such an event, or its fields are not as they must be."""
    document = parse_document(event, max_bytes=_MAX_EVENT_BYTES, what="an event")
    fields = as_object(document, "event", keys=("action", "data"), more=None)
    action = as_text(fields["action"], "action")
    if action not in (TOKEN_ACT, COSIGNATURE_ACT):
        raise BadInput("not the event of an anchor", place="action")
    data = as_object(fields["data"], "data", keys=("checkpoint",), more=None)
    stamped = as_object(data["checkpoint"], "data.checkpoint", keys=("size", "root"), more=("sha256",))
    size = as_number(stamped["size"], "data.checkpoint.size")
    root = decode_hash(as_text(stamped["root"], "data.checkpoint.root"), place="data.checkpoint.root")
    if action == COSIGNATURE_ACT:
        listed = as_list(data.get("cosignatures"), "data.cosignatures", count_max=MAX_LINES)
        lines = tuple(as_text(one, f"data.cosignatures[{number}]") for number, one in enumerate(listed))
        return AnchorEvent(COSIGNATURE, size, root, None, None, lines)
    token = decode_base64(as_text(data.get("token"), "data.token"), place="data.token")
    return AnchorEvent(RFC3161, size, root, _hex32(stamped), token, ())


def _hex32(stamped: Mapping[str, object]) -> bytes:
    try:
        value = bytes.fromhex(as_text(stamped.get("sha256"), "data.checkpoint.sha256"))
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES:
        raise BadInput("not the hex of a SHA-256", place="data.checkpoint.sha256")
    return value
