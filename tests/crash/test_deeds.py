"""Every writer beside the log itself: a crash after each of its steps, and each step failing."""

from pathlib import Path

import pytest

from crash import deeds_agent
from crash.deeds import crash_each, fail_each

DEEDS = {**deeds_agent.DEEDS}

each = pytest.mark.parametrize("name", DEEDS)


@each
def test_crashes(name: str, tmp_path: Path) -> None:
    crash_each(DEEDS[name], tmp_path, share=5, twice=9)


@each
def test_failing_steps(name: str, tmp_path: Path) -> None:
    fail_each(DEEDS[name], tmp_path, share=5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each
def test_every_crash(name: str, tmp_path: Path) -> None:
    assert crash_each(DEEDS[name], tmp_path, twice=1) > 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each
def test_every_failing_step(name: str, tmp_path: Path) -> None:
    assert fail_each(DEEDS[name], tmp_path) > 50
