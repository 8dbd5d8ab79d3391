"""`graven init`: what it makes, and that nothing is left when it refuses."""

import os
import stat
from pathlib import Path

import pytest

from cli.calls import Run, read_json
from graven.app import create_log, open_view
from graven.core.errors import BadInput


def test_what_is_there_afterwards(run: Run) -> None:
    Path("log").mkdir()
    made = read_json(run("init", "log", "--origin", "example.com/log", "--json"))
    assert (made["origin"], made["size"], len(made["vkeys"])) == ("example.com/log", 1, 2)
    assert made["keys"] == str(Path("log.keys").absolute())
    assert run("checkpoint", "--dir", "log").stdout.startswith("example.com/log\n1\n")
    assert sorted(os.listdir()) == ["log", "log.keys"]
    assert stat.S_IMODE(Path("log.keys").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in Path("log.keys").rglob("*") if path.is_file())
    run("verify", "--dir", "log")


def test_a_random_origin(run: Run) -> None:
    names = {read_json(run("init", name, "--json"))["origin"] for name in ("a", "b")}
    assert len(names) == 2 and all(name.startswith("graven.invalid/") and len(name) == 15 + 32 for name in names)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "graven-receipt/x", "x" * 241])
def test_origins_that_no_log_may_have(run: Run, origin: str) -> None:
    run("init", "log", "--origin", origin, exit_code=2)
    assert os.listdir() == []


def test_nothing_that_is_there_is_touched(run: Run) -> None:
    Path("log").mkdir()
    Path("log/file").write_text("mine")
    run("init", "log", exit_code=2)
    Path("other.keys").mkdir()
    run("init", "other", exit_code=2)
    assert sorted(os.listdir()) == ["log", "other.keys"] and Path("log/file").read_text() == "mine"


def test_a_successor_pins_the_checkpoint_it_goes_on_from(run: Run, made: str) -> None:
    Path("last").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    run("init", "next", "--origin", "example.com/next", "--successor-of", "last")
    genesis = read_json(run("show", 0, "--dir", "next", "--json"))["event"]
    assert genesis["data"]["successor_of"]["origin"] == "example.com/log"
    (pinned,) = Path("next/checkpoints/predecessor").iterdir()
    assert pinned.read_bytes() == Path("last").read_bytes()
    run("verify", "--dir", "next")
    Path("junk").write_text("junk")
    run("init", "third", "--successor-of", "junk", exit_code=2)
    assert not Path("third").exists() and not Path("third.keys").exists()


def test_genesis_names_keys_and_sources(run: Run, made: str) -> None:
    with open_view(Path("log")) as view:
        assert [(source.number, source.name) for source in view.registers().sources.values()] == [(1, "local")]
    genesis = read_json(run("show", 0, "--dir", "log", "--json"))["event"]
    assert genesis["data"]["vkeys"][0] == made


def test_an_origin_that_looks_like_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="invisible"):
        create_log(tmp_path / "log", origin="example.com/lo\u200bg")
    assert list(tmp_path.iterdir()) == []
