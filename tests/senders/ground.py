"""Where real senders are tried: a server that is killed, a wire that is cut, and a judge who counts.

Every event has a marker of its own, `u<number>`; the judge looks for each in the log, verifies the whole log, and says
which came, which came twice, and which are missing.
"""

import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.ports import free_port

from agent.agents import check_log
from client.process import ServedLog
from graven.app import open_view
from server.certificates import Authority

WAIT_S_MAX = 200.0
MARKER = re.compile(rb"\bu(\d{5})\b")
ROOT = Path(__file__).parents[2]


class Wire:
    """A TCP proxy to `target`. `cut` drops every connection as it is, in the middle of whatever it carries; while it is
    `down` nobody gets through.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.cuts = target, 0
        self._down = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Both ends see their connections reset; what was on its way is gone."""
        with self._lock:
            open_, self._open = self._open, set()
        for one in open_:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.cuts += bool(open_)

    def down(self, seconds: float) -> None:
        """No network for a while."""
        self._down = True
        self.cut()
        time.sleep(seconds)
        self._down = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._down:
                    client.close()
                else:
                    threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        there = threading.Thread(target=self._pump, args=(client, server), daemon=True)
        there.start()
        self._pump(server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(4096):
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@dataclass
class Verdict:
    """What the judge found of the events 0 … sent - 1: in order of arrival, which came twice, which are missing."""

    arrived: list[int]
    doubled: list[int]
    missing: list[int]


@dataclass
class Ground:
    """A log, its server, and the wires to it."""

    folder: Path
    log: ServedLog
    syslog: Wire
    tls: Wire
    http: Wire
    certificates: Authority
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.port}"

    def kill_server(self) -> None:
        """kill -9, and up again."""
        self.log.kill()
        self.log.start()

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """A sender, killed at the end if it is still there."""
        with (self.folder / "senders.log").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=variables or None)
        self.programs.append(process)
        return process

    def markers(self) -> list[int]:
        """The marker of every event in the log, in its order: of its raw, or of itself."""
        with open_view(self.log.directory) as view:
            found = []
            for record in view.reader.records(0, view.size):
                if (marker := MARKER.search(record.raw or record.event or b"")) is not None:
                    found.append(int(marker[1]))
            return found

    def judge(self, sent: int) -> Verdict:
        """Stop the server, verify the whole log, count; and say it, for `pytest -rA`."""
        took_s = time.monotonic() - self.began_s
        self.log.end()
        check_log(self.log.directory)
        arrived = self.markers()
        counted = Counter(arrived)
        assert set(counted) <= set(range(sent))
        doubled = sorted(n for n, c in counted.items() if c > 1)
        missing = sorted(set(range(sent)) - set(counted))
        print(f"sent {sent}, stored {len(arrived)}, twice {runs(doubled)}, missing {runs(missing)}, {took_s:.1f} s")
        return Verdict(arrived, doubled, missing)

    def check_each_once(self, sent: int) -> None:
        """Every event of the sender's, once, in a log that verifies."""
        verdict = self.judge(sent)
        assert (verdict.missing, runs(verdict.doubled)) == ([], [])

    def wait_for_all(self, sent: int) -> None:
        """Until all of them are in the log."""
        wait_for(
            lambda: len(set(self.markers())) >= sent,
            lambda: f"missing {runs(sorted(set(range(sent)) - set(self.markers())))}",
        )


def wait_for(true: Callable[[], object], what: Callable[[], str] = str, *, wait_s: float = WAIT_S_MAX) -> None:
    deadline = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < deadline, f"waited in vain: {what()[:500]}"
        time.sleep(0.1)


def wait_quiet(count: Callable[[], int], *, quiet_s: float = 3.0) -> None:
    """Until nothing more comes for so long."""
    seen, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < quiet_s:
        if (now := count()) != seen:
            seen, since_s = now, time.monotonic()
        time.sleep(0.2)


@contextmanager
def open_ground(folder: Path) -> Iterator[Ground]:
    """A new log behind wires; the server has the same ports every time it starts."""
    folder.mkdir(exist_ok=True)
    log = ServedLog.create(folder / "log")
    authority = Authority(folder / "certificates")
    certificate, key = authority.issue("server", "localhost")
    authority.issue("web1", "web1.example.com")
    plain, secure = free_port(), free_port()
    config = log.directory / "graven.toml"
    syslog = (
        f'[syslog]\nlisten = "127.0.0.1:{plain}"\ntls_listen = "127.0.0.1:{secure}"\ntls_cert = "{certificate}"\n'
        f'tls_key = "{key}"\ntls_client_ca = "{authority.ca}"\n'
    )
    config.write_text(config.read_text().replace("[syslog]\n", syslog))
    log.start()
    host, _, port = log.url.removeprefix("http://").rpartition(":")
    wires = [Wire((host, number)) for number in (plain, secure, int(port))]
    ground = Ground(folder, log, wires[0], wires[1], wires[2], authority)
    try:
        yield ground
    finally:
        for program in ground.programs:
            if program.poll() is None:
                program.send_signal(signal.SIGKILL)
                program.wait()
        for wire in wires:
            wire.close()
        log.end()


def program(name: str, *places: Path) -> str:
    """Where a program is, or a skip that names it."""
    found = next((one for one in places if one.exists()), None)
    if found is None:
        pytest.skip(f"{name} is not installed: scripts/apt.sh")
    return str(found)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, first and last of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found
