"""Splunk's HTTP Event Collector: JSON events one behind another, and raw lines.

An event is an envelope, `{"time", "host", "source", "sourcetype", "index", "fields", "event"}`; the record is what
stands under `event`: the slice of a JSON object, or the text of a JSON string (the line that was logged). Envelopes
follow each other with or without white space between them. One that cannot be read costs no other.

Source: "Format events for HTTP Event Collector" of Splunk's documentation.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from graven.ingest.protocol.delivery import (
    RECORDS_MAX,
    Delivery,
    add_label,
    check_count,
    check_density,
    faulty,
    format_s,
    reason_of,
    request_keys,
)
from graven.ingest.record import Record

__all__ = ["HEALTHY", "SUCCESS", "format_refusal", "format_text", "read_events", "read_lines"]

HEALTHY = b'{"text":"HEC is healthy","code":17}'
SUCCESS = b'{"text":"Success","code":0}'

_SPACE = b" \t\r\n"
_FIELDS_MAX = 32
_INVALID = ("Invalid data format", 6)
_TEXTS = {
    401: ("Invalid authorization", 3), 403: ("Invalid token", 4), 404: ("Not found", 404),
    405: ("Method not allowed", 405), 413: ("Request entity too large", 27), 429: ("Server is busy", 9),
    503: ("Server is busy", 9),
}  # fmt: skip


class _Envelope(Struct, gc=False):
    event: Raw | UnsetType = UNSET
    time: float | str | None = None
    host: str | None = None
    source: str | None = None
    sourcetype: str | None = None
    index: str | None = None
    fields: dict[str, Any] | None = None


_DECODE = msgspec.json.Decoder(_Envelope).decode
_DECODE_ALL = msgspec.json.Decoder(list[_Envelope]).decode
_DECODE_TEXT = msgspec.json.Decoder(str).decode
_DECODE_RAW = msgspec.json.Decoder(Raw).decode
_SCAN = json.JSONDecoder().raw_decode


def read_events(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The records of a body of envelopes, in order; none of an empty one. `around` is said of each. Raises TooMany."""
    text = body.strip(_SPACE)
    check_density(text)
    records: list[Record] = []
    memo: dict[tuple[object, ...], dict[str, str]] = {}
    for raw, envelope in _one_a_line(text) or _envelopes(text):
        if isinstance(envelope, _Envelope):
            records.append(_record(raw, envelope, around, memo))
        else:
            records.append(faulty(raw, envelope, around))
        if len(records) > RECORDS_MAX:
            check_count(len(records))
    return Delivery(records, lambda: request_keys(text, ["time" in record.around for record in records]))


def read_lines(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The lines of a raw body, each a record; blank ones mean nothing. Raises TooMany."""
    check_count(body.count(b"\n"))
    lines = (line.strip(b"\r\0") for line in body.split(b"\n"))
    return Delivery([Record(line, around=around) for line in lines if line.strip()])


def format_text(text: str, code: int) -> bytes:
    """The answer with a text and a code of Splunk's."""
    return msgspec.json.encode({"text": text, "code": code})


def format_refusal(status: int, what: str) -> bytes:
    """The answer of a refusal with this HTTP status, in Splunk's words, with ours beside them."""
    text, code = _TEXTS.get(status, _INVALID)
    return msgspec.json.encode({"text": text, "code": code, "detail": what})


def _one_a_line(text: bytes) -> Iterable[tuple[bytes, _Envelope]]:
    """The envelopes, where each stands on a line of its own and can be read; else none."""
    lines = text.split(b"\n")
    if len(lines) > RECORDS_MAX:
        return ()
    try:
        return zip(lines, list(map(_DECODE, lines)), strict=True)
    except (ValueError, RecursionError):
        return ()


def _envelopes(text: bytes) -> Iterator[tuple[bytes, _Envelope | str]]:
    """(its bytes, the envelope or what is wrong with it) of each."""
    if not text:
        return
    check_count(text.count(b"}{"))
    pieces = text.split(b"\n")
    if len(pieces) == 1 and b"}{" in text:
        joined = b"[" + text.replace(b"}{", b"},{") + b"]"
        try:  # as if they stood in a list; exact if every place that was changed stood between two of them
            found = _DECODE_ALL(joined)
        except (ValueError, RecursionError):
            pass
        else:
            if len(found) == text.count(b"}{") + 1:
                yield from ((b"", one) for one in found)
                return
    pending: list[bytes] = []
    for piece in pieces:  # a line break cannot stand inside a JSON string
        if not pending and not piece.strip(_SPACE):
            continue
        if not pending:
            try:
                yield piece, _DECODE(piece)
                continue
            except (ValueError, RecursionError):
                if _is_json(piece):
                    yield piece, "the event is not of the collector's shape"
                    continue
        pending.append(piece)
    if pending:
        yield from _scan(b"\n".join(pending))


def _scan(text: bytes) -> Iterator[tuple[bytes, _Envelope | str]]:
    """The slow way: where one value ends is found by reading it. What cannot be read is kept to its end, as one."""
    try:
        chars = text.decode()
    except UnicodeDecodeError:
        yield text, "the body is not UTF-8 and its events do not stand on lines of their own"
        return
    at = 0
    while at < len(chars):
        if chars[at] in " \t\r\n":
            at += 1
            continue
        try:
            _, end = _SCAN(chars, at)
        except (ValueError, RecursionError):
            yield chars[at:].encode(), "from here on the body is not JSON"
            return
        piece, at = chars[at:end].encode(), end
        try:
            yield piece, _DECODE(piece)
        except (ValueError, RecursionError):
            yield piece, "the event is not of the collector's shape"


def _record(
    raw: bytes, envelope: _Envelope, around: Mapping[str, str], memo: dict[tuple[object, ...], dict[str, str]]
) -> Record:
    if envelope.event is UNSET:
        return faulty(raw or msgspec.json.encode(envelope), "the envelope has no field `event`", around)
    inside = bytes(envelope.event)
    key = envelope.host, envelope.source, envelope.sourcetype, envelope.index, envelope.time
    said = memo.get(key)
    if said is None:
        said = memo[key] = dict(around)
        for name, value in zip(("host", "source", "sourcetype", "index"), key[:4], strict=True):
            if value:
                add_label(said, f"hec.{name}", str(value))
        if time := format_s(envelope.time):
            said["time"] = time
    if envelope.fields:
        said = dict(said)
        for name, value in list(envelope.fields.items())[:_FIELDS_MAX]:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            add_label(said, f"hec.fields.{name}", text)
    if inside[:1] == b"{":
        return Record(inside, "", said)
    if inside[:1] == b'"':
        try:
            inside = _DECODE_TEXT(inside).encode("utf-8", "surrogatepass")
        except ValueError as error:
            return faulty(inside, reason_of(error), said)
    elif inside == b"null":
        inside = b""
    if not inside or (inside[0] <= 32 and not inside.strip()):
        return faulty(raw or inside, "the field `event` is blank", said)
    return Record(inside, "", said)


def _is_json(piece: bytes) -> bool:
    try:
        _DECODE_RAW(piece)
    except (ValueError, RecursionError):
        return False
    return True
