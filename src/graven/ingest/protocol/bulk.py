"""Elasticsearch's `_bulk`: a line that says what to do, then the document.

The log only ever appends, so `index` and `create` are the operations there are; the document is the record, its line
the raw. `update` and `delete` are refused, each on its own. A document that cannot be read costs no other.

Source: the "Bulk API" page of Elasticsearch's reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from graven.ingest.protocol.delivery import Delivery, add_label, check_count, faulty, request_keys
from graven.ingest.record import Record

__all__ = ["Bulk", "Operation", "read_bulk"]


class Operation(Struct, frozen=True, gc=False):
    """One item of the request. `record`: its position among the records; None where it was refused, for `refused`."""

    name: str
    index: str
    id: str
    record: int | None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Bulk:
    """A request taken apart: every operation in order, and the records of those that append."""

    operations: list[Operation]
    delivery: Delivery


class _Meta(Struct):
    index: str | None = msgspec.field(default=None, name="_index")
    id: str | int | None = msgspec.field(default=None, name="_id")


class _Action(Struct):
    index: _Meta | None = None
    create: _Meta | None = None
    update: _Meta | None = None
    delete: _Meta | None = None


_TIMES = (b'"@timestamp"', b'"time"', b'imestamp"', b'"eventTime"')
_DECODE = msgspec.json.Decoder(_Action).decode


def read_bulk(body: bytes, around: Mapping[str, str], *, index: str = "") -> Bulk:
    """The operations of `body`; `index` is that of the path. A line that is no action is one bad item.

    Raises TooMany.
    """
    operations: list[Operation] = []
    records: list[Record] = []
    memo: dict[bytes, tuple[str, _Meta] | None] = {}
    said: dict[str, Mapping[str, str]] = {}
    check_count(body.count(b"\n") // 2)
    lines = iter(body.split(b"\n"))
    for line in lines:
        if not line.strip():
            continue
        check_count(len(operations))
        action = memo[line] if line in memo else memo.setdefault(line, _action(line))
        if action is None:
            operations.append(Operation("index", index, "", len(records)))
            records.append(faulty(line, "an action was expected: index or create", around))
            continue
        name, meta = action
        target, id_ = meta.index or index, "" if meta.id is None else str(meta.id)
        if name == "delete":
            operations.append(Operation(name, target, id_, None, "this log only appends"))
            continue
        document = next(lines, b"").strip(b" \t\r")
        if name == "update":
            operations.append(Operation(name, target, id_, None, "this log only appends"))
            continue
        operations.append(Operation(name, target, id_, len(records)))
        if target not in said:
            labels = dict(around)
            add_label(labels, "bulk.index", target)
            said[target] = labels
        if document[:1] == b"{":
            records.append(Record(document, around=said[target], id=id_))
        else:
            records.append(faulty(document, "the line behind the action is no JSON object", said[target]))
    return Bulk(operations, Delivery(records, lambda: _keys(body, records)))


def _keys(body: bytes, records: list[Record]) -> list[str]:
    timed = [any(mark in record.raw for mark in _TIMES) for record in records]
    return [record.id or key for record, key in zip(records, request_keys(body, timed), strict=True)]


def _action(line: bytes) -> tuple[str, _Meta] | None:
    try:
        found = _DECODE(line)
    except (ValueError, RecursionError):
        return None
    for name in ("create", "index", "update", "delete"):
        meta: _Meta | None = getattr(found, name)
        if meta is not None:
            return name, meta
    return None
