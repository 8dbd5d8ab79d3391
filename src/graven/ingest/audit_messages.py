"""Linux audit over syslog: the records of one event come as several messages, and leave as one record.

A record begins to wait with its first message; it is whole with its end record, or its command line where the sender
sends no end records, or when nothing has been added to it for `WAIT_S`. The raw of it is its messages as they were
framed, in the order they came, joined by line breaks. Messages of another kind pass at once.

Whose they are is told by the source, all that the door says of the sender (peer, certificate, user), the host the
header names, and the audit stamp: nobody can put a record into another's event. What is held is bounded in events, in
bytes and in lines an event: the oldest goes on as it is. Nothing is dropped. Not safe to share between threads; the
clock is the caller's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from graven.ingest.assemble import AUDIT_MANY
from graven.ingest.normalize.auditd_record import NUMBERED
from graven.ingest.protocol.syslog_header import parse_header

__all__ = ["HELD_BYTES_MAX", "OPEN_MAX", "WAIT_S", "AuditAssembly", "AuditMessages", "Held"]

WAIT_S = 1.0
OPEN_MAX = 4_096
HELD_BYTES_MAX = 16 << 20
LINES_MAX = 1_000
EVENT_BYTES_MAX = 1 << 20
SENDERS_MAX = 10_000

_MARK = b"audit("
_LOOK_BYTES = 1_024
_RECORD = re.compile(rb"(?:\A|[\s:])type=([A-Z_0-9]{1,64}) (?:msg=)?audit\(([\d.]{1,24}:\d{1,20})\)")

_Message = TypeVar("_Message")
_Sender = tuple[str, tuple[tuple[str, str], ...], str]
_Key = tuple[str, tuple[tuple[str, str], ...], str, str]


@dataclass(slots=True)
class Held:
    """The messages of one event; whose they are, and what was said of the first."""

    source: str
    around: dict[str, str]
    messages: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    last_s: float = 0.0
    closing: bool = False
    """Whether its command line came, the last record but for an end record."""

    @property
    def raw(self) -> bytes:
        return b"\n".join(self.messages)


class AuditMessages:
    """What waits, of all senders of a door."""

    def __init__(self) -> None:
        self._open: dict[_Key, Held] = {}
        self._ends: dict[_Sender, bool] = {}  # whether a sender sends end records, once that is known
        self.held_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._open)

    def feed(self, message: bytes, around: dict[str, str], source: str, now_s: float) -> list[Held] | None:
        """The events that are whole with this message; None: it is none that waits for others."""
        if _MARK not in message[:_LOOK_BYTES]:
            return None
        found = _RECORD.search(message, 0, _LOOK_BYTES)
        if found is None:
            return None
        kind = NUMBERED.get(found[1].decode(), "").encode() if found[1].isdigit() else found[1]
        if kind not in AUDIT_MANY:
            return None
        host = parse_header(message[:_LOOK_BYTES].decode("utf-8", "replace")).hostname
        sender = (source, tuple(around.items()), host)
        key = (*sender, found[2].decode())
        held = self._open.get(key)
        if held is None:
            if kind == b"EOE":  # of an event that went on without it
                self._know(sender, ends=True)
                return None
            held = self._open[key] = Held(source, around)
        held.messages.append(message)
        held.size_bytes += len(message) + 1
        held.last_s, held.closing = now_s, held.closing or kind == b"PROCTITLE"
        self.held_bytes += len(message) + 1
        if kind == b"EOE":
            self._know(sender, ends=True)
        is_last = kind == (b"PROCTITLE" if self._ends.get(sender) is False else b"EOE")
        if is_last or held.size_bytes > EVENT_BYTES_MAX or len(held.messages) >= LINES_MAX:
            return [self._close(key)]
        return list(self._excess())

    def due(self, now_s: float) -> list[Held]:
        """The events to which nothing was added for a while."""
        keys = [key for key, held in self._open.items() if now_s - held.last_s >= WAIT_S]
        for key in keys:
            if self._open[key].closing and key[:3] not in self._ends:
                self._know(key[:3], ends=False)
        return [self._close(key) for key in keys]

    def flush(self) -> list[Held]:
        """All that waits, as it is."""
        return [self._close(key) for key in list(self._open)]

    def _excess(self) -> Iterator[Held]:
        while len(self._open) > OPEN_MAX or self.held_bytes > HELD_BYTES_MAX:
            yield self._close(next(iter(self._open)))

    def _know(self, sender: _Sender, *, ends: bool) -> None:
        if len(self._ends) >= SENDERS_MAX:
            self._ends.clear()
        self._ends[sender] = ends

    def _close(self, key: _Key) -> Held:
        held = self._open.pop(key)
        self.held_bytes -= held.size_bytes
        return held


class AuditAssembly:
    """`AuditMessages` for a door on a loop: what has waited long enough is handed on by itself.

    `hand_on` gets each event that is whole; `later(seconds, function)` calls back once, as a loop's `call_later` does.
    """

    def __init__(
        self,
        hand_on: Callable[[Held], None],
        *,
        now_s: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._hand_on, self._now_s, self._later = hand_on, now_s, later
        self._waiting = AuditMessages()
        self._looking = False

    def pass_on(self, messages: Sequence[_Message], around: dict[str, str], source: str = "") -> list[_Message]:
        """Those of the messages that wait for no other, in their order."""
        if _MARK not in b" ".join([message for message in messages if isinstance(message, bytes)]):
            return list(messages)
        passing: list[_Message] = []
        for message in messages:
            whole = None
            if isinstance(message, bytes) and _MARK in message:
                whole = self._waiting.feed(message, around, source, self._now_s())
            if whole is None:
                passing.append(message)
                continue
            for held in whole:
                self._hand_on(held)
            if self._waiting and not self._looking:
                self._looking = True
                self._later(WAIT_S / 2, self._look)
        return passing

    def flush(self) -> None:
        """Hand on all that waits: nothing more will come."""
        for held in self._waiting.flush():
            self._hand_on(held)

    def _look(self) -> None:
        for held in self._waiting.due(self._now_s()):
            self._hand_on(held)
        self._looking = bool(self._waiting)
        if self._looking:
            self._later(WAIT_S / 2, self._look)
