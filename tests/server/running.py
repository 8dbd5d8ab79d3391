"""A real server for a test: in a thread of this process, on a free port, over a log of its own."""

import base64
import errno
import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from graven.app import create_log
from graven.config import Config, load_config
from graven.core.note import Key, parse_vkey
from graven.journal.files import Files
from graven.server.control_client import ControlClient
from graven.server.serve import Running, run
from recording import Recorder

ORIGIN = "example.com/served"
STARTED_S_MAX = 90.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]


class Server:
    """`with Server(directory) as server:` serves; the log is made if there is none."""

    def __init__(
        self, directory: Path, config: Config | None = None, files: Files | None = None, lock_wait_s: float = 60.0
    ) -> None:
        if not directory.exists():
            create_log(directory, origin=ORIGIN)
        self.directory = directory
        self.control = ControlClient(directory)
        self.failure: BaseException | None = None
        self._ready = threading.Event()
        self._running: list[Running] = []
        self._thread = threading.Thread(
            target=self._run, args=(config or load_config(directory / "graven.toml"), files, lock_wait_s), daemon=True
        )

    def __enter__(self) -> "Server":
        self.start()
        assert self._ready.wait(STARTED_S_MAX)
        if self.failure is not None:
            raise self.failure
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin, without waiting."""
        self._thread.start()

    def stop(self, reason: str = "SIGTERM") -> None:
        """Tell it to stop, and wait until it has."""
        for running in self._running:
            running.stop(reason)
        self._thread.join(90)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return self._running[0].url

    @property
    def syslog(self) -> list[tuple[str, int]]:
        """Where it takes syslog: UDP and TCP, then TLS, as configured."""
        found = [urlsplit(url) for url in self._running[0].syslog]
        return [(str(parts.hostname), int(parts.port or 0)) for parts in found]

    @property
    def size(self) -> int:
        """How many entries are committed."""
        return int(self.ask("GET", "/api/v1/status").json()["size"])

    def wait_for(self, size: int) -> None:
        """Wait until so many entries are committed."""
        until_s = time.monotonic() + STARTED_S_MAX
        while self.size < size:
            assert time.monotonic() < until_s, f"{self.size} entries of {size}"
            time.sleep(0.01)

    def stored(self, token: str, start: int = 0) -> list[Any]:
        """What is in the log from `start` on: the answers of the API."""
        return [self.ask("GET", f"/api/v1/events/{index}", token=token).json() for index in range(start, self.size)]

    def raws(self, token: str, start: int = 0) -> list[bytes]:
        """The raws from `start` on, of the events that have one."""
        return [base64.b64decode(one["raw"]) for one in self.stored(token, start) if one["raw"] is not None]

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def keys(self) -> list[Key]:
        """The log's public keys."""
        return [parse_vkey(vkey) for vkey in load_config(self.directory / "graven.toml").vkeys]

    def token(self, *scopes: str, name: str = "web") -> str:
        """The secret of a new token."""
        return str(self.control.create_token(name, scopes or ("ingest", "read"))["secret"])

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        connection = http.client.HTTPConnection(*self.address, timeout=180)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
        finally:
            connection.close()

    def append(self, body: bytes, token: str, query: str = "", **headers: str) -> Answer:
        """POST /api/v1/events."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.ask("POST", f"/api/v1/events{query}", body, token=token, headers=named)

    def _run(self, config: Config, files: Files | None, lock_wait_s: float) -> None:
        def ready(running: Running) -> None:
            self._running.append(running)
            self._ready.set()

        try:
            run(self.directory, config, listen="127.0.0.1:0", ready=ready, files=files, lock_wait_s=lock_wait_s)
        except BaseException as error:
            self.failure = error
        finally:
            self._ready.set()


class GatedFiles(Recorder):
    """A disk whose journal stands still while the gate is shut, and fails once it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self._held = threading.Event()

    def shut(self) -> None:
        """From now on what is committed stands before the gate."""
        self._held.clear()
        self.gate.clear()

    def wait_until_held(self) -> None:
        """Until the first stands there: its block is written, and not synced yet."""
        assert self._held.wait(STARTED_S_MAX)

    def step(self, word: str) -> None:
        if word.startswith("sync ") and word.endswith(".seg"):
            if not self.gate.is_set():
                self._held.set()
            assert self.gate.wait(STARTED_S_MAX)
            if self.broken:
                raise OSError(errno.EIO, "the disk is gone")
