"""One whole log, made once; each test that changes it has a copy of its own."""

from pathlib import Path

import pytest

from tampering.logs import Tampered, make_log


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tampered:
    """About 3,000 events in four segments: nobody may write to it."""
    return make_log(tmp_path_factory.mktemp("whole") / "log", events=3_000)


@pytest.fixture
def log(whole: Tampered, tmp_path: Path) -> Tampered:
    """A copy to change."""
    return whole.copy(tmp_path / "log")
