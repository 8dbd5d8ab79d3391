"""Servers for tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.running import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server over a new log."""
    with Server(tmp_path / "log") as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server that the tests of a file share."""
    with Server(tmp_path_factory.mktemp("served") / "log") as running:
        yield running
