"""journald, sshd, sudo and PostgreSQL producing their own lines, an agent that collects them, and everything killed.

Between a daemon and the log stand a journal or a file, the agent's spool, and the server. The agent and the server are
killed and the wire is cut while the lines are written, and sshd, journald and PostgreSQL themselves between two of
theirs: each stands in the log once.
"""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

import psycopg
import pytest
from lab.ports import free_port

from graven.app import open_view
from ingest.postgres_server import crash as crash_postgres
from ingest.postgres_server import serve as serve_postgres
from senders import ground as grounds
from senders.ground import Ground, wait_for
from senders.hosted import Agent, open_host, open_sshd

COUNT = 60

pytestmark = pytest.mark.slow


def produce(
    ground: Ground, agent: Agent, one: Callable[[int], None], kill_daemons: Sequence[Callable[[], None]]
) -> None:
    """COUNT events, while agent, daemons and server are killed and the wire is cut.

    A daemon that has a line has not written it yet: daemons are killed when theirs are in the log.
    """
    for number in range(COUNT):
        one(number)
        if number in (COUNT // 6, COUNT // 2):
            agent.kill()
        if number == COUNT // 3:
            ground.kill_server()
        if number in (COUNT // 4, 3 * COUNT // 4):
            ground.http.down(0.3)
        if number == 2 * COUNT // 3:
            for kill in kill_daemons:
                ground.wait_for_all(number + 1)
                kill()


def test_sshd_and_sudo_through_journald(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        grounds, "MARKER", re.compile(rb'"MESSAGE":"(?:Invalid user u(?=\d{5} from)| *root : .*true u)(\d{5})')
    )
    port = free_port()
    with open_host(ground.folder / "host") as host, open_sshd(host, port):
        wait_for(lambda: answers(port), lambda: (host.folder / "out").read_text()[-500:])
        source = f'[[journald]]\narguments = ["--directory={host.journal}"]\n'
        agent = Agent(ground, source)

        def one(number: int) -> None:
            if number % 2:
                host.say(f"sudo -n -u nobody /bin/true u{number:05d}")
                time.sleep(0.05)
            else:
                log_in(port, f"u{number:05d}")

        kill_daemons = [
            lambda: host.kill("sshd", lambda: answers(port)), lambda: host.kill("journald", host.takes_syslog)
        ]  # fmt: skip
        produce(ground, agent, one, kill_daemons)
        ground.wait_for_all(COUNT)
        found = [raw for raw in raws(ground) if grounds.MARKER.search(raw)]
    assert {b"sshd", b"sudo"} == {
        match[1] for raw in found if (match := re.search(rb'"SYSLOG_IDENTIFIER":"(\w+)"', raw))
    }
    ground.check_each_once(COUNT)


def test_postgresql_with_pgaudit(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounds, "MARKER", re.compile(rb"AUDIT: SESSION.*INSERT INTO kept VALUES \('u(\d{5})'\)"))
    with serve_postgres() as (dsn, logs):
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute("CREATE EXTENSION pgaudit")
            db.execute("CREATE TABLE kept (marker text)")
        agent = Agent(ground, f'[[files]]\nname = "postgres"\npaths = ["{logs}/server.json"]\ntype = "postgresql"\n')
        produce(ground, agent, lambda number: insert(dsn, number), [lambda: crash_postgres(logs)])
        ground.wait_for_all(COUNT)
    ground.check_each_once(COUNT)


def insert(dsn: str, number: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(f"INSERT INTO kept VALUES ('u{number:05d}')".encode())


def log_in(port: int, user: str) -> None:
    """A log-in that fails: there is no such user."""
    subprocess.run(
        ["ssh", "-p", str(port), "-l", user, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10", "127.0.0.1", "true"],
        check=False, capture_output=True, timeout=180,
    )  # fmt: skip


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def raws(ground: Ground) -> list[bytes]:
    with open_view(ground.log.directory) as view:
        return [record.raw for record in view.reader.records(0, view.size) if record.raw is not None]
