"""The spool: batches on disk from the moment they leave their sources until the server has them for good.

A directory (mode 0700) of files `<first sequence, 16 digits>.<n>.spool` (mode 0600), only ever appended to. A batch and
the places its sources were read up to are one entry, so they last or vanish together: what is not in the spool is read
again, what is in it never is. A file begins with the places as they were, so older files may go once their batches are
settled; it gets its name (`.tmp` before that) when this beginning is durable. After each start a new file is begun;
what a crash left of a last entry is cut away, and what is kept of that file is written and synced again before it
counts. An entry behind which a file begins with an earlier sequence was told to nobody: its number was given again.

    file  = "GRVNSPL1", entry …
    entry = u32 length ‖ u64 sequence ‖ nonce[12] ‖ u32 CRC-32 of these 24 bytes ‖ AES-256-GCM ciphertext

The first entry of a file holds the places and carries the last sequence given out; each later one is a batch. The 24
bytes are the cipher's associated data. The key is random, 32 bytes, in `spool.key` beside the directory: it keeps a
stolen spool shut, and says whether an entry is whole.
"""

import contextlib
import errno
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import Broken, Busy
from graven.core.statement import NO_BATCH
from graven.runtime.files import File, Files, make_dir, write_atomic

KEY_FILE = "spool.key"
FILE_BYTES = 8 << 20
ENTRY_BYTES_MAX = 64 << 20

_MAGIC = b"GRVNSPL1"
_UNFINISHED = ".tmp"
_HEADER = struct.Struct(">IQ12s")
_HEAD_BYTES = _HEADER.size + 4

Places = dict[str, Any]
"""Where each source was read up to: plain JSON values, by the source's own name for a place."""


class Batch(msgspec.Struct, array_like=True, gc=False):
    """A batch as it is spooled. `body` is compressed; `places` is what changed with it, None for what is no more."""

    statement: bytes
    body: bytes
    records: int
    digest: bytes
    previous: bytes
    places: Places


class _Snapshot(msgspec.Struct, array_like=True):
    digest: bytes
    places: Places


@dataclass(frozen=True, slots=True)
class _Where:
    path: str
    offset: int
    size: int


