"""Where in the log anchors stand: for any index, the anchor's event below it that bounds it best.

    state/anchors.rfc3161       u64 index ‖ u64 µs, ascending in both: events that hold a stamp later than all before
    state/anchors.cosignature   the same, of cosignatures
    state/anchors               how far the journal was looked through for them: a decimal size

A function of the log's own events, kept by the writer, and deletable: what is missing is read from the journal again at
the next start. Nothing here is believed: whoever shows a bound reads the event, and verifies what is in it.

Rows below the size noted are durable before it is; what a crash left of later ones is dropped at the next start. A disk
that refuses a row is no failure of the log: the row waits, the size noted stays below it, and the file is written anew.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
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


@dataclass(slots=True)
class _Rows:
    """What is known of one file: `count` rows stand in it; `waiting` could not be written. `last`: of all of them."""

    count: int = 0
    last: tuple[int, int] = (-1, -1)
    synced: bool = True
    waiting: list[tuple[int, int]] = field(default_factory=list)


class Anchorings:
    """The writer's side. One owner; `save` may be called by another thread."""

    def __init__(self, files: Files, state: Path) -> None:
        self._files, self._state = files, state
        self._lock = threading.Lock()
        self._kinds = {kind: _Rows() for kind in KINDS.values()}

    def open(self, size: int, events: SelfEvents) -> None:
        """Bring the files to the log of `size` entries. Raises OSError, and what `events` raises."""
        covered = min(read_covered(self._state), size)  # what was cut off is looked through again
        for kind in self._kinds:
            data = _read(self._state, kind)
            good = list(takewhile(lambda row: row[0] < covered, _ascending(data)))
            self._kinds[kind] = _Rows(len(good), good[-1] if good else (-1, -1))
            if data != (whole := data[: len(good) * _ROW.size]):
                write_atomic(self._files, str(_path(self._state, kind)), whole)
        for index, event in events(covered, size):
            self.apply(index, event)
        self.save(size)

    def apply(self, index: int, event: bytes) -> None:
        """Take in an event of source 0."""
        found = anchored_in(event)
        if found is None:
            return
        kind, time_us = found
        with self._lock:
            rows = self._kinds[kind]
            if index <= rows.last[0] or time_us <= rows.last[1]:
                return
            rows.last = index, time_us
            rows.waiting.append(rows.last)
            if len(rows.waiting) == 1:  # else the file is written anew, at the next `save`
                with contextlib.suppress(OSError):
                    self._append(kind, rows)

    def save(self, size: int) -> None:
        """Note that all below `size` was looked through, once all found there is durable. Raises OSError."""
        with self._lock:
            for kind, rows in self._kinds.items():
                if rows.waiting:
                    self._write_anew(kind, rows)
                elif not rows.synced:
                    self._sync(kind, rows)
            write_atomic(self._files, str(self._state / "anchors"), f"{size}\n".encode(), sync=False)

    def _append(self, kind: str, rows: _Rows) -> None:
        path = _path(self._state, kind)
        file = self._files.open(str(path)) if path.exists() else self._files.create(str(path))
        try:
            file.write_at(rows.count * _ROW.size, _ROW.pack(*rows.waiting[0]))
        finally:
            file.close()
        rows.count, rows.waiting, rows.synced = rows.count + 1, [], False

    def _write_anew(self, kind: str, rows: _Rows) -> None:
        """In a file of another name, which takes the place of the one that a write or a sync failed on."""
        before = _read(self._state, kind)[: rows.count * _ROW.size]
        data = before + b"".join(_ROW.pack(*row) for row in rows.waiting)
        write_atomic(self._files, str(_path(self._state, kind)), data)
        rows.count, rows.waiting, rows.synced = len(data) // _ROW.size, [], True

    def _sync(self, kind: str, rows: _Rows) -> None:
        file = self._files.open(str(_path(self._state, kind)))
        try:
            file.sync()
        except OSError:
            self._write_anew(kind, rows)
        finally:
            file.close()
        self._files.sync_dir(str(self._state))
        rows.synced = True


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


def _read(state: Path, kind: str) -> bytes:
    try:
        return _path(state, kind).read_bytes()
    except OSError:
        return b""


def _ascending(data: bytes) -> Iterator[tuple[int, int]]:
    """The rows up to the first that does not follow the one before, in both numbers. No time is 0."""
    last = (-1, 0)
    for row in _ROW.iter_unpack(data[: len(data) - len(data) % _ROW.size]):
        index, time_us = row
        if index <= last[0] or time_us <= last[1]:
            return
        last = index, time_us
        yield last
