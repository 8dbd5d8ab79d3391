"""One followed file: where it was read up to, and how it is known again.

A file is its device and inode as long as its bytes agree: the hash of its first bytes (`head`) and of the bytes just in
front of the place that was reached (`tail`). So a reused inode, a truncated file that grew again, and a copy of a file
are told apart. Before more is read, the bytes in front of it are compared with what was read before.
"""

import gzip
import hashlib
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from graven.agent.framing import Framer

CHUNK_BYTES = 1 << 20
LINE_BYTES_MAX = 1 << 20
LINE_KEPT_BYTES = 64 << 10
HEAD_BYTES = 1024
TAIL_BYTES = 256
UNZIPPED_BYTES_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class Print:
    """What a file is known by, and the offset that was reached."""

    head_bytes: int
    head: str
    offset: int
    tail_bytes: int
    tail: str

    def to_place(self) -> dict[str, Any]:
        return {
            "head_bytes": self.head_bytes,
            "head": self.head,
            "offset": self.offset,
            "tail_bytes": self.tail_bytes,
            "tail": self.tail,
        }


@dataclass(slots=True)
class Long:
    """A line that is longer than is kept: its beginning, its size so far, its hash."""

    kept: bytes
    size_bytes: int
    sha256: Any
    end: int


class Truncated(Exception):
    """The file no longer holds what was read from it."""


@dataclass(slots=True)
class Followed:
    """A file being followed. `safe` is the durable place, `offset` how far was read; the tail is that of `offset`."""

    key: str
    path: str
    file: BinaryIO
    device: int
    inode: int
    zipped: bool = False
    offset: int = 0
    framer: Framer | None = None
    long: Long | None = None
    moved: bool = False
    """Its path leads elsewhere by now, or nowhere."""
    at_end: bool = False
    """A compressed file was read to its end."""
    grown_s: float = 0.0
    placed: tuple[int, bool] = (-1, False)
    """What was last remembered of it: the safe place, and whether it had moved."""
    _head: bytes = b""
    _tail: bytes = b""

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode

    @property
    def safe(self) -> int:
        return self.offset if self.framer is None else self.framer.safe

    def size(self) -> int:
        """Bytes in the file now, as they are on the disk."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def is_gone(self) -> bool:
        return os.fstat(self.file.fileno()).st_nlink == 0

    @property
    def has_news(self) -> bool:
        """Whether its place is not where it was last remembered."""
        return self.placed != (self.safe, self.moved)

    def read(self, bytes_max: int) -> bytes:
        """The next bytes, at most so many. Raises Truncated when what was read before is not in front of them."""
        if self.zipped:
            if self.file.tell() != self.offset:
                self.file.seek(self.offset)
            return self.file.read(bytes_max)
        self.file.seek(self.offset - len(self._tail))
        data = self.file.read(len(self._tail) + bytes_max)
        if not data.startswith(self._tail):
            raise Truncated
        return data[len(self._tail) :]

    def is_intact(self) -> bool:
        """Whether what was read is still in front of what was not."""
        try:
            return self.zipped or (self.size() >= self.offset and self.read(0) == b"")
        except (Truncated, OSError):
            return False

    def advance(self, data: bytes) -> None:
        """`data` was taken."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self.offset += len(data)
        self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]

    def start_over(self) -> None:
        self.offset, self._tail, self._head, self.long = 0, b"", b"", None

    def resume(self, offset: int) -> None:
        """Stand at `offset`."""
        self.file.seek(0)
        self._head = self.file.read(min(HEAD_BYTES, offset))
        at = max(0, offset - TAIL_BYTES)
        self.file.seek(at)
        self._tail = self.file.read(offset - at)
        self.offset = offset

    def print(self) -> Print:
        """What the file is known by, at its safe place."""
        safe, tail = self.safe, self._tail
        if safe != self.offset:
            at = max(0, safe - TAIL_BYTES)
            self.file.seek(at)
            tail = self.file.read(safe - at)
        head = self._head[: min(safe, HEAD_BYTES)]
        return Print(len(head), _hash(head), safe, len(tail), _hash(tail))

    def place(self) -> dict[str, Any]:
        """What is remembered of it, as plain JSON."""
        place: dict[str, Any] = {
            "path": self.path,
            "device": self.device,
            "inode": self.inode,
            **self.print().to_place(),
        }
        if self.moved:
            place["moved"] = True
        self.placed = self.safe, self.moved
        if self.framer is not None and self.framer.skip:
            place["skip"] = list(self.framer.skip)
        return place

    def close(self) -> None:
        self.file.close()


def open_file(path: str) -> tuple[BinaryIO, bool]:
    """A file to read, never waiting for a pipe, and whether it is compressed. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "not a regular file")
        raw = os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise
    if os.pread(descriptor, 2, 0) == b"\x1f\x8b":
        return cast(BinaryIO, _Unzipped(raw)), True
    return raw, False


def matches(file: BinaryIO, known: Print) -> bool:
    """Whether the file begins with what `known` was read of: the same head, and the same bytes before the offset."""
    try:
        file.seek(0)
        head = file.read(known.head_bytes)
        if len(head) < known.head_bytes or _hash(head) != known.head or not known.head_bytes:
            return False
        file.seek(known.offset - known.tail_bytes)
        tail = file.read(known.tail_bytes)
    except (OSError, EOFError):
        return False
    return len(tail) == known.tail_bytes and _hash(tail) == known.tail


def is_whole(file: BinaryIO) -> bool:
    """Whether a compressed file can be read to its end."""
    try:
        file.seek(0)
        while file.read(CHUNK_BYTES):
            if file.tell() > UNZIPPED_BYTES_MAX:
                return False
    except (OSError, EOFError):
        return False
    return True


def print_of(place: dict[str, Any]) -> Print:
    """The fingerprint a place holds."""
    return Print(place["head_bytes"], place["head"], place["offset"], place["tail_bytes"], place["tail"])


class _Unzipped(gzip.GzipFile):
    """A compressed file, read as what is in it. Seeking back begins anew."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        super().__init__(fileobj=raw, mode="rb")

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def close(self) -> None:
        super().close()
        self._raw.close()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
