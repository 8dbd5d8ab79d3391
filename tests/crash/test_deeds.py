"""Every writer beside the log itself: a crash after each of its steps, and each step failing."""

from pathlib import Path

import pytest

from crash import deeds_agent, deeds_keys, deeds_log, deeds_outside, deeds_restore, deeds_state
from crash.deeds import CODES, crash_each, fail_each

DEEDS = {
    name: deed
    for told in (deeds_agent, deeds_keys, deeds_outside, deeds_state, deeds_restore, deeds_log)
    for name, deed in told.DEEDS.items()
}

DEAR = 10
"""From this cost on the short forms leave out second lives, and all errors but a full disk."""

each = pytest.mark.parametrize("name", DEEDS)


@each
def test_crashes(name: str, tmp_path: Path) -> None:
    cost = DEEDS[name].cost
    assert crash_each(DEEDS[name], tmp_path, share=5 * cost, twice=9 * cost if cost < DEAR else 0)


@each
def test_failing_steps(name: str, tmp_path: Path) -> None:
    cost = DEEDS[name].cost
    assert fail_each(DEEDS[name], tmp_path, share=5 * cost, codes=CODES if cost < DEAR else CODES[1:2])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each
def test_every_crash(name: str, tmp_path: Path) -> None:
    assert crash_each(DEEDS[name], tmp_path, twice=DEEDS[name].cost) > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each
def test_every_failing_step(name: str, tmp_path: Path) -> None:
    assert fail_each(DEEDS[name], tmp_path) > 50
