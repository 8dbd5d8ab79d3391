"""The slots of a block that was read back: each as a record, derived when it is asked for.

Opening a block means decrypting and decompressing each of its sections once. What one slot says (its salt, its bytes,
their digests, its entry) is worked out for that slot alone, so that showing or proving one event of a thousand does not
hash the other 999. Pure: sections and ciphers in, values out.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import Any

from graven.core.commitment import NO_RAW, Head, format_head, parse_head
from graven.journal.frame import HUSK_EVENTS, HUSK_RAWS, LOST, RAWS, Section
from graven.log.block import FindKey, decode_husk, lost_entries
from graven.log.seal import Unsealed, unseal
from graven.log.types import Record


def open_slots(
    sections: Sequence[Section], start: int, end: int, find: FindKey, log_id: bytes, place: str
) -> "BlockSlots":
    """The block [start, end), opened as far as there are keys.

    Raises:
        Disproved: a section does not open or parse, or a husk is malformed.
    """
    return BlockSlots(start, end, [_open(section, find, log_id, place) for section in sections])


@dataclass(slots=True)
class BlockSlots:
    """The block [start, end), its sections opened once; a record is derived when it is asked for."""

    start: int
    end: int
    parts: "list[_Part]"

    @property
    def unreadable(self) -> bool:
        """Whether a key is missing: some slot cannot be read."""
        return any(part.clear is None and part.husk is None and part.lost is None for part in self.parts)

    def record(self, index: int) -> Record:
        """The slot at `index`."""
        found: dict[str, Any] = {"class_name": "", "state": "readable", "raw_digest": NO_RAW}
        for part in self.parts:
            slot = part.slot(index - self.start)
            if slot is not None:
                found |= _take(part, slot, found)
        head, event_digest, raw_digest = found.get("head"), found.get("event_digest"), found["raw_digest"]
        if found["state"] == "unreadable":
            found["raw_digest"] = raw_digest if "raw" in found else None
        elif head is not None and event_digest is not None:
            found["entry"] = sha256(format_head(head) + event_digest + raw_digest).digest()
        return Record(index=index, **found)


@dataclass(slots=True)
class _Part:
    """One section of a block, opened as far as it can be: `clear`, the slots of a `husk`, or `lost` entries."""

    section: Section
    clear: Unsealed | None = None
    husk: list[tuple[bytes, bytes, bytes]] | None = None
    lost: list[bytes] | None = None
    _positions: list[int] | None = field(init=False)
    _head_ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._positions = None if self.section.positions is None else self.section.indexes()
        self._head_ends = list(accumulate(run[0] for run in self.clear.heads)) if self.clear is not None else []

    def slot(self, position: int) -> int | None:
        """Which of the section's slots stands at a position of the block, if any."""
        if self._positions is None:
            return position
        at = bisect_left(self._positions, position)
        return at if at < len(self._positions) and self._positions[at] == position else None

    def head(self, slot: int) -> Head:
        assert self.clear is not None
        _, source, received_us = self.clear.heads[bisect_right(self._head_ends, slot)]
        return Head(source, received_us)


def _open(section: Section, find: FindKey, log_id: bytes, place: str) -> _Part:
    if section.kind in (HUSK_EVENTS, HUSK_RAWS):
        return _Part(section, husk=decode_husk(section, place))
    if section.kind == LOST:
        return _Part(section, lost=lost_entries(section))
    key = find(section.key_id)
    return _Part(section, None if key is None else unseal(section, key=key, log_id=log_id, place=place))


def _take(part: _Part, slot: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """What one section says of one of its slots, beside what others `found`."""
    section, clear = part.section, part.clear
    if part.husk is not None:
        head, event_digest, raw_digest = part.husk[slot]
        if section.kind == HUSK_RAWS:  # where the event is gone, too, its erasure is the one to show
            return {"raw_digest": raw_digest, "erasure_index": found.get("erasure_index", section.erasure)}
        return {
            "class_name": section.class_name,
            "state": "erased",
            "head": parse_head(head),
            "event_digest": event_digest,
            "raw_digest": raw_digest,
            "erasure_index": section.erasure,
        }
    if part.lost is not None:
        entry, index = part.lost[slot], section.erasure
        return {
            "class_name": section.class_name,
            "state": "lost",
            "entry": entry,
            "raw_digest": None,
            "erasure_index": index,
        }
    if clear is None:
        return {"class_name": section.class_name, "state": "unreadable"}
    salt, item = clear.salts[slot], clear.items[slot]
    digest = sha256(salt + item).digest()
    if section.kind == RAWS:
        return {"raw": item, "raw_salt": salt, "raw_digest": digest}
    return {
        "class_name": section.class_name,
        "head": part.head(slot),
        "event": item,
        "event_salt": salt,
        "event_digest": digest,
    }
