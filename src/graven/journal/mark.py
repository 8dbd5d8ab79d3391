"""Marks: how far something is sure. A 64-byte record in `state/`, one magic each.

`committed` says how far the journal is durable: followers read no further. It is written in place after the sync and
before any answer, and not itself synced, so after a power cut it may be older than the journal, never newer.
`synced` says how far tiles and bundles are surely on disk.

    magic[8] ‖ u64 size ‖ root[32] ‖ first 16 bytes of SHA-256 over the 48 bytes before
"""

import os
import struct
from dataclasses import dataclass
from hashlib import sha256

from graven.journal.files import File, Files

COMMITTED = b"GRVNMARK"
SYNCED = b"GRVNSYNC"
MARK_SIZE = 64

_MARK = struct.Struct(">8sQ32s")


@dataclass(frozen=True, slots=True)
class Mark:
    """A tree: its size and its root."""

    size: int
    root: bytes


def encode_mark(magic: bytes, mark: Mark) -> bytes:
    fixed = _MARK.pack(magic, mark.size, mark.root)
    return fixed + sha256(fixed).digest()[:16]


def decode_mark(magic: bytes, data: bytes) -> Mark | None:
    """The mark, or None when the bytes are none: a mark may be deleted or half written at any time."""
    if len(data) != MARK_SIZE or sha256(data[:48]).digest()[:16] != data[48:]:
        return None
    found, size, root = _MARK.unpack(data[:48])
    return Mark(size, root) if found == magic else None


def read_mark(path: str, magic: bytes) -> Mark | None:
    """The mark in a file, None if there is none. Reads twice before it gives up on a record that was just changing."""
    for _ in range(3):
        try:
            with open(path, "rb") as file:
                mark = decode_mark(magic, file.read(MARK_SIZE + 1))
        except OSError:
            return None
        if mark is not None:
            return mark
    return None


class MarkFile:
    """The committed mark, open for writing. One owner."""

    def __init__(self, files: Files, path: str) -> None:
        self._file: File = files.open(path) if os.path.exists(path) else files.create(path)

    def write(self, mark: Mark) -> None:
        """Overwrite in place; not synced. OSError passes through."""
        self._file.write_at(0, encode_mark(COMMITTED, mark))

    def close(self) -> None:
        self._file.close()
