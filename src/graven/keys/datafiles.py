"""The files of data keys in a keyring: `data/<segment start, 20 digits>.<n>.json`, in every copy.

Reading is cheap on the way of every frame: one `stat` while the primary's file is the one that was read before.
Invariants: a new key is durable in every copy before it is handed out; a destroyed one is gone from every copy when the
call returns, and from every reader's cache.
"""

import contextlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from graven.core.errors import Broken
from graven.keys.copies import DATA_DIRECTORY, Copies
from graven.keys.datakey import DataKey, decode_data_keys, encode_data_keys

SEGMENT_DIGITS = 20
DATA_FILE = re.compile(rf"{DATA_DIRECTORY}/([0-9]{{{SEGMENT_DIGITS}}})\.(0|[1-9][0-9]{{0,8}})\.json", re.ASCII)
SEGMENTS_CACHED_MAX = 1024  # about 1 KiB each with one class

Stamp = tuple[int, int, int]


class DataFiles:
    """Those of one keyring. Threads may share it. `kek` opens them, or `next_kek` while they are wrapped anew."""

    def __init__(self, copies: Copies, kek: bytes, next_kek: bytes | None) -> None:
        self.next_kek = next_kek
        self._kek, self._copies = kek, copies
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[Stamp, dict[bytes, DataKey]]] = OrderedDict()

    def add(self, segment_start: int, keys: list[DataKey]) -> None:
        """Keep new keys of a segment, durably in every copy. The caller holds the lock. Raises Busy, Broken."""
        n = len(self._of(segment_start))
        self._copies.write(data_file(segment_start, n), self._encode(keys))

    def segment(self, segment_start: int) -> Iterator[dict[bytes, DataKey]]:
        """The keys of a segment, file by file. Raises Broken for a file that is damaged in every copy."""
        n = 0
        while (keys := self._cached(data_file(segment_start, n))) is not None:
            yield keys
            n += 1

    def starts(self) -> list[int]:
        """The starts of all segments that have files, ascending."""
        return sorted({start for start, _ in self.listed()})

    def names(self) -> list[str]:
        """Every file that any copy has, in order."""
        return [data_file(start, n) for start, n in sorted(self.listed())]

    def listed(self) -> set[tuple[int, int]]:
        """(segment start, n) of each file that any copy has."""
        found: set[tuple[int, int]] = set()
        for directory in self._copies.directories:
            path = Path(directory, DATA_DIRECTORY)
            if path.is_dir():
                matches = (DATA_FILE.fullmatch(f"{DATA_DIRECTORY}/{entry.name}") for entry in path.iterdir())
                found.update((int(match[1]), int(match[2])) for match in matches if match)
        return found

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Every file, (name, bytes), each checked. Raises Broken if one is damaged."""
        for name in self.names():
            data = self._copies.read(name, self._accept)
            if data is not None:
                yield name, data

    def wrap(self, kek: bytes) -> int:
        """Wrap every file under `kek`, durably in every copy; how many there are. Raises Busy, Broken."""
        names = self.names()
        for name in names:
            self._copies.write(name, encode_data_keys(self._copies.read(name, self.decode) or (), kek), wipe=True)
        return len(names)

    def destroy(self, key_id: bytes, starts: list[int]) -> bool:
        """Take a key out of every copy, replicas first; False if none had it. The caller holds the lock."""
        return any(self._destroy_in(name, key_id) for start in starts for name in self._of(start))

    def decode(self, data: bytes, path: str) -> tuple[DataKey, ...]:
        """The keys of a file's bytes. Raises Broken."""
        if self.next_kek is not None:  # wrapped under this one already, or not yet
            with contextlib.suppress(Broken):
                return decode_data_keys(data, self.next_kek, place=path)
        return decode_data_keys(data, self._kek, place=path)

    def _encode(self, keys: list[DataKey]) -> bytes:
        return encode_data_keys(keys, self.next_kek or self._kek)

    def _cached(self, name: str) -> dict[bytes, DataKey] | None:
        """The keys of one file. The cache holds while the primary's file is the same one, so a destroyed key goes."""
        stamp = stamp_of(self._copies.path(name))
        if stamp is not None:
            with self._lock:
                held = self._cache.get(name)
                if held is not None and held[0] == stamp:
                    self._cache.move_to_end(name)
                    return held[1]
        decoded = self._copies.read(name, self.decode)
        if decoded is None:
            return None
        keys = {key.id: key for key in decoded}
        if stamp is not None:
            with self._lock:
                self._cache[name] = (stamp, keys)
                self._cache.move_to_end(name)
                if len(self._cache) > SEGMENTS_CACHED_MAX:
                    self._cache.popitem(last=False)
        return keys

    def _accept(self, data: bytes, path: str) -> bytes:
        self.decode(data, path)
        return data

    def _of(self, segment_start: int) -> list[str]:
        names: list[str] = []
        while self._copies.read_all(name := data_file(segment_start, len(names))):
            names.append(name)
        return names

    def _destroy_in(self, name: str, key_id: bytes) -> bool:
        good = self._copies.read(name, self.decode) or ()
        target = self._encode([key for key in good if key.id != key_id])
        found = False
        for path, data in reversed(self._copies.read_all(name)):
            try:
                held = any(key.id == key_id for key in self.decode(data, path))
            except Broken:  # damaged: it may hold the key, so a good copy replaces it
                self._copies.replace(path, target, wipe=True)
                continue
            if held:
                self._copies.replace(path, target, wipe=True)
                found = True
        return found


def data_file(segment_start: int, n: int) -> str:
    """The name of the n-th file of the segment that begins at `segment_start`."""
    return f"{DATA_DIRECTORY}/{segment_start:0{SEGMENT_DIGITS}d}.{n}.json"


def stamp_of(path: str) -> Stamp | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (on the way of every frame read; Path.stat takes four times as long)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
