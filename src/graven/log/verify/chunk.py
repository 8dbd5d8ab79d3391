"""One chunk of the journal, verified: the unit of work of a process.

A chunk is part of a segment. It begins at a state (file offset, index, compact range) that the caller claims, or the
published tiles do, and ends at another; the caller strings chunks together and has one done again where its claim was
wrong, so what counts in the end follows from the empty tree without a gap.

Of every frame: header checksum, digest, directory, the keys it names, the sealed sections opened, entries and leaves
derived again, the root it states. Of the tree: every bundle and tile the chunk's entries touch (`tree.py`).

Damage does not end the walk. Behind bytes that are no frame the next valid header is looked for; entries a frame should
have given are taken from the bundles, so that what follows can still be judged; a frame whose root does not fit is
named, and the walk goes on from the tree the tiles show if that is the one the frame states.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import Broken, Disproved, GravenError
from graven.core.merkle import CompactRange, hash_leaves
from graven.journal import frame
from graven.journal.frame import EVENTS, HUSK_EVENTS, LOST, FrameHeader, Section
from graven.log import acts
from graven.log.verify.derive import Ciphers, Derived, derive
from graven.log.verify.report import Findings
from graven.log.verify.task import Act, Rest, Result, Slots, State, Task
from graven.log.verify.tree import TreeCheck
from graven.log.verify.window import SegmentWindow

ACTS_OF_INTEREST = frozenset((acts.GENESIS, acts.RECOVERY, acts.LOSS, acts.ERASURE, acts.HEAL, acts.KEYS_HANDOVER))
ANCHOR_ACTS = frozenset((acts.ANCHOR_TOKEN, acts.ANCHOR_COSIGNATURE))
"""Of these only the file they name is kept: there may be very many."""
_FILL_ENTRIES = 1 << 16
_WASTE_FILES = 4  # how many times a segment's length may be hashed for nothing
_PAIR = struct.Struct(">II")
_U32_MAX = (1 << 32) - 1


class _Own(msgspec.Struct):
    action: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_read_own = msgspec.json.Decoder(_Own).decode


def verify_chunk(task: Task) -> Result:
    """Verify one chunk. Raises nothing for damage: whatever is wrong stands in the result's findings."""
    return _Walk(task).run()


