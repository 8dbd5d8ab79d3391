"""Calling programs: `graven` through the zygote, others as they are; servers, started and stopped; HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamper.model import Said, WentWrongError

ROOT = Path(__file__).parents[1]
CALL_S_MAX = 60
START_S_MAX = 40.0


class Graven:
    """`graven WORDS…` as anybody runs it. One for a whole run; close it."""

    def __init__(self, *, bucket: bool = True) -> None:
        """`bucket`: have the libraries for a store at hand, too."""
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        words = [sys.executable, "-m", "tamper.zygote", *(("boto3", "obstore") if bucket else ())]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        self._lock = threading.Lock()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(CALL_S_MAX)
        self._process.stdout.close()

    def ask(self, *words: object, env: Mapping[str, str] | None = None) -> Said:
        """Run a command; whatever it ends with is the answer. An exit code other than 0 alarms its reader."""
        request = {"args": [str(word) for word in words], "env": dict(env or {}), "seconds": CALL_S_MAX}
        with self._lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise WentWrongError("the process that runs commands has died")
        answer = json.loads(line)
        if "Traceback (most recent call last)" in answer["err"]:
            raise WentWrongError(f"graven {words[0]} failed unexpectedly: {answer['err'][-2000:]}")
        return Said(answer["code"], answer["out"] + answer["err"], answer["code"] != 0)

    def run(self, *words: object, env: Mapping[str, str] | None = None) -> str:
        """Run a command that must succeed; what it printed. Raises WentWrongError."""
        said = self.ask(*words, env=env)
        if said.code:
            raise WentWrongError(f"graven {' '.join(map(str, words))} ended with {said.code}: {said.text[-600:]}")
        return said.text


def call(
    words: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: bytes | None = None,
) -> Said:
    """Run another program to its end."""
    done = subprocess.run(
        [str(word) for word in words], input=given, stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True, timeout=CALL_S_MAX, check=False, cwd=cwd, env=os.environ | dict(env or {}),
    )  # fmt: skip
    return Said(done.returncode, (done.stdout + done.stderr).decode(errors="replace"), done.returncode != 0)


def must(words: Sequence[object], **options: object) -> str:
    """Run another program that must succeed."""
    said = call(words, **options)  # type: ignore[arg-type]
    if said.code:
        raise WentWrongError(f"{words[0]} ended with {said.code}: {said.text[-600:]}")
    return said.text


@dataclass
class Server:
    """A process that serves. `said` is its first line of standard output."""

    process: "subprocess.Popen[str]"
    said: str
    errors: Path

    @property
    def url(self) -> str:
        return self.said.split()[-1] if self.said.startswith("listening on http") else ""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and wait; its exit code."""
        if self.alive:
            self.process.send_signal(number)
        try:
            code = self.process.wait(START_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def serve(words: Sequence[object], errors: Path, *, code: str = "", env: Mapping[str, str] | None = None) -> Server:
    """Start `graven WORDS…` and wait for its first line. `code` runs in it first: what its owner changed in it.

    A server that ended without a word is returned too: `said` is empty, and `errors` says why.
    """
    program = f"import sys\n{code}\nfrom graven.cli import main\nmain()"
    with errors.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=file, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(env or {}),
        )  # fmt: skip
    timer = threading.Timer(START_S_MAX, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        return Server(process, process.stdout.readline().strip(), errors)
    finally:
        timer.cancel()


def http(
    url: str, *, token: str = "", body: bytes | None = None, method: str | None = None, timeout_s: float = 20.0
) -> tuple[int, bytes]:
    """Status and body. A status of 0: nobody answered."""
    head = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, body, head, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def until(what: str, done: Callable[[], bool], seconds: float = START_S_MAX) -> None:
    """Wait. Raises WentWrongError when it does not happen."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise WentWrongError(f"it did not happen within {seconds:g} s: {what}")
        time.sleep(0.05)
