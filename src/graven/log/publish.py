"""Publishing: checkpoints of the committed tree, one an interval at most.

    tiles and bundles written → signed (the high-water mark is durable before the signature leaves the signer)
    → `checkpoint` synced and renamed into place → history → full tiles forgotten
    → now and then all synced, the synced cursor moved, partial tiles collected where the full ones are durable

Tiles are not synced one by one: they derive from the journal. A synced cursor says how far they are surely on disk;
recovery rebuilds past it. Only durable entries are ever published, and no checkpoint is signed anywhere else.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from graven.core.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from graven.core.errors import Broken, Busy, GravenError
from graven.core.tile import WIDTH, parse_path
from graven.journal.files import Files, write_atomic
from graven.journal.mark import SYNCED, Mark, encode_mark
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner
from graven.log.history import CheckpointHistory
from graven.log.tail import Tail
from graven.runtime.clock import Clock

SYNC_ENTRIES = 250_000
SYNC_INTERVAL_US = 30_000_000
THIN_INTERVAL_US = 3_600_000_000
_YIELD_FILES = 16


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """See docs/configuration.md, [publish]."""

    interval_ms: int = 1_000


class Publisher:
    """Makes checkpoints, on a thread of its own or when asked. `published` never goes back."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        clock: Clock,
        signer: LogSigner,
        tail: Tail,
        published: SignedCheckpoint,
        on_disk: int,
        limits: PublishLimits,
    ) -> None:
        self._log = directory / "log"
        self._state = directory / "state"
        self._files, self._clock, self._signer, self._tail, self._limits = files, clock, signer, tail, limits
        self.history = CheckpointHistory(files, directory / "checkpoints")
        self.published = published
        self._on_disk = on_disk
        self._synced = on_disk
        self._synced_us = self._thinned_us = clock.now_us()
        self._folders: set[str] = set()
        self._full: list[str] = []
        """Full tiles that may not be durable yet: until they are, the synced tree needs their partial forms."""
        self._one = threading.Lock()
        self._changed = threading.Condition()
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._error: GravenError | None = None
        self.trouble: GravenError | None = None
        """Why the last attempt failed, while another is worth it: a full disk, a copy of the keyring that is away."""
        self.on_failure: Callable[[GravenError], None] = lambda error: None
        self._after: list[Callable[[SignedCheckpoint], None]] = []
        self._thread = threading.Thread(target=self._run, name="graven-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def error(self) -> GravenError | None:
        """Why publishing stopped, None while it works."""
        return self._error

    def after_publish(self, callback: Callable[[SignedCheckpoint], None]) -> None:
        """Call `callback(checkpoint)` on the publisher's thread after each new checkpoint."""
        self._after.append(callback)

    def wake(self) -> None:
        """Something was committed."""
        self._asked.set()

    def wait(self, size: int, timeout_s: float) -> SignedCheckpoint | None:
        """The published checkpoint once it covers `size` entries, None after the time.

        Raises: why publishing stopped.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or self.published.checkpoint.size >= size, timeout=timeout_s
            )
            if self.published.checkpoint.size >= size:
                return self.published
            if self._error is not None:
                raise self._error
            return None

    def publish(self) -> SignedCheckpoint:
        """Publish the committed tree now, if it is larger than the published one, or if tiles are missing.

        Raises:
            Busy: the disk is full; tiles are written again at the next attempt. Broken: a write or sync failed, or the
                signer refused. Nothing was published.
        """
        with self._one, self._named():
            shown = self._publish()
            self.trouble = None
            return shown

    def sync(self) -> None:
        """Make every tile of the published tree durable and move the synced cursor. Raises as `publish`."""
        with self._one, self._named():
            shown = self.published.checkpoint
            self._files.sync_all(str(self._log))
            mark = Mark(shown.size, shown.root)
            write_atomic(self._files, str(self._state / "synced"), encode_mark(SYNCED, mark))
            for full in self._full:
                self._collect_partials(full)
            self._full.clear()
            self._synced, self._synced_us = shown.size, self._clock.now_us()

    def stop(self) -> None:
        """Publish what is committed, sync the tiles, end. Raises why the last publishing failed."""
        self.halt()
        if self._error is not None:
            raise self._error
        self.publish()
        self.sync()

    def halt(self) -> None:
        """End without another word."""
        self._stopping.set()
        self._asked.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            if self._stopping.is_set():
                return
            self._asked.clear()
            try:
                self.publish()
                now_us = self._clock.now_us()
                behind = self.published.checkpoint.size - self._synced
                if behind >= SYNC_ENTRIES or (behind and now_us - self._synced_us >= SYNC_INTERVAL_US):
                    self.sync()
                if now_us - self._thinned_us >= THIN_INTERVAL_US:
                    self._thinned_us = now_us
                    self.history.thin(now_us // 1_000_000)
            except Busy:
                self._asked.set()  # tiles derive from the journal: writing them again is safe
            except GravenError as error:
                self._fail(error)
                return
            except Exception as error:  # a disk or an invariant failed: stop, and say so
                self._fail(Broken(f"publishing stopped: {type(error).__name__}: {error}"))
                return
            self._stopping.wait(self._limits.interval_ms / 1000)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Turn an OSError into Busy or Broken; what is worth another attempt is kept as `trouble`."""
        try:
            yield
        except Busy as error:
            self.trouble = error
            raise
        except OSError as error:
            place = f"{error.filename or self._log}: {error.strerror}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.trouble = Busy("no space is left for the published tree", retry_after_s=30, place=place)
                raise self.trouble from None
            raise Broken("the tree could not be published", place=place) from None

    def _fail(self, error: GravenError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
        self.on_failure(error)

    def _publish(self) -> SignedCheckpoint:
        at = self._tail.range
        if at.size > self._on_disk:
            self._write_tiles(self._on_disk, at.size)
        if at.size == self.published.checkpoint.size:
            return self.published
        time_s = self._clock.now_us() // 1_000_000
        note = self._signer.sign_checkpoint(Checkpoint(self._signer.origin, at.size, at.root()), time_s)
        write_atomic(self._files, str(self._log / "checkpoint"), note)
        signed = open_checkpoint(note, self._signer.keys, verify_signature, require_all=True)
        self.history.add(at.size, note, time_s)
        self._tail.forget(at.size)
        with self._changed:
            self.published = signed
            self._changed.notify_all()
        for callback in self._after:
            callback(signed)
        return signed

    def _write_tiles(self, old: int, new: int) -> None:
        for number, (path, data) in enumerate(self._tail.files(old, new)):
            full = f"{self._log}/{path}"
            self._make_folder(os.path.dirname(full))
            write_atomic(self._files, full, data, sync=False)
            if parse_path(path).width == WIDTH:
                self._full.append(full)
            if number % _YIELD_FILES == _YIELD_FILES - 1:
                time.sleep(0)  # let the writer have the interpreter
        self._on_disk = new

    def _make_folder(self, folder: str) -> None:
        if folder in self._folders:
            return
        if not os.path.isdir(folder):
            self._make_folder(os.path.dirname(folder))
            with contextlib.suppress(FileExistsError):
                self._files.mkdir(folder, 0o755)
        if len(self._folders) > 4096:
            self._folders.clear()
        self._folders.add(folder)

    def _collect_partials(self, full: str) -> None:
        """The full tile stands: its partial forms may go. Readers fall back to the full one."""
        folder = full + ".p"
        if not os.path.isdir(folder):
            return
        for name in os.listdir(folder):
            self._files.remove(f"{folder}/{name}")
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        self._folders.discard(folder)
