"""A command line to call, in a directory of its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.calls import Run
from graven.cli import graven


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GRAVEN_DIR", "GRAVEN_DEBUG", "GRAVEN_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """`run("show", 1, "--dir", "log")`; `exit_code` is what it must end with."""

    def call(*words: object, exit_code: int = 0, given: bytes | None = None) -> Result:
        result = CliRunner().invoke(graven, [str(word) for word in words], prog_name="graven", input=given)
        assert result.exit_code == exit_code, f"{words}: {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    return call


@pytest.fixture
def made(run: Run) -> str:
    """A new log in ./log; its vkey."""
    run("init", "log", "--origin", "example.com/log")
    return run("vkey", "--dir", "log").stdout.strip()
