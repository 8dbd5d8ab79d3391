"""A page of an answer: its records as they stand in it, byte for byte, and where the next page is."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from graven.agent.pull.exchange import Answer
from graven.agent.pull.preset import PagingPart
from graven.core.errors import Broken
from graven.ingest.csv_export import export_records, is_export

RECORDS_MAX = 100_000

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def records_of(data: bytes, path: str, *, place: str) -> list[bytes]:
    """The elements of the list at a dotted path; a missing or null one is empty. Of a CSV export of Purview, the
    records in its cells. Raises Broken.
    """
    if is_export(data):
        return _bounded([record.raw for record in export_records(data)], place)
    try:
        raw: bytes = data
        for key in path.split(".") if path else ():
            found = _OBJECT.decode(raw).get(key)
            if found is None:
                return []
            raw = bytes(found)
        if raw.strip() in (b"", b"null"):
            return []
        records = [bytes(one).strip() for one in _LIST.decode(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Broken("the answer is not what the preset says", place=place) from None
    return _bounded(records, place)


def _bounded(records: list[bytes], place: str) -> list[bytes]:
    if len(records) > RECORDS_MAX:
        raise Broken(f"a page of more than {RECORDS_MAX} records", place=place)
    return records


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


def identity_of(record: bytes, paths: Sequence[str]) -> tuple[str, str]:
    """(what the record is told apart by, its first id as text). Without an id: by all of it."""
    try:
        document = msgspec.json.decode(record)
        found = [value_at(document, path) for path in paths]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = []
    if not found or any(one is None for one in found):
        return _hash(record), ""
    return _hash(msgspec.json.encode(found)), str(found[0])


def next_url(answer: Answer, paging: PagingPart, *, first: str, last: str, empty: bool) -> str:
    """Where the next page is, "" when this is the last. `first` is the address of the window's first page.

    Raises Broken: what is named is no address.
    """
    if paging.kind == "link":
        return answer.next_link
    if paging.kind == "header":
        named = answer.headers.get(paging.path.lower(), "")
        return answer.absolute(named) if named else ""
    if paging.kind == "last":
        return "" if empty or not last else with_parameter(_with_only(first, paging.keep), paging.parameter, last)
    if paging.kind == "none":
        return ""
    try:
        found = value_at(msgspec.json.decode(answer.data), paging.path)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found:
        return ""
    return answer.absolute(found) if paging.kind == "url" else with_parameter(first, paging.parameter, found)


def with_parameter(url: str, name: str, value: str) -> str:
    """`url` with this query parameter beside its others."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith(f"{name}=")]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode({name: value})])))


def _with_only(url: str, names: Sequence[str]) -> str:
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair.partition("=")[0] in names]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
