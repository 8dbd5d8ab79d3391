"""`graven serve`: which log, which address, and what `--check` finds before anything starts."""

import socket
from pathlib import Path

from cli.calls import Run, read_error, read_json


def _config(text: str) -> None:
    path = Path("log/graven.toml")
    path.write_text(path.read_text() + text)


def test_check(run: Run, made: str) -> None:
    result = run("serve", "--dir", "log", "--check", "--listen", "127.0.0.1:0")
    assert result.stdout.splitlines()[0] == "configuration ok"
    found = read_json(run("serve", "--dir", "log", "--check", "--json"))
    assert (found["ok"], found["origin"], found["size"]) == (True, "example.com/log", 1)


def test_check_by_configuration_alone(run: Run, made: str) -> None:
    assert read_json(run("serve", "--config", "log/graven.toml", "--check", "--json"))["dir"].endswith("/log")
    text = Path("log/graven.toml").read_text()
    Path("etc").mkdir()
    Path("etc/graven.toml").write_text(text.replace("format = 1", 'format = 1\ndir = "../log"'))
    assert read_json(run("serve", "--config", "etc/graven.toml", "--check", "--json"))["size"] == 1


def test_what_check_refuses(run: Run, made: str) -> None:
    run("serve", exit_code=2)
    run("serve", "--dir", "nowhere", "--check", exit_code=2)
    run("serve", "--dir", "log", "--check", "--listen", "nonsense", exit_code=2)
    run("init", "stranger", "--origin", "example.com/log")
    Path("log.keys").rename("away")
    run("serve", "--dir", "log", "--check", exit_code=2)
    Path("stranger.keys").rename("log.keys")
    error = read_error(run("serve", "--dir", "log", "--check", "--json", exit_code=3))
    assert "other signing keys" in error["what"]


def test_check_names_the_knob(run: Run, made: str) -> None:
    text = Path("log/graven.toml").read_text()
    Path("log/graven.toml").write_text(text.replace("[publish]", "[publish]\nintervall_ms = 5"))
    assert "did you mean [publish] interval_ms?" in run("serve", "--dir", "log", "--check", exit_code=2).stderr
    Path("log/graven.toml").write_text(text.replace("[server]", '[server]\ntls_cert = "a"\ntls_key = "b"'))
    assert "tls_cert" in run("serve", "--dir", "log", "--check", exit_code=2).stderr


def test_a_damaged_checkpoint_is_found(run: Run, made: str) -> None:
    path = Path("log/log/checkpoint")
    path.write_bytes(path.read_bytes().replace(b"\n1\n", b"\n2\n", 1))
    run("serve", "--dir", "log", "--check", exit_code=1)


def test_a_port_that_is_taken(run: Run, made: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = read_error(run("serve", "--dir", "log", "--listen", address, "--json", exit_code=2))
    assert "is taken" in error["what"] and "--listen" in error["mend"]
    assert read_json(run("status", "--dir", "log", "--json"))["size"] == 1  # nothing was signed
