"""kill -9 of the agent and of the server, and connections cut in the middle: every line once, in order, verified."""

import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.agents import WAIT_S_MAX, check_log, raws, wait_for
from client.process import ServedLog, command, run
from graven.agent.status import STATUS_FILE, read_status

LINES = 3_000


class Proxy:
    """A TCP proxy that cuts connections after some bytes, either way, as long as `cutting` is set."""

    def __init__(self, target: tuple[str, int], chance: random.Random) -> None:
        self.target, self.cutting, self.cuts = target, True, 0
        self._chance = chance
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self.target) as server:
            limit = self._chance.choice([300, 2_500, 4_000, 9_000, 20_000]) if self.cutting else 1 << 30
            there = threading.Thread(target=self._pump, args=(client, server, limit), daemon=True)
            there.start()
            self._pump(server, client, limit)
            there.join()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        with suppress(OSError):
            while limit > 0 and (data := source.recv(min(4096, limit))):
                sink.sendall(data)
                limit -= len(data)
            if limit <= 0:
                self.cuts += 1
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def served(folder: Path) -> Iterator[ServedLog]:
    log = ServedLog.create(folder / "log")
    log.start()
    try:
        yield log
    finally:
        log.end()


def configure(folder: Path, url: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'server = "{url}"\nstate = "state"\nname = "host-1"\nheartbeat_s = 1\n[batch]\nrecords = 40\nlinger_ms = 10\n'
        f'[[files]]\nname = "app"\npaths = ["{folder}/app.log*"]\n'
    )
    return path


def enrol(log: ServedLog, config: Path) -> None:
    token = run("token", "create", "--dir", str(log.directory), "--name", "join", "--scope", "enrol").stdout
    (config.parent / "join").write_text(token)
    run("agent", "enrol", "--config", str(config), "--token-file", str(config.parent / "join"))


def start_agent(config: Path) -> subprocess.Popen[bytes]:
    """Begin, without waiting; once it has a status it hears signals."""
    (config.parent / "state" / STATUS_FILE).unlink(missing_ok=True)
    with (config.parent / "agent.log").open("ab") as log:
        return subprocess.Popen(command("agent", "run", "--config", str(config)), stderr=log, stdout=log)


def line(number: int) -> bytes:
    return b"2026-03-01T08:30:00Z line %06d of the application" % number


class Writer:
    """Writes and rotates while everything else is killed."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self._path, self._chance, self._rotated = path, chance, 0
        self.number = 0

    def write(self, count: int) -> None:
        with self._path.open("ab", buffering=0) as file:
            for _ in range(count):
                data = line(self.number) + b"\n"
                half = self._chance.randint(0, len(data))
                file.write(data[:half])
                file.write(data[half:])
                self.number += 1
        if self._chance.random() < 0.2:
            self._rotated += 1
            self._path.rename(f"{self._path}.{self._rotated}")


def test_killed_at_random_on_both_sides(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rounds = 4
    chance = random.Random(11)
    with served(tmp_path) as log:
        config = configure(tmp_path, log.url)
        enrol(log, config)
        writer = Writer(tmp_path / "app.log", chance)
        agent = start_agent(config)
        try:
            for number in range(rounds):
                writer.write(LINES // rounds)
                victim = chance.random()
                with suppress(subprocess.TimeoutExpired):
                    agent.wait(chance.uniform(0.3, 1.2))
                if victim < 0.7 or number == 0:
                    agent.kill()
                    agent.wait()
                    agent = start_agent(config)
                if victim > 0.4 or number == 1:
                    log.kill()
                    log.start()
            wait_for(lambda: _is_done(config, log, writer.number))
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(90) == 0
    found = raws(log.directory)
    assert sorted(found) == [line(number) for number in range(writer.number)]
    check_log(log.directory)


def test_connections_cut_anywhere(tmp_path: Path) -> None:
    chance = random.Random(5)
    with served(tmp_path) as log:
        host, port = log.url.removeprefix("http://").split(":")
        proxy = Proxy((host, int(port)), chance)
        config = configure(tmp_path, log.url)
        enrol(log, config)
        configure(tmp_path, f"http://127.0.0.1:{proxy.port}")
        writer = Writer(tmp_path / "app.log", chance)
        agent = start_agent(config)
        try:
            until_s = time.monotonic() + WAIT_S_MAX
            while proxy.cuts < 5:
                assert time.monotonic() < until_s
                if writer.number < 60_000:
                    writer.write(200)
                with suppress(subprocess.TimeoutExpired):
                    agent.wait(0.1)
            proxy.cutting = False
            wait_for(lambda: _is_done(config, log, writer.number))
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(90) == 0
            proxy.close()
    assert sorted(raws(log.directory)) == [line(number) for number in range(writer.number)]
    check_log(log.directory)


def _is_done(config: Path, log: ServedLog, lines: int) -> bool:
    """Whether the log holds so many lines."""
    status = read_status(config.parent / "state")
    return status is not None and not status["waiting_bytes"] and len(raws(log.directory)) >= lines
