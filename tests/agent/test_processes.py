"""journald through journalctl, commands, and standard input."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.agents import enrolled, raws, records, run_once, wait_for, write_config
from client.process import command, run
from graven.agent.config import CommandConfig, JournaldConfig
from graven.agent.processes import CommandSource, JournaldSource, StdinSource, read_lines
from server.running import Server

# A journalctl over a file of entries: it goes on behind a cursor, follows, and dies now and then in the middle of one.
JOURNALCTL = """#!{python}
import json, os, sys, time
arguments = sys.argv[1:]
assert arguments[:3] == ["--output=json", "--all", "--follow"], arguments
cursor = next((a.partition("=")[2] for a in arguments if a.startswith("--after-cursor=")), None)
folder = os.path.dirname(os.path.abspath(__file__))
with open(folder + "/starts", "a") as log:
    log.write((cursor or "-") + "\\n")
at = int(cursor.removeprefix("c")) + 1 if cursor else 0
written = 0
while True:
    lines = open(folder + "/entries").read().splitlines()
    while at < len(lines):
        if written == {dies}:
            sys.stdout.write(lines[at][:25])
            sys.stdout.flush()
            os._exit(1)
        sys.stdout.write(lines[at] + "\\n")
        sys.stdout.flush()
        written += 1
        at += 1
    time.sleep(0.02)
"""


class Journal:
    def __init__(self, folder: Path, dies: int = -1) -> None:
        self.folder, self.count = folder, 0
        self.program = folder / "journalctl"
        self.program.write_text(JOURNALCTL.format(python=sys.executable, dies=dies))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        (folder / "entries").touch()

    def write(self, count: int) -> None:
        with (self.folder / "entries").open("a") as file:
            for _ in range(count):
                file.write(json.dumps({"__CURSOR": f"c{self.count}", "MESSAGE": f"message {self.count}"}) + "\n")
                self.count += 1


def drain(source: Any, places: dict[str, Any]) -> list[bytes]:
    found: list[bytes] = []
    for one in source.take(1 << 20):
        found += one.records
        places.update(one.places)
    return found


def collect(source: Any, places: dict[str, Any], found: list[bytes], count: int) -> None:
    """Take until there are so many."""

    def enough() -> bool:
        found.extend(drain(source, places))
        return len(found) >= count

    wait_for(enough)


def test_the_journal_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.agent.processes.RESTART_S", 0.01)
    journal = Journal(tmp_path, dies=7)
    journal.write(20)
    places: dict[str, Any] = {}
    found: list[bytes] = []
    for _ in range(2):
        source = JournaldSource(JournaldConfig(command=str(journal.program)), places)
        try:
            collect(source, places, found, journal.count)
        finally:
            source.close()
        journal.write(15)
    messages = [json.loads(record)["MESSAGE"] for record in found]
    assert messages == [f"message {number}" for number in range(35)]
    assert len((tmp_path / "starts").read_text().split()) >= 5
    assert places == {"journald:journald": {"cursor": "c34"}}


def test_journalctl_is_asked_for_units_and_more(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    config = JournaldConfig(units=("sshd.service",), arguments=("--directory=/x",), start="end", command="true")
    source = JournaldSource(config, {})
    try:
        assert source._argv(b"") == [
            "true", "--output=json", "--all", "--follow", "--lines=0", "--unit=sshd.service", "--directory=/x",
        ]  # fmt: skip
        assert "--after-cursor=c7" in source._argv(b'{"__CURSOR" : "c7"}')
    finally:
        source.close()
    assert journal.count == 0


@pytest.mark.skipif(shutil.which("journalctl") is None, reason="systemd is not installed")
@pytest.mark.skipif(
    not Path("/usr/lib/systemd/systemd-journal-remote").exists(), reason="systemd-journal-remote is not installed"
)
def test_a_real_journal(tmp_path: Path) -> None:
    entries = b"".join(
        b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\nMESSAGE=real %d\n\n"
        % (1_700_000_000_000_000 + number, number, b"0" * 31 + b"1", number)
        for number in range(30)
    )
    made = subprocess.run(
        ["/usr/lib/systemd/systemd-journal-remote", "-o", str(tmp_path / "a.journal"), "-"],
        input=entries, capture_output=True, check=False, timeout=180,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("systemd-journal-remote does not work here")
    places: dict[str, Any] = {}
    found: list[bytes] = []
    for _ in range(2):
        source = JournaldSource(JournaldConfig(arguments=(f"--directory={tmp_path}",)), places)
        try:
            collect(source, places, found, 30)
        finally:
            source.close()
    assert [json.loads(record)["MESSAGE"] for record in found] == [f"real {number}" for number in range(30)]


def test_a_command_is_started_again(tmp_path: Path) -> None:
    config = CommandConfig(name="clock", argv=(sys.executable, "-c", "print('tick'); print('tock')"), restart_s=1)
    source = CommandSource(config)
    found: list[bytes] = []
    try:
        collect(source, {}, found, 4)
    finally:
        source.close()
    assert found[:4] == [b"tick", b"tock"] * 2


def test_a_command_that_cannot_be_started_is_no_failure(tmp_path: Path) -> None:
    source = CommandSource(CommandConfig(name="none", argv=("/no/such/program",)))
    time.sleep(0.05)
    assert drain(source, {}) == []
    source.close()


def test_a_pipe_waits_for_room() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file:
        source = StdinSource("", file)
        with os.fdopen(writer, "wb") as sink:
            sink.write(b"a\nb\n\nc")
        wait_for(lambda: source._over.is_set())
        assert not source.ended
        assert drain(source, {}) == [b"a", b"b", b"c"]
        assert source.ended
        source.close()


def test_lines_beyond_the_bound_come_in_pieces() -> None:
    found: list[bytes] = []

    def put(line: bytes) -> bool:
        found.append(line)
        return True

    read_lines(io.BytesIO(b"x" * (2 << 20) + b"\ny"), put)
    assert [len(line) for line in found] == [1 << 20, 1 << 20, 1]


def test_piped_into_the_agent(server: Server, tmp_path: Path) -> None:
    config = enrolled(write_config(tmp_path, server.url, "[stdin]\n"), server)
    path = tmp_path / "agent.toml"
    words = command("agent", "run", "--once", "--config", str(path))
    done = subprocess.run(words, input=b"one\ntwo\n" * 500, capture_output=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert raws(server.directory) == [b"one", b"two"] * 500
    shown = run("agent", "status", "--config", str(path)).stdout
    assert "last batch" in shown
    assert (
        "enrolled already" in run("agent", "enrol", "--config", str(path), "--token-file", str(path), expect=2).stderr
    )
    assert "sends to" in run("agent", "run", "--check", "--config", str(path)).stdout
    path.write_text(path.read_text().replace("[stdin]", "[stdn]"))
    assert "stdn" in run("agent", "run", "--check", "--config", str(path), expect=2).stderr
    assert config.stdin is not None


def test_goodbye(server: Server, tmp_path: Path) -> None:
    config = enrolled(write_config(tmp_path, server.url), server)
    run_once(config)
    assert "said goodbye" in run("agent", "goodbye", "--config", str(tmp_path / "agent.toml")).stdout
    started = [event for event, _ in records(server.directory) if event["action"] == "graven.agent.started"]
    assert len(started) == 2
