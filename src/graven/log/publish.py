"""Publishing: checkpoints of the committed tree, one an interval at most.

    tiles and bundles written → signed (the high-water mark is durable before the signature leaves the signer)
    → with a witness policy: witnesses asked, their cosignatures put behind the log's own lines
    → `checkpoint` synced and renamed into place → history → full tiles forgotten
    → now and then all synced, the synced cursor moved, partial tiles collected where the full ones are durable

Tiles are not synced one by one: they derive from the journal. A synced cursor says how far they are surely on disk;
recovery rebuilds past it. Only durable entries are ever published, and no checkpoint is signed anywhere else.

With a policy, a tree is published when its quorum is met. After the panel's deadline it is published with the
cosignatures there are, and an alarm; or, if witnesses are required, held back until a later attempt. A published tree
that stays the same is shown to the witnesses again at an interval, and gets their newer lines; the log's own lines of a
size are made once.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from graven.anchor.panel import Witnessed, WitnessPanel
from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.errors import Broken, Busy, GravenError
from graven.core.merkle import prove_consistency
from graven.core.tile import WIDTH, parse_path, tile_nodes
from graven.journal.files import Files, write_atomic
from graven.journal.mark import SYNCED, Mark, encode_mark
from graven.keys.signature import verify_signature
from graven.keys.signer import Signer
from graven.log.history import CheckpointHistory, checkpoint_time_s
from graven.log.tail import Tail, disk_fetch
from graven.runtime.clock import Clock
from graven.runtime.telemetry import get_logger

SYNC_ENTRIES = 250_000
SYNC_INTERVAL_US = 30_000_000
THIN_INTERVAL_US = 3_600_000_000
SHORT_REFRESH_US = 5_000_000
"""While the published tree is short of its quorum, it is shown to the witnesses again this often."""
_YIELD_FILES = 16

logger = get_logger("publish")


class HeldBack(Busy):
    """Too few witnesses cosigned, and they are required: the tree is signed and durable, not published."""


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """See docs/configuration.md, [publish]."""

    interval_ms: int = 1_000
    witness_require: bool = False
    witness_refresh_s: int = 600


class Publisher:
    """Makes checkpoints, on a thread of its own or when asked. `published` never goes back."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        clock: Clock,
        signer: Signer,
        tail: Tail,
        published: SignedCheckpoint,
        on_disk: int,
        limits: PublishLimits,
        panel: WitnessPanel | None = None,
    ) -> None:
        self._log = directory / "log"
        self._state = directory / "state"
        self._files, self._clock, self._signer, self._tail, self._limits = files, clock, signer, tail, limits
        self.history = CheckpointHistory(files, directory / "checkpoints")
        self.published = published
        self.panel = panel
        self._witnessed_us = 0
        self._short = False
        if panel is not None:
            found = panel.adopt(published)
            self.published = found.signed
            self._witnessed_us = clock.now_us() if found.met else 0
            panel.on_late = self.wake
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
        self.on_witnessed: Callable[[SignedCheckpoint], None] = lambda signed: None
        """Called on the publisher's thread with every published note that has new cosignatures."""
        self._after: list[Callable[[SignedCheckpoint], None]] = []
        self._thread = threading.Thread(target=self._run, name="graven-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def error(self) -> GravenError | None:
        """Why publishing stopped, None while it works."""
        return self._error

    def after_publish(self, callback: Callable[[SignedCheckpoint], None]) -> None:
        """Call `callback(checkpoint)` on the publisher's thread after each new checkpoint, and when one that was
        published is cosigned by more."""
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
            if self.panel is not None:
                self.panel.save()

    def stop(self) -> None:
        """Publish what is committed, sync the tiles, end. Raises why the last publishing failed.

        A tree that witnesses do not cosign in time stays held back, if they are required: the next start goes on.
        """
        self.halt()
        if self._error is not None:
            raise self._error
        try:
            self.publish()
        except HeldBack as error:
            logger.warning("stopped with a tree held back", extra={"fields": {"why": str(error)}})
        self.sync()

    def halt(self) -> None:
        """End without another word."""
        self._stopping.set()
        self._asked.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.wait(self._idle_s())
            if self._stopping.is_set():
                return
            self._asked.clear()
            began_s = time.monotonic()
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
            self._stopping.wait(max(0.0, self._limits.interval_ms / 1000 - (time.monotonic() - began_s)))

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
            return self.published if self.panel is None else self._refresh(self.panel)
        time_s = self._clock.now_us() // 1_000_000
        head = Checkpoint(self._signer.origin, at.size, at.root())
        note = self._signer.sign_checkpoint(head, time_s, self._prove_growth)
        signed, found = self._signer.tenures.open(note, verify_signature), None
        if self.panel is not None:
            found = self._witnessed(self.panel, signed)
            signed = found.signed
        write_atomic(self._files, str(self._log / "checkpoint"), signed.data)
        self.history.add(at.size, signed.data, time_s)
        self._tail.forget(at.size)
        with self._changed:
            self.published, self.trouble = signed, None  # who waited for the one sees the other gone
            self._changed.notify_all()
        if found is not None and self.panel is not None:
            self.panel.show(found)
            self.on_witnessed(signed)
        for callback in self._after:
            callback(signed)
        return signed

    def _witnessed(self, panel: WitnessPanel, signed: SignedCheckpoint) -> Witnessed:
        """The signed tree with its cosignatures. Raises HeldBack."""
        found = panel.gather(signed, self._prove_growth)
        if not found.met and self._limits.witness_require:
            raise HeldBack(
                f"a tree of {signed.checkpoint.size} entries is held back: fewer witnesses cosigned it than the policy "
                "asks for",
                retry_after_s=1,
                place=", ".join(str(row["name"]) for row in panel.status() if row["trouble"]),
                mend="bring the witnesses back; or, to publish without them, [publish] witness_require = false",
            )
        self._note_quorum(found)
        return found

    def _refresh(self, panel: WitnessPanel) -> SignedCheckpoint:
        """The same tree, with newer cosignatures: asked for when it is time, or come late."""
        now_us = self._clock.now_us()
        if now_us - self._witnessed_us >= self._refresh_us():
            found = panel.gather(self.published, self._prove_growth)
            self._note_quorum(found)
        else:
            found = panel.merged(self.published)
            self._short = self._short and not found.met
        more = len(found.counted) > panel.cosigned
        if found.signed.data != self.published.data:
            data = found.signed.data
            write_atomic(self._files, str(self._log / "checkpoint"), data)
            if more:  # else the history keeps the note as it was: the earliest word on a tree is the best
                time_s = checkpoint_time_s(data)
                self.history.add(found.signed.checkpoint.size, data, now_us // 1_000_000 if time_s is None else time_s)
            with self._changed:
                self.published = found.signed
            panel.show(found)
            self.on_witnessed(found.signed)
            for callback in self._after:
                callback(found.signed)
            return self.published
        panel.show(found)
        return self.published

    def _note_quorum(self, found: Witnessed) -> None:
        self._witnessed_us = self._clock.now_us()
        if found.met is self._short:
            fields = {"size": found.signed.checkpoint.size, "cosigned": list(found.counted)}
            if found.met:
                logger.info("the witnesses' quorum is met again", extra={"fields": fields})
            else:
                logger.warning("published with fewer witnesses than the policy asks for", extra={"fields": fields})
        self._short = not found.met

    def _refresh_us(self) -> int:
        return min(SHORT_REFRESH_US, self._interval_us()) if self._short else self._interval_us()

    def _interval_us(self) -> int:
        return self._limits.witness_refresh_s * 1_000_000

    def _idle_s(self) -> float | None:
        """How long nothing need be done; None: until something is committed."""
        if self.panel is None:
            return None
        return max(0.05, (self._witnessed_us + self._refresh_us() - self._clock.now_us()) / 1e6)

    def _prove_growth(self, old: int, new: int) -> list[bytes]:
        """From the tiles on disk: the whole tree of `new` entries is there before anybody is asked."""
        return prove_consistency(tile_nodes(disk_fetch(self._log), new), old=old, new=new)

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
