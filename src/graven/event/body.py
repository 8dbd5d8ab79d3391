"""From the body of a request, or a file, to the exact bytes of its events.

Three shapes: one JSON object, a JSON array of objects, NDJSON (one object a line; blank lines mean nothing). Each event
is the verbatim slice from its `{` to its `}`: nothing is changed. The body as a whole must be valid UTF-8.

Refuse, the default: one bad event refuses the body, and the refusal names each bad one (a second pass, only then).
Quarantine: what cannot be read becomes an event of ours that holds the reason, with the sender's bytes kept as its raw;
a bad line hurts no other line; a JSON document that cannot be taken apart becomes one such event.

Decompression and the limit on the size of a body are the door's work.
"""

import codecs
import hashlib
from functools import lru_cache
from typing import Literal, TypedDict

import msgspec
from msgspec.json import Decoder

from graven.core.errors import BadInput
from graven.event.decode import MAX_EVENT_BYTES, check_event, decode_event
from graven.event.density import is_too_dense
from graven.event.explain import explain
from graven.event.model import Event, encode_event

__all__ = ["FAULTS_MAX", "QUARANTINE_ACTION", "Fault", "Parsed", "Refusal", "parse_body", "quarantine", "split_body"]

FAULTS_MAX = 100
QUARANTINE_ACTION = "graven.quarantined"
QUARANTINE_KEPT_BYTES = 64 << 10  # of a raw that is longer than an event may be

_NDJSON_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_SPACE = b" \t\r\n"
_UTF8_BLOCK_BYTES = 64 << 10
_BOM = b"\xef\xbb\xbf"

_Shape = Literal["json", "lines"]

_DECODE = Decoder(Event).decode
_DECODE_RAW = Decoder(msgspec.Raw).decode
_DECODE_RAWS = Decoder(list[msgspec.Raw]).decode


class Fault(TypedDict):
    """Why one event was refused. `position`: 0-based among the events sent; None: the body as a whole."""

    position: int | None
    path: str
    what: str
    mend: str


_TOO_DENSE: Fault = {
    "position": None, "path": "$", "what": "the body has too many objects and lists for its size", "mend": "send less"
}  # fmt: skip


class Refusal(BadInput):
    """A body that was refused, with every fault found in it, at most 100."""

    def __init__(self, errors: list[Fault]) -> None:
        first = errors[0]
        place = "the body" if first["position"] is None else f"event {first['position']} at {first['path']}"
        more = f"; {len(errors)}{' or more' if len(errors) == FAULTS_MAX else ''} events are bad" if errors[1:] else ""
        super().__init__(first["what"] + more, place=place, mend=first["mend"])
        self.errors = errors


class Parsed(msgspec.Struct, frozen=True):
    """The events of a body, in the order sent, as parallel lists.

    `slices`: the bytes to store; `ids`, `classes`: what each event says of itself. `raws`: None when nothing was
    quarantined, else the sender's bytes of each quarantined event and None for the others.
    """

    slices: list[bytes]
    ids: list[str | None]
    classes: list[str | None]
    raws: list[bytes | None] | None = None

    @property
    def quarantined(self) -> list[int]:
        """The positions of the quarantined events."""
        return [at for at, raw in enumerate(self.raws or ()) if raw is not None]


def parse_body(body: bytes, content_type: str = "", *, on_invalid: str = "refuse") -> Parsed:
    """The events of `body`, each validated and kept verbatim.

    `content_type`: application/json, or an NDJSON type; with any other, or none, the shape is sniffed.
    Raises Refusal (a BadInput) when an event is bad and `on_invalid` is "refuse", for a body without any event, and for
    one that is nothing but brackets.
    Cost: the bare decode, plus about two thirds of it (1.1 µs for 560 bytes where the decode takes 1.6).
    """
    if on_invalid not in ("refuse", "quarantine"):
        raise BadInput("on_invalid is unknown", place="on_invalid", mend="use refuse or quarantine")
    shape = _shape_of(body, content_type)
    if shape == "json" and is_too_dense(body):
        raise Refusal([_TOO_DENSE])
    try:
        if not body.isascii():  # msgspec checks each string it makes; what is sealed does not rest on that alone
            _check_utf8(body)
        parsed = _read(_split(body, shape))
    except (ValueError, RecursionError, BadInput) as error:  # every msgspec and Unicode error is a ValueError
        if on_invalid == "refuse":
            raise _refusal(body, shape, error) from None
        return _read_or_quarantine(body, shape)
    if not parsed.slices:
        raise _empty()
    return parsed


def split_body(body: bytes, content_type: str = "") -> list[bytes]:
    """The verbatim slices of the events in `body`, not validated but for their first and last byte.

    Raises Refusal (a BadInput) for what is not JSON of one of the three shapes, not UTF-8, or empty.
    """
    shape = _shape_of(body, content_type)
    try:
        _check_utf8(body)
        slices = _split(body, shape)
    except (ValueError, RecursionError) as error:
        raise Refusal([_fault_of_body(body, error)]) from None
    if not slices:
        raise _empty()
    faults: list[Fault] = []
    for position, piece in enumerate(slices):
        if (piece[:1] != b"{" or piece[-1:] != b"}") and len(faults) < FAULTS_MAX:
            what, mend = "the event is not a JSON object", "send one JSON object an event"
            faults.append({"position": position, "path": "$", "what": what, "mend": mend})
    if faults:
        raise Refusal(faults)
    return slices


