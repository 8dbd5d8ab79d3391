"""The host's clock against the anchors': how far they disagree, and an event when that begins or ends.

An anchor states a time, and the host knows between which two moments of its own clock the answer was made. A clock is
never set by this, and no bound of an event's time rests on it: anchors bound the order, the clock only labels.
"""

from graven.log import acts
from graven.log.anchor_events import AnchorEvents
from graven.runtime.telemetry import get_logger

logger = get_logger("anchors")


class ClockAlarm:
    """What each anchor last said of the host's clock."""

    def __init__(self, events: AnchorEvents, *, bound_us: int) -> None:
        self._events, self._bound_us = events, bound_us
        self.ahead_us: dict[str, int] = {}
        """By whom → how far the host's clock is ahead (negative: behind), µs; 0 where it agrees."""
        self.alarmed: set[str] = set()

    @property
    def disagreement_us(self) -> int:
        """How far the host's clock and an anchor disagree, the worst of them."""
        return max(map(abs, list(self.ahead_us.values())), default=0)

    @property
    def trouble(self) -> str | None:
        """Of an anchor that disagrees by more than the bound, in one line."""
        for name in sorted(self.alarmed):
            ahead_us = self.ahead_us.get(name, 0)
            side = "ahead of" if ahead_us > 0 else "behind"
            return f"this host's clock is {abs(ahead_us) / 1e6:.1f} s {side} {name}"
        return None

    def compare(self, by: str, *, began_us: int, ended_us: int, earliest_us: int, latest_us: int) -> None:
        """The answer was made between `began_us` and `ended_us` by the host, and between the others by the anchor."""
        ahead_us = max(0, began_us - latest_us) - max(0, earliest_us - ended_us)
        self.ahead_us[by] = ahead_us
        agrees = abs(ahead_us) <= self._bound_us
        if agrees is (by not in self.alarmed):
            return
        (self.alarmed.discard if agrees else self.alarmed.add)(by)
        data = {
            "by": by, "agrees": agrees, "ahead_us": ahead_us, "bound_us": self._bound_us,
            "host_us": ended_us, "anchor_us": earliest_us,
        }  # fmt: skip
        say = logger.info if agrees else logger.error
        say(f"this host's clock {'agrees again' if agrees else 'disagrees'} with an anchor", extra={"fields": data})
        self._events.tell(f"clock {by} {ended_us}", acts.ANCHOR_CLOCK, data)
