"""`import graven`: the names it promises, what they are, and that they cost nothing before they are used."""

import subprocess
import sys
from importlib import import_module

import pytest

import graven
from graven import BadInput, Broken, Busy, Client, Disproved, GravenError, Log
from graven.client import Answer

HOMES = {
    "BadInput": "graven.core.errors",
    "Broken": "graven.core.errors",
    "Busy": "graven.core.errors",
    "Client": "graven.client",
    "Disproved": "graven.core.errors",
    "GravenError": "graven.core.errors",
    "Log": "graven.app",
}


def modules_after(statement: str) -> set[str]:
    """The modules a fresh interpreter has loaded once it ran `statement`."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180)
    return set(done.stdout.split())


def test_the_names_are_those_of_their_homes() -> None:
    assert graven.__all__ == sorted(HOMES)
    for name, home in HOMES.items():
        assert getattr(graven, name) is getattr(import_module(home), name)
        assert name in dir(graven)


def test_the_errors_are_one_family() -> None:
    assert {BadInput.exit_code, Disproved.exit_code, Broken.exit_code} == {2, 1, 3}
    assert issubclass(Busy, Broken) and all(issubclass(one, GravenError) for one in (BadInput, Disproved, Broken))


def test_types_are_known_to_a_checker() -> None:
    """mypy checks this file: the annotations hold, and the two ignores are needed."""

    def append(client: Client) -> Answer:
        return client.append({"action": "a"})

    def size(log: Log) -> int:
        return log.size

    def wrong(client: Client) -> int:
        return client.append({"action": "a"})  # type: ignore[return-value]

    assert callable(append) and callable(size) and callable(wrong)
    with pytest.raises(AttributeError, match="module 'graven' has no attribute 'Logs'"):
        graven.Logs  # type: ignore[attr-defined]  # noqa: B018


def test_import_graven_loads_nothing() -> None:
    assert modules_after("import graven") == {"graven"}
    assert not any(name.startswith("graven.") for name in modules_after("import graven; dir(graven)"))


def test_a_client_loads_no_log_and_the_errors_load_neither() -> None:
    loaded = modules_after("from graven import Client")
    rooms = {name.split(".")[1] for name in loaded if name.startswith("graven.")}
    assert rooms == {"client", "core", "event", "keys", "runtime"}
    assert {name for name in loaded if name.startswith("graven.keys")} == {"graven.keys", "graven.keys.signature"}
    assert not {"urllib3", "starlette", "uvicorn", "click", "rich", "tomlkit"} & loaded
    rooms = {name.split(".")[1] for name in modules_after("from graven import Busy") if name.startswith("graven.")}
    assert rooms == {"core"}
