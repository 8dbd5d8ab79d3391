"""Quarantined events: which there are, what they hold, and what today's parsers make of them.

A quarantined event is one that has the action and a raw record; a producer can write the action, but no raw. That one
was read again is said by an act of the log itself, which nobody else can write.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from graven.event import QUARANTINE_ACTION, decode_event, encode_event
from graven.ingest.pipeline import Pipeline
from graven.ingest.record import UNKNOWN_TYPE, Normalised, Record
from graven.log import acts
from graven.log.types import Record as Stored

__all__ = ["Quarantined", "ReadAgain", "find_quarantined", "read_again"]

_MARK = QUARANTINE_ACTION.encode()
_DONE = acts.QUARANTINE_RETRY.encode()
_DECODE = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One quarantined event. `whole`: whether the raw holds the record, or only its beginning."""

    index: int
    source: int
    received_us: int
    class_name: str
    type: str
    reason: str
    size_bytes: int
    whole: bool
    raw: bytes
    around: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """What became of one: the events to append, or why it still cannot be read."""

    of: Quarantined
    events: tuple[Normalised, ...]
    reason: str


def find_quarantined(stored: Iterable[Stored]) -> tuple[list[Quarantined], set[int]]:
    """(the quarantined events among `stored`, in order; the indexes that were read again, of any of them)."""
    found: list[Quarantined] = []
    done: set[int] = set()
    for one in stored:
        if one.event is None or one.head is None:
            continue
        if one.head.source == acts.SELF_SOURCE:
            if _DONE in one.event:
                done |= _indexes(one.event)
        elif one.raw is not None and _MARK in one.event and (quarantined := _quarantined(one, one.raw)) is not None:
            found.append(quarantined)
    return found, done


def read_again(pipeline: Pipeline, one: Quarantined) -> ReadAgain:
    """What today's parsers make of a quarantined record. Every event names the one it comes from in `derived_from`,
    and has an id, so that appending it twice stores it once.
    """
    if not one.whole:
        return ReadAgain(one, (), "only the beginning of the record was kept")
    stated = one.type if one.type in pipeline.types else ""
    made = pipeline.run([Record(one.raw, stated, one.around)])
    if bad := next((each.quarantined for each in made if each.quarantined), ""):
        return ReadAgain(one, (), bad)
    events: list[Normalised] = []
    for number, each in enumerate(made):
        event = decode_event(each.event)
        event.derived_from = [*(event.derived_from or []), one.index]
        event.id = event.id or f"graven.quarantine/{one.index}/{number}"
        raw = one.raw if each.raw is None else each.raw
        events.append(Normalised(encode_event(event), raw, event.id, each.type, "", None, each.redacted, each.position))
    return ReadAgain(one, tuple(events), "")


def _quarantined(stored: Stored, raw: bytes) -> Quarantined | None:
    document = _object(stored.event or b"")
    if document.get("action") != QUARANTINE_ACTION or stored.head is None:
        return None
    data, labels = document.get("data"), document.get("labels")
    data, labels = data if isinstance(data, dict) else {}, labels if isinstance(labels, dict) else {}
    size, kept = data.get("size_bytes"), data.get("kept_bytes")
    return Quarantined(
        index=stored.index,
        source=stored.head.source,
        received_us=stored.head.received_us,
        class_name=stored.class_name,
        type=str(labels.get("graven.type") or UNKNOWN_TYPE),
        reason=str(document.get("reason") or ""),
        size_bytes=size if isinstance(size, int) else len(raw),
        whole=size == kept,
        raw=raw,
        around={
            key: value for key, value in labels.items() if not key.startswith("graven.") and isinstance(value, str)
        },
    )


def _indexes(event: bytes) -> set[int]:
    document = _object(event)
    data = document.get("data")
    listed = data.get("indexes") if document.get("action") == acts.QUARANTINE_RETRY and isinstance(data, dict) else None
    return {one for one in listed if type(one) is int} if isinstance(listed, list) else set()


def _object(event: bytes) -> dict[str, Any]:
    try:
        found = _DECODE(event)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
