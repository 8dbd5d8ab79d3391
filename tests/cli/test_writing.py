"""Commands that write, beside a server and without one."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json
from graven.app import open_view
from graven.log.verify import verify_directory


@pytest.fixture
def served(made: str) -> Iterator[str]:
    """A server over ./log, in a process of its own; its URL."""
    words = [sys.executable, "-m", "graven", "serve", "--dir", "log", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:")
            yield line.split()[2]
        finally:
            server.terminate()
            assert server.wait(90) == 0


def _entries() -> list[dict[str, object]]:
    with open_view(Path("log")) as view:
        return [json.loads(record.event or b"") for record in view.records(0, view.size)]


def test_through_a_server(run: Run, served: str) -> None:
    Path("events").write_text('{"action":"one","id":"1"}\n{"action":"two","id":"2"}\n')
    first = read_json(run("append", "events", "--dir", "log", "--receipt", "full"))
    again = read_json(run("append", "events", "--dir", "log"))
    assert first["accepted"] == 2 and first["state"] == "published" and "opened" in first
    assert again["accepted"] == 0 and [one["index"] for one in again["duplicates"]] == [2, 3]
    assert int(run("checkpoint", "--dir", "log").stdout.splitlines()[1]) >= first["size"]
    secret = run("token", "create", "--dir", "log", "--name", "app", "--scope", "ingest,read").stdout
    assert secret.startswith("gvn_") and secret.count("\n") == 1
    assert [row["name"] for row in read_json(run("token", "list", "--dir", "log", "--json"))["tokens"]] == ["app"]
    run("source", "add", "payments", "--dir", "log", "--type", "service")
    run("source", "change", "payments", "--dir", "log", "--owner", "team")
    run("source", "retire", "payments", "--dir", "log")
    rows = {row["name"]: row for row in read_json(run("source", "list", "--dir", "log", "--json"))["sources"]}
    assert set(rows) == {"local", "app", "payments"} and rows["payments"]["retired"]
    run("token", "revoke", "app", "--dir", "log")
    run("keys", "backup", "kit", "--no-passphrase", "--dir", "log")
    run("backup", "copy", "--dir", "log")
    status = read_json(run("status", "--dir", "log", "--json"))
    assert status["server"] == "running" and status["keys"]["events_only_here"] == 0
    assert status["size"] == len(_entries()) == status["published"]["size"]
    acts = [str(event["action"]) for event in _entries() if str(event["action"]).startswith("graven.")]
    assert acts == [
        "graven.genesis", "graven.start", "graven.source.create", "graven.token.create", "graven.source.create",
        "graven.source.change", "graven.source.change", "graven.token.revoke", "graven.keys.backup", "graven.backup",
    ]  # fmt: skip
    run("prove", len(_entries()) - 1, "--dir", "log", "-o", "last.json")


def test_refusals_of_a_server_are_the_same(run: Run, served: str) -> None:
    with_server = [
        run("append", "-", "--dir", "log", "--source", "nobody", given=b'{"action":"a"}', exit_code=2).stderr,
        run("append", "-", "--dir", "log", given=b'{"action":"a","class":"x"}', exit_code=2).stderr,
        run("token", "create", "--dir", "log", "--name", "a b", "--scope", "read", exit_code=2).stderr,
        run("source", "change", "nobody", "--dir", "log", "--owner", "x", exit_code=2).stderr,
    ]
    run("init", "alone", "--origin", "example.com/alone")
    without = [
        run("append", "-", "--dir", "alone", "--source", "nobody", given=b'{"action":"a"}', exit_code=2).stderr,
        run("append", "-", "--dir", "alone", given=b'{"action":"a","class":"x"}', exit_code=2).stderr,
        run("token", "create", "--dir", "alone", "--name", "a b", "--scope", "read", exit_code=2).stderr,
        run("source", "change", "nobody", "--dir", "alone", "--owner", "x", exit_code=2).stderr,
    ]
    assert with_server == without


def test_what_only_one_process_may_do_is_refused(run: Run, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.cli.recover.LOCK_WAIT_S", 0.1)
    refused = read_error(run("recover", "--dir", "log", "--json", exit_code=3))
    assert refused["what"] == "another process is writing to this log"


def test_verify_by_url_and_beside_the_server(run: Run, served: str, made: str) -> None:
    run("append", "-", "--dir", "log", given=b'{"action":"a"}\n' * 300)
    run("verify", "--dir", "log")
    found = read_json(run("verify", f"{served}/log", "--vkey", made, "--json"))
    assert found["good"] and found["size"] >= 302 and found["key_source"] == "--vkey"
    assert "--vkey" in run("verify", f"{served}/log", exit_code=2).stderr
    Path("kept").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    run("append", "-", "--dir", "log", given=b'{"action":"a"}\n')
    run("verify", f"{served}/log", "--vkey", made, "--since", "kept")


def test_the_lock_is_waited_for(run: Run, made: str) -> None:
    fd = os.open("log/lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    release = threading.Timer(0.5, os.close, (fd,))
    release.start()
    began_s = time.monotonic()
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    assert time.monotonic() - began_s > 0.4
    release.join()


def test_a_lock_that_nobody_lets_go_is_refused(run: Run, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.cli.writing.LOCK_WAIT_S", 0.3)
    fd = os.open("log/lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        error = read_error(run("append", "-", "--dir", "log", "--json", given=b'{"action":"a"}', exit_code=3))
    finally:
        os.close(fd)
    assert (error["kind"], error["what"]) == ("broken", "another process is writing to this log")


def test_a_socket_that_a_dead_server_left_is_passed_over(run: Run, made: str) -> None:
    words = [sys.executable, "-m", "graven", "serve", "--dir", "log", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None and server.stdout.readline().startswith("listening")
        server.kill()
        server.wait()
    assert Path("log/state/control.sock").exists()
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    assert [event["action"] for event in _entries()] == ["graven.genesis", "graven.start", "graven.unclean_stop", "a"]
    run("verify", "--dir", "log")


def test_a_copy_beside_a_log_that_cannot_be_written(run: Run, made: str) -> None:
    """What is done is said, and that it could not be recorded."""
    run("backup", "old", "--dir", "log")
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    run("restore", "old", "--dir", "back", "--keys", "log.keys")
    result = run("backup", "again", "--dir", "back", exit_code=3)
    assert result.stdout.startswith("copied example.com/log to again\n")
    assert "the copy is whole, but the log could not record it: the journal ends at 1" in result.stderr
    with open_view(Path("again"), need_keys=False) as view:
        assert verify_directory("again", keys=view.keys, keyring=None).problems == ()


def test_commands_at_the_same_time_take_turns(made: str) -> None:
    command = [sys.executable, "-m", "graven", "append", "-", "--dir", "log"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = []
    for number, process in enumerate(started):
        out, err = process.communicate(b'{"action":"from %d"}' % number, timeout=180)
        assert (process.returncode, err) == (0, b"")
        answers.append(json.loads(out))
    assert sorted(answer["first_index"] for answer in answers) == [1, 2, 3, 4]
    assert all(answer["size"] == answer["first_index"] + 1 for answer in answers)
