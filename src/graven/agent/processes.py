"""Sources that are the output of a program: journald through journalctl, any command, and standard input.

A thread reads lines into a bounded queue; when the spool is full nobody takes from it, the pipe fills, and the program
waits. A program that ends is started again after a pause. The journal has a cursor with each entry, so journalctl goes
on exactly where the last spooled entry stood; a command's output has none, so lines that were read and not yet spooled
are lost when the agent is killed.
"""

import contextlib
import logging
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any

from graven.agent.config import CommandConfig, JournaldConfig
from graven.agent.followed import LINE_BYTES_MAX
from graven.agent.source import Taken

QUEUE_LINES_MAX = 4_096
RESTART_S = 1.0

_CURSOR = re.compile(rb'"__CURSOR"\s*:\s*"([^"\\]{1,512})"')
_LOGGER = logging.getLogger("graven.agent")


class LineReader:
    """The lines of a program's output, read on a thread.

    `start` is asked for the arguments at each start, given the last line that was read. `whole` leaves out a last line
    without its end, which a program that was killed leaves behind.
    """

    def __init__(
        self, name: str, start: Callable[[bytes], Sequence[str]], *, restart_s: float, whole: bool = False
    ) -> None:
        self._name, self._start, self._restart_s, self._whole = name, start, restart_s, whole
        self._last = b""
        self._lines: queue.Queue[bytes] = queue.Queue(QUEUE_LINES_MAX)
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"graven-agent-{name}", daemon=True)
        self._thread.start()

    def take(self, bytes_max: int) -> list[bytes]:
        lines: list[bytes] = []
        while bytes_max > 0:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            lines.append(line)
            bytes_max -= len(line)
        return lines

    def close(self) -> None:
        self._stop.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
        with contextlib.suppress(queue.Empty):
            while True:
                self._lines.get_nowait()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the configuration says what to run
                    list(self._start(self._last)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                _LOGGER.error("%s cannot be started: %s", self._name, error.strerror)
            else:
                with self._process as process:
                    assert process.stdout is not None
                    read_lines(process.stdout, self._put, whole=self._whole)
                    if self._stop.is_set():
                        process.kill()
                if not self._stop.is_set():
                    _LOGGER.warning("%s ended with %s; it is started again", self._name, process.returncode)
            self._stop.wait(self._restart_s)

    def _put(self, line: bytes) -> bool:
        while not self._stop.is_set():
            try:
                self._lines.put(line, timeout=0.2)
                self._last = line
                return True
            except queue.Full:
                continue
        return False


class CommandSource:
    """The output of a command."""

    def __init__(self, config: CommandConfig) -> None:
        self.name = config.name
        self._type = config.type
        self._reader = LineReader(config.name, lambda _: config.argv, restart_s=config.restart_s)

    def take(self, bytes_max: int) -> list[Taken]:
        lines = self._reader.take(bytes_max)
        return [Taken(self._type, {"agent.command": self.name}, lines)] if lines else []

    def close(self) -> None:
        self._reader.close()


class JournaldSource:
    """The journal. A record is an entry as `journalctl -o json` writes it."""

    def __init__(self, config: JournaldConfig, places: Mapping[str, Any]) -> None:
        self.name = config.name
        self._config = config
        self._key = f"journald:{config.name}"
        self._cursor = str(places.get(self._key, {}).get("cursor", ""))
        self._first = self._cursor
        self._reader = LineReader(config.name, self._argv, restart_s=RESTART_S, whole=True)

    def take(self, bytes_max: int) -> list[Taken]:
        lines = self._reader.take(bytes_max)
        if not lines:
            return []
        self._cursor = _cursor_of(reversed(lines)) or self._cursor
        return [Taken("", {}, lines, {self._key: {"cursor": self._cursor}})]

    def close(self) -> None:
        self._reader.close()

    def _argv(self, last: bytes) -> Sequence[str]:
        """From the entry behind the last one that was read; at first, behind the last one that was spooled."""
        cursor = _cursor_of([last]) or self._first
        where = ["--no-tail"] if self._config.start == "beginning" else ["--lines=0"]
        if cursor:
            where = [f"--after-cursor={cursor}", "--no-tail"]
        units = [f"--unit={unit}" for unit in self._config.units]
        return [
            self._config.command, "--output=json", "--all", "--follow", *where, *units, *self._config.arguments
        ]  # fmt: skip


class StdinSource:
    """Standard input. `ended` once it was read to its end and taken."""

    def __init__(self, type_: str, file: IO[bytes] | None = None) -> None:
        self.name = "stdin"
        self._type = type_
        self._lines: queue.Queue[bytes] = queue.Queue(QUEUE_LINES_MAX)
        self._over = threading.Event()
        self._stop = threading.Event()
        self._file = file or sys.stdin.buffer
        threading.Thread(target=self._run, name="graven-agent-stdin", daemon=True).start()

    @property
    def ended(self) -> bool:
        return self._over.is_set() and self._lines.empty()

    def take(self, bytes_max: int) -> list[Taken]:
        lines: list[bytes] = []
        while bytes_max > 0 and not self._lines.empty():
            lines.append(self._lines.get_nowait())
            bytes_max -= len(lines[-1])
        return [Taken(self._type, {}, lines)] if lines else []

    def close(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        def put(line: bytes) -> bool:
            while not self._stop.is_set():
                try:
                    self._lines.put(line, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        read_lines(self._file, put)
        self._over.set()


def read_lines(file: IO[bytes], put: Callable[[bytes], bool], *, whole: bool = False) -> None:
    """Hand every line to `put`, without its end, until it says no. A line beyond the bound is given out in pieces."""
    with contextlib.suppress(OSError, ValueError):
        while line := file.readline(LINE_BYTES_MAX):
            stripped = line[:-1] if line.endswith(b"\n") else line
            if whole and stripped is line and len(line) < LINE_BYTES_MAX:
                return
            if stripped and not put(stripped):
                return


def _cursor_of(lines: Iterable[bytes]) -> str:
    """The first cursor found in these journal entries."""
    return next((found[1].decode() for line in lines if (found := _CURSOR.search(line)) is not None), "")
