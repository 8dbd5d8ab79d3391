"""Who was heard, and who should have been: the dead man's switch of sources.

A source with an expectation (`expect_s` in the register) from which nothing came for so long becomes an event, once;
when it is heard again, that is an event, too. After a start of the server every source has its full time, because
nobody could be heard while it was away. An agent that said goodbye is not expected.
"""

import threading
from collections.abc import Callable, Mapping
from time import monotonic

from graven.app import Log
from graven.log import acts
from graven.log.acts import rfc3339


class Watch:
    """Threads may share it. `now_s` is a clock that never falls."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._start_s = now_s()
        self._lock = threading.Lock()
        self._heard_s: dict[str, float] = {}

    def heard(self, source: str) -> None:
        """Something came from this source, now."""
        self._heard_s[source] = self._now_s()

    def begin(self) -> None:
        """The doors are open from now on."""
        self._start_s = self._now_s()

    def age_s(self, source: str) -> float | None:
        """Seconds since something came from this source; None if nothing did since the start."""
        heard_s = self._heard_s.get(source)
        return None if heard_s is None else self._now_s() - heard_s

    def sweep(self, log: Log) -> None:
        """Append what changed: who fell silent, who is back. Not on the loop. Raises as appending does."""
        with self._lock:
            registers = log.registers
            now_s, now_us = self._now_s(), log.clock.now_us()
            for source in list(registers.sources.values()):
                if source.expect_s is None and source.name not in registers.silent:
                    continue
                agent = registers.agents.get(source.name)
                expected = source.expect_s is not None and not source.retired
                expected = expected and (agent is None or not (agent.ended or agent.revoked))
                quiet_s = now_s - self._heard_s.get(source.name, self._start_s)
                is_silent = source.name in registers.silent
                if expected and not is_silent and source.expect_s is not None and quiet_s > source.expect_s:
                    heard_s = self._heard_s.get(source.name)
                    last = None if heard_s is None else rfc3339(now_us - int((now_s - heard_s) * 1e6))
                    data: Mapping[str, object] = {
                        "source": source.name, "expect_s": source.expect_s, "last_heard": last
                    }  # fmt: skip
                    log.append_act(acts.SOURCE_SILENT, data, message=f"nothing came from {source.name}")
                elif is_silent and (not expected or self._is_back(source.name, source.expect_s)):
                    log.append_act(acts.SOURCE_BACK, {"source": source.name})

    def _is_back(self, source: str, expect_s: int | None) -> bool:
        age_s = self.age_s(source)
        return age_s is not None and age_s <= (expect_s or 0)
