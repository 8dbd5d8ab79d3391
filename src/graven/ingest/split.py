"""A body or file taken apart into records, each the verbatim slice that holds it.

Shapes, told by looking: NDJSON (a line each, blank ones mean nothing); lines of text, put together where several make
one record (`assemble`); one JSON object, also one
written over several lines; a JSON array; and the containers in which producers deliver lists: CloudTrail's `Records`,
a Kubernetes `EventList`, `records` of Azure diagnostics, `value` of Microsoft Graph, `items` of Google's reports,
`entries`, `logs`, `results`, `data` and `activities` of others, `data.events` of Okta's hooks. A container's other
fields are not part of its records. CSV exports that hold a record in a cell are `csv_export`'s.

Not looked at here: whether a record means anything. Decompression and the size of the whole are the caller's to bound.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from graven.ingest.assemble import Assembler, shape_of
from graven.ingest.csv_export import export_records, is_export
from graven.ingest.record import Record

__all__ = ["is_container", "split_records", "unpack"]

_SPACE = b" \t\r\n"
_CONTAINER = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{|\[\s*[\[{])")
_BOM = b"\xef\xbb\xbf"


class _Container(Struct):
    """The names under which a container keeps its list."""

    Records: Raw | UnsetType = UNSET
    records: Raw | UnsetType = UNSET
    items: Raw | UnsetType = UNSET
    value: Raw | UnsetType = UNSET
    entries: Raw | UnsetType = UNSET
    logs: Raw | UnsetType = UNSET
    activities: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _Hook(Struct):
    """What Okta's event hooks keep under `data`."""

    events: Raw


_DECODE_CONTAINER = msgspec.json.Decoder(_Container).decode
_DECODE_HOOK = msgspec.json.Decoder(_Hook).decode
_DECODE_RAW = msgspec.json.Decoder(Raw).decode
_DECODE_RAWS = msgspec.json.Decoder(list[Raw]).decode
_LISTS = ("Records", "records", "items", "value", "entries", "logs", "activities", "results", "data")
_NAMES = tuple(f'"{name}"'.encode() for name in _LISTS)


def is_container(body: bytes) -> bool:
    """Whether it begins as JSON that holds records does: an object, or a list of objects or lists."""
    return _CONTAINER.match(body) is not None


def split_records(body: bytes, type_: str = "", around: Mapping[str, str] | None = None) -> list[Record]:
    """The records of `body`, in order; none for a body that is empty. Never raises: what is no JSON is lines of
    text.
    """
    about: Mapping[str, str] = {} if around is None else around
    if is_export(body, type_):
        return [structs.replace(record, around=about) for record in export_records(body, type_)]
    pieces, found = _pieces(body.removeprefix(_BOM).strip(b"\r\n"), type_)
    return [Record(piece, found, about) for piece in pieces]


def unpack(document: bytes) -> list[bytes] | None:
    """The elements of a JSON array or a container of records; None where `document` is neither."""
    text = document.strip(_SPACE)
    if text.startswith(b"["):
        return _objects(text)
    if not text.startswith(b"{") or not any(name in text for name in _NAMES):
        return None
    try:
        found = _DECODE_CONTAINER(text)
    except (ValueError, RecursionError):
        return None
    for name in _LISTS:
        listed = getattr(found, name)
        if listed is UNSET:
            continue
        within = bytes(listed).lstrip(_SPACE)
        if name == "data" and within.startswith(b"{"):
            within = _hooked(within)
        if within.startswith(b"["):
            elements = _objects(within)
            if elements is not None and (elements or name in ("Records", "items", "records")):
                return elements
    return None


def _hooked(data: bytes) -> bytes:
    try:
        return bytes(_DECODE_HOOK(data).events).lstrip(_SPACE)
    except (ValueError, RecursionError):
        return b""


def _objects(array: bytes) -> list[bytes] | None:
    """The elements, if every one is an object (or null: nothing); so a list of words is no list of records."""
    if array[1:].lstrip(_SPACE)[:1] not in (b"{", b"n", b"]"):
        return None
    try:
        elements = [element for one in _DECODE_RAWS(array) if (element := bytes(one)) != b"null"]
    except (ValueError, RecursionError):
        return None
    return elements if all(one.startswith(b"{") for one in elements) else None


def _pieces(body: bytes, type_: str) -> tuple[Sequence[bytes], str]:
    """(the records, their type: as stated, or where only the whole shows it)."""
    text = body.strip(_SPACE)
    if not text:
        return (), type_
    if text[:1] in b"[{":
        line, newline, _ = text.partition(b"\n")
        if text[:1] == b"{" and newline and _is_json(line):
            return _lines(text), type_
        if (elements := unpack(text)) is not None:
            return elements, type_
        if _is_json(text):
            return (text,), type_
        if text[:1] == b"{":
            return _lines(text), type_
    shape = shape_of(text, type_)
    assembler = Assembler(shape)
    found = [*assembler.feed(body.split(b"\n")), *assembler.flush()]
    records = [piece for record in found if (piece := record.strip(_SPACE))]
    return records, type_ or ("pgaudit" if shape == "pgaudit-transcript" else "")


def _lines(text: bytes) -> list[bytes]:
    """The lines; one that is itself an array or a container is taken apart by the pipeline."""
    return [piece for line in text.split(b"\n") if (piece := line.strip(_SPACE))]


def _is_json(text: bytes) -> bool:
    try:
        _DECODE_RAW(text)
    except (ValueError, RecursionError):
        return False
    return True
