"""Syslog over a stream: where one message ends and the next begins (RFC 6587, RFC 5425).

Octet counting (`LENGTH SP MESSAGE`) or a line a message; which one a connection speaks is seen from its first bytes and
never changes after, so that no message can make the rest be read differently. In a stream of lines a NUL ends a
message, too. A count that is none costs the bytes up to the next line break, not the connection.

Bounded: at most one unfinished message is held, at most its first `max_message_bytes` bytes; of a longer one the rest
runs by, hashed and counted.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graven.ingest.protocol.delivery import FAULTY_BYTES_MAX

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["BROKEN_COUNT", "TOO_LONG", "UNFINISHED", "Frame", "Framer", "faulty_frame"]

TOO_LONG = "the message is longer than a message may be"
BROKEN_COUNT = "the message does not begin with its length, as those before it did"
UNFINISHED = "the connection ended within the message"

_COUNT = re.compile(rb"([1-9][0-9]{0,8}) ")
_COUNT_BYTES_MAX = 10
_ENDS = re.compile(rb"[\n\x00]")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message that is not simply whole. `fault`: why; `size_bytes` and `sha256` are of all of it."""

    raw: bytes
    fault: str
    size_bytes: int
    sha256: str


class Framer:
    """One connection's stream. Not thread-safe."""

    def __init__(self, *, max_message_bytes: int) -> None:
        self._max = max_message_bytes
        self._held = bytearray()
        self._wanted = 0  # bytes to hold before it is worth looking again: a trickle costs what it weighs
        self._counted: bool | None = None  # not known before the first bytes
        self._left = 0  # bytes of a counted message that is too long, still to run by
        self._long: _Long | None = None

    @property
    def held_bytes(self) -> int:
        """What is held of an unfinished message."""
        return len(self._held) + (len(self._long.kept) if self._long is not None else 0)

    def feed(self, data: bytes) -> list[bytes | Frame]:
        """The messages that are whole now, in order."""
        if self._held:
            self._held += data
            if self._is_waiting(data):
                return []
            data, self._held = bytes(self._held), bytearray()
        if self._counted is None and not self._seen(data):
            self._held += data
            return []
        return self._lines(data) if not self._counted else self._counts(data)

    def finish(self) -> list[bytes | Frame]:
        """What is left when the stream ends: a line without its end is one all the same."""
        held, self._held = bytes(self._held), bytearray()
        if self._long is not None:
            self._long.add(held)
            return [self._end_long()]
        if not held.strip(b"\r\n\0 "):
            return []
        if self._counted:
            return [faulty_frame(held, UNFINISHED)]
        return [held.rstrip(b"\r")]

    def _is_waiting(self, data: bytes) -> bool:
        """Whether what is held still cannot be a whole message; `data` came last."""
        if self._counted is None or len(self._held) > self._max:
            return False
        return len(self._held) < self._wanted if self._counted else _ENDS.search(data) is None

    def _seen(self, data: bytes) -> bool:
        """Whether it is known by now which framing this is."""
        head = data[: _COUNT_BYTES_MAX + 1]
        found = _COUNT.match(head)
        if found is not None and len(head) == found.end():
            return False
        if found is None and head.isdigit() and len(head) < _COUNT_BYTES_MAX:
            return False
        self._counted = found is not None and data[found.end() : found.end() + 1] == b"<"
        return True

    def _lines(self, data: bytes) -> list[bytes | Frame]:
        out: list[bytes | Frame] = []
        if self._long is not None:
            end = _ENDS.search(data)
            if end is None:
                self._long.add(data)
                return out
            self._long.add(data[: end.start()])
            out.append(self._end_long())
            data = data[end.end() :]
        pieces = (data.replace(b"\0", b"\n") if b"\0" in data else data).split(b"\n")
        rest = pieces.pop()
        size_max = self._max
        for piece in pieces:
            if piece.endswith(b"\r"):
                piece = piece[:-1]
            if len(piece) > size_max:
                out.append(faulty_frame(piece, TOO_LONG))
            elif piece:
                out.append(piece)
        if len(rest) > size_max:
            self._long = _Long()
            self._long.add(rest)
        else:
            self._held += rest
        return out

    def _counts(self, data: bytes) -> list[bytes | Frame]:
        out: list[bytes | Frame] = []
        self._wanted = 0
        at, end = 0, len(data)
        if self._long is not None:
            at = min(self._left, end)
            self._long.add(data[:at])
            self._left -= at
            if self._left:
                return out
            out.append(self._end_long())
        while at < end:
            found = _COUNT.match(data, at)
            if found is None:
                if end - at < _COUNT_BYTES_MAX and data[at:].isdigit():
                    break
                if data[at] in b"\n\r\0":  # some end a counted message with a line break of its own
                    at += 1
                    continue
                stop = data.find(b"\n", at)
                if stop < 0 and end - at <= self._max:
                    break
                stop = end if stop < 0 else stop
                out.append(faulty_frame(data[at:stop], BROKEN_COUNT))
                at = stop + 1
                continue
            start, size = found.end(), int(found[1])
            if size > self._max:
                self._long = _Long()
                taken = min(size, end - start)
                self._long.add(data[start : start + taken])
                self._left, at = size - taken, start + taken
                if self._left:
                    return out
                out.append(self._end_long())
            elif start + size > end:
                self._wanted = start + size - at
                break
            else:
                piece = data[start : start + size].rstrip(b"\r\n\0")
                at = start + size
                if piece:
                    out.append(piece)
        self._held += data[at:]
        return out

    def _end_long(self) -> Frame:
        long, self._long = self._long, None
        assert long is not None
        return Frame(long.kept, TOO_LONG if not self._left else UNFINISHED, long.size_bytes, long.hash.hexdigest())


class _Long:
    """A message that is too long, while it runs by."""

    def __init__(self) -> None:
        self.hash: _Hash = hashlib.sha256()
        self.kept, self.size_bytes = b"", 0

    def add(self, data: bytes) -> None:
        self.hash.update(data)
        self.size_bytes += len(data)
        if len(self.kept) < FAULTY_BYTES_MAX:
            self.kept += data[: FAULTY_BYTES_MAX - len(self.kept)]


def faulty_frame(raw: bytes, fault: str) -> Frame:
    """A message kept for what is wrong with it: its first 64 KiB, its size and hash."""
    return Frame(raw[:FAULTY_BYTES_MAX], fault, len(raw), hashlib.sha256(raw).hexdigest())
