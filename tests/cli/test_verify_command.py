"""`graven verify`: whose key it judges by, what it prints, what it ends with."""

import json
import shutil
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json


@pytest.fixture
def log(run: Run, made: str) -> str:
    """A log of 301 entries; its vkey."""
    run("append", "-", "--dir", "log", given=b"\n".join(b'{"action":"a","id":"%d"}' % n for n in range(300)))
    return made


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_whole_log(run: Run, log: str) -> None:
    result = run("verify", "--dir", "log")
    assert result.stdout.startswith(
        "log: whole\n  origin      example.com/log\n  entries     301, 301 of them published\n"
    )
    assert "payloads: all" in result.stdout and "from the keyring" in result.stdout and not result.stderr


def test_the_key_is_the_one_given_else_the_keyrings_else_the_configurations(run: Run, log: str) -> None:
    assert read_json(run("verify", "--dir", "log", "--vkey", log, "--json"))["key_source"] == "--vkey"
    found = read_json(run("verify", "--dir", "log", "--json"))
    assert found["key_source"].startswith("the keyring ") and len(found["vkeys"]) == 2
    both = run("vkey", "--dir", "log", "--all").stdout.split()
    config = Path("log/graven.toml").read_bytes()
    Path("log/graven.toml").unlink()
    found = read_json(run("verify", "--dir", "log", "--vkey", log, "--json", exit_code=3))
    assert [problem["place"] for problem in found["problems"]] == ["graven.toml"] and found["payloads"] == "all"
    shutil.rmtree("log.keys")
    assert read_error(run("verify", "--dir", "log", "--json", exit_code=3))["mend"] == "--vkey VKEY"
    run("verify", "--dir", "log", "--vkey", both[0], "--vkey", both[1], exit_code=3)
    Path("log/graven.toml").write_bytes(config)
    found = read_json(run("verify", "--dir", "log", "--json"))
    assert found["key_source"] == "graven.toml" and found["payloads"] == "not checked"


def test_another_key(run: Run, log: str) -> None:
    run("init", "stranger", "--origin", "example.com/stranger")
    stranger = run("vkey", "--dir", "stranger").stdout.strip()
    result = run("verify", "--dir", "log", "--vkey", stranger, exit_code=1)
    assert result.stdout.startswith("log: DISPROVED\n")
    assert "graven: the log is disproved: " in result.stderr


def test_since(run: Run, log: str) -> None:
    Path("kept").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    shutil.copytree("log", "other")
    shutil.copytree("log.keys", "other.keys")
    for name in ("log", "other"):
        run("append", "-", "--dir", name, given=b'{"action":"in %s"}' % name.encode())
        run("verify", "--dir", name, "--since", "kept")
    Path("forked").write_bytes(run("checkpoint", "--dir", "other").stdout_bytes)
    result = run("verify", "--dir", "log", "--since", "forked", exit_code=1)
    assert "DISPROVED" in result.stdout
    run("verify", "--dir", "log", "--since", "log/graven.toml", exit_code=2)


@pytest.mark.parametrize(
    "place, at", [("journal/00000000000000000000.0000.seg", 3000), ("log/tile/0/000", 40), ("log/tile/entries/000", 40)]
)
def test_a_flipped_bit_is_named(run: Run, log: str, place: str, at: int) -> None:
    _flip(Path("log") / place, at)
    found = read_json(run("verify", "--dir", "log", "--json", exit_code=1))
    assert not found["good"] and found["disproved"] >= 1
    assert any(place in problem["place"] for problem in found["problems"])


def test_what_is_missing_is_broken_and_not_wrong_input(run: Run, log: str) -> None:
    Path("log/log/tile/entries/000").unlink()
    result = run("verify", "--dir", "log", exit_code=3)
    assert result.stdout.startswith("log: BROKEN\n") and "tile/entries/000" in result.stdout
    assert "graven: the log is broken: 1 problem, the first: " in result.stderr


def test_a_configuration_or_keyring_that_cannot_be_read_is_broken(run: Run, log: str) -> None:
    config = Path("log/graven.toml")
    kept = config.read_text()
    config.write_text(kept + "\n[nonsense]\n")
    found = read_json(run("verify", "--dir", "log", "--json", exit_code=3))
    assert found["problems"][0]["place"] == "graven.toml" and found["payloads"] == "all"
    config.write_text(kept)
    Path("log.keys/keyring.json").write_text("{}")
    found = read_json(run("verify", "--dir", "log", "--json", exit_code=3))
    assert "the keyring cannot be opened" in found["problems"][0]["what"] and found["key_source"] == "graven.toml"


def test_a_log_that_says_itself_whom_to_believe_is_told(run: Run, log: str) -> None:
    """Who can write the directory alone can put another log there, with a keyring of its own: only --vkey tells."""
    vkey = run("vkey", "--dir", "log").stdout.strip()
    assert read_json(run("verify", "--dir", "log", "--json"))["notes"] == []
    run("init", "forged", "--origin", vkey.partition("+")[0], "--keys", "elsewhere")
    shutil.rmtree("log")
    Path("forged").rename("log")
    (note,) = read_json(run("verify", "--dir", "log", "--json"))["notes"]
    assert "vouches for itself" in note
    assert f"note: {note}" in run("verify", "--dir", "log").stdout
    shutil.rmtree("elsewhere")
    shutil.rmtree("log.keys")
    assert note in read_json(run("verify", "--dir", "log", "--json"))["notes"]
    found = read_json(run("verify", "--dir", "log", "--json", "--vkey", vkey, exit_code=1))
    assert note not in found["notes"]


def test_a_damaged_mark_or_signing_key_is_told_once(run: Run, log: str) -> None:
    for name, code in (("highest-checkpoint", 1), ("log.mldsa44", 3)):
        path = Path("log.keys") / name
        kept = path.read_bytes()
        _flip(path, len(kept) // 2)
        found = json.loads(run("verify", "--dir", "log", "--json", exit_code=code).stdout)
        assert [name in problem["place"] for problem in found["problems"]] == [True]
        path.write_bytes(kept)
    run("verify", "--dir", "log")


def test_no_log_is_wrong_input(run: Run) -> None:
    run("verify", "--dir", "nowhere", exit_code=2)
    run("verify", exit_code=2)
    run("verify", "not a url", "--vkey", "x", exit_code=2)
