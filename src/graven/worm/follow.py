"""The follower: copies what is new of a log into a write-once store, round by round.

    description, small files → full tiles and bundles; beside them closed segments, read back, and open frames
    → the edge of the published tree → its checkpoint, last

So a checkpoint in the store says that everything below it was there before. The cursor is the size and root of the
last one. A cursor that is not this log's tree is an alarm, and nothing more is copied: what is locked is the truth
about the past, and is never gone round.

The newest edge and the newest checkpoint lie under a short lock, lengthened until a newer checkpoint is there; so do
frames of the open segment (`segments`). How objects are put, and what a taken name means, is in `placing`. The follower
never deletes anything and needs no right to.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import Key
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.runtime.files import Files, LocalFiles
from graven.runtime.telemetry import get_logger
from graven.worm import layout
from graven.worm.lengthen import lengthen
from graven.worm.material import Material, hour_of
from graven.worm.opening import open_copy, read_full_lock
from graven.worm.placing import Placing
from graven.worm.retention import Retention
from graven.worm.segments import SegmentCopies
from graven.worm.state import LOCK_FILE, Held, State, read_state, trouble_of, write_state
from graven.worm.store import Store, end_of_day

SWEEP_THREADS = 8
FULL_LOCK_POLL_S = 30
SMALLS_S = 20
_PAUSE_S, _POLL_S = 0.05, 0.25
_BATCH = 1024

logger = get_logger("worm")
Tell = Callable[[str, Mapping[str, object]], None]
"""Told of an alarm: what, and where."""


class _Stopped(Broken):
    """The round ends here, and is done again by the next."""


class Follower:
    """Follows one log into one store. One a directory; close it."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        keys: Sequence[Key],
        *,
        log_id: str,
        retention: Retention | None = None,
        clock: Clock | None = None,
        files: Files | None = None,
        tell: Tell | None = None,
        stop: threading.Event | None = None,
        keys_now: Callable[[], Sequence[Key]] | None = None,
    ) -> None:
        """`keys` are the log's public keys; `keys_now` says what they are after a rotation.

        Raises:
            BadInput: another follower has this log; the store is not write-once, or holds the copy of another log.
        """
        self._directory, self._store, self._log_id = directory, store, log_id
        self._retention, self._clock, self._files = (
            retention or Retention(),
            clock or SystemClock(),
            files or LocalFiles(),
        )
        self._tell, self._stop = tell or (lambda _what, _fields: None), stop or threading.Event()
        self._origin, self._keys = keys[0].name, tuple(keys)
        self.material = Material(directory, keys, keys_now)
        self._lock = _lock(directory)
        self._placing = Placing(store, self._alarm, self._check_stop)
        self._segments = SegmentCopies(
            self.material, store, self._placing, until=self._until_classes, open_days=self._retention.open_days,
            check_stop=self._check_stop,
        )  # fmt: skip
        self._beside = ThreadPoolExecutor(1, "graven-worm-journal")
        self._sweeper: threading.Thread | None = None
        self._polled_s = self._smalls_s = 0
        try:
            store.check()
            self.state = self._placing.state = self._open_state()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stop.set()
        if self._sweeper is not None:
            self._sweeper.join()
        self._beside.shutdown(wait=True, cancel_futures=True)
        self._placing.close()
        os.close(self._lock)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def round(self) -> bool:
        """Copy what is new. What goes wrong is kept in the state, which is written; whether the round was whole."""
        state = self.state
        try:
            self._round()
            state.trouble, state.at_s = "", self._now_s()
        except Disproved as error:
            state.trouble = trouble_of(error)
            self._alarm(error.what, error.place)
        except _Stopped:
            return False
        except GravenError as error:
            state.trouble = trouble_of(error)
            logger.warning("a round of copying failed", extra={"fields": {"why": state.trouble}})
        except OSError as error:
            state.trouble = f"the disk failed: {error.strerror} ({error.filename})"
        try:
            write_state(self._files, self._directory, state)
        except OSError as error:
            state.trouble = f"the follower's state cannot be written: {error.strerror}"
        return not state.trouble

    def run(self, interval_s: float, last: threading.Event | None = None) -> None:
        """Rounds so many seconds apart until told to stop; `last` asks for one more round, then the end."""
        last = last or threading.Event()
        while not self._stop.is_set():
            started, ending, before = time.monotonic(), last.is_set(), self.state.trouble
            if self.round() and before:
                logger.info("copying again")
            if ending:
                return
            until = max(started + interval_s, time.monotonic() + _PAUSE_S)
            while not (self._stop.is_set() or last.is_set()) and (left := until - time.monotonic()) > 0:
                self._stop.wait(min(left, _POLL_S))

    def wait_for_sweep(self) -> None:
        """Return when the locks were lengthened, if that is under way. Raises Broken: the state cannot be written."""
        if self._sweeper is not None:
            self._sweeper.join()
            try:
                write_state(self._files, self._directory, self.state)
            except OSError as error:
                what = "the follower's state cannot be written"
                raise Broken(what, place=f"{self._directory}: {error.strerror}") from None

    def _round(self) -> None:
        state, now_s = self.state, self._now_s()
        signed = self.material.published()
        size = signed.checkpoint.size
        committed = self.material.committed(size)
        self._check_cursor(signed)
        self._poll_full_lock(now_s)
        tree_until = self._until(now_s, self._retention.tree)
        if now_s - self._smalls_s >= SMALLS_S:
            for small in self.material.smalls():
                if small.name not in state.done:
                    self._placing.put(small.name, small.data, tree_until)
                    state.done.append(small.name)
            self._smalls_s = now_s
        journal = self._beside.submit(self._segments.copy, size, committed, now_s)
        try:
            self._tiles(state.size, size, tree_until)
        finally:
            wait([journal])
        journal.result()
        self._checkpoint(signed, now_s, tree_until)
        self._placing.hold(now_s, self._retention.open_days)
        self._placing.careful = False
        state.size, state.root, state.committed = size, signed.checkpoint.root.hex(), committed

    def _check_cursor(self, signed: SignedCheckpoint) -> None:
        state, published = self.state, signed.checkpoint
        if published.size < state.size:
            raise Disproved(
                f"the copy holds a tree of {state.size} entries, and the log is back at {published.size}",
                place=self._store.url, mend="stop the log; graven verify --from; docs/write-once.md",
            )  # fmt: skip
        if state.size and (found := self.material.root(state.size, published.size).hex()) != state.root:
            raise Disproved(
                f"the copy's tree of {state.size} entries is not this log's", expected=state.root, found=found,
                place=self._store.url, mend="stop the log; graven verify --from; docs/write-once.md",
            )  # fmt: skip

    def _poll_full_lock(self, now_s: int) -> None:
        """Has a person asked for the full lock? Then what is there already is lengthened, beside the rounds."""
        state = self.state
        if not state.full and now_s - self._polled_s >= FULL_LOCK_POLL_S:
            self._polled_s = now_s
            state.full = read_full_lock(self._store) is not None
        if state.full and not state.swept and (self._sweeper is None or not self._sweeper.is_alive()):
            self._sweeper = threading.Thread(target=self._sweep, name="graven-worm-sweep", daemon=True)
            self._sweeper.start()

    def _tiles(self, old: int, new: int, until_s: int) -> None:
        paths = self.material.tiles(old, new)
        while batch := list(islice(paths, _BATCH)):
            self._placing.each(batch, lambda path: self._placing.put(f"log/{path}", self.material.tile(path), until_s))

    def _checkpoint(self, signed: SignedCheckpoint, now_s: int, tree_until: int) -> None:
        """The edge, then the checkpoint: the first of each hour locked as long as the tree, others for a short time."""
        state, size = self.state, signed.checkpoint.size
        name = layout.checkpoint_name(size, signed.data)
        if name == state.note:
            return
        hour = hour_of(signed)
        kept = hour is not None and hour != state.kept_hour
        until_s = tree_until if kept else end_of_day(now_s, self._retention.open_days)
        edge = layout.edge_name(size)
        held = {one.name: one.until_s for one in state.held}
        if kept or edge not in held:
            self._placing.put(edge, self.material.edge(size), until_s)
            held[edge] = until_s
        self._placing.put(name, signed.data, until_s)
        state.held = [one for one in state.held if one.name.startswith(layout.OPEN)]
        state.held += [Held(edge, held[edge]), Held(name, until_s)]
        state.note = name
        if kept and hour is not None:
            state.kept_hour = hour

    def _sweep(self) -> None:
        """Lock everything for its class's time: what was put during the trial has a shorter lock."""
        try:
            with ThreadPoolExecutor(SWEEP_THREADS, "graven-worm-sweep") as pool:
                lengthen(self._store, self.material, self._retention, self._now_s(), pool=pool, stop=self._stop)
        except (GravenError, OSError) as error:
            logger.warning("locks could not be lengthened", extra={"fields": {"why": str(error)}})
            return
        self.state.swept = not self._stop.is_set()

    def _until(self, now_s: int, days: int) -> int:
        return end_of_day(now_s, days if self.state.full else min(days, layout.TRIAL_DAYS))

    def _until_classes(self, now_s: int, classes: frozenset[str]) -> int:
        return self._until(now_s, self._retention.of(classes))

    def _alarm(self, what: str, place: str) -> None:
        if self.state.alarm(self._now_s(), what, place):
            logger.error("alarm of the write-once copy", extra={"fields": {"what": what, "place": place}})
            with contextlib.suppress(GravenError):
                self._tell(what, {"place": place})

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stopped("told to stop in the middle of a round")

    def _now_s(self) -> int:
        return self._clock.now_us() // US_PER_S

    def _open_state(self) -> State:
        """The state kept here, if it is of this store; else a new one, and care until everything was compared."""
        fresh = open_copy(self._store, layout.Description(self._origin, self._log_id, self._keys), self._trial_until())
        found = read_state(self._directory)
        if found is not None and (found.store, found.origin) == (self._store.url, self._origin) and not fresh:
            return found
        self._placing.careful = not fresh
        return State(self._store.url, self._origin)

    def _trial_until(self) -> int:
        return end_of_day(self._now_s(), layout.TRIAL_DAYS)


def _lock(directory: Path) -> int:
    """One follower a log. Raises BadInput when another has it, or there is no log."""
    try:
        fd = os.open(directory / "state" / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput("there is no log here to follow", place=f"{directory}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise BadInput(
            "another follower copies this log", place=str(directory / "state" / LOCK_FILE),
            mend='a running server follows by itself, unless [worm] follow = "apart"',
        ) from None  # fmt: skip
    return fd
