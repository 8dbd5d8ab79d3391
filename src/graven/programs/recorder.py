"""`Recorder`: what a program calls to record an event, and what happens to it then.

    record() ─ validated ─► queue in memory ─ thread ─► spool on disk ─ thread ─► server, the same ids till it answers

`record` never waits for disk or network. The queue and the spool are bounded; what does not fit is counted, and an
event says how many were lost as soon as there is room again: a program that must not go on without its record uses
`graven.client.Client.append`, which returns when the log has it.

A directory serves several processes: each takes a slot of its own, with what a process that died left in it. After a
fork the child takes another slot by itself.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from graven.agent.spool import Batch, Spool
from graven.client import Client
from graven.client.outgoing import OneEvent, prepare
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.statement import NO_BATCH
from graven.event import Refusal
from graven.log.lock import Lock, Locked
from graven.runtime.files import Files, LocalFiles, make_dir, make_dirs

SLOTS_MAX = 256
LOST_ACTION = "graven.program.lost"

_BATCH_EVENTS = 500
_PAUSE_S, _PAUSE_S_MAX = 0.2, 30.0
_KEEP_S_MAX = 30.0  # how long a close waits for the disk
_STOP_S_MAX = 3.0  # and for a request that is under way
_LOGGER = logging.getLogger("graven.programs")


class Recorder:
    """Records events in the background. Threads may share it; forks are fine. Close it, or let the program's end do so.

    `directory`: for the spool, on a disk that lasts; `spool_bytes_max` bounds it, `queue_events_max` the queue in
    memory. `url`, `token` or `token_file`, `vkey` and further arguments are those of `graven.client.Client`.

    Raises:
        BadInput: an argument that cannot be used. Broken: the directory cannot be used, or all its slots are taken.
    """

    def __init__(
        self,
        url: str,
        *,
        vkey: str | Sequence[str],
        directory: str | Path,
        token: str | None = None,
        token_file: str | Path | None = None,
        spool_bytes_max: int = 256 << 20,
        queue_events_max: int = 10_000,
        linger_ms: int = 200,
        **client: Any,
    ) -> None:
        if queue_events_max < 1 or spool_bytes_max < 1 << 16:
            raise BadInput("a bound that leaves nothing", mend="queue_events_max ≥ 1, spool_bytes_max ≥ 65536")
        self._directory = Path(directory).absolute()
        self._spool_bytes_max, self._queue_events_max, self._linger_s = (
            spool_bytes_max, queue_events_max, linger_ms / 1000
        )  # fmt: skip
        self._client = {"url": url, "vkey": vkey, "token": token, "token_file": token_file, **client}
        self._starting = threading.Lock()
        self._pid = os.getpid()
        self._running: _Running | None = self._start()
        atexit.register(self._close_at_exit)

    def record(self, event: OneEvent) -> str:
        """Take one event; returns its id. Does not wait.

        Raises BadInput when it is not in the model. An event that finds no room is counted in `lost`.
        """
        data, id_ = prepare(event)
        self._current().put(data)
        return id_

    def note_fault(self, fault: Exception) -> None:
        """An event could not even be made: said in the program's own log, and counted as lost."""
        _LOGGER.error("an audit event could not be made: %s: %s", type(fault).__name__, fault)
        self._current().lost += 1

    @property
    def lost(self) -> int:
        """Events that found no room, in this process."""
        return self._current().lost

    @property
    def trouble(self) -> GravenError | None:
        """Why nothing gets through at the moment; None while it does."""
        return self._current().trouble

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until the log has everything recorded so far in this process. Raises Busy when time is up."""
        self._current().flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Spool what was recorded, and give sending so much time; the rest is sent by the next process.

        What the disk did not take within half a minute, or has no room for, is lost, and logged.
        """
        if self._running is not None and self._pid == os.getpid():
            atexit.unregister(self._close_at_exit)
            running, self._running = self._running, None
            running.close(timeout_s)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _close_at_exit(self) -> None:
        with contextlib.suppress(GravenError):
            self.close()

    def _current(self) -> "_Running":
        """What works in this process: after a fork, something new."""
        if self._pid != os.getpid():
            if self._running is not None:
                self._running.forget()
            self._starting = threading.Lock()
            self._running, self._pid = self._start(), os.getpid()
        running = self._running
        if running is None:
            raise BadInput("this recorder is closed", mend="make a new one")
        return running

    def _start(self) -> "_Running":
        with self._starting:
            return _Running(
                self._directory, Client(**self._client),
                spool_bytes_max=self._spool_bytes_max, queue_events_max=self._queue_events_max, linger_s=self._linger_s,
            )  # fmt: skip


