"""Reading events back from the journal, and proving them.

Works beside a running writer, in its process or in another: it reads no further than the committed mark. A reader never
trusts an index or a cache for what an event says; it opens the sealed section and derives the entry, and `evidence`
proves that entry against the published checkpoint.
"""

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import BadInput, Broken
from graven.journal import frame
from graven.journal.frame import EVENTS, RAWS, FrameHeader, Section
from graven.journal.segment import SegmentFile, SegmentReader, list_segments
from graven.keys.keyring import Keyring
from graven.log.slots import BlockSlots, open_slots
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
    slots: BlockSlots


class JournalReader:
    """Random access to the events of a journal, up to the size it is asked within. Threads may share it."""

    def __init__(self, journal: Path, log_id: bytes, find_key: KeyFinder) -> None:
        self._journal, self._log_id, self._find_key = str(journal), log_id, find_key
        self._lock = threading.Lock()
        self._segments: list[SegmentFile] = []
        self._open: OrderedDict[SegmentFile, _OpenSegment] = OrderedDict()
        self._blocks: OrderedDict[int, _CachedBlock] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            self._forget()

    def adopt(self, segment: SegmentFile, blocks: Iterable[tuple[int, int]], walked: int) -> None:
        """Spare the walk through an open segment: its blocks (start, offset) up to the byte `walked` are known."""
        with self._lock:
            opened = self._segment(segment)
            opened.places, opened.walked = _Places(segment.start, blocks), walked

    def read(self, index: int) -> Record:
        """The slot at `index`.

        Raises:
            BadInput: there is no such index. Disproved: the bytes do not fit. Broken: they cannot be read.
        """
        with self._lock:
            return self._block(index).record(index)

    def records(self, start: int, end: int) -> Iterator[Record]:
        """The slots [start, end), a block at a time."""
        while start < end:
            with self._lock:
                block = self._block(start)
                chosen = [block.record(index) for index in range(start, min(end, block.end))]
            yield from chosen
            start += len(chosen)

    def place(self, index: int) -> BlockPlace:
        """Where the block lies that holds `index`. Raises as `read`."""
        with self._lock:
            return self._place(index)

    def sections(self, place: BlockPlace) -> list[Section]:
        """The sealed sections of a block, the frame's digest checked."""
        with self._lock:
            data = self._segment(place.segment).reader.frame(place.offset, place.header)
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
        for opened in self._open.values():
            opened.reader.close()
        self._open.clear()
        self._blocks.clear()
        self._segments = []

    def _block(self, index: int) -> BlockSlots:
        for start, block in reversed(self._blocks.items()):
            if start <= index < block.slots.end:
                if all(self._find_key(key_id, block.segment.start) is not None for key_id in block.key_ids):
                    return block.slots
                del self._blocks[start]  # a key was destroyed: what it sealed is not shown from memory
                break
        place = self._place(index)
        data = self._segment(place.segment).reader.frame(place.offset, place.header)
        sections = frame.decode_block(data, place.header, place=str(place))

        def find(key_id: bytes) -> AESGCM | None:
            return self._find_key(key_id, place.segment.start)

        slots = open_slots(sections, place.header.start, place.header.end, find, self._log_id, str(place))
        if slots.unreadable:
            if self._rewritten(place.segment):
                return self._block(index)
        else:
            key_ids = tuple(section.key_id for section in sections if section.kind in (EVENTS, RAWS))
            self._blocks[place.header.start] = _CachedBlock(place.segment, key_ids, slots)
            while len(self._blocks) > _BLOCKS_CACHED_MAX:
                self._blocks.popitem(last=False)
        return slots

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
            opened = self._segment(segment)
        except Broken:
            if not self._rewritten(segment):
                raise
            return self._place(index)
        offset = opened.find(index)
        if offset is not None:
            header = opened.reader.frame_header(offset)
            if header.kind == frame.BLOCK and header.start <= index < header.end:
                return BlockPlace(segment, offset, header)
        if segment != self._segments[-1]:
            raise Broken(f"the journal has no block with index {index}, and goes on behind it", place=segment.path)
        raise BadInput(f"the journal has no index {index} yet", mend="ask for the log's size: graven status")

    def _segment_of(self, index: int) -> SegmentFile:
        at = bisect_right(self._segments, index, key=lambda s: s.start) - 1
        if at < 0 or at == len(self._segments) - 1:
            self._segments = list_segments(self._journal)
            at = bisect_right(self._segments, index, key=lambda s: s.start) - 1
        if at < 0:
            raise Broken("the journal does not begin at index 0", place=self._journal)
        return self._segments[at]

    def _segment(self, segment: SegmentFile) -> "_OpenSegment":
        opened = self._open.get(segment)
        if opened is None:
            opened = self._open[segment] = _OpenSegment(SegmentReader(segment))
            while len(self._open) > _OPEN_SEGMENTS_MAX:
                self._open.popitem(last=False)[1].reader.close()
        self._open.move_to_end(segment)
        return opened


class _Places:
    """Where the blocks of a segment lie, in order: 8 bytes a block."""

    def __init__(self, segment_start: int, blocks: Iterable[tuple[int, int]] = ()) -> None:
        self._base = segment_start
        self._starts, self._offsets = array("I"), array("I")  # as in the index of a segment
        for start, offset in blocks:
            self.add(start, offset)

    def add(self, start: int, offset: int) -> None:
        self._starts.append(start - self._base)
        self._offsets.append(offset)

    def find(self, index: int) -> int | None:
        """The offset of the last block that does not begin behind `index`."""
        at = bisect_right(self._starts, index - self._base) - 1
        return self._offsets[at] if at >= 0 else None


@dataclass(slots=True)
class _OpenSegment:
    """A segment being read. `walked` is how far an open one was walked, None once its index was read."""

    reader: SegmentReader
    places: _Places | None = None
    walked: int | None = 0

    def find(self, index: int) -> int | None:
        """Where the frame begins that may hold `index`."""
        if self.walked is None and self.places is not None:
            return self.places.find(index)
        start = self.reader.file.start
        blocks = self.reader.blocks()
        if blocks is not None:
            self.places, self.walked = _Places(start, blocks), None
        else:
            self.places = self.places or _Places(start)
            self.walked = self._walk(self.places, self.walked or 0, index)
        return self.places.find(index)

    def _walk(self, places: _Places, offset: int, index: int) -> int:
        """Through the frames that were not seen yet, up to the one that holds `index`; how far it went."""
        for at, header in self.reader.walk(offset):
            if header.kind == frame.BLOCK:
                places.add(header.start, at)
            offset = at + header.size
            if header.end > index:
                break
        return offset
