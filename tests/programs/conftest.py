"""A server, and a recorder that sends to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graven.core.note import format_vkey
from graven.programs import Recorder
from server.conftest import server
from server.running import Server

__all__ = ["recorder", "server"]


def recorder_of(server: Server, directory: Path, **more: Any) -> Recorder:
    token = server.token("ingest", name=f"app-{directory.name}")
    return Recorder(
        server.url, vkey=[format_vkey(key) for key in server.keys], token=token, directory=directory,
        linger_ms=10, **more,
    )  # fmt: skip


@pytest.fixture
def recorder(server: Server, tmp_path: Path) -> Iterator[Recorder]:
    with recorder_of(server, tmp_path / "spool") as made:
        yield made
