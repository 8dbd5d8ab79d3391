"""The idempotency window: which (source, id) came lately, in 16 bytes an id.

An id is kept as a 64-bit keyed hash beside the index of the event that brought it. A hit is a hint: the writer reads
the stored event and compares, so a collision costs a read and never a record. The key lives in the keyring.

Memory and disk have the same shape: generations of half the window each. Three at most are held (so between one and
one and a half windows); each is an open-addressing table of fingerprints beside a list of indexes, and a file in
`state/` of 16-byte records, in a group with a checksum before each frame, and synced only when the next generation
begins: a group that a loss of power tore ends its file, and so does one whose frame never came. After a crash what the
files lack is read again from the journal, but for ids that stand beside their events. The files may be deleted, or turn
out damaged: the window is then rebuilt from the journal's last events. A record without an id says that the events up
to its index brought none.
"""

import contextlib
import os
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import lt
from pathlib import Path
from zlib import crc32

from graven.journal.files import File, Files

GENERATIONS = 3
CANDIDATES_MAX = 8
"""How many events of one id are compared with a new one; so many of the oldest are kept, and no more."""
CURSOR_ENTRIES = 2_000
"""After so many events without an id, a record says that they were seen, so that no start reads them again."""

_RECORD_SIZE = 16
_MAGIC = b"GRVNWIN3"
_HEADER = struct.Struct(">8sQQ")  # magic, number, when the first record came
_GROUP = struct.Struct(">II")  # how many records, their CRC-32
_NO_ID = 0


@dataclass(slots=True)
class _Generation:
    """Ids in the order they came. `slots` maps a fingerprint's place to 1 + its position in the two lists."""

    number: int
    capacity: int
    first_us: int = 0
    last_us: int = 0
    fingerprints: "array[int]" = field(default_factory=lambda: array("Q"))
    indexes: "array[int]" = field(default_factory=lambda: array("Q"))
    slots: "array[int]" = field(default_factory=lambda: array("I"))
    file: File | None = None
    written: int = 0
    end_bytes: int = _HEADER.size
    ahead_count: int = 0
    ahead_bytes: int = 0
    """Of the group that was announced and stands behind `end_bytes`; 0 without one."""

    def __post_init__(self) -> None:
        size = 1024
        while size < 2 * self.capacity:
            size *= 2
        self.slots = array("I", bytes(4 * size))

    @property
    def room_max(self) -> int:
        """How many ids its table takes: a block is not torn in two for being a little more than the capacity."""
        return len(self.slots) // 4 * 3