class _Walk:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._findings = Findings()
        self._tree = TreeCheck(task.tree, self._findings)
        self._ciphers: Ciphers = {key_id: AESGCM(key) for key_id, key in task.keys}
        self._window: SegmentWindow
        self._offset, self._index, self._range = task.state.offset, task.state.index, task.state.range
        self._frames: list[tuple[int, int]] = []
        self._slots: dict[tuple[str, str, bytes, int | None], tuple[int, int, int]] = {}
        self._pending: tuple[str, str] | None = None
        self._wasted = 0

    def run(self) -> Result:
        task = self._task
        if self._range is None:
            self._range = self._tree.anchor(self._index)
        start = State(self._offset, self._index, self._range)
        self._result = Result(start, start, self._findings)
        if task.fill_to > self._index:
            self._fill(task.fill_to)
        if task.path:
            self._walk_file()
        self._tree.flush()
        result = self._result
        result.end = State(self._offset, self._index, self._range)
        result.lost = self._tree.lost
        result.frames = b"".join(_pack(first - task.segment_start, offset) for first, offset in self._frames)
        result.slots = [
            Slots(task.segment_start, class_name, kind, key_id, erasure, *found)
            for (class_name, kind, key_id, erasure), found in self._slots.items()
        ]
        return result

    def _walk_file(self) -> None:
        task = self._task
        try:
            self._window = SegmentWindow(task.path, task.name, task.size)
        except Broken as error:
            self._unreadable(error)
            return
        try:
            while self._offset < task.limit:
                self._step()
            self._report_pending()
        except Broken as error:
            self._unreadable(error)
        finally:
            self._window.close()

    def _unreadable(self, error: Broken) -> None:
        self._report_pending()
        self._findings.error(error)
        self._offset = self._task.limit

    def _step(self) -> None:
        offset, window = self._offset, self._window
        try:
            header = window.header(offset)
        except Disproved as error:
            self._skip(str(error.what), None, short=window.size - offset < frame.HEADER_SIZE)
            return
        place, end = window.place(offset), offset + header.size
        if end > window.size:
            self._skip("a frame is cut short", header, short=True)
            return
        data = window.read(offset, header.size)
        try:
            frame.check_digest(data, place=place)
        except Disproved as error:
            self._wasted += header.size
            if self._wasted > _WASTE_FILES * window.size:
                self._give_up(place)
            else:
                self._skip(error.what, header, short=False)
            return
        if header.kind == frame.SEGMENT:
            self._report_pending()
            if offset:
                self._findings.disprove("a segment's header within a segment", place)
        elif header.start < self._index:
            self._report_pending()
            what = "a frame out of place: its events were there before"
            self._findings.disprove(what, place, header.start, max(header.end, header.start + 1), group=window.name)
        else:
            if header.start > self._index:
                self._gap(header.start, place)
            self._report_pending()
            if header.kind == frame.INDEX:
                self._index_frame(bytes(data), header, place)
            else:
                self._block(data, header, place)
        self._offset = end

    def _give_up(self, place: str) -> None:
        """Frames that do not hold lie one within the other, each to be hashed whole: made to cost time."""
        self._report_pending()
        self._findings.disprove("so many frames here do not hold that the rest is not looked at", place)
        self._offset = self._task.limit

    def _skip(self, why: str, header: FrameHeader | None, *, short: bool) -> None:
        """Bytes that are no whole and good frame: go on at the next one, or say that there is none."""
        offset, window, limit = self._offset, self._window, self._task.limit
        whole = header is not None and offset + header.size <= window.size
        found = -1
        if header is not None and whole and window.has_header(offset + header.size):
            found = offset + header.size
        if found < 0:
            found = window.find_header(offset + 1, limit)
        block = header if header is not None and header.kind == frame.BLOCK and header.start == self._index else None
        if found < 0 and limit == window.size:
            end = header.start if header is not None and header.kind == frame.INDEX else None
            self._result.rest = Rest(offset, window.size - offset, why, short, block.end if block else end)
            self._offset = window.size
            return
        self._report_pending()
        if offset or not self._task.header_bad:
            if block is not None and whole:
                self._findings.disprove(why, window.place(offset), block.start, block.end)
                self._frames.append((block.start, offset))
                self._fill(block.end)
            else:
                self._pending = why, window.place(offset)
        self._offset = found if found >= 0 else limit

    def _gap(self, start: int, place: str) -> None:
        """The next frame begins too late: events are missing before it."""
        what, where = self._pending or ("no frame holds these events", place)
        self._pending = None
        self._findings.disprove(what, where, self._index, start)
        self._fill(start)

    def _report_pending(self) -> None:
        if self._pending is not None:
            self._findings.disprove(*self._pending)
            self._pending = None

    def _index_frame(self, data: bytes, header: FrameHeader, place: str) -> None:
        result = self._result
        try:
            frame.decode_index(data, segment_start=self._task.segment_start, place=place)
            if header.count or header.sections or header.payload_size < 8:
                raise Disproved("a segment's index does not parse")
        except Disproved as error:
            self._findings.error(error, place)
            return
        if self._range is not None and self._range.root() != header.root:
            self._findings.disprove("a segment's index states another root than its frames lead to", place)
        if frame.index_offset(data[-40:]) != self._offset:
            self._findings.disprove("a segment's index states another place for itself", place)
        result.index_frame = data[frame.HEADER_SIZE : -40]
        result.index_offset = self._offset
        if self._offset + header.size < self._window.size:
            self._findings.disprove(
                "bytes lie behind the index that closes the segment", self._window.place(self._offset + header.size)
            )

    def _block(self, data: memoryview, header: FrameHeader, place: str) -> None:
        self._frames.append((header.start, self._offset))
        derived = self._derive(data, header, place)
        entries: Sequence[bytes | None] = derived.entries if derived is not None else [None] * header.count
        if derived is not None:
            self._result.opened += derived.opened
        if derived is not None and derived.leaves is not None:
            known = [entry for entry in entries if entry is not None]
            self._settle(header, known, derived.leaves, derived=True, place=place)
            return
        stored = self._tree.entries(header.start, header.end)
        if stored is None:
            self._lose(header, payloads=derived is not None)
            return
        known = [theirs if ours is None else ours for ours, theirs in zip(entries, stored, strict=True)]
        self._settle(header, known, hash_leaves(known), derived=False, place=place)

    def _derive(self, data: memoryview, header: FrameHeader, place: str) -> Derived | None:
        """What the block itself says; None when it is damaged, which is then reported."""
        try:
            sections = frame.decode_block(data, header, place=place)
            self._check_named(sections, header, place)
            derived = derive(sections, header.count, self._ciphers, self._task.log_id, place)
        except GravenError as error:
            self._findings.error(error, place, header.start, header.end)
            return None
        for section in derived.husks:
            self._remember(section, header.start, section.erasure)
        for section in derived.unreadable if self._task.named is not None else ():
            self._remember(section, header.start, None)
        for position, event in derived.own:
            self._own(header.start + position, event)
        return derived

    def _check_named(self, sections: Sequence[Section], header: FrameHeader, place: str) -> None:
        named = self._task.named
        for section in sections:
            key = (section.class_name, section.kind, section.key_id)
            if named is not None and section.erasure == frame.NO_ERASURE and key not in named:
                what = "a section is sealed under a key that its segment's header does not name"
                self._findings.disprove(what, place, header.start, header.end, group=self._task.name)

    def _remember(self, section: Section, start: int, erasure: int | None) -> None:
        kind = "lost" if section.kind == LOST else "event" if section.kind in (EVENTS, HUSK_EVENTS) else "raw"
        key = (section.class_name, kind, section.key_id, erasure)
        runs = section.positions or ((0, section.count),)
        first, last = start + runs[0][0], start + runs[-1][0] + max(runs[-1][1], 1) - 1
        before = self._slots.get(key)
        if before is not None:
            first, last = min(first, before[0]), max(last, before[1])
        self._slots[key] = first, last, section.count + (before[2] if before is not None else 0)

    def _own(self, index: int, event: bytes) -> None:
        try:
            own = _read_own(event)
            if own.action in ACTS_OF_INTEREST:
                data = msgspec.json.decode(own.data)
                self._result.acts.append(Act(index, own.action, data if isinstance(data, dict) else {}))
            elif own.action in ANCHOR_ACTS:
                data = msgspec.json.decode(own.data)
                if isinstance(data, dict) and isinstance(file := data.get("file"), str):
                    self._result.acts.append(Act(index, own.action, {"file": file}))
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
            self._findings.disprove("an event of the log's own is not in the event model", "", index, index + 1)

    def _settle(
        self, header: FrameHeader, entries: list[bytes], leaves: list[bytes], *, derived: bool, place: str
    ) -> None:
        """Compare with the root the frame states, and go on from the tree that is most likely the true one."""
        if self._range is None:
            self._take(entries, leaves, None, derived)
            self._range = self._anchor(header)
            return
        extended = self._range.extend(leaves)
        if extended[0].root() == header.root:
            self._take(entries, leaves, extended, derived)
            return
        stored = self._tree.entries(header.start, header.end, needed=False) if derived else None
        if stored is not None and stored != entries:
            other = hash_leaves(stored)
            instead = self._range.extend(other)
            if instead[0].root() == header.root:
                wrong = [at for at, pair in enumerate(zip(entries, stored, strict=True)) if pair[0] != pair[1]]
                self._findings.disprove(
                    "the sealed events are not those that the frame's root and the entry bundles stand for",
                    place, header.start + wrong[0], header.start + wrong[-1] + 1,
                )  # fmt: skip
                self._take(stored, other, instead, derived=False)
                return
        self._findings.disprove(
            "a block does not lead to the root its frame states", place, header.start, header.end,
            group=self._task.name,
        )  # fmt: skip
        anchor = self._anchor(header)
        self._take(entries, leaves, None if anchor else extended, derived)
        if anchor:
            self._range = anchor

    def _take(
        self,
        entries: Sequence[bytes],
        leaves: list[bytes],
        extended: tuple[CompactRange, list[list[bytes]]] | None,
        derived: bool,
    ) -> None:
        """The next entries are these. `extended` is the tree with them, None when it cannot be followed."""
        start, end = self._index, self._index + len(entries)
        self._tree.add("entries", start, entries, derived=derived)
        self._tree.add(0, start, leaves, derived=derived)
        if extended is not None:
            for level, nodes in enumerate(extended[1]):
                if level and nodes:
                    self._tree.add(level, start >> (8 * level), nodes, derived=derived)
            self._note_roots(start, end, leaves, extended[0])
            self._range = extended[0]
        self._index = end

    def _note_roots(self, start: int, end: int, leaves: list[bytes], after: CompactRange) -> None:
        wanted = self._task.wanted
        at = bisect_right(wanted, start)
        partial, done = self._range, start
        while at < len(wanted) and wanted[at] <= end:
            size = wanted[at]
            if size == end:
                self._result.roots[size] = after.root()
            elif partial is not None:
                partial, _ = partial.extend(leaves[done - start : size - start])
                done = size
                self._result.roots[size] = partial.root()
            at += 1

    def _fill(self, to: int) -> None:
        """Go on as if the entries up to index `to` were those of the bundles: the journal does not give them."""
        published = self._task.tree.published
        while self._index < to:
            end = min(to, self._index + _FILL_ENTRIES)
            if self._index < published < end:
                end = published
            stored = self._tree.entries(self._index, end)
            if stored is None:
                self._index, self._range = to, None
                break
            leaves = hash_leaves(stored)
            extended = self._range.extend(leaves) if self._range is not None else None
            self._take(stored, leaves, extended, derived=False)
        if self._range is None:
            self._range = self._tree.anchor(to)

    def _lose(self, header: FrameHeader, *, payloads: bool) -> None:
        """A block's entries cannot be known at all."""
        if header.end > self._task.tree.published and payloads:
            self._result.unfollowed += header.count
            if header.end in self._task.wanted:  # nothing else says what the tree is there: the frame is whole
                self._result.roots[header.end] = header.root
        self._index, self._range = header.end, self._anchor(header)

    def _anchor(self, header: FrameHeader) -> CompactRange | None:
        """The tree behind a frame as the tiles have it, if it has the root the frame states."""
        anchor = self._tree.anchor(header.end)
        return anchor if anchor is not None and anchor.root() == header.root else None


def _pack(start: int, offset: int) -> bytes:
    return _PAIR.pack(min(max(start, 0), _U32_MAX), min(offset, _U32_MAX))
