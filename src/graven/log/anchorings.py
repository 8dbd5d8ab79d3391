"""Where in the log anchors stand: for any index, the anchor's event below it that bounds it best.

    state/anchors.rfc3161       u64 index ‖ u64 µs, ascending in both: events that hold a stamp later than all before
    state/anchors.cosignature   the same, of cosignatures
    state/anchors               how far the journal was looked through for them: a decimal size

A function of the log's own events, kept by the writer, and deletable: what is missing is read from the journal again at
the next start. Nothing here is believed: whoever shows a bound reads the event, and verifies what is in it.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from struct import Struct

import msgspec

from graven.core.anchored import COSIGNATURE, COSIGNATURE_ACT, RFC3161, TOKEN_ACT
from graven.core.errors import BadInput
from graven.core.spelling import MAX_NUMBER, parse_decimal
from graven.journal.files import Files, write_atomic

KINDS = {TOKEN_ACT: RFC3161, COSIGNATURE_ACT: COSIGNATURE}
_ROW = Struct(">QQ")
_MARK = b'"graven.anchor.'

SelfEvents = Callable[[int, int], Iterable[tuple[int, bytes]]]
"""(start, end) → (index, bytes) of the log's own events there."""


class _Data(msgspec.Struct):
    earliest_us: int = 0


class _Event(msgspec.Struct):
    action: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_decode = msgspec.json.Decoder(_Event).decode


class Anchorings:
    """The writer's side. One owner; `save` may be called by another thread."""

    def __init__(self, files: Files, state: Path) -> None:
        self._files, self._state = files, state
        self._last = dict.fromkeys(KINDS.values(), (-1, -1))

    def open(self, size: int, events: SelfEvents) -> None:
        """Bring the files to the log of `size` entries. Raises OSError, and what `events` raises."""
        covered = min(read_covered(self._state), size)  # what was cut off is looked through again
        for kind in self._last:
            rows = [row for row in _rows(self._state, kind) if row[0] < covered]
            data, path = b"".join(_ROW.pack(*row) for row in rows), _path(self._state, kind)
            if path.exists() and path.read_bytes() != data:
                write_atomic(self._files, str(path), data, sync=False)
            self._last[kind] = rows[-1] if rows else (-1, -1)
        for index, event in events(covered, size):
            self.apply(index, event)
        self.save(size)

    def apply(self, index: int, event: bytes) -> None:
        """Take in an event of source 0. Raises OSError."""
        found = anchored_in(event)
        if found is None:
            return
        kind, time_us = found
        last_index, last_us = self._last[kind]
        if index <= last_index or time_us <= last_us:
            return
        self._last[kind] = index, time_us
        fd = os.open(_path(self._state, kind), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, _ROW.pack(index, time_us))
        finally:
            os.close(fd)

    def save(self, size: int) -> None:
        """Note that all below `size` was looked through. Not synced. Raises OSError."""
        write_atomic(self._files, str(self._state / "anchors"), f"{size}\n".encode(), sync=False)


def anchored_in(event: bytes) -> tuple[str, int] | None:
    """(type of anchor, the earliest moment it can mean) that an event of source 0 holds; None if it is no anchor."""
    if _MARK not in event:
        return None
    try:
        read = _decode(event)
    except msgspec.DecodeError:
        return None
    kind = KINDS.get(read.action)
    return (kind, read.data.earliest_us) if kind is not None and 0 < read.data.earliest_us <= MAX_NUMBER else None


def best_below(state: Path, kind: str, index: int) -> int | None:
    """The index of the event below `index` that holds the latest anchor of a kind, as far as the files say."""
    try:
        fd = os.open(_path(state, kind), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        low, high = 0, os.fstat(fd).st_size // _ROW.size
        found = None
        while low < high:
            middle = (low + high) // 2
            row = os.pread(fd, _ROW.size, middle * _ROW.size)
            if len(row) != _ROW.size:
                return None
            at, _ = _ROW.unpack(row)
            if at < index:
                found, low = at, middle + 1
            else:
                high = middle
        return found
    except OSError:
        return None
    finally:
        os.close(fd)


def read_covered(state: Path) -> int:
    """How far the journal was looked through; 0 where that is not known."""
    try:
        return parse_decimal((state / "anchors").read_text("ascii").removesuffix("\n"))
    except (OSError, UnicodeDecodeError, BadInput):
        return 0


def _path(state: Path, kind: str) -> Path:
    return state / f"anchors.{kind}"


def _rows(state: Path, kind: str) -> list[tuple[int, int]]:
    try:
        data = _path(state, kind).read_bytes()
    except OSError:
        return []
    whole = data[: len(data) - len(data) % _ROW.size]
    return [(index, time_us) for index, time_us in _ROW.iter_unpack(whole)]
