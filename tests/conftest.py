"""Fixtures that every room of the tests may use."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("graven", deadline=None)  # a busy machine is no finding; pytest-timeout bounds each test
settings.load_profile("graven")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published vectors and real samples that lies beside a developer's checkout."""
    if not (SHARED / "vectors").is_dir():
        pytest.skip(f"published test vectors are not at {SHARED}")
    return SHARED