class Window:
    """Finds earlier events by (source, id). One owner, one thread: the writer."""

    def __init__(self, files: Files, state: Path, key: bytes, *, ids_max: int, window_us: int) -> None:
        self._files, self._state, self._key = files, state, key
        self._half = max(1024, ids_max // 2)
        self._window_us = window_us
        self._generations: list[_Generation] = [_Generation(0, self._half)]
        self._covered = 0

    def __len__(self) -> int:
        return sum(len(g.indexes) for g in self._generations)

    @property
    def window_us(self) -> int:
        """How long an id is remembered, if the bound on their number does not end it sooner."""
        return self._window_us

    @property
    def oldest_us(self) -> int | None:
        """When the oldest id still held came: the age of the bound in force."""
        return next((g.first_us for g in self._generations if len(g.indexes)), None)

    def fingerprints(self, source: int, ids: Iterable[str]) -> list[int]:
        """The keyed 64-bit hash of each id: BLAKE2b of 8 bytes over key ‖ u32 source ‖ id.

        The key has a fixed length, and BLAKE2 cannot be extended, so a prefix is a key here; as the hash's own key it
        would take a block to itself. With SHA-256 this costs half as much again.
        """
        start = blake2b(self._key + source.to_bytes(4, "big"), digest_size=8).copy
        marks: list[bytes] = []
        for event_id in ids:
            one = start()  # cheaper than starting a hash
            one.update(event_id.encode())
            marks.append(one.digest())
        return list(struct.unpack(f">{len(marks)}Q", b"".join(marks)))

    def known(self, fingerprints: Sequence[int]) -> set[int]:
        """Those of the fingerprints that the window holds."""
        found: set[int] = set()
        for generation in self._generations:
            slots, held = generation.slots, generation.fingerprints
            mask = len(slots) - 1
            for one in [one for one in fingerprints if slots[one & mask]]:
                at = one & mask
                while place := slots[at]:
                    if held[place - 1] == one:
                        found.add(one)
                        break
                    at = (at + 1) & mask
        return found

    def find(self, fingerprint: int) -> list[int]:
        """Indexes of earlier events that may have this id, oldest first; at most `CANDIDATES_MAX`."""
        found: list[int] = []
        for generation in self._generations:
            slots = generation.slots
            mask = len(slots) - 1
            at = fingerprint & mask
            while (place := slots[at]) and len(found) < CANDIDATES_MAX:
                if generation.fingerprints[place - 1] == fingerprint:
                    found.append(generation.indexes[place - 1])
                at = (at + 1) & mask
        return found

    def announce(self, fingerprints: Sequence[int], indexes: Sequence[int], now_us: int, *, size: int) -> None:
        """Write what `add` is to be told of a block that is written next; the same words as there.

        So a process that is killed between the two leaves records of events that are not there, which a start passes
        over, and never an event whose id nobody noted. Where the block fails, nothing is remembered. What cannot be
        written, or is more than the table of a generation has room for, is left to `flush`.
        """
        fingerprints, indexes, _ = self._rows(fingerprints, indexes, size)
        self.flush()
        generation = self._generations[-1]
        if len(generation.indexes) >= generation.capacity:
            generation = self._roll()
        held = len(generation.indexes)
        if not indexes or generation.written != held or held + len(indexes) > generation.room_max:
            return
        with contextlib.suppress(OSError):
            if not held:
                generation.first_us = now_us
            if generation.file is None:
                generation.file = self._open(generation)
            group = _encode_group(generation.end_bytes, array("Q", fingerprints), array("Q", indexes))
            generation.file.write_at(generation.end_bytes, group)
            generation.ahead_count, generation.ahead_bytes = len(indexes), len(group)

    def add(self, fingerprints: Sequence[int], indexes: Sequence[int], now_us: int, *, size: int) -> None:
        """Remember ids of a block that was written, each with its event's index; `flush` writes what was not announced.

        The caller leaves out what would be more than `CANDIDATES_MAX` of one fingerprint. `size` is the log's after the
        block.
        """
        fingerprints, indexes, self._covered = self._rows(fingerprints, indexes, size)
        at = 0
        while at < len(indexes):
            generation = self._generations[-1]
            room = generation.ahead_count or generation.capacity - len(generation.indexes)
            if room <= 0:
                generation = self._roll()
                room = generation.capacity
            if not len(generation.indexes):
                generation.first_us = now_us
            generation.last_us = now_us
            now = slice(at, at + room)
            _insert(generation, array("Q", fingerprints[now]), array("Q", indexes[now]))
            at += room
        self._drop_old(now_us)

    def flush(self) -> None:
        """Write what came since behind the rest on disk.

        A failed write is no failure of the log: it is tried again with the next, and what a file lacks at a start is
        read from the journal.
        """
        with contextlib.suppress(OSError):
            self._write()

    def load(self, size: int, now_us: int) -> int:
        """Read the files back; returns the index up to which they cover the log of `size` entries.

        0 if there is none, one is missing before or between others, or one does not fit its form, but for the end of
        the last: then nothing is believed, and the caller starts over. Where nothing came for the time of a window, a
        first one that went by its age looks like one that is missing: that costs one reading. Records of events that
        the journal does not have, as of a frame that a loss of power took, are passed over and cut with the next write.
        """
        loaded: list[_Generation] = []
        after = -1
        whole = True
        paths = sorted(self._state.glob("window.*"))
        if paths and paths[-1].stat().st_size < _HEADER.size:  # it was being begun
            with contextlib.suppress(OSError):
                self._files.remove(str(paths.pop()))
        for path in paths:
            found = self._load_one(path, after, size)
            if found is None or not whole or (loaded and found[0].number != loaded[-1].number + 1):
                return 0
            generation, whole = found
            if loaded:
                loaded[-1].last_us = generation.first_us
            generation.last_us = now_us
            loaded.append(generation)
            after = generation.indexes[-1] if len(generation.indexes) else after
        if len(loaded) > GENERATIONS or after < 0:
            return 0
        if loaded[0].number and len(loaded) < GENERATIONS and loaded[0].first_us >= now_us - self._window_us:
            return 0  # the one before it ended about when this one began: too lately to have gone by its age
        self._generations = loaded
        self._covered = after + 1
        return self._covered

    def start_over(self) -> None:
        """Forget everything, on disk too."""
        for generation in self._generations:
            if generation.file is not None:
                generation.file.close()
        for path in self._state.glob("window.*"):
            with contextlib.suppress(OSError):  # what stays is found not to fit
                self._files.remove(str(path))
        self._generations = [_Generation(0, self._half)]
        self._covered = 0

    def close(self) -> None:
        self.flush()
        for generation in self._generations:
            if generation.file is not None:
                generation.file.close()
                generation.file = None

    def _rows(
        self, fingerprints: Sequence[int], indexes: Sequence[int], size: int
    ) -> tuple[Sequence[int], Sequence[int], int]:
        """The records of a block, with one that says how far there are none if that is far; what they cover."""
        covered = indexes[-1] + 1 if indexes else self._covered
        if size - covered < CURSOR_ENTRIES:
            return fingerprints, indexes, covered
        return [*fingerprints, _NO_ID], [*indexes, size - 1], size

    def _take_back(self, generation: _Generation) -> None:
        """Cut off what was announced and never came. Where that fails, it is written over, or passed over."""
        if generation.ahead_count:
            generation.ahead_count = generation.ahead_bytes = 0
            if generation.file is not None:
                with contextlib.suppress(OSError):
                    generation.file.truncate(generation.end_bytes)

    def _roll(self) -> _Generation:
        """Begin the next generation. The last one is made durable first: a crash leaves no hole between two."""
        self.flush()
        last = self._generations[-1]
        if last.file is not None and last.written == len(last.indexes):
            with contextlib.suppress(OSError):
                last.file.sync()
                self._files.sync_dir(str(self._state))
            last.file.close()
            last.file = None
        self._generations.append(_Generation(last.number + 1, self._half))
        while len(self._generations) > GENERATIONS:
            self._forget_first()
        return self._generations[-1]

    def _drop_old(self, now_us: int) -> None:
        while len(self._generations) > 1 and self._generations[0].last_us < now_us - self._window_us:
            self._forget_first()

    def _forget_first(self) -> None:
        gone = self._generations.pop(0)
        if gone.file is not None:
            gone.file.close()
        path = self._path(gone.number)
        if path.exists():
            with contextlib.suppress(OSError):
                self._files.remove(str(path))

    def _write(self) -> None:
        for generation in self._generations:
            count = len(generation.indexes)
            if generation.ahead_count and generation.ahead_count == count - generation.written:
                generation.written, generation.end_bytes = count, generation.end_bytes + generation.ahead_bytes
                generation.ahead_count = generation.ahead_bytes = 0
            self._take_back(generation)
            if generation.written == count:
                continue
            new = slice(generation.written, count)
            if generation.file is None:
                generation.file = self._open(generation)
            at = generation.end_bytes
            group = _encode_group(at, generation.fingerprints[new], generation.indexes[new])
            generation.file.write_at(at, group)
            generation.written, generation.end_bytes = count, at + len(group)

    def _open(self, generation: _Generation) -> File:
        path = str(self._path(generation.number))
        if os.path.exists(path):  # noqa: PTH110
            file = self._files.open(path)
            file.truncate(generation.end_bytes)
            return file
        file = self._files.create(path)
        try:
            file.write_at(0, _HEADER.pack(_MAGIC, generation.number, generation.first_us))
        except OSError:
            file.close()
            self._files.remove(path)
            raise
        return file

    def _load_one(self, path: Path, after: int, size: int) -> tuple[_Generation, bool] | None:
        """One file, and whether all of it is good. Its indexes must ascend from above `after`; it is read as far as its
        groups hold and their indexes are below `size`. None if it is no such file."""
        data = path.read_bytes()
        if len(data) < _HEADER.size or data[:8] != _MAGIC:
            return None
        _, number, first_us = _HEADER.unpack_from(data)
        if path != self._path(number):
            return None
        generation = _Generation(number, self._half, first_us)
        while group := _decode_group(data, generation.end_bytes):
            fingerprints, indexes = group
            if not (after < indexes[0] and all(map(lt, indexes, indexes[1:]))):
                return None
            held = len(generation.indexes)
            if indexes[-1] >= size or held >= self._half or held + len(indexes) > generation.room_max:
                break
            _insert(generation, fingerprints, indexes)
            generation.end_bytes += _GROUP.size + _RECORD_SIZE * len(indexes)
            after = indexes[-1]
        generation.written = len(generation.indexes)
        return generation, generation.end_bytes == len(data)

    def _path(self, number: int) -> Path:
        return self._state / f"window.{number:08d}"


def _insert(generation: _Generation, fingerprints: "array[int]", indexes: "array[int]") -> None:
    slots = generation.slots
    mask = len(slots) - 1
    for place, fingerprint in enumerate(fingerprints, len(generation.indexes) + 1):
        if fingerprint != _NO_ID:
            at = fingerprint & mask
            while slots[at]:
                at = (at + 1) & mask
            slots[at] = place
    generation.fingerprints += fingerprints
    generation.indexes += indexes


def _encode_group(at: int, fingerprints: "array[int]", indexes: "array[int]") -> bytes:
    """The records of one write as they stand at byte `at`."""
    records = _encode_records(fingerprints, indexes)
    return _GROUP.pack(len(indexes), _check(at, records)) + records


def _decode_group(data: bytes, at: int) -> tuple["array[int]", "array[int]"] | None:
    """The group at byte `at`; None where none holds."""
    if at + _GROUP.size > len(data):
        return None
    count, check = _GROUP.unpack_from(data, at)
    records = data[at + _GROUP.size : at + _GROUP.size + _RECORD_SIZE * count]
    if not count or len(records) != _RECORD_SIZE * count or check != _check(at, records):
        return None
    return _decode_records(records)


def _check(at: int, records: bytes) -> int:
    return crc32(records, crc32(at.to_bytes(8, "big")))


def _encode_records(fingerprints: "array[int]", indexes: "array[int]") -> bytes:
    columns = array("Q", bytes(_RECORD_SIZE * len(indexes)))
    columns[0::2], columns[1::2] = fingerprints, indexes
    if sys.byteorder == "little":
        columns.byteswap()
    return columns.tobytes()


def _decode_records(data: bytes) -> tuple["array[int]", "array[int]"]:
    columns = array("Q", data)
    if sys.byteorder == "little":
        columns.byteswap()
    return columns[0::2], columns[1::2]
