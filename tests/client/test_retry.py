"""Asking again: when, how often, how long to wait."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.client.retry import PAUSE_S_MAX, RETRY_AFTER_S_MAX, pause_s, persist
from graven.client.transport import NoAnswer
from graven.core.errors import BadInput, Broken, Busy, Disproved

chances = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), st.integers(-5, 10**12), chances)
def test_a_pause_is_bounded_and_never_shorter_than_asked(failures: int, asked_s: int, chance: float) -> None:
    pause = pause_s(failures, retry_after_s=asked_s, chance=chance)
    assert min(max(asked_s, 0), RETRY_AFTER_S_MAX) < pause <= RETRY_AFTER_S_MAX + PAUSE_S_MAX


def test_pauses_double() -> None:
    assert [pause_s(n, retry_after_s=0, chance=0.0) for n in range(8)] == [
        0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5,
    ]  # fmt: skip
    assert pause_s(0, retry_after_s=3, chance=0.0) == 3.05


class Asked:
    """Fails with each of `errors`, then answers 7; counts and keeps the pauses."""

    def __init__(self, *errors: Exception, stop_at: int = 99) -> None:
        self.errors, self.calls, self.pauses, self.stop_at = list(errors), 0, list[float](), stop_at

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7

    def stopped(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) == self.stop_at


@pytest.mark.parametrize("make", [lambda: NoAnswer("away"), lambda: Busy("full", retry_after_s=2)])
def test_what_may_pass_is_asked_again(make: Callable[[], NoAnswer | Busy]) -> None:
    asked = Asked(make(), make())
    heard: list[NoAnswer | Busy] = []
    assert persist(asked, retries=2, stopped=asked.stopped, trouble=heard.append) == 7
    assert (asked.calls, len(asked.pauses), len(heard)) == (3, 2, 2)
    assert not isinstance(heard[0], Busy) or min(asked.pauses) > 2
    asked = Asked(make(), make(), make())
    with pytest.raises((NoAnswer, Busy)):
        persist(asked, retries=2, stopped=asked.stopped)
    assert (asked.calls, len(asked.pauses)) == (3, 2)


def test_without_a_limit_it_goes_on_until_stopped() -> None:
    asked = Asked(*[NoAnswer("away")] * 50, stop_at=40)
    with pytest.raises(NoAnswer):
        persist(asked, retries=None, stopped=asked.stopped)
    assert asked.calls == 40


@pytest.mark.parametrize("error", [BadInput("x"), Disproved("x"), Broken("x"), ValueError("x")])
def test_anything_else_is_raised_at_once(error: Exception) -> None:
    asked = Asked(error)
    with pytest.raises(type(error)):
        persist(asked, retries=9, stopped=asked.stopped)
    assert (asked.calls, asked.pauses) == (1, [])
