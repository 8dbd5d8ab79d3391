"""From lines to records, where a record is more than one line.

A framer is given lines with the offsets they begin and end at, and gives out records. `safe` is the offset from which
everything not given out yet can be read again; `skip` names records behind it that were given out already, so that
reading again from there doubles nothing. Without a framer every line is a record.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

LINES_MAX = 2_000
RECORD_BYTES_MAX = 1 << 20
OPEN_MAX = 500

_SERIAL = re.compile(rb"audit\((\d{1,20})\.(\d{1,9}):(\d{1,20})\):")
_END = re.compile(rb"^(?:node=\S+ )?type=EOE ")
_ALONE = re.compile(
    rb"^(?:node=\S+ )?type=(?:USER_|CRED_|ADD_|DEL_|GRP_|ROLE_|DAEMON_"
    rb"|SERVICE_|SYSTEM_|CRYPTO_|ACCT_|LOGIN )"
)
_AHEAD_S = 2
"""An audit event so much older than the newest line is complete: the kernel writes one at a stroke."""


class Framer(Protocol):
    """One file's open records."""

    safe: int
    skip: list[str]

    def feed(self, lines: Sequence[bytes], start: int) -> list[bytes]:
        """The records that lines, the first of which begins at `start`, complete. Lines are without their newlines."""

    def flush(self) -> list[bytes]:
        """The open records, as they are: nothing came for a while, or the file is at its end."""


@dataclass(slots=True)
class Leading:
    """Records that begin at a line which matches `start`; what does not match belongs to the record before."""

    start: re.Pattern[bytes]
    safe: int = 0
    skip: list[str] = field(default_factory=list)
    _open: list[bytes] = field(default_factory=list)
    _size: int = 0
    _end: int = 0

    def feed(self, lines: Sequence[bytes], start: int) -> list[bytes]:
        done: list[bytes] = []
        at = start
        for line in lines:
            is_first = self.start.search(line) is not None
            if self._open and (is_first or len(self._open) >= LINES_MAX or self._size + len(line) > RECORD_BYTES_MAX):
                done.append(b"\n".join(self._open))
                self._open.clear()
                self._size = 0
            if not self._open:
                self.safe = at
            at += len(line) + 1
            if line or self._open:
                self._open.append(line)
                self._size += len(line) + 1
            else:
                self.safe = at
        self._end = at
        return done

    def flush(self) -> list[bytes]:
        if not self._open:
            return []
        done = [b"\n".join(self._open)]
        self._open.clear()
        self._size = 0
        self.safe = self._end
        return done


@dataclass(slots=True)
class _Event:
    start: int
    lines: list[bytes]
    time_s: int


@dataclass(slots=True)
class Audit:
    """Linux audit records: lines of one serial are one record, however they are mixed with those of others."""

    safe: int = 0
    skip: list[str] = field(default_factory=list)
    _open: dict[bytes, _Event] = field(default_factory=dict)
    _end: int = 0

    def feed(self, lines: Sequence[bytes], start: int) -> list[bytes]:
        done: list[bytes] = []
        at, newest_s = start, 0
        for line in lines:
            begin, at = at, at + len(line) + 1
            found = _SERIAL.search(line[:400])
            if found is None:
                if line and f"@{begin}" not in self.skip:
                    done.append(line)
                    if self._open:
                        self.skip.append(f"@{begin}")
                continue
            serial, time_s = found[0], int(found[1])
            if serial.decode() in self.skip:
                continue
            newest_s = max(newest_s, time_s)
            event = self._open.get(serial)
            if event is None:
                event = self._open[serial] = _Event(begin, [], time_s)
            event.lines.append(line)
            if _END.match(line) or len(event.lines) >= LINES_MAX or (len(event.lines) == 1 and _ALONE.match(line)):
                done.append(self._close(serial))
        for serial, event in list(self._open.items()):
            if event.time_s + _AHEAD_S < newest_s or len(self._open) > OPEN_MAX:
                done.append(self._close(serial))
        self._end = at
        self._settle()
        return done

    def flush(self) -> list[bytes]:
        done = [self._close(serial) for serial in list(self._open)]
        self._settle()
        return done

    def _close(self, serial: bytes) -> bytes:
        self.skip.append(serial.decode())
        return b"\n".join(self._open.pop(serial).lines)

    def _settle(self) -> None:
        if self._open:
            self.safe = min(event.start for event in self._open.values())
        else:
            self.safe = self._end
            self.skip.clear()


def make_framer(multiline: str, *, at: int, skip: Sequence[str] = ()) -> Framer | None:
    """The framer a configuration names: "" none, "auditd", "indented", or a regular expression of first lines."""
    if not multiline:
        return None
    if multiline == "auditd":
        return Audit(at, list(skip), {}, at)
    pattern = rb"^[^\s]" if multiline == "indented" else multiline.encode()
    return Leading(re.compile(pattern), at, [], [], 0, at)
