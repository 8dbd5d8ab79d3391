"""Datagrams that are gone: nobody can be asked to wait over UDP, so what is lost is counted and told in the log.

One event a minute says what was lost since the one before, as long as something is.
"""

from collections.abc import Mapping

from graven.app import Log
from graven.log import acts
from graven.log.acts import rfc3339

__all__ = ["Losses"]

TELL_S_MIN = 60.0


class Losses:
    """What was lost and is not yet told. `note` and `due` on one thread, `tell` on any, one call at a time."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {"kernel": 0, "full": 0}
        self._since_us = 0
        self._told_s: float | None = None

    def note(self, why: str, count: int, now_us: int) -> None:
        """`count` datagrams were lost: "kernel", in the socket's buffer; "full", for which the log had no room."""
        if not any(self._lost.values()):
            self._since_us = now_us
        self._lost[why] += count

    def due(self, now_s: float, *, last: bool = False) -> dict[str, object] | None:
        """What to tell now, at most once a minute but for the `last` time; None for nothing. It counts as told."""
        if not any(self._lost.values()):
            return None
        if not last and self._told_s is not None and now_s - self._told_s < TELL_S_MIN:
            return None
        self._told_s = now_s
        found: dict[str, object] = {**self._lost, "since": rfc3339(self._since_us)}
        self._lost = dict.fromkeys(self._lost, 0)
        return found

    def tell(self, log: Log, data: Mapping[str, object]) -> None:
        """Append the event. Not on the loop. Raises as appending does."""
        log.append_act(acts.SYSLOG_LOST, data, message="syslog datagrams were lost")
