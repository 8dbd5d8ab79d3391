"""The `opened` object of an answer: the salts with which a producer recomputes the entries of what it sent.

    certificate   the note that certifies the receipt key
    head          of this request's new events
    first_index   of the new events, null when there are none
    proof         base64 hashes: range proof of the new events in the tree of the receipt
    events        per new event, as sent: {"salt"}, or {"event_digest", "raw_salt"} when a normaliser wrote the event
    duplicates    [{"position", "index", "head", the salts, "proof": inclusion hashes in the tree of the receipt}]

Shapes only: `core/receipt.py` judges them. Bounded by the numbers of hashes a proof can have and 2^20 events.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from graven.core.commitment import NO_RAW, parse_head
from graven.core.document import as_list, as_number, as_object, as_text
from graven.core.errors import BadInput
from graven.core.merkle import RANGE_HASHES_MAX
from graven.core.spelling import decode_hash, encode_base64

MAX_EVENTS = 1 << 20
MAX_INCLUSION_HASHES = 63


@dataclass(frozen=True, slots=True)
class SentEvent:
    """Opens an event sent in the event model: d_event is SHA-256(salt ‖ the bytes sent), and there is no raw."""

    salt: bytes


@dataclass(frozen=True, slots=True)
class SentRaw:
    """Opens a record that a normaliser made an event of: d_raw is SHA-256(raw_salt ‖ the bytes sent)."""

    event_digest: bytes
    raw_salt: bytes


@dataclass(frozen=True, slots=True)
class OpenedDuplicate:
    """An event the log had already: `position` in the request, `index`, head and inclusion proof of the first copy."""

    position: int
    index: int
    head: bytes
    opening: SentEvent | SentRaw
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """The `opened` object of an answer.

    `events` and `proof` (of their range) are of the new events, in the order they were sent.
    """

    certificate: bytes
    head: bytes
    first_index: int | None
    proof: tuple[bytes, ...]
    events: tuple[SentEvent | SentRaw, ...]
    duplicates: tuple[OpenedDuplicate, ...] = ()


def parse_opened(value: object) -> Opened:
    """Read the `opened` object of an answer. Raises BadInput with the path."""
    fields = as_object(value, "opened", keys=("certificate", "head", "first_index", "proof", "events", "duplicates"))
    first = fields["first_index"]
    events = as_list(fields["events"], "opened.events", count_max=MAX_EVENTS)
    duplicates = as_list(fields["duplicates"], "opened.duplicates", count_max=MAX_EVENTS)
    return Opened(
        as_text(fields["certificate"], "opened.certificate").encode(),
        _head(fields["head"], "opened.head"),
        None if first is None else as_number(first, "opened.first_index"),
        _hashes(fields["proof"], "opened.proof", RANGE_HASHES_MAX),
        tuple(_opening(one, f"opened.events[{number}]") for number, one in enumerate(events)),
        tuple(_duplicate(one, f"opened.duplicates[{number}]") for number, one in enumerate(duplicates)),
    )


def format_opened(opened: Opened) -> dict[str, object]:
    """The `opened` object, ready for JSON."""
    return {
        "certificate": opened.certificate.decode(),
        "head": opened.head.decode("ascii"),
        "first_index": opened.first_index,
        "proof": list(map(encode_base64, opened.proof)),
        "events": [_format_opening(one) for one in opened.events],
        "duplicates": [
            {"position": one.position, "index": one.index, "head": one.head.decode("ascii")}
            | _format_opening(one.opening)
            | {"proof": list(map(encode_base64, one.proof))}
            for one in opened.duplicates
        ],
    }


def _opening(value: object, place: str) -> SentEvent | SentRaw:
    if isinstance(value, Mapping) and "salt" in value:
        return SentEvent(_bytes32(as_object(value, place, keys=("salt",))["salt"], f"{place}.salt"))
    fields = as_object(value, place, keys=("event_digest", "raw_salt"))
    event_digest = _bytes32(fields["event_digest"], f"{place}.event_digest")
    if event_digest == NO_RAW:
        raise BadInput("a digest of zeros stands for nothing", place=f"{place}.event_digest")
    return SentRaw(event_digest, _bytes32(fields["raw_salt"], f"{place}.raw_salt"))


def _format_opening(opening: SentEvent | SentRaw) -> dict[str, object]:
    if isinstance(opening, SentEvent):
        return {"salt": encode_base64(opening.salt)}
    return {"event_digest": encode_base64(opening.event_digest), "raw_salt": encode_base64(opening.raw_salt)}


def _duplicate(value: object, place: str) -> OpenedDuplicate:
    salts = ("salt", "event_digest", "raw_salt")
    fields = as_object(value, place, keys=("position", "index", "head", "proof"), more=salts)
    return OpenedDuplicate(
        as_number(fields["position"], f"{place}.position"),
        as_number(fields["index"], f"{place}.index"),
        _head(fields["head"], f"{place}.head"),
        _opening({key: fields[key] for key in salts if key in fields}, place),
        _hashes(fields["proof"], f"{place}.proof", MAX_INCLUSION_HASHES),
    )


def _head(value: object, place: str) -> bytes:
    head = as_text(value, place).encode()
    try:
        parse_head(head)
    except BadInput as error:
        raise BadInput(error.what, place=place) from None
    return head


def _bytes32(value: object, place: str) -> bytes:
    return decode_hash(as_text(value, place), place=place)


def _hashes(value: object, place: str, count_max: int) -> tuple[bytes, ...]:
    return tuple(
        _bytes32(one, f"{place}[{number}]") for number, one in enumerate(as_list(value, place, count_max=count_max))
    )
