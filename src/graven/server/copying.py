"""The write-once copy beside a server: the process that makes it, watched; and what it says of itself.

    server starts → `graven worm follow` starts, in a process of its own
    it dies → started again after a pause that doubles, up to a minute
    server stops, the log is closed → its standard input is closed → one more round → it ends

The process ends with its standard input, so it never outlives a server that was killed. All that is known of it here is
its state file, as for a follower that runs under a unit of its own.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from graven.app import Log
from graven.config import Config
from graven.runtime.telemetry import Metrics, get_logger
from graven.worm.state import State, describe, lag_events, read_state

FINISH_S = 30.0
PAUSE_S, PAUSE_S_MAX = 1.0, 60.0
_STATE_S = 1.0

logger = get_logger("copying")


class CopyProcess:
    """Runs the follower until `finish`. Where none is configured, or it runs apart, it does nothing."""

    def __init__(self, directory: Path, config: Config, config_file: Path | None = None) -> None:
        wanted = config.worm.store is not None and config.worm.follow == "serve"
        self._words = [sys.executable, "-m", "graven", "worm", "follow", "--dir", str(directory), "--until-stdin-ends"]
        if config_file is not None:
            self._words += ["--config", str(config_file)]
        self._finishing = threading.Event()
        self._one = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="graven-copying", daemon=True) if wanted else None

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def finish(self) -> None:
        """Let it make one more round, and wait for its end; one that takes too long is ended."""
        self._finishing.set()
        with self._one:
            process = self._process
            if process is not None and process.stdin is not None:
                process.stdin.close()
        if self._thread is None or self._thread.ident is None:
            return
        self._thread.join(FINISH_S)
        if self._thread.is_alive() and process is not None:
            logger.warning("the follower of the copy did not end in time")
            process.kill()
            self._thread.join()

    def _run(self) -> None:
        pause_s = PAUSE_S
        while not self._finishing.is_set():
            started_s = time.monotonic()
            with self._one:
                if self._finishing.is_set():
                    return
                self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE)  # noqa: S603 - our own words
            code = self._process.wait()
            if self._finishing.is_set():
                return
            logger.warning("the follower of the copy died", extra={"fields": {"code": code}})
            pause_s = PAUSE_S if time.monotonic() - started_s > PAUSE_S_MAX else min(2 * pause_s, PAUSE_S_MAX)
            self._finishing.wait(pause_s)


class CopyState:
    """What the follower of a log last said, read at most once a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_s = float("-inf")
        self._state: State | None = None

    def now(self) -> State | None:
        if time.monotonic() - self._read_s >= _STATE_S:
            self._state, self._read_s = read_state(self._directory), time.monotonic()
        return self._state


def watch_copy(metrics: Metrics, log: Log) -> None:
    """The copy's numbers: of a log that has a store configured."""
    if log.config.worm.store is None:
        return
    held = CopyState(log.directory)

    def of(number: Callable[[State], float]) -> Callable[[], float]:
        def read() -> float:
            state = held.now()
            return float("nan") if state is None else number(state)

        return read

    watch = metrics.watch
    watch("graven_worm_size", "Entries of the published tree that are in the write-once copy.", of(lambda s: s.size))
    meaning = "Committed events whose frames are not in the write-once copy."
    watch("graven_worm_lag_events", meaning, of(lambda s: lag_events(s, log.size)))
    meaning = "Seconds since the last whole round of copying."
    watch("graven_worm_age_seconds", meaning, of(lambda s: max(0.0, log.clock.now_us() / 1e6 - s.at_s)))
    watch("graven_worm_trouble", "1 while rounds of copying fail.", of(lambda s: float(bool(s.trouble))))
    watch("graven_worm_alarms", "Alarms of the write-once copy.", of(lambda s: len(s.alarms)))
    watch("graven_worm_bytes", "Bytes put into the write-once copy.", of(lambda s: s.bytes))


def copy_status(log: Log) -> dict[str, object] | None:
    """The copy, as a status tells it; None without one."""
    if log.config.worm.store is None:
        return None
    state = read_state(log.directory)
    if state is None:
        return {"store": log.config.worm.store, "trouble": "nothing was copied yet", "alarms": []}
    return describe(state, log.size, log.clock.now_us() // 1_000_000)