class _Running:
    """The queue, the spool and the two threads of one process."""

    def __init__(
        self, directory: Path, client: Client, *, spool_bytes_max: int, queue_events_max: int, linger_s: float
    ) -> None:
        files = LocalFiles()
        self._lock, slot = _take_slot(files, directory)
        self._client, self._linger_s = client, linger_s
        self._queue_events_max = queue_events_max
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self._recorded = self._spooled = 0
        self._closing = self._stopped = False
        self._working = 2  # threads
        self.lost = self._lost_told = 0
        self.trouble: GravenError | None = None
        try:
            self._spool = Spool(files, slot, bytes_max=spool_bytes_max)
        except BaseException:
            self._lock.release()
            raise
        self._threads = [
            threading.Thread(target=self._run, args=(self._keep,), name="graven-recorder-spool", daemon=True),
            threading.Thread(target=self._run, args=(self._send,), name="graven-recorder-send", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, event: bytes) -> None:
        with self._changed:
            if len(self._queue) >= self._queue_events_max:
                self.lost += 1
                return
            self._queue.append(event)
            self._recorded += 1
            if len(self._queue) == 1:
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            target = self._recorded
            self._changed.notify_all()
        while self._spooled < target or self._spool.waiting_bytes:
            if time.monotonic() >= deadline:
                raise Busy("not everything is sent yet", place=str(self.trouble or ""), mend="it stays in the spool")
            time.sleep(0.01)

    def close(self, timeout_s: float) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._threads[0].join(_KEEP_S_MAX)
        if self._queue:
            _LOGGER.error("%d events are lost at the end: they could not be kept", len(self._queue))
        with contextlib.suppress(Busy):
            self.flush(timeout_s)
        self._stopped = True
        self._spool.wake()
        with self._changed:
            self._changed.notify_all()
        self._threads[1].join(_STOP_S_MAX)
        with contextlib.suppress(GravenError):
            self._client.close(0)

    def forget(self) -> None:
        """Let go of what a fork brought along: it is the parent's, which goes on with it."""
        self._spool.close()
        self._lock.release()

    def _run(self, work: Callable[[], None]) -> None:
        """A thread. The last to end lets go of the slot: while one is at work, it is nobody else's."""
        try:
            work()
        finally:
            with self._changed:
                self._working -= 1
                is_last = not self._working
            if is_last:
                self._spool.close()
                self._lock.release()

    def _keep(self) -> None:
        """From the queue to the spool."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing, 1.0)
                if self._queue and not self._closing and len(self._queue) < _BATCH_EVENTS:
                    self._changed.wait(self._linger_s)
                batch = self._queue[:_BATCH_EVENTS]
                if not batch and self._closing:
                    return
            if not batch and self.lost == self._lost_told:
                continue
            if not self._spool.has_room or not self._put(batch):
                if self._closing:
                    return  # a full disk, and the program ends
                time.sleep(_PAUSE_S)

    def _put(self, batch: list[bytes]) -> bool:
        lost = self.lost
        told = [self._lost_event(lost - self._lost_told)] if lost > self._lost_told else []
        body = msgspec.msgpack.encode([*batch, *told])
        try:
            self._spool.put(Batch(b"", body, len(batch) + len(told), NO_BATCH, NO_BATCH, {}))
        except Busy as error:
            self.trouble = error
            return False
        except Broken as error:
            self.trouble = error
            _LOGGER.error("events cannot be kept: %s", error)
            return False
        self._lost_told = lost
        with self._changed:
            del self._queue[: len(batch)]
            self._spooled += len(batch)
        return True

    def _lost_event(self, count: int) -> bytes:
        return prepare({"action": LOST_ACTION, "category": "system", "count": count, "outcome": "failure"})[0]

    def _send(self) -> None:
        """From the spool to the server, in order; the same bytes until it answers."""
        pause_s = _PAUSE_S
        while not self._stopped:
            found = self._spool.first(wait_s=0.5)
            if found is None:
                continue
            sequence, batch = found
            try:
                self._deliver(msgspec.msgpack.decode(batch.body, type=list[bytes]))
            except (GravenError, OSError) as error:
                self.trouble = error if isinstance(error, GravenError) else Broken(f"sending failed: {error}")
                log = _LOGGER.error if isinstance(error, (BadInput, Disproved)) else _LOGGER.warning
                log("events wait: %s", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped, pause_s)
                pause_s = min(_PAUSE_S_MAX, 2 * pause_s)
                continue
            pause_s, self.trouble = _PAUSE_S, None
            self._spool.settle(sequence)

    def _deliver(self, events: list[bytes]) -> None:
        try:
            self._client.append(events)
        except Refusal as error:
            if len(events) == 1:  # it can never be stored: said, and left
                _LOGGER.error("an event is refused, and left out: %s", error)
                return
            self._deliver(events[: len(events) // 2])
            self._deliver(events[len(events) // 2 :])


def _take_slot(files: Files, directory: Path) -> tuple[Lock, Path]:
    """A directory for this process alone: the first that nobody holds. Raises Broken."""
    try:
        make_dirs(files, str(directory), 0o700)
        for number in range(SLOTS_MAX):
            slot = directory / f"slot-{number:03d}"
            make_dir(files, str(slot))
            with contextlib.suppress(Locked):
                return Lock(slot, wait_s=0), slot
    except OSError as error:
        raise Broken("the directory for events cannot be used", place=f"{directory}: {error.strerror}") from None
    raise Broken(f"{SLOTS_MAX} processes use this directory", place=str(directory), mend="give some another one")


def event_fields(given: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """`more`, and what a program gave over it."""
    return {**{key: value for key, value in more.items() if value is not None}, **(given or {})}
