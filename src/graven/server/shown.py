"""One event as JSON, with what proves it.

A published event is proved against the published checkpoint, from the tiles. One that is only committed is proved
against the root of its own frame, from the edge of the tree that the writer holds. What does not prove is not shown.
"""

from base64 import b64encode

import msgspec

from graven.app import Log
from graven.core.commitment import Head
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaf, prove_inclusion, verify_inclusion
from graven.core.spelling import encode_base64
from graven.event import duplicate_keys
from graven.log.acts import rfc3339
from graven.log.prove import prove
from graven.log.types import Record


def show_event(log: Log, record: Record) -> bytes:
    """The JSON of one record. `event` is the stored bytes, verbatim.

    Raises:
        Disproved: tiles or journal do not lead to the root they should. Broken: they cannot be read.
    """
    state, proved = _proof(log, record)
    document: dict[str, object] = {
        "index": record.index,
        "state": state,
        "content": record.state,
        "head": None if record.head is None else _head(log, record.head),
        "class": record.class_name,
        "event": None if record.event is None else msgspec.Raw(record.event),
        "raw": None if record.raw is None else b64encode(record.raw).decode("ascii"),
        "entry": None if record.entry is None else record.entry.hex(),
        "proved": proved,
        "duplicate_keys": [] if record.event is None else _duplicates(record.event),
        "erasure_index": record.erasure_index,
    }
    return msgspec.json.encode(document) + b"\n"


def _proof(log: Log, record: Record) -> tuple[str, dict[str, object] | None]:
    """(state, what the entry was found under); None where there is no entry, because its key is gone."""
    published = log.published
    if record.index < published.checkpoint.size:
        if record.entry is None:
            return "published", None
        prove(log.directory, record, published)
        return "published", _root("checkpoint", published.checkpoint.size, published.checkpoint.root)
    if record.entry is None:
        return "committed", None
    header = log.view.reader.place(record.index).header
    nodes = log.writer.state.tail.nodes(header.end)
    hashes = prove_inclusion(nodes, index=record.index, size=header.end)
    verify_inclusion(hash_leaf(record.entry), hashes, index=record.index, size=header.end, root=header.root)
    return "committed", _root("frame", header.end, header.root)


def _root(by: str, size: int, root: bytes) -> dict[str, object]:
    return {"by": by, "size": size, "root": encode_base64(root)}


def _head(log: Log, head: Head) -> dict[str, object]:
    return {
        "source": head.source,
        "source_name": log.registers.source_names().get(head.source),
        "received": rfc3339(head.received_us),
        "received_us": head.received_us,
    }


def _duplicates(event: bytes) -> list[str]:
    try:
        return duplicate_keys(event)
    except BadInput:
        raise Disproved("a stored event is not JSON", found=f"{len(event)} bytes") from None
