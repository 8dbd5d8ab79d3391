"""The follower: copies what is new of a log into a write-once store, round by round.

    description, small files → full tiles and bundles; beside them closed segments, read back, and open frames
    → the edge of the published tree → its checkpoint, last

So a checkpoint in the store says that everything below it was there before. The cursor is the size and root of the
last one. A cursor that is not this log's tree is an alarm, and nothing more is copied: what is locked is the truth
about the past, and is never gone round.

A name that is taken is compared. The same bytes: the work of a round before, its lock is made sure of. Other bytes:
somebody else wrote there; that is an alarm, and the true object is put beneath the same name as a newer version, where
readers, who judge by cryptography, find it.

Frames of the open segment, the newest edge and the newest checkpoint lie under a short lock, lengthened as long as they
are needed: until the whole segment was read back from the store, until a newer checkpoint is there. The follower never
deletes anything and needs no right to.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import Key
from graven.journal.segment import SegmentFile
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.runtime.files import Files, LocalFiles
from graven.runtime.telemetry import get_logger
from graven.worm import layout
from graven.worm.lengthen import lengthen
from graven.worm.material import Material, hour_of
from graven.worm.opening import open_copy, read_full_lock
from graven.worm.retention import Retention
from graven.worm.state import LOCK_FILE, Held, State, read_state, trouble_of, write_state
from graven.worm.store import DAY_S, Part, Store, Taken, Version, end_of_day, versions_of

THREADS = 24
SWEEP_THREADS = 8
FULL_LOCK_POLL_S = 30
SMALLS_S = 20
_PAUSE_S, _POLL_S = 0.05, 0.25
_BATCH = 1024
_READ_BYTES = 8 << 20

logger = get_logger("worm")
_Item = TypeVar("_Item")
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
        self._pool = ThreadPoolExecutor(THREADS, "graven-worm")
        self._beside = ThreadPoolExecutor(1, "graven-worm-journal")
        self._counts = threading.Lock()
        self._sweeper: threading.Thread | None = None
        self._polled_s = self._smalls_s = 0
        self._careful = False
        try:
            store.check()
            self.state = self._open_state()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stop.set()
        if self._sweeper is not None:
            self._sweeper.join()
        self._beside.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
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
                    self._put(small.name, small.data, tree_until)
                    state.done.append(small.name)
            self._smalls_s = now_s
        journal = self._beside.submit(self._journal, size, committed, now_s)
        try:
            self._tiles(state.size, size, tree_until)
        finally:
            wait([journal])
        journal.result()
        self._checkpoint(signed, now_s, tree_until)
        self._hold(now_s)
        self._careful = False
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
            self._each(batch, lambda path: self._put(f"log/{path}", self.material.tile(path), until_s))

    def _journal(self, published: int, committed: int, now_s: int) -> None:
        """Segments whose end is published, whole: no loss can be declared of them. Of later ones what is committed."""
        state = self.state
        for segment in self.material.segments():
            self._check_stop()
            end = self.material.closed_end(segment) if self._undone(segment) else None
            if end is not None and end <= published:
                self._whole(segment, now_s)
                if segment.generation:
                    state.rewritten.append(segment.name)
                if segment.start == state.next_segment:
                    state.next_segment, state.covered = end, max(state.covered, end)
                    self._drop_pieces(segment.start)
            elif segment.start >= state.next_segment:
                self._open_segment(segment, committed, now_s)

    def _undone(self, segment: SegmentFile) -> bool:
        done = segment.start < self.state.next_segment
        return not done or (segment.generation > 0 and segment.name not in self.state.rewritten)

    def _drop_pieces(self, start: int) -> None:
        """The segment is there whole: the locks of its frames may lapse."""
        state, prefix = self.state, f"{start:020d}."
        state.held = [one for one in state.held if not one.name.startswith(layout.OPEN + prefix)]
        state.pieces = {name: offset for name, offset in state.pieces.items() if not name.startswith(prefix)}

    def _whole(self, segment: SegmentFile, now_s: int) -> None:
        """A closed segment: put, read back, its lock looked at."""
        found = self.material.whole(segment)
        until_s = self._until(now_s, self._retention.of(found.classes))
        name, part = layout.JOURNAL + segment.name, Part(Path(segment.path), 0, found.end)
        self._put(name, part, until_s)
        wanted = _digest_part(part)
        for version in versions_of(self._store, name):
            if not version.marker and version.size == part.size and self._digest(version) == wanted:
                held = self._store.lock(version)
                if held is None or held.until_s < until_s:
                    what = "the store did not lock what was put there"
                    raise Disproved(what, place=f"{self._store.url}/{name}", mend="graven worm doctor")
                return
        raise Disproved("a segment does not read back as it was put", place=f"{self._store.url}/{name}")

    def _open_segment(self, segment: SegmentFile, committed: int, now_s: int) -> None:
        state, until_s = self.state, end_of_day(now_s, self._retention.open_days)
        while (found := self.material.frames(segment, state.pieces.get(segment.name, 0), committed)) is not None:
            self._check_stop()
            part = Part(Path(segment.path), found.offset, found.end - found.offset)
            name = layout.piece_name(segment.name, found.offset, _digest_part(part))
            self._put(name, part, until_s)
            state.held.append(Held(name, until_s))
            state.pieces[segment.name], state.covered = found.end, max(state.covered, found.size)

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
            self._put(edge, self.material.edge(size), until_s)
            held[edge] = until_s
        self._put(name, signed.data, until_s)
        state.held = [one for one in state.held if one.name.startswith(layout.OPEN)]
        state.held += [Held(edge, held[edge]), Held(name, until_s)]
        state.note = name
        if kept and hour is not None:
            state.kept_hour = hour

    def _hold(self, now_s: int) -> None:
        """Lengthen the short locks of what is still needed, once half their time has gone."""
        state, days = self.state, self._retention.open_days
        until_s = end_of_day(now_s, days)
        due = [one for one in state.held if one.until_s - now_s < days * DAY_S / 2]
        self._each(due, lambda one: self._extend(one.name, until_s))
        if due:
            names = {one.name for one in due}
            state.held = [Held(one.name, until_s) if one.name in names else one for one in state.held]

    def _extend(self, name: str, until_s: int) -> None:
        for version in versions_of(self._store, name):
            held = None if version.marker else self._store.lock(version)
            if not version.marker and (held is None or held.until_s < until_s):
                self._store.extend(version, until_s)

    def _put(self, name: str, data: bytes | Part, until_s: int) -> None:
        if self._careful and versions_of(self._store, name):
            self._compare(name, data, until_s)
            return
        try:
            self._store.put(name, data, until_s=until_s)
        except Taken:
            self._compare(name, data, until_s)
            return
        with self._counts:
            self.state.objects += 1
            self.state.bytes += data.size if isinstance(data, Part) else len(data)

    def _compare(self, name: str, data: bytes | Part, until_s: int) -> None:
        """The name is taken: by a round before, or by somebody else."""
        size = data.size if isinstance(data, Part) else len(data)
        wanted = _digest_part(data) if isinstance(data, Part) else sha256(data).digest()
        versions = [one for one in versions_of(self._store, name) if not one.marker]
        same = [one for one in versions if one.size == size and self._digest(one) == wanted]
        if same and same[0] is versions[0]:
            held = self._store.lock(same[0])
            if held is None or held.until_s < until_s:
                self._store.extend(same[0], until_s)
            return
        self._alarm("other bytes lie under a name of the copy: who else can write there?", f"{self._store.url}/{name}")
        if not same:
            self._store.put(name, data, until_s=until_s, once=False)

    def _digest(self, version: Version) -> bytes:
        digest = sha256()
        for at in range(0, version.size, _READ_BYTES):
            digest.update(self._store.read(version, at, _READ_BYTES))
        return digest.digest()

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

    def _alarm(self, what: str, place: str) -> None:
        if self.state.alarm(self._now_s(), what, place):
            logger.error("alarm of the write-once copy", extra={"fields": {"what": what, "place": place}})
            with contextlib.suppress(GravenError):
                self._tell(what, {"place": place})

    def _each(self, items: Sequence[_Item], work: Callable[[_Item], None]) -> None:
        self._check_stop()
        for _ in self._pool.map(work, items):
            pass

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
        self._careful = not fresh
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


def _digest_part(part: Part) -> bytes:
    digest = sha256()
    with part.path.open("rb") as file:
        file.seek(part.offset)
        left = part.size
        while left and (piece := file.read(min(_READ_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.digest()
