"""Fixtures that every room of the tests may use."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no finding: pytest-timeout bounds each test. `make test` tries the same examples each time, so that
# it says the same of the same code; `make soak` looks for new ones (--hypothesis-profile=search).
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("graven", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("graven")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published vectors and real samples that lies beside a developer's checkout."""
    if not (SHARED / "vectors").is_dir():
        pytest.skip(f"published test vectors are not at {SHARED}")
    return SHARED
