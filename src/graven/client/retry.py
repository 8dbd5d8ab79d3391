"""How long to wait before asking again: exponential, with jitter, and never sooner than the server asked.

Only what may pass by itself is tried again: no answer, or an answer that says busy. Asking again is safe, because
every event carries an id and the log stores an id with the same bytes once.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from graven.client.transport import NoAnswer
from graven.core.errors import Busy

FIRST_PAUSE_S = 0.1
PAUSE_S_MAX = 5.0
RETRY_AFTER_S_MAX = 60  # what a server may ask at most; it can ask again

_DOUBLINGS_MAX = 16
_CHANCE = random.SystemRandom().random
_T = TypeVar("_T")


def pause_s(failures: int, *, retry_after_s: int, chance: float) -> float:
    """Seconds to wait after the failure number `failures` (from 0). `chance` is in [0, 1).

    Half to all of 0.1 s · 2^failures, at most 5 s, on top of what the server asked for (at most 60 s).
    """
    own = min(PAUSE_S_MAX, FIRST_PAUSE_S * 2.0 ** min(failures, _DOUBLINGS_MAX))
    return float(min(max(retry_after_s, 0), RETRY_AFTER_S_MAX)) + own * (1 + chance) / 2


def persist(
    ask: Callable[[], _T],
    *,
    retries: int | None,
    stopped: Callable[[float], bool],
    trouble: Callable[[NoAnswer | Busy], None] = lambda _: None,
) -> _T:
    """`ask` until it answers, at most `retries` times more (None: for ever).

    `stopped(seconds)` waits and returns True to give up; `trouble` hears of each failure. Raises the last NoAnswer or
    Busy, and at once whatever else `ask` raises.
    """
    failures = 0
    while True:
        try:
            return ask()
        except (NoAnswer, Busy) as error:
            trouble(error)
            asked_s = error.retry_after_s if isinstance(error, Busy) else 0
            if retries is not None and failures >= retries:
                raise
            if stopped(pause_s(failures, retry_after_s=asked_s, chance=_CHANCE())):
                raise
            failures += 1