class Spool:
    """One agent's spool. One thread puts, one takes. `bytes_max` bounds what lies on the disk.

    Raises:
        Broken: the directory cannot be used, or the key does not fit the files.
    """

    def __init__(self, files: Files, state: Path, *, bytes_max: int, file_bytes: int = FILE_BYTES) -> None:
        self._files, self._directory = files, state / "spool"
        self._bytes_max, self._file_bytes = bytes_max, file_bytes
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, _Where]] = deque()
        self._sizes: dict[str, tuple[int, int]] = {}  # path -> (bytes, last sequence in it)
        self._file: File | None = None
        self._path, self._offset = "", 0
        self.sequence, self.digest = 0, NO_BATCH
        self.places: Places = {}
        self.damaged: list[str] = []
        """Entries that could not be read back: what stood in them is lost, and the server will see the gap."""
        try:
            make_dir(files, str(self._directory))
            self._cipher = AESGCM(_load_key(files, state))
            self._recover()
        except OSError as error:
            raise Broken("the spool cannot be used", place=f"{self._directory}: {error.strerror}") from None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of batches that are not settled."""
        with self._changed:
            return sum(where.size for _, where in self._waiting)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        with self._changed:
            return sum(size for size, _ in self._sizes.values())

    @property
    def has_room(self) -> bool:
        """Whether a batch may be put; when not, sources are not read."""
        return self.waiting_bytes < self._bytes_max

    def put(self, batch: Batch) -> int:
        """Make a batch durable, with the places it moves; returns its sequence.

        Raises Busy: the disk is full, nothing changed. Broken: the disk failed; open the spool anew.
        """
        sequence = self.sequence + 1
        try:
            if self._file is None or self._offset >= self._file_bytes:
                self._begin(sequence)
            where = self._append(sequence, msgspec.msgpack.encode(batch))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Busy("the spool's disk is full", place=str(self._directory), retry_after_s=5) from None
            raise Broken("the spool cannot be written", place=f"{self._directory}: {error.strerror}") from None
        _move(self.places, batch.places)
        with self._changed:
            self.sequence, self.digest = sequence, batch.digest
            self._waiting.append((sequence, where))
            self._sizes[self._path] = (self._offset, sequence)
            self._changed.notify_all()
        return sequence

    def first(self, *, wait_s: float) -> tuple[int, Batch] | None:
        """The oldest batch that is not settled; None if there is none within `wait_s` seconds.

        A batch that cannot be read back is noted in `damaged` and passed over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, wait_s)
            waiting = list(self._waiting)
        for sequence, where in waiting:
            try:
                return sequence, msgspec.msgpack.decode(self._read(where), type=Batch)
            except (OSError, InvalidTag, msgspec.MsgspecError):
                with self._changed:
                    self.damaged.append(f"{where.path}, byte {where.offset}: batch {sequence}")
                    self._waiting.popleft()
        return None

    def settle(self, sequence: int) -> None:
        """The server has every batch up to `sequence`. Files that hold nothing else go."""
        with self._changed:
            while self._waiting and self._waiting[0][0] <= sequence:
                self._waiting.popleft()
            gone = [path for path, (_, last) in self._sizes.items() if last <= sequence and path != self._path]
            for path in gone:
                del self._sizes[path]
            self._changed.notify_all()
        for path in gone:
            self._remove(path)

    def wake(self) -> None:
        """Let whoever waits in `first` look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin(self, sequence: int) -> None:
        """Start a file: the places first, durable with its name before anything follows."""
        self.close()
        number = 0
        while os.path.exists(path := str(self._directory / f"{sequence:016d}.{number:04d}.spool")):
            number += 1
        clear = msgspec.msgpack.encode(_Snapshot(self.digest, self.places))
        data = _MAGIC + self._sealed(self.sequence, clear)
        file, name = self._files.create(path + _UNFINISHED), path + _UNFINISHED
        try:
            file.write_at(0, data)
            file.sync()
            self._files.rename(name, path)
            name = path
            self._files.sync_dir(str(self._directory))
        except OSError:
            file.close()
            self._remove(name)
            raise
        with self._changed:
            self._file, self._path, self._offset = file, path, len(data)
            self._sizes[path] = (len(data), self.sequence)

    def _append(self, sequence: int, clear: bytes) -> _Where:
        assert self._file is not None
        data = self._sealed(sequence, clear)
        try:
            self._file.write_at(self._offset, data)
            self._file.sync()
        except OSError as error:
            file, self._file = self._file, None  # whatever its end holds now, nothing is written behind it
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with contextlib.suppress(OSError):
                    file.truncate(self._offset)  # to make room; what stays is never believed
            file.close()
            raise
        where = _Where(self._path, self._offset, len(data))
        self._offset += len(data)
        return where

    def _sealed(self, sequence: int, clear: bytes) -> bytes:
        nonce = os.urandom(12)
        header = _HEADER.pack(len(clear) + 16, sequence, nonce)
        return header + zlib.crc32(header).to_bytes(4, "big") + self._cipher.encrypt(nonce, clear, header)

    def _read(self, where: _Where) -> bytes:
        with open(where.path, "rb") as file:
            file.seek(where.offset)
            return self._open(file.read(where.size))

    def _open(self, entry: bytes) -> bytes:
        header = entry[: _HEADER.size]
        if zlib.crc32(header).to_bytes(4, "big") != entry[_HEADER.size : _HEAD_BYTES]:
            raise InvalidTag
        return self._cipher.decrypt(_HEADER.unpack(header)[2], entry[_HEAD_BYTES:], header)

    def _recover(self) -> None:
        """Read the files in order: batches that wait, and the places as the last whole entry left them."""
        for unfinished in self._directory.glob(f"*{_UNFINISHED}"):
            self._remove(str(unfinished))
        paths = sorted(str(path) for path in self._directory.glob("*.spool"))
        believed, broken_off = False, ""
        for path in paths:
            data = Path(path).read_bytes()
            if not data.startswith(_MAGIC[: len(data)]):
                self.damaged.append(f"{path}: no spool file")
                continue
            at, number, last = len(_MAGIC), 0, 0
            while (entry := _entry_at(data, at)) is not None:
                size, sequence = entry
                try:
                    clear = self._open(data[at : at + size])
                    if number == 0:
                        if broken_off and sequence > self.sequence:
                            self.damaged.append(broken_off)
                        broken_off = ""
                        self._begin_at(sequence, msgspec.msgpack.decode(clear, type=_Snapshot))
                    else:
                        batch = msgspec.msgpack.decode(clear, type=Batch)
                        _move(self.places, batch.places)
                        self.digest, self.sequence = batch.digest, sequence
                        self._waiting.append((sequence, _Where(path, at, size)))
                    believed, last = True, sequence
                except (InvalidTag, msgspec.MsgspecError):
                    self.damaged.append(f"{path}, byte {at}: entry of batch {sequence}")
                at, number = at + size, number + 1
            self._sizes[path] = (at, last)
            if at < len(data) and path != paths[-1]:
                broken_off = f"{path}, byte {at}: the file ends in the middle of an entry"
            elif number == 0:
                del self._sizes[path]
                self._files.remove(path)
            elif path == paths[-1]:
                self._keep(path, data[:at])
        if broken_off:
            self.damaged.append(broken_off)
        if self.damaged and not believed:
            raise Broken(
                "the spool cannot be opened with its key",
                place=str(self._directory),
                mend="bring spool.key back; or move the spool away, which loses what it holds",
            )

    def _begin_at(self, sequence: int, snapshot: _Snapshot) -> None:
        """Where a file begins. An entry before it with a later sequence was not written, whatever is left of it."""
        self.places, self.digest, self.sequence = snapshot.places, snapshot.digest, sequence
        while self._waiting and self._waiting[-1][0] > sequence:
            self._waiting.pop()

    def _keep(self, path: str, data: bytes) -> None:
        """Make the last file what is believed of it, durably. What a crash left behind that goes: nobody was told of
        it; and what is in the page cache after a failed sync may never have reached the disk."""
        file = self._files.open(path)
        try:
            file.write_at(0, data)
            file.truncate(len(data))
            file.sync()
        finally:
            file.close()
        self._files.sync_dir(str(self._directory))

    def _remove(self, path: str) -> None:
        try:
            self._files.remove(path)
        except OSError:
            return  # it is found settled at the next start, too


def _entry_at(data: bytes, at: int) -> tuple[int, int] | None:
    """(size, sequence) of the entry there, as its header says; None if it is not whole."""
    header = data[at : at + _HEADER.size]
    if zlib.crc32(header).to_bytes(4, "big") != data[at + _HEADER.size : at + _HEAD_BYTES]:
        return None
    length, sequence, _ = _HEADER.unpack(header)
    if length > ENTRY_BYTES_MAX or at + _HEAD_BYTES + length > len(data):
        return None
    return _HEAD_BYTES + length, sequence


def _move(places: Places, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            places.pop(key, None)
        else:
            places[key] = value


def _load_key(files: Files, state: Path) -> bytes:
    path = state / KEY_FILE
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) == 32:
        return key
    if key or any((state / "spool").glob("*.spool")):
        raise Broken("the spool's key is missing or damaged", place=str(path), mend="bring it back")
    key = os.urandom(32)
    write_atomic(files, str(path), key)
    return key
