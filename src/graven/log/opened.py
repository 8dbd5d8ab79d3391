"""The opened part of a receipt: what lets a producer recompute its own entries from the bytes it sent.

core/receipt.py says what it means and verifies it; this builds it, after the commit, from the same values.
"""

from base64 import b64encode
from collections.abc import Sequence

from graven.core.commitment import Head, format_head
from graven.core.merkle import prove_inclusion, prove_range
from graven.log.block import Built
from graven.log.reader import JournalReader
from graven.log.tail import Tail
from graven.log.types import Batch, Record


def open_receipt_for(
    batch: Batch,
    first: int,
    fresh: int,
    duplicates: Sequence[tuple[int, int]],
    block_start: int,
    built: Built | None,
    *,
    certificate: bytes,
    tail: Tail,
    reader: JournalReader,
) -> dict[str, object]:
    """The `opened` object for one batch, against the tree as it is after the batch's frame."""
    size = tail.size
    events: list[dict[str, str]] = []
    proof: list[bytes] = []
    if fresh and built is not None:
        proof = prove_range(tail.nodes(size), start=first, end=first + fresh, size=size)
        for at in range(first - block_start, first - block_start + fresh):
            raw_salt = built.raw_salts[at] if built.raw_salts else None
            events.append(_open_event(built.salts[at], built.digests[at], raw_salt))
    return {
        "certificate": certificate.decode(),
        "head": format_head(Head(batch.source, batch.received_us)).decode("ascii"),
        "first_index": first if fresh else None,
        "proof": [_b64(one) for one in proof],
        "events": events,
        "duplicates": [_open_duplicate(position, reader.read(index), tail) for position, index in duplicates],
    }


def _open_duplicate(position: int, record: Record, tail: Tail) -> dict[str, object]:
    size = tail.size
    assert record.head is not None and record.event_salt is not None and record.event_digest is not None
    return {
        "position": position,
        "index": record.index,
        "head": format_head(record.head).decode("ascii"),
        **_open_event(record.event_salt, record.event_digest, record.raw_salt),
        "proof": [_b64(one) for one in prove_inclusion(tail.nodes(size), index=record.index, size=size)],
    }


def _open_event(salt: bytes, digest: bytes, raw_salt: bytes | None) -> dict[str, str]:
    """A producer that spoke the event model sent the event itself; any other sent the raw."""
    if raw_salt is None:
        return {"salt": _b64(salt)}
    return {"event_digest": _b64(digest), "raw_salt": _b64(raw_salt)}


def _b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
