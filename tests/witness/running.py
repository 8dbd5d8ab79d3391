"""A witness that runs: in a thread of this process, or as a process of its own."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from graven.witness.serve import Running, serve

STARTED_S_MAX = 90.0


@dataclass(frozen=True)
class Got:
    status: int
    body: bytes
    headers: Mapping[str, str]


class InThread:
    """`with InThread(directory) as witness:` serves; `failure` is what it ended with."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self._running: list[Running] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "InThread":
        self._thread.start()
        assert self._ready.wait(STARTED_S_MAX)
        if self.failure is not None:
            raise self.failure
        self.url = self._running[0].url
        return self

    def __exit__(self, *_: object) -> None:
        self._running[0].stop()
        self.join()

    def join(self) -> None:
        self._thread.join(STARTED_S_MAX)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            serve(self._directory, "127.0.0.1", 0, ready=self._announce)
        except BaseException as error:
            self.failure = error
        finally:
            self._ready.set()

    def _announce(self, running: Running) -> None:
        self._running.append(running)
        self._ready.set()


class InProcess:
    """`graven witness serve`, as people run it. `code` runs in the process before the command does; `under`: the
    command it is run by.
    """

    def __init__(self, directory: Path, code: str = "", under: Sequence[str] = ()) -> None:
        call = f"import sys\n{code}\nfrom graven.cli import graven\ngraven.main(sys.argv[1:])"
        words = [*under, sys.executable, "-c", call, "witness", "serve", str(directory), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": ""},
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.url = self.line.removeprefix("listening on ").strip()

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with what it was run by
        self.process.communicate()


def post(url: str, body: bytes, connection: http.client.HTTPConnection | None = None) -> Got:
    """POST /add-checkpoint. Raises OSError or HTTPException when no answer comes."""
    return ask(url, "POST", "/add-checkpoint", body, connection)


def ask(
    url: str, method: str, path: str, body: bytes | None = None, connection: http.client.HTTPConnection | None = None
) -> Got:
    connection_ = connection or http.client.HTTPConnection(urlsplit(url).netloc, timeout=180)
    try:
        connection_.request(method, path, body)
        answer = connection_.getresponse()
        return Got(answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()})
    finally:
        if connection is None:
            connection_.close()
