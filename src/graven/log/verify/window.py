"""A segment file, read forward through a window: few system calls for small frames, bounded memory for large ones."""

import os
import re
from hashlib import sha256

from graven.core.errors import Broken, Disproved
from graven.journal import frame
from graven.journal.frame import FrameHeader

WINDOW_SIZE = 1 << 20
NEAR_SIZE = 1 << 12
_HEADER_START = re.compile(rb"GRV[HBX]\x00\x01")


class SegmentWindow:
    """The first `size` bytes of a segment file, as they were when the verification began. Holds one descriptor.

    Raises (every method): Broken where the file cannot be read.
    """

    def __init__(self, path: str, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._at, self._data = 0, b""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Broken(f"a segment cannot be opened: {error.strerror}", place=f"journal/{name}") from None

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def place(self, offset: int) -> str:
        return f"journal/{self.name} at byte {offset}"

    def read(self, offset: int, size: int) -> memoryview:
        """`size` bytes at `offset`, fewer only at the end of the file."""
        size = max(0, min(size, self.size - offset))
        start = offset - self._at
        if start < 0 or start + size > len(self._data):
            self._data = self._pread(offset, min(max(size, WINDOW_SIZE), self.size - offset))
            self._at, start = offset, 0
        return memoryview(self._data)[start : start + size]

    def header(self, offset: int) -> FrameHeader:
        """The frame header at `offset`. Raises Disproved if there is none."""
        return frame.decode_header(self.read(offset, frame.HEADER_SIZE), place=self.place(offset))

    def has_header(self, offset: int) -> bool:
        """Whether a valid frame header lies at `offset`."""
        try:
            self.header(offset)
        except Disproved:
            return False
        return True

    def find_header(self, start: int, end: int) -> int:
        """The first offset in [start, end) at which a valid frame header lies, or -1. Costs a pass over the bytes."""
        size = NEAR_SIZE  # most often it is near, and there may be very many such searches
        while start < end:
            data = self.read(start, size + frame.HEADER_SIZE)
            for found in _HEADER_START.finditer(data):
                at = found.start()
                if start + at >= end:
                    return -1
                if sha256(data[at : at + 64]).digest()[:16] == data[at + 64 : at + 80] and self.has_header(start + at):
                    return start + at
            start += size
            size = min(4 * size, WINDOW_SIZE)
        return -1

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._fd, size, offset)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise Broken(f"a segment cannot be read: {error.strerror}", place=self.place(offset)) from None
        return data
