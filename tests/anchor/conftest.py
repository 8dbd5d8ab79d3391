"""What all tests with witnesses need."""

import pytest

from graven.anchor import panel


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All witnesses that answer are waited for, however busy the machine is."""
    monkeypatch.setattr(panel, "GRACE_S", 60.0)
    monkeypatch.setattr("graven.app.log.WITNESSES_WAIT_S", 90.0)
