"""A real server in a process of its own: `graven init`, `graven token create`, `graven serve`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from bench.rounds import NotMeasuredError
from graven.core.checkpoint import parse_checkpoint
from graven.core.note import parse_note
from graven.journal.mark import COMMITTED, read_mark

WAIT_SECONDS_MAX = 60.0
PATH = "/api/v1/events"

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server over the log in `directory`."""

    directory: Path
    token: str
    host: str
    port: int
    pid: int
    syslog_port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{PATH}"

    def committed(self) -> int:
        """Events that are durable, by the log's own mark on disk."""
        mark = read_mark(str(self.directory / "state" / "committed"), COMMITTED)
        return 0 if mark is None else mark.size

    def settle(self) -> None:
        """Wait until all that was committed is published, so that nothing of it falls on whoever comes next."""
        _wait("publish", lambda: self._published() >= self.committed())

    def _published(self) -> int:
        note = (self.directory / "log" / "checkpoint").read_bytes()
        return parse_checkpoint(parse_note(note).text)[0].size


@contextmanager
def serve(place: Path) -> Iterator[Server]:
    """A new log under `place` and a server over it, stopped at the end. Raises NotMeasuredError if there is none."""
    directory = place / "served"
    graven("init", str(directory), "--origin", "bench.invalid/served")
    token = graven("token", "create", "--dir", str(directory), "--name", "bench", "--scope", "ingest,read")
    words = command("serve", "--dir", str(directory), "--listen", "127.0.0.1:0", "--syslog", "127.0.0.1:0")
    with listening(words, place / "server.log") as (process, host, port):
        assert process.stdout is not None
        syslog_port = int(process.stdout.readline().rpartition(":")[2])
        yield Server(directory, token, host, port, process.pid, syslog_port)


@contextmanager
def listening(
    command: list[str], log: Path, *, stdin: int = subprocess.DEVNULL
) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """A process that prints `listening on http://HOST:PORT` when it is ready; stopped at the end."""
    with log.open("a") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=stdin, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on http://"):
            raise NotMeasuredError(f"the server did not start: {log.read_text()[-300:]}")
        host, _, port = line.split()[-1].removeprefix("http://").rpartition(":")
        yield process, host, int(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_SECONDS_MAX)
        assert process.stdout is not None
        process.stdout.close()


def request_head(host: str, port: int, token: str, *, body_bytes: int, content_type: str, path: str = PATH) -> bytes:
    """The head of an HTTP request that appends a body of this size."""
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {host}:{port}",
        f"Authorization: Bearer {token}",
        f"Content-Type: {content_type}",
        f"Content-Length: {body_bytes}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all its threads so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "graven", *arguments]


def graven(*arguments: str) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=WAIT_SECONDS_MAX, check=False)
    if done.returncode:
        raise NotMeasuredError(f"graven {arguments[0]} failed: {done.stderr[-300:]}")
    return done.stdout.strip()


def _wait(what: str, done: Callable[[], bool]) -> None:
    end = monotonic() + WAIT_SECONDS_MAX
    while not done():
        if monotonic() > end:
            raise NotMeasuredError(f"the server did not {what} within {WAIT_SECONDS_MAX:g} s")
        sleep(0.02)