def quarantine(
    raw: bytes,
    *,
    position: int,
    fault: Fault,
    labels: dict[str, str] | None = None,
    whole: tuple[int, str] | None = None,
) -> tuple[bytes, bytes]:
    """(event, raw to keep) for a record that could not be read: an event in the model that says why.

    A raw longer than an event may be is kept as its first 64 KiB; its whole size and SHA-256 are always in the event.
    `whole`: these two (bytes, hex), where `raw` is itself only the first bytes of the record.
    """
    size_bytes, sha256 = whole or (len(raw), hashlib.sha256(raw).hexdigest())
    kept = raw if len(raw) <= MAX_EVENT_BYTES else raw[:QUARANTINE_KEPT_BYTES]
    event = Event(
        action=QUARANTINE_ACTION,
        category="other",
        outcome="unknown",
        reason=fault["what"],
        message="A record that could not be read as an event was kept as it came.",
        labels=labels,
        data={
            "position": position,
            "path": fault["path"],
            "mend": fault["mend"],
            "size_bytes": size_bytes,
            "kept_bytes": len(kept),
            "sha256": sha256,
        },
    )
    return encode_event(event), kept


def _shape_of(body: bytes, content_type: str) -> _Shape:
    """JSON or NDJSON: as declared, else as the first line shows."""
    if declared := _declared_shape(content_type):
        return declared
    text = body.removeprefix(_BOM).lstrip(_SPACE)
    if not text.startswith(b"{"):
        return "json" if text.startswith(b"[") else "lines"
    line = text.partition(b"\n")[0]
    if _is_json(line):
        return "lines"
    return "lines" if b"\n{" in text and not _is_json(text) else "json"


@lru_cache(maxsize=64)
def _declared_shape(content_type: str) -> _Shape | None:
    media = content_type.partition(";")[0].strip().lower()
    if media in _NDJSON_TYPES:
        return "lines"
    return "json" if media == "application/json" else None


def _is_json(text: bytes) -> bool:
    try:
        _DECODE_RAW(text)
    except (ValueError, RecursionError):
        return False
    return True


def _split(body: bytes, shape: _Shape) -> list[bytes]:
    """The slices, not yet looked at. Raises what msgspec raises for a JSON array that is none."""
    if shape == "lines":
        return [piece for line in body.split(b"\n") if (piece := line.strip(_SPACE))]
    text = body.strip(_SPACE)
    if text.startswith(b"["):
        return [bytes(raw) for raw in _DECODE_RAWS(body)]  # the body, so that an error's offset is one in it
    return [text] if text else []


def _read(slices: list[bytes]) -> Parsed:
    """The hot path: stops at the first bad event, with whatever error it met."""
    decode, check = _DECODE, check_event
    ids: list[str | None] = []
    classes: list[str | None] = []
    for piece in slices:
        event = decode(piece)
        check(event, piece)
        ids.append(event.id)
        classes.append(event.class_)
    return Parsed(slices, ids, classes)


def _empty() -> Refusal:
    what, mend = "the body holds no event", "send at least one JSON object"
    return Refusal([{"position": None, "path": "body", "what": what, "mend": mend}])


def _check_utf8(body: bytes) -> None:
    """Raises UnicodeDecodeError; never holds more than a block of the text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _UTF8_BLOCK_BYTES):
        decoder.decode(body[start : start + _UTF8_BLOCK_BYTES])
    decoder.decode(b"", final=True)


def _refusal(body: bytes, shape: _Shape, error: Exception) -> Refusal:
    """The second pass: every bad event, at most FAULTS_MAX."""
    try:
        slices = _split(body, shape)
    except (ValueError, RecursionError) as broken:
        return Refusal([_fault_of_body(body, broken)])
    faults: list[Fault] = []
    for position, piece in enumerate(slices):
        try:
            decode_event(piece)
        except BadInput as bad:
            faults.append(_fault(bad, position))
            if len(faults) == FAULTS_MAX:
                break
    return Refusal(faults or [_fault_of_body(body, error)])


def _read_or_quarantine(body: bytes, shape: _Shape) -> Parsed:
    """Event by event: the good ones as they are, for each of the others an event of ours that says why."""
    try:
        slices = _split(body, shape)
    except (ValueError, RecursionError) as broken:
        event, raw = quarantine(body, position=0, fault=_fault_of_body(body, broken))
        return Parsed([event], [None], [None], [raw])
    raws: list[bytes | None] = [None] * len(slices)
    parsed = Parsed(slices, [None] * len(slices), [None] * len(slices), raws)
    for position, piece in enumerate(slices):
        try:
            event_read = decode_event(piece)
        except BadInput as bad:
            slices[position], raws[position] = quarantine(piece, position=position, fault=_fault(bad, position))
        else:
            parsed.ids[position], parsed.classes[position] = event_read.id, event_read.class_
    return parsed


def _fault(bad: BadInput, position: int) -> Fault:
    return {"position": position, "path": bad.place, "what": bad.what, "mend": bad.mend}


def _fault_of_body(body: bytes, error: Exception) -> Fault:
    """For a body that cannot be taken apart; a byte in its words counts in the body as sent."""
    bad = explain(error, body, subject="body")
    return {"position": None, "path": "body", "what": bad.what, "mend": bad.mend}
