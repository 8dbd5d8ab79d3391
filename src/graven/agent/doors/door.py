"""The seam between doors and the agent's loop, and the bounded inlet between their threads.

Whoever puts is told by `has_room` when to stop reading; nothing is ever dropped here.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from graven.agent.source import Source, Taken

__all__ = ["INLET_BYTES_MAX", "Door", "Inlet"]

INLET_BYTES_MAX = 16 << 20
RECORD_WEIGHT_BYTES = 128
"""What a record weighs beyond its bytes."""


class Door(Source, Protocol):
    """A source that others write to."""

    def finish(self) -> None:
        """Let nothing more in. What was read can still be taken."""


class Inlet:
    """What came in and was not gathered yet. Filled by the doors' thread, emptied by the agent's.

    `rouse` is called when something came, `emptied` when there is room again after there was none; both from the
    thread that caused it.
    """

    def __init__(
        self, *, rouse: Callable[[], None], emptied: Callable[[], None], bytes_max: int = INLET_BYTES_MAX
    ) -> None:
        self._rouse, self._emptied, self._bytes_max = rouse, emptied, bytes_max
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Taken, int]] = deque()
        self._bytes = 0
        self._was_full = False

    @property
    def has_room(self) -> bool:
        """Whether more should be read. Once there is none, not before half of it is free."""
        with self._lock:
            return not self._was_full

    def put(self, taken: Taken) -> None:
        """Take it in, whatever there is room for: what was read is kept."""
        weight = taken.size_bytes + taken.count * RECORD_WEIGHT_BYTES
        with self._lock:
            self._waiting.append((taken, weight))
            self._bytes += weight
            self._was_full = self._was_full or self._bytes >= self._bytes_max
        self._rouse()

    def withdraw(self, taken: Taken) -> bool:
        """Take it back; False when it was gathered already."""
        with self._lock:
            for at, (one, weight) in enumerate(self._waiting):
                if one is taken:
                    del self._waiting[at]
                    self._bytes -= weight
                    return True
        return False

    def take(self, bytes_max: int) -> list[Taken]:
        """What came first, about so many bytes of it."""
        found: list[Taken] = []
        with self._lock:
            while self._waiting and bytes_max > 0:
                taken, weight = self._waiting.popleft()
                self._bytes -= weight
                bytes_max -= weight
                found.append(taken)
            emptied = self._was_full and self._bytes <= self._bytes_max // 2
            if emptied:
                self._was_full = False
        if emptied:
            self._emptied()
        return found
