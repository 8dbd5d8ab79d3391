"""Fixtures of the client's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from client.scripted import TOKEN, VKEY, ScriptedServer, serving
from graven.client import Client, retry


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path, quick: None) -> Iterator[Client]:
    """A client of the scripted server that keeps receipts in `tmp_path/receipts`."""
    with Client(server.url, TOKEN, vkey=VKEY, receipts=tmp_path / "receipts", timeout_s=90) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses before asking again."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(retry, "PAUSE_S_MAX", 0.01)
