"""kill -9 of an agent with doors, and of the server behind it: what was answered is in the log once, whatever happened.

Syslog answers nothing: there, what may be missing is what was written to a connection that ended, and nothing else.
"""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.ports import free_port

from agent.agents import check_log, raws, records, wait_for
from agent.test_killed import enrol, served, start_agent
from client.process import ServedLog

SECRET = "a-secret-of-32-characters-or-more"
CONFIG = """server = "{url}"
state = "state"
name = "host-1"
heartbeat_s = 1
[batch]
linger_ms = 10
[[http]]
name = "http"
listen = "127.0.0.1:{port}"
token_file = "token"
[[syslog]]
name = "unix"
socket = "log.sock"
"""


@dataclass
class Host:
    """An agent that is killed and started again."""

    folder: Path
    log: ServedLog
    port: int
    agent: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.agent = start_agent(self.folder / "agent.toml")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with served(tmp_path) as log:
        port = free_port()
        (tmp_path / "token").write_text(SECRET)
        (tmp_path / "token").chmod(0o600)
        config = tmp_path / "agent.toml"
        config.write_text(CONFIG.format(url=log.url, port=port))
        enrol(log, config)
        host = Host(tmp_path, log, port, start_agent(config))
        try:
            yield host
        finally:
            host.agent.send_signal(signal.SIGTERM)
            assert host.agent.wait(90) == 0


@dataclass
class Poster:
    """A client that sends each request until it is answered, as shippers do."""

    port: int
    stop: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    tries: int = 0

    def run(self) -> None:
        while not self.stop.is_set():
            event = {"event": {"action": "file.read", "data": {"n": self.sent}}, "time": 1_700_000_000 + self.sent}
            while not self._post(json.dumps(event).encode()):
                time.sleep(0.02)
            self.sent += 1

    def _post(self, body: bytes) -> bool:
        self.tries += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/services/collector", body, {"Authorization": f"Splunk {SECRET}"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def test_killed_on_both_sides(host: Host) -> None:
    check_answered(host)
    check_unanswered(host)
    check_log(host.log.directory)


def check_answered(host: Host) -> None:
    """What was answered is in the log once."""
    poster = Poster(host.port)
    thread = threading.Thread(target=poster.run, daemon=True)
    thread.start()
    for number in range(3):
        before = poster.sent
        wait_for(lambda before=before: poster.sent > before + 15)  # type: ignore[misc]
        if number == 1:
            host.log.kill()
        host.kill()
        if number == 1:
            wait_for(lambda before=poster.sent: poster.sent > before + 15)  # type: ignore[misc]
            host.log.start()
    poster.stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert poster.tries > poster.sent  # something was cut
    wait_for(lambda: len(numbers(host)) >= poster.sent)
    assert numbers(host) == list(range(poster.sent))


def check_unanswered(host: Host) -> None:
    """A datagram is the kernel's until the agent reads it, and the agent's until it is spooled: both end with it."""
    path = str(host.folder / "log.sock")
    wait_for((host.folder / "log.sock").exists)
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                while True:
                    with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                        sender.connect(path)
                        sender.send(b"<13>app: %06d" % sent)
                        break
                    time.sleep(0.01)  # as the C library does: the daemon is away
                sent += 1

    send(200)
    wait_for(lambda: len(raws(host.log.directory)) == 200)
    send(200)
    settled = len(raws(host.log.directory))
    host.kill()
    send(200)
    wait_for(lambda: raws(host.log.directory)[-1:] == [b"<13>app: 000599"])
    found = [int(raw[9:15]) for raw in raws(host.log.directory)]
    assert found == sorted(set(found))  # none doubled, in order
    missing = set(range(sent)) - set(found)
    assert all(settled <= number < 400 for number in missing)  # only what nobody had kept when it died


def numbers(host: Host) -> list[int]:
    found = [event["data"]["n"] for event, _ in records(host.log.directory) if event["action"] == "file.read"]
    return sorted(found)
