"""CloudEvents over HTTP, in their three modes: structured, batched, binary.

In structured and batched mode the record is the CloudEvent, slice of the body; in binary mode it is the body, which is
the event's data, and the attributes (the headers `ce-…`) surround it. Producers must make `source` + `id` unique for
each event, so the two together are its id.

Source: CloudEvents 1.0.2, HTTP protocol binding and JSON event format.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import Delivery, add_label, check_count, check_density, faulty
from graven.ingest.record import Record

__all__ = ["BATCH", "FALLBACK_TYPE", "STRUCTURED", "mode_of", "read_binary", "read_structured"]

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
FALLBACK_TYPE = "cloudevents"
"""The source type of CloudEvents."""

_PREFIX = "ce-"
_REQUIRED = ("specversion", "id", "source", "type")
_ID_PLACE = "a CloudEvent needs specversion 1.x, id, source and type"


class _Named(Struct):
    specversion: str
    id: str
    source: str
    type: str


_DECODE = msgspec.json.Decoder(_Named).decode
_DECODE_BATCH = msgspec.json.Decoder(list[msgspec.Raw]).decode


def mode_of(content_type: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """ "structured", "batch", "binary", or "" for what is no CloudEvent."""
    media = content_type.partition(";")[0].strip().lower()
    if media == STRUCTURED:
        return "structured"
    if media == BATCH:
        return "batch"
    return "binary" if any(name == b"ce-specversion" for name, _ in headers) else ""


def read_structured(body: bytes, around: Mapping[str, str], *, batch: bool) -> Delivery:
    """The events of a body. Raises BadInput for a batch that is no JSON array; TooMany."""
    if not batch:
        return Delivery([_record(body.strip(b" \t\r\n"), around)])
    check_density(body)
    try:
        slices = [bytes(one) for one in _DECODE_BATCH(body)]
    except (ValueError, RecursionError):
        raise BadInput("the batch is no JSON array", place="body", mend="send [ … ], or one event a request") from None
    check_count(len(slices))
    return Delivery([_record(piece, around) for piece in slices])


def read_binary(body: bytes, headers: Sequence[tuple[bytes, bytes]], around: Mapping[str, str]) -> Delivery:
    """The one event of a request whose headers hold its attributes."""
    said = dict(around)
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.decode("latin-1").lower()
        if key.startswith(_PREFIX):
            text = unquote(value.decode("utf-8", "backslashreplace"), errors="backslashreplace")
            found[key[len(_PREFIX) :]] = text
            add_label(said, f"ce.{key[len(_PREFIX) :]}", text)
    if any(not found.get(name) for name in _REQUIRED) or not found["specversion"].startswith("1."):
        return Delivery([faulty(body, _ID_PLACE, said)])
    if time := found.get("time"):
        said["time"] = time
    # Without data there is nothing to be a record; the attributes are then written as the event itself would be.
    raw = body if body.strip() else msgspec.json.encode(found)
    return Delivery([Record(raw, around=said, id=_id(found["source"], found["id"]), otherwise=FALLBACK_TYPE)])


def _record(piece: bytes, around: Mapping[str, str]) -> Record:
    try:
        named = _DECODE(piece)
    except (ValueError, RecursionError):
        return faulty(piece, _ID_PLACE, around)
    if not (named.id and named.source and named.type and named.specversion.startswith("1.")):
        return faulty(piece, _ID_PLACE, around)
    return Record(piece, FALLBACK_TYPE, around, _id(named.source, named.id))


def _id(source: str, id_: str) -> str:
    return f"{source}#{id_}"
