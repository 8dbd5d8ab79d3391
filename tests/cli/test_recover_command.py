"""`graven recover`: what a start would do, and a loss that somebody declares."""

import shutil
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json
from graven.app import Log
from graven.log.publish import Publisher


@pytest.fixture
def journal(run: Run, made: str) -> Path:
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    return Path("log/journal/00000000000000000000.0000.seg")


def _last_event(run: Run, directory: str = "log") -> dict[str, object]:
    size = read_json(run("status", "--dir", directory, "--json"))["size"]
    event: dict[str, object] = read_json(run("show", size - 1, "--dir", directory, "--json"))["event"]
    return event


def test_an_unfinished_frame_is_cut_kept_and_named(run: Run, journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b"GRVB and no more")
    result = run("recover", "--dir", "log")
    (torn,) = Path("log/journal/torn").iterdir()
    assert result.stdout.splitlines()[0] == "the log is in order: 3 entries, all published"
    assert f"journal/torn/{torn.name}" in result.stdout
    assert _last_event(run)["action"] == "graven.recovery"
    run("verify", "--dir", "log")


def test_nothing_to_do(run: Run, journal: Path) -> None:
    found = read_json(run("recover", "--dir", "log", "--json"))
    assert found == {"size": 2, "published": {"size": 2}, "cut": [], "declared": None}
    assert "no loss was recorded" in run("recover", "--dir", "log", "--declare-loss", "in case").stdout


def test_a_loss_is_declared_with_its_reason(run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut left two frames that were not published yet, the first of them damaged: no start cuts that alone."""
    end = journal.stat().st_size
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "wake", lambda _: None)
        with Log.open("log") as log:
            log.append([b'{"action":"b"}'])
            log.append([b'{"action":"c"}'])
            shutil.copytree("log", "cut off")
            shutil.copytree("log.keys", "cut off.keys")
    damaged = Path("cut off/journal") / journal.name
    data = bytearray(damaged.read_bytes())
    data[end + 100] ^= 1
    damaged.write_bytes(data)
    error = read_error(run("recover", "--dir", "cut off", "--json", exit_code=3))
    assert "--declare-loss" in error["mend"]
    words = ("recover", "--dir", "cut off", "--declare-loss", "the power went", "--json")
    found = read_json(run(*words))
    assert found["size"] == found["published"]["size"] == 3 and len(found["cut"]) == 1
    event = read_json(run("show", 2, "--dir", "cut off", "--json"))["event"]
    assert (event["action"], event["data"]["reason"]) == ("graven.loss", "the power went")
    run("verify", "--dir", "cut off")


def test_what_was_published_cannot_be_declared_lost(run: Run, journal: Path) -> None:
    data = bytearray(journal.read_bytes())
    data[-40] ^= 1
    journal.write_bytes(data)
    run("recover", "--dir", "log", "--declare-loss", "oops", exit_code=3)
    assert journal.read_bytes() == bytes(data)


def test_a_loss_that_left_nothing_to_cut_is_said_to_be_recorded(
    run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole frames are gone without a trace but for the committed mark."""
    monkeypatch.setattr(Publisher, "wake", lambda _: None)
    with Log.open("log") as log:
        shutil.copy(journal, "before")
        log.append([b'{"action":"b"}'])
        shutil.copytree("log", "lost")
        shutil.copytree("log.keys", "lost.keys")
    shutil.copy("before", Path("lost/journal") / journal.name)
    said = run("recover", "--dir", "lost", "--declare-loss", "the disk lied").stdout
    assert "The declared loss is an event of the log." in said
    assert _last_event(run, "lost")["action"] == "graven.loss"
