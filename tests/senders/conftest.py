"""The ground on which real senders are tried."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from senders.ground import Ground, open_ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A new log, its server, and wires that may be cut."""
    with open_ground(tmp_path / "ground") as one:
        yield one
