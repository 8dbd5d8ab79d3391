"""The clock: the only place that asks what time it is.

Times are microseconds since the Unix epoch, UTC, as the machine gives them: never smoothed, so they may fall. What time
proves and does not prove is the business of the log, not of this module.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

US_PER_S = 1_000_000


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC; may be smaller than the answer before."""


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now_us(self) -> int:
        return time.time_ns() // 1000


class FixedClock:
    """A clock that stands until it is moved: for tests and for the demonstration."""

    __slots__ = ("_now_us",)

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def set(self, now_us: int) -> None:
        """Stand at `now_us`, earlier or later."""
        self._now_us = now_us

    def advance(self, by_us: int) -> None:
        """Move by `by_us`, which may be negative."""
        self._now_us += by_us


def rfc3339(time_us: int) -> str:
    """Microseconds since the Unix epoch as RFC 3339 UTC."""
    whole = datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{time_us % 1_000_000:06d}Z"
