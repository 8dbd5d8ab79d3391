"""What a log's server and its signer say to each other over a Unix socket: one JSON line each way a connection.

    {"op": "hello"}                              → {"origin", "keys", "coming", "handovers", "known", "highest"}
    {"op": "sign", "size", "root", "proof"}      → {"note"}     proof: from the tree signed last, base64 hashes
    {"op": "certify", "vkey", "first", "last"}   → {"note"}     a certificate of a receipt key
    anything that is refused                     → {"error": {"kind", "what", "place", "mend"}}

`keys` and `coming` are lists of vkeys, `handovers` notes, `highest` a note or null. Strict: exactly these members, each
of its type. Bounded: a request of 16 KiB, an answer of 4 MiB, 64 hashes.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.spelling import decode_hash, encode_base64

REQUEST_BYTES_MAX = 16 << 10
ANSWER_BYTES_MAX = 4 << 20
HASHES_MAX = 64
TIMEOUT_S = 30.0

_KINDS: Mapping[str, type[GravenError]] = {
    "bad_input": BadInput,
    "disproved": Disproved,
    "busy": Busy,
    "broken": Broken,
}


@dataclass(frozen=True, slots=True)
class Hello:
    """Who are you, and what did you sign last?"""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign the tree of `size` entries with this root, grown from the one signed last as `proof` shows."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Certify:
    """Let this key sign receipts of sizes `first` to `last`."""

    vkey: str
    first: int
    last: int


Request = Hello | Sign | Certify


def format_request(request: Request) -> bytes:
    """The line of a request."""
    match request:
        case Hello():
            fields: dict[str, object] = {"op": "hello"}
        case Sign():
            proof = [encode_base64(one) for one in request.proof]
            fields = {"op": "sign", "size": request.size, "root": encode_base64(request.root), "proof": proof}
        case Certify():
            fields = {"op": "certify", "vkey": request.vkey, "first": request.first, "last": request.last}
    return json.dumps(fields).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """What a line asks. Raises BadInput."""
    document = parse_document(line, max_bytes=REQUEST_BYTES_MAX, what="a request")
    op = as_object(document, "request", keys=("op",), more=None)["op"]
    if op == "hello":
        as_object(document, "request", keys=("op",))
        return Hello()
    if op == "sign":
        fields = as_object(document, "request", keys=("op", "size", "root", "proof"))
        hashes = as_list(fields["proof"], "proof", count_max=HASHES_MAX)
        return Sign(
            as_number(fields["size"], "size"),
            decode_hash(as_text(fields["root"], "root"), place="root"),
            tuple(decode_hash(as_text(one, "proof"), place="proof") for one in hashes),
        )
    if op == "certify":
        fields = as_object(document, "request", keys=("op", "vkey", "first", "last"))
        return Certify(
            as_text(fields["vkey"], "vkey"), as_number(fields["first"], "first"), as_number(fields["last"], "last")
        )
    raise BadInput("a request that is not known here", place="op")


def format_error(error: GravenError) -> dict[str, object]:
    """A refusal as an answer."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(error, kind)) if _known(error) else "broken"
    return {"error": {"kind": kind, "what": error.what, "place": error.place, "mend": error.mend}}


def parse_answer(line: bytes) -> Mapping[str, object]:
    """The members of an answer. Raises the error it spells; Broken for what is no answer."""
    try:
        fields = as_object(
            parse_document(line, max_bytes=ANSWER_BYTES_MAX, what="an answer"), "answer", keys=(), more=None
        )
        if "error" not in fields:
            return fields
        row = as_object(fields["error"], "error", keys=("kind", "what", "place", "mend"))
        kind, what, place, mend = (as_text(row[key], key) for key in ("kind", "what", "place", "mend"))
    except BadInput as error:
        raise Broken(f"the signer's answer is none: {error.what}", place=error.place) from None
    raise _KINDS.get(kind, Broken)(f"the signer refuses: {what}", place=place, mend=mend)


def read_line(connection: socket.socket, bytes_max: int) -> bytes:
    """One line, without its end. Raises BadInput for one too long or cut short, OSError."""
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(min(1 << 16, bytes_max + 1 - len(data)))
        data += piece
        if not piece or len(data) > bytes_max or b"\n" in data[:-1]:
            raise BadInput("not one line of bounded length")
    return data[:-1]


def _known(error: GravenError) -> bool:
    return isinstance(error, tuple(_KINDS.values()))
