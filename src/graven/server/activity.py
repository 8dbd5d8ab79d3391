"""What each source has been doing since the server started: events, rates, lag, what was wrong with it.

Kept in memory, at most `ROWS_MAX` sources in detail; when there are more, those not heard for longest are forgotten and
begin anew, which their `since` says. When a source was last heard survives all that: it is in the log's registers. What
went wrong (gaps, replays, forged batches) is an event of the log each time; here it is only counted.

Rates are over the last minute and hour: what came in the period under way, and of the one before as much as the window
still reaches, taken as even. Lag is sampled, at most once a second a source: the time that the last event of a request
claims, against when it was received. An event of the future means a clock that is ahead by at least that; the
clock of an agent is measured by its signed heartbeats.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest

import msgspec

from graven.runtime.clock import US_PER_S, rfc3339

__all__ = ["ROWS_MAX", "Activity", "Counts"]

ROWS_MAX = 100_000
MINUTE_US, HOUR_US = 60 * US_PER_S, 3_600 * US_PER_S
LAG_US_MAX = 100 * 365 * 86_400 * US_PER_S

_SAMPLE_US = US_PER_S


class _Time(msgspec.Struct):
    time: datetime | None = None


_read_time = msgspec.json.Decoder(_Time).decode


@dataclass(slots=True)
class _Window:
    """How much came within the last `period_us`."""

    period_us: int
    begun_us: int
    now: int = 0
    before: int = 0

    def add(self, count: int, now_us: int) -> None:
        if now_us - self.begun_us >= self.period_us:
            self._turn(now_us)
        self.now += count

    def per_s(self, now_us: int, since_us: int) -> float:
        """Events a second; of a source that has not been counted for a whole period, over the time it was."""
        self._turn(now_us)
        into = min(1.0, max(0.0, (now_us - self.begun_us) / self.period_us))
        span_us = max(US_PER_S, min(self.period_us, now_us - since_us))
        return (self.now + self.before * (1.0 - into)) * US_PER_S / span_us

    def _turn(self, now_us: int) -> None:
        gone = (now_us - self.begun_us) // self.period_us
        if gone > 0:
            self.before, self.now = self.now if gone == 1 else 0, 0
            self.begun_us += gone * self.period_us


@dataclass(slots=True)
class Counts:
    """One source since `since_us`. `ahead_us`: how far its clock is ahead of ours, as last measured."""

    since_us: int
    minute: _Window = field(init=False)
    hour: _Window = field(init=False)
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: int = 0
    gaps: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    seen_us: int = 0
    sampled_us: int = 0
    lag_us: int | None = None
    ahead_us: int | None = None
    heartbeat_us: int | None = None

    def __post_init__(self) -> None:
        self.minute, self.hour = _Window(MINUTE_US, self.since_us), _Window(HOUR_US, self.since_us)

    def row(self, now_us: int) -> dict[str, object]:
        """As JSON."""
        return {
            "since": rfc3339(self.since_us),
            "events": self.events,
            "rate_1m": round(self.minute.per_s(now_us, self.since_us), 3),
            "rate_1h": round(self.hour.per_s(now_us, self.since_us), 3),
            "lag_ms": None if self.lag_us is None else self.lag_us // 1000,
            "clock_ahead_ms": None if self.ahead_us is None else self.ahead_us // 1000,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "refused": self.refused,
            "gaps": self.gaps,
            "replays": self.wrong.get("replay", 0),
            "forks": self.wrong.get("fork", 0),
            "forged": self.wrong.get("forged", 0),
            "heartbeat": None if self.heartbeat_us is None else rfc3339(self.heartbeat_us),
        }


class Activity:
    """Threads may share it."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._rows: dict[str, Counts] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def took(
        self, source: str, *, now_us: int, events: int, duplicates: int = 0, quarantined: int = 0, last: bytes = b""
    ) -> None:
        """Events of a source are durable; `last` is one of them. `now_us`: when they were received."""
        with self._lock:
            counts = self._of(source, now_us)
            counts.seen_us = now_us
            counts.events += events
            counts.duplicates += duplicates
            counts.quarantined += quarantined
            counts.minute.add(events, now_us)
            counts.hour.add(events, now_us)
            if last and now_us - counts.sampled_us >= _SAMPLE_US:
                counts.sampled_us = now_us
                if (lag_us := _lag_us(last, now_us)) is not None:
                    counts.lag_us = max(0, lag_us)
                    if counts.heartbeat_us is None:  # else it is measured better
                        counts.ahead_us = -lag_us if lag_us < 0 else None

    def refused(self, source: str, now_us: int) -> None:
        """A request of this source was refused for what was in it."""
        with self._lock:
            self._of(source, now_us).refused += 1

    def gap(self, agent: str, now_us: int) -> None:
        """Batches of an agent are missing."""
        with self._lock:
            self._of(agent, now_us).gaps += 1

    def wrong(self, agent: str, why: str, now_us: int) -> None:
        """A batch said to be an agent's was refused: "forged", "replay" or "fork"."""
        with self._lock:
            found = self._of(agent, now_us).wrong
            found[why] = found.get(why, 0) + 1

    def beat(self, agent: str, ahead_us: int, now_us: int) -> None:
        """A heartbeat came; the agent's clock was so far ahead (below 0: behind)."""
        with self._lock:
            counts = self._of(agent, now_us)
            counts.seen_us = counts.heartbeat_us = now_us
            counts.ahead_us = ahead_us

    def row(self, source: str, now_us: int) -> dict[str, object] | None:
        """What it did, as JSON; None where nothing is known of it."""
        with self._lock:
            counts = self._rows.get(source)
            return None if counts is None else counts.row(now_us)

    def _of(self, source: str, now_us: int) -> Counts:
        counts = self._rows.get(source)
        if counts is None:
            if len(self._rows) >= self._rows_max:
                kept = nlargest(self._rows_max * 9 // 10, self._rows.items(), key=lambda row: row[1].seen_us)
                self._rows = dict(kept)
            counts = self._rows[source] = Counts(now_us)
        return counts


def _lag_us(event: bytes, now_us: int) -> int | None:
    """How long before `now_us` the event claims to have happened; None where it claims nothing that can be so."""
    try:
        time = _read_time(event).time
        if time is None:
            return None
        lag_us = now_us - int(time.timestamp() * 1e6)
    except (ValueError, OverflowError, RecursionError):
        return None
    return lag_us if abs(lag_us) <= LAG_US_MAX else None
