"""The body of a witness's `add-checkpoint` request: C2SP tlog-witness.

    old <size>
    <base64 hash>          at most 63 lines: the consistency proof from `old` to the checkpoint
                           an empty line
    <checkpoint>

The one place where a spelling other than ours is read: unused bits in the base64 of *signature lines* are ignored, as
Go does, so that a witness answers 403 and not 400 for them. Everything else is strict. The note is not verified here.
"""

from collections.abc import Sequence

from graven.core.checkpoint import parse_checkpoint
from graven.core.errors import BadInput
from graven.core.note import MAX_NOTE_BYTES, Note, parse_note
from graven.core.spelling import check_number, decode_hash, encode_base64, parse_decimal

MAX_HASHES = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096


def parse_add_checkpoint(body: bytes) -> tuple[int, tuple[bytes, ...], Note]:
    """The old size, the consistency proof and the (unverified) note of a request; the note's text is a checkpoint.

    Raises BadInput, which a witness answers with 400: malformed, too large, or an old size beyond the checkpoint's.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise BadInput(f"an add-checkpoint request of more than {MAX_REQUEST_BYTES} bytes")
    header, blank, checkpoint = body.partition(b"\n\n")
    try:
        lines = header.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput("an add-checkpoint request whose header is not ASCII", place=f"byte {error.start}") from None
    if not blank or not lines[0].startswith("old "):
        raise BadInput("not an add-checkpoint request", mend="old <size>, hashes, an empty line, a checkpoint")
    old = parse_decimal(lines[0].removeprefix("old "), place="old size")
    if len(lines) - 1 > MAX_HASHES:
        raise BadInput(f"an add-checkpoint request with more than {MAX_HASHES} hashes")
    proof = tuple(decode_hash(line, place=f"consistency proof hash {number}") for number, line in enumerate(lines[1:]))
    note = parse_note(checkpoint, lenient_base64=True)
    size = parse_checkpoint(note.text)[0].size
    if old > size:
        raise BadInput(f"an old size {old} beyond the checkpoint's {size}")
    return old, proof, note


def format_add_checkpoint(old: int, proof: Sequence[bytes], checkpoint: bytes) -> bytes:
    """The request that asks a witness to go from size `old` to `checkpoint` (a signed note). Raises BadInput."""
    check_number(old, place="old size")
    body = "".join(line + "\n" for line in [f"old {old}", *map(encode_base64, proof), ""]).encode("ascii") + checkpoint
    parse_add_checkpoint(body)
    return body
