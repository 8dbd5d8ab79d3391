"""One real store with Object Lock for all tests of a run, whatever number of processes runs them.

The first who needs it starts it, the last who goes kills it.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import AbsentError
from lab.seaweed import ACCESS, SECRET, Seaweed, client, crash, kill, make_bucket, start, weed

__all__ = ["ACCESS", "SECRET", "Seaweed", "client", "crash", "kill", "make_bucket", "shared_store", "start"]


@contextmanager
def shared_store(folder: Path) -> Iterator[Seaweed]:
    """The store of this test run; `folder` is one that all its processes share."""
    try:
        weed()
    except AbsentError as why:
        pytest.skip(str(why))
    folder.mkdir(parents=True, exist_ok=True)
    with _users(folder) as state:
        if not state.get("users"):
            data = folder / f"data-{time.monotonic_ns()}"
            data.mkdir()
            store = start(data)
            state |= {"endpoint": store.endpoint, "filer": store.filer, "pid": store.pid, "data": str(data)}
        state["users"] = state.get("users", 0) + 1
        store = Seaweed(state["endpoint"], state["filer"], state["pid"])
    try:
        yield store
    finally:
        with _users(folder) as state:
            state["users"] -= 1
            if not state["users"]:
                kill(state["pid"])
                shutil.rmtree(state["data"], ignore_errors=True)
                state.clear()


@contextmanager
def _users(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / "users.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        state: dict[str, Any] = json.loads(text) if text else {}
        try:
            yield state
        finally:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(state))
