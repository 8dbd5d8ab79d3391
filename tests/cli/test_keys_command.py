"""Passphrases, kits, replicas and restores from the command line."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json


def _secret(name: str, text: str) -> str:
    path = Path(name)
    path.write_text(text + "\n")
    path.chmod(0o600)
    return name


@pytest.fixture
def sealed(run: Run) -> str:
    """A log whose keyring is sealed by a passphrase; its vkey."""
    run("init", "log", "--origin", "example.com/log", "--passphrase-file", _secret("words", "correct horse"))
    return run("vkey", "--dir", "log").stdout.strip()


def test_a_sealed_keyring_opens_by_the_file_its_configuration_names(run: Run, sealed: str) -> None:
    assert read_json(run("append", "-", "--dir", "log", given=b'{"action":"a"}'))["accepted"] == 1
    assert b"PRIVATE" not in Path("log.keys/log.ed25519").read_bytes()
    shutil.move("words", "elsewhere")
    refused = read_error(run("show", 1, "--dir", "log", "--json", exit_code=2))
    assert refused["place"].endswith("/words")


def test_the_environment_names_another_file(run: Run, sealed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move("words", "elsewhere")
    monkeypatch.setenv("GRAVEN_PASSPHRASE_FILE", "elsewhere")
    run("show", 0, "--dir", "log")
    monkeypatch.setenv("GRAVEN_PASSPHRASE_FILE", _secret("wrong", "incorrect horse"))
    assert "the passphrase is wrong" in run("show", 0, "--dir", "log", exit_code=2).stderr


def test_a_passphrase_others_may_read_is_refused(run: Run) -> None:
    Path(_secret("words", "correct horse")).chmod(0o644)
    run("init", "log", "--passphrase-file", "words", exit_code=2)
    assert not Path("log").exists() and not Path("log.keys").exists()


def test_keys_elsewhere(run: Run) -> None:
    run("init", "log", "--origin", "example.com/log", "--keys", "safe/keys", exit_code=2)
    assert not Path("log").exists()
    Path("safe").mkdir()
    made = read_json(run("init", "log", "--origin", "example.com/log", "--keys", "safe/keys", "--json"))
    assert made["keys"] == str(Path("safe/keys").absolute()) and not Path("log.keys").exists()
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in Path("safe/keys").rglob("*") if path.is_file())


def test_a_sealed_kit(run: Run, sealed: str) -> None:
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    _secret("other", "battery staple")
    made = read_json(run("keys", "backup", "kit", "--dir", "log", "--passphrase-file", "other", "--json"))
    assert made["sealed"] is True and stat.S_IMODE(Path("kit").stat().st_mode) == 0o600
    Path("seen").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    shutil.rmtree("log.keys")
    run("keys", "restore", "kit", "--dir", "log", exit_code=2)
    run("keys", "restore", "kit", "--dir", "log", "--passphrase-file", "words", exit_code=2)
    assert not Path("log.keys").exists()
    words = ["keys", "restore", "kit", "--dir", "log", "--passphrase-file", "other", "--seen", "seen", "--json"]
    restored = read_json(run(*words))
    assert restored["vkeys"][0] == sealed and restored["signs"] is True
    assert b"PRIVATE" not in Path("log.keys/log.ed25519").read_bytes()  # sealed again, as the configuration says
    run("append", "-", "--dir", "log", given=b'{"action":"b"}')
    run("verify", "--dir", "log")


def test_a_checkpoint_of_another_log_is_not_seen(run: Run, made: str) -> None:
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    run("init", "stranger", "--origin", "example.com/stranger")
    Path("seen").write_bytes(run("checkpoint", "--dir", "stranger").stdout_bytes)
    shutil.rmtree("log.keys")
    run("keys", "restore", "kit", "--dir", "log", "--seen", "seen", exit_code=1)
    assert not Path("log.keys").exists()
    run("keys", "restore", "kit", "--dir", "log")
    run("keys", "seen", "seen", "--dir", "log", exit_code=1)
    run("append", "-", "--dir", "log", given=b'{"action":"a"}', exit_code=3)


def test_what_was_seen_binds(run: Run, made: str) -> None:
    """A restored keyring, an older copy of the data, and a newer checkpoint from outside: nothing is signed."""
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    shutil.copytree("log", "old")
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    Path("seen").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    run("keys", "restore", "kit", "--dir", "old", "--seen", "seen")
    error = read_error(run("append", "-", "--dir", "old", "--json", given=b'{"action":"b"}', exit_code=3))
    assert "a tree of 3 entries was signed" in error["what"] and "--successor-of" in error["mend"]
    run("show", 0, "--dir", "old")


def test_a_replica_is_kept_and_can_stand_in(run: Run, made: str) -> None:
    run("keys", "replicate", "copy", "--dir", "log")
    config = Path("log/graven.toml")
    config.write_text(config.read_text().replace("[keys]", f'[keys]\nreplicas = ["{Path("copy").absolute()}"]'))
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    assert Path("copy/highest-checkpoint").read_bytes() == Path("log.keys/highest-checkpoint").read_bytes()
    status = read_json(run("status", "--dir", "log", "--json"))
    assert status["keys"]["replicas"] == [str(Path("copy").absolute())] and status["keys"]["replica_gaps"] == {}
    (data,) = Path("copy/data").iterdir()
    data.unlink()
    assert read_json(run("status", "--dir", "log", "--json"))["keys"]["replica_gaps"] == {
        str(Path("copy").absolute()): 1
    }
    assert "1 file behind" in run("status", "--dir", "log").stdout
    assert json.loads(run("keys", "replicate", "copy", "--dir", "log", "--json").stdout)["files"] == 1


def test_only_here_counts_what_no_kit_opens(run: Run, made: str) -> None:
    config = Path("log/graven.toml")

    def only_here() -> int:
        count: int = read_json(run("status", "--dir", "log", "--json"))["keys"]["events_only_here"]
        return count

    assert only_here() == 1
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    assert only_here() == 0  # the kit has the key of the segment that is still open
    config.write_text(config.read_text().replace("[classes.default]", "[classes.short]\n\n[classes.default]"))
    run("source", "change", "local", "--dir", "log", "--allow-class", "short")
    run("append", "-", "--dir", "log", given=b'{"action":"b"}\n{"action":"c","class":"short"}')  # begins a segment
    assert only_here() == 2
    assert "only here   2 events: in segments begun since" in run("status", "--dir", "log").stdout
    run("keys", "backup", "kit2", "--no-passphrase", "--dir", "log")
    assert only_here() == 0


def test_a_keyring_of_another_log_stops_a_restore(run: Run, made: str) -> None:
    run("backup", "copy", "--dir", "log")
    run("init", "stranger", "--origin", "example.com/stranger")
    error = read_error(run("restore", "copy", "--dir", "back", "--keys", "stranger.keys", "--json", exit_code=2))
    assert "the keyring is of another log" in error["what"] and not Path("back").exists()
