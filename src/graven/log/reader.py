"""Reading events back from the journal, and proving them.

Works beside a running writer, in its process or in another: it reads no further than the committed mark. A reader never
trusts an index or a cache for what an event says; it opens the sealed section and derives the entry, and `evidence`
proves that entry against the published checkpoint.
"""

import bisect
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.commitment import NO_RAW, Head, format_head, parse_head
from graven.core.errors import BadInput, Broken
from graven.journal import frame
from graven.journal.frame import EVENTS, HUSK_EVENTS, HUSK_RAWS, RAWS, FrameHeader, Section
from graven.journal.segment import SegmentFile, SegmentReader, list_segments
from graven.keys.keyring import Keyring
from graven.log.block import decode_husk, heads_of
from graven.log.seal import unseal
from graven.log.types import Record

__all__ = ["BlockPlace", "JournalReader", "KeyFinder"]

_OPEN_SEGMENTS_MAX = 16
_BLOCKS_CACHED_MAX = 4
_CIPHERS_MAX = 256


class KeyFinder:
    """Ciphers of data keys, made once each. `None` for a key the keyring does not hold (or no keyring at all)."""

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring
        self._ciphers: OrderedDict[bytes, AESGCM] = OrderedDict()

    def __call__(self, key_id: bytes, segment_start: int | None = None) -> AESGCM | None:
        if self._keyring is None:
            return None
        key = self._keyring.data_key(key_id, segment_start)  # asked each time: another process may have destroyed it
        if key is None:
            self._ciphers.pop(key_id, None)
            return None
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            cipher = self._ciphers[key_id] = AESGCM(key)
            while len(self._ciphers) > _CIPHERS_MAX:
                self._ciphers.popitem(last=False)
        return cipher


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block lies."""

    segment: SegmentFile
    offset: int
    header: FrameHeader

    def __str__(self) -> str:
        return f"{self.segment.name} at byte {self.offset}"


@dataclass(frozen=True, slots=True)
class _CachedBlock:
    """An opened block, and the keys without which it must not be shown."""

    segment: SegmentFile
    key_ids: tuple[bytes, ...]
    records: list[Record]


class JournalReader:
    """Random access to the events of a journal, up to the size it is asked within. Threads may share it."""

    def __init__(self, journal: Path, log_id: bytes, find_key: KeyFinder) -> None:
        self._journal, self._log_id, self._find_key = str(journal), log_id, find_key
        self._lock = threading.Lock()
        self._segments: list[SegmentFile] = []
        self._readers: OrderedDict[SegmentFile, SegmentReader] = OrderedDict()
        self._walked: dict[SegmentFile, tuple[int, list[tuple[int, int]]]] = {}
        self._blocks: OrderedDict[int, _CachedBlock] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            self._blocks.clear()

    def read(self, index: int) -> Record:
        """The slot at `index`.

        Raises:
            BadInput: there is no such index. Disproved: the bytes do not fit. Broken: they cannot be read.
        """
        with self._lock:
            return self._block(index)[1][index - self._block(index)[0]]

    def records(self, start: int, end: int) -> Iterator[Record]:
        """The slots [start, end), a block at a time."""
        while start < end:
            with self._lock:
                first, records = self._block(start)
                chosen = records[start - first : end - first]
            yield from chosen
            start += len(chosen)

    def place(self, index: int) -> BlockPlace:
        """Where the block lies that holds `index`. Raises as `read`."""
        with self._lock:
            return self._place(index)

    def sections(self, place: BlockPlace) -> list[Section]:
        """The sealed sections of a block, the frame's digest checked."""
        with self._lock:
            reader = self._reader(place.segment)
            data = reader.frame(place.offset, place.header)
        return frame.decode_block(data, place.header, place=str(place))

    def places(self, start: int, end: int) -> Iterator[BlockPlace]:
        """Every block that holds an index in [start, end), in order."""
        while start < end:
            place = self.place(start)
            yield place
            start = place.header.end

    def forget(self) -> None:
        """Drop what was cached: segments were rewritten or keys destroyed. What other processes do is seen anyway."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._walked.clear()
        self._blocks.clear()
        self._segments = []

    def _block(self, index: int) -> tuple[int, list[Record]]:
        for start, block in reversed(self._blocks.items()):
            if start <= index < start + len(block.records):
                if all(self._find_key(key_id, block.segment.start) is not None for key_id in block.key_ids):
                    return start, block.records
                del self._blocks[start]  # a key was destroyed: what it sealed is not shown from memory
                break
        place = self._place(index)
        data = self._reader(place.segment).frame(place.offset, place.header)
        sections = frame.decode_block(data, place.header, place=str(place))
        records = self._open(sections, place)
        if any(record.state == "unreadable" for record in records):
            if self._rewritten(place.segment):
                return self._block(index)
        else:
            key_ids = tuple(section.key_id for section in sections if section.kind in (EVENTS, RAWS))
            self._blocks[place.header.start] = _CachedBlock(place.segment, key_ids, records)
            while len(self._blocks) > _BLOCKS_CACHED_MAX:
                self._blocks.popitem(last=False)
        return place.header.start, records

    def _rewritten(self, segment: SegmentFile) -> bool:
        """Whether a newer generation stands for this segment by now; then the caches were dropped."""
        if segment in list_segments(self._journal):
            return False
        self._forget()
        return True

    def _place(self, index: int) -> BlockPlace:
        if index < 0:
            raise BadInput(f"an index is not negative, {index} is", mend="indexes begin at 0")
        segment = self._segment_of(index)
        try:
            reader = self._reader(segment)
        except Broken:
            if not self._rewritten(segment):
                raise
            return self._place(index)
        blocks = reader.blocks()
        if blocks is None:
            blocks = self._walk(segment, reader, index)
        at = bisect.bisect_right(blocks, (index, 1 << 63)) - 1
        if at >= 0:
            header = reader.frame_header(blocks[at][1])
            if header.kind == frame.BLOCK and header.start <= index < header.end:
                return BlockPlace(segment, blocks[at][1], header)
        if segment != self._segments[-1]:
            raise Broken(f"the journal has no block with index {index}, and goes on behind it", place=segment.path)
        raise BadInput(f"the journal has no index {index} yet", mend="ask for the log's size: graven status")

    def _segment_of(self, index: int) -> SegmentFile:
        at = bisect.bisect_right(self._segments, index, key=lambda s: s.start) - 1
        if at < 0 or at == len(self._segments) - 1:
            self._segments = list_segments(self._journal)
            at = bisect.bisect_right(self._segments, index, key=lambda s: s.start) - 1
        if at < 0:
            raise Broken("the journal does not begin at index 0", place=self._journal)
        return self._segments[at]

    def _reader(self, segment: SegmentFile) -> SegmentReader:
        reader = self._readers.get(segment)
        if reader is None:
            reader = self._readers[segment] = SegmentReader(segment)
            while len(self._readers) > _OPEN_SEGMENTS_MAX:
                self._readers.popitem(last=False)[1].close()
        self._readers.move_to_end(segment)
        return reader

    def _walk(self, segment: SegmentFile, reader: SegmentReader, index: int) -> list[tuple[int, int]]:
        offset, blocks = self._walked.get(segment, (0, []))
        for at, header in reader.walk(offset):
            if header.kind == frame.BLOCK:
                blocks.append((header.start, at))
            offset = at + header.size
            if header.end > index:
                break
        self._walked[segment] = (offset, blocks)
        return blocks

    def _open(self, sections: list[Section], place: BlockPlace) -> list[Record]:
        count, start = place.header.count, place.header.start
        slots: list[dict[str, object]] = [{} for _ in range(count)]
        for section in sections:
            if section.kind in (HUSK_EVENTS, HUSK_RAWS):
                for position, (head, event, raw) in zip(
                    section.indexes(), decode_husk(section, str(place)), strict=True
                ):
                    slots[position]["raw_digest"] = raw
                    slots[position].setdefault("erasure_index", section.erasure)
                    if section.kind == HUSK_EVENTS:  # whose event is the one to show, whatever became of the raw
                        slots[position] |= {
                            "erasure_index": section.erasure,
                            "class_name": section.class_name,
                            "head": parse_head(head),
                            "event_digest": event,
                            "state": "erased",
                        }
                continue
            key = self._find_key(section.key_id, place.segment.start)
            if key is None:
                for position in section.indexes():
                    slots[position] |= {"class_name": section.class_name, "state": "unreadable"}
                continue
            clear = unseal(section, key=key, log_id=self._log_id, place=str(place))
            if section.kind == EVENTS:
                for position, salt, event, one in zip(
                    section.indexes(), clear.salts, clear.items, heads_of(clear.heads), strict=True
                ):
                    slots[position] |= {
                        "class_name": section.class_name,
                        "head": one,
                        "event": event,
                        "event_salt": salt,
                        "event_digest": sha256(salt + event).digest(),
                    }
            else:
                for position, salt, raw in zip(section.indexes(), clear.salts, clear.items, strict=True):
                    slots[position] |= {"raw": raw, "raw_salt": salt, "raw_digest": sha256(salt + raw).digest()}
        return [_record(start + position, slot) for position, slot in enumerate(slots)]


def _record(index: int, slot: dict[str, object]) -> Record:
    slot.setdefault("raw_digest", NO_RAW)
    slot.setdefault("state", "readable")
    head, event_digest, raw_digest = slot.get("head"), slot.get("event_digest"), slot["raw_digest"]
    if slot["state"] == "unreadable":
        slot["raw_digest"] = slot.get("raw_digest") if "raw" in slot else None
    elif isinstance(head, Head) and isinstance(event_digest, bytes) and isinstance(raw_digest, bytes):
        slot["entry"] = sha256(format_head(head) + event_digest + raw_digest).digest()
    return Record(index=index, **slot)  # type: ignore[arg-type]
