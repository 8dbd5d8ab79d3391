"""The composition root: the one file that names concrete classes and puts a log together.

`Log` is a log open for writing, for the server and for programs that embed one; `create_log` makes a new one;
`open_view` opens one for reading, beside a writer or without one.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import msgspec

from graven.anchor.authority import AuthoritySettings, TimeAuthority, roots_of
from graven.anchor.panel import WitnessPanel
from graven.anchor.policies import current_policy, describe_trust, keep_policy, load_policy
from graven.config import (
    CONFIG_NAME,
    Config,
    WormConfig,
    config_sha256,
    default_config,
    flatten,
    format_config,
    load_config,
    read_passphrase,
    set_vkeys,
)
from graven.config.ingest import build_redactor, read_mappings
from graven.core.checkpoint import Checkpoint, SignedCheckpoint, check_origin, parse_checkpoint
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.merkle import EMPTY_ROOT, prove_consistency
from graven.core.note import Key, format_vkey, parse_note, parse_vkey
from graven.core.spelling import encode_base64
from graven.core.x509 import Certificate, parse_certificates
from graven.event import Parsed, parse_body
from graven.ingest import Pipeline
from graven.ingest.normalize import SOURCES
from graven.journal.files import Files, LocalFiles, write_atomic
from graven.journal.frame import SegmentHeader
from graven.journal.mark import COMMITTED, Mark, MarkFile, read_mark
from graven.journal.segment import SegmentWriter
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from graven.keys.remote import RemoteSigner, socket_path
from graven.keys.rewrap import finish_rewrap
from graven.keys.rotation import promote
from graven.keys.signature import verify_signature
from graven.keys.signer import LogSigner, ReceiptSigner, Signer, open_signer
from graven.log import acts
from graven.log.anchoring import Anchoring, AnchorLimits
from graven.log.anchorings import Anchorings
from graven.log.catchup import load_registers, load_window, self_events
from graven.log.certificates import Certificates
from graven.log.handovers import HandoverKeeper
from graven.log.history import CheckpointHistory
from graven.log.lock import Lock
from graven.log.publish import Publisher, PublishLimits
from graven.log.reader import JournalReader, KeyFinder
from graven.log.recover import Recovered, holds_whole_frame, recover
from graven.log.registers import Registers, Source
from graven.log.types import Batch, Committed
from graven.log.view import View
from graven.log.window import Window
from graven.log.writer import Answer, Done, Limits, Wake, Writer, WriterState
from graven.runtime.clock import Clock, SystemClock
from graven.runtime.terminal import escape_for_terminal
from graven.worm.folder import FolderStore
from graven.worm.follow import Follower, Tell
from graven.worm.retention import Retention
from graven.worm.s3 import S3Settings, S3Store
from graven.worm.store import Store

LOCAL_SOURCE = "local"
REGISTERS_LAG_ENTRIES = 2_000
WITNESSES_WAIT_S = 10.0
"""How long a command waits at its start for witnesses to say what they have seen; a server waits until it is told."""
VERSION = version("graven")


def keys_dir(directory: Path, config: Config | None = None) -> Path:
    """Where a log's keyring is: `[keys] dir`, else the data directory's name with `.keys` behind it."""
    if config is not None and config.keys.dir:
        return Path(config.keys.dir)
    absolute = directory.absolute()
    return absolute.with_name(absolute.name + ".keys")


def create_log(
    directory: Path,
    *,
    origin: str | None = None,
    passphrase: Passphrase | None = None,
    passphrase_file: str | None = None,
    successor_of: bytes | None = None,
    keyring_dir: Path | None = None,
    config: Config | None = None,
    clock: Clock | None = None,
    files: Files | None = None,
) -> SignedCheckpoint:
    """Make a new log with its keyring, its first event and its first published checkpoint.

    Both directories are built under other names and renamed at the end, so an interrupted call leaves nothing that
    looks like a log. `successor_of` is the last checkpoint of the log this one goes on from; the first event pins it.

    Raises:
        BadInput: the directory holds something, the origin is not allowed, or a keyring is there already. Broken: the
            disk failed; at most the finished keyring is left.
    """
    files, clock = files or LocalFiles(), clock or SystemClock()
    origin = check_origin(origin) if origin is not None else f"graven.invalid/{os.urandom(16).hex()}"
    if escape_for_terminal(origin) != origin:  # such a name could pass for another; only the format allows it
        place = escape_for_terminal(origin)
        raise BadInput("an origin with invisible characters", place=place, mend="use plain letters")
    directory = directory.absolute()
    keyring_path = keyring_dir or keys_dir(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput("something is there already", place=str(directory), mend="choose an empty or new directory")
    if keyring_path.exists():
        raise BadInput(
            "a keyring is there already", place=str(keyring_path), mend="choose another DIR, or move it away"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = f".{os.urandom(4).hex()}.new"  # nobody else's name: what is there is never removed
    building, building_keys = (path.with_name(path.name + unfinished) for path in (directory, keyring_path))
    try:
        keyring = Keyring.create(str(building_keys), origin=origin, passphrase=passphrase, files=files)
        signer = LogSigner(keyring)
        log_id = os.urandom(16)
        base = config or default_config(origin=origin, log_id=log_id.hex(), vkeys=[format_vkey(k) for k in signer.keys])
        settings = msgspec.structs.replace(
            base,
            origin=origin,
            log_id=log_id.hex(),
            vkeys=tuple(format_vkey(key) for key in signer.keys),
            keys=msgspec.structs.replace(
                base.keys,
                dir=str(keyring_dir.absolute()) if keyring_dir else base.keys.dir,
                passphrase_file=passphrase_file or base.keys.passphrase_file,
            ),
        )
        _lay_out(building, settings, keyring, signer, log_id, clock, files)
        with Log._assemble(building, settings, keyring, clock=clock, files=files) as log:
            log.append_act(acts.GENESIS, _genesis(log, settings, successor_of))
            if successor_of is not None:
                size = _successor(successor_of)["size"]
                CheckpointHistory(files, building / "checkpoints").keep_predecessor(int(str(size)), successor_of)
            published = log.publish()
        files.rename(str(building_keys), str(keyring_path))
        files.sync_dir(str(keyring_path.parent))
        files.rename(str(building), str(directory))
        files.sync_dir(str(directory.parent))
    except BaseException as error:
        for leftover in (building, building_keys):
            shutil.rmtree(leftover, ignore_errors=True)
        if isinstance(error, OSError):
            place = f"{error.filename or directory}: {error.strerror}"
            raise Broken("the log could not be made", place=place) from None
        raise
    return published


def open_view(directory: Path, config: Config | None = None, *, need_keys: bool = True) -> View:
    """A log for reading. Without a keyring (and if it is not needed) sealed events stay sealed.

    Raises:
        BadInput: no log, no keyring, or a passphrase that is missing or wrong.
    """
    config = config or load_config(directory / "graven.toml")
    keyring = None
    if need_keys or keys_dir(directory, config).exists():
        keyring = open_keyring(directory, config)
    return View(directory, public_keys(config), keyring, lambda: time_roots(config))


def open_keyring(directory: Path, config: Config, *, files: Files | None = None) -> Keyring:
    """The keyring of a log. Raises as `Keyring.open`."""
    return Keyring.open(
        str(keys_dir(directory, config)),
        passphrase=read_passphrase(config),
        replicas=config.keys.replicas,
        files=files,
    )


def build_pipeline(config: Config | None = None) -> Pipeline:
    """What makes events of other programs' records, as the configuration says; without one, as it is out of the box.

    Raises BadInput: a mapping or a rule that is none, a key file that is missing, open to others or too short.
    """
    if config is None:
        return Pipeline()
    own = read_mappings(Path(config.mappings.dir)) if config.mappings.dir is not None else ()
    return Pipeline((*own, *SOURCES), redactor=build_redactor(config.redaction))


def class_names(config: Config) -> tuple[str, ...]:
    """The classes of a log: Graven's own, `default`, and those the configuration declares."""
    return tuple(dict.fromkeys((acts.SELF_CLASS, "default", *config.classes)))


def public_keys(config: Config) -> tuple[Key, ...]:
    """The log's public keys as its configuration lists them."""
    return tuple(parse_vkey(vkey) for vkey in config.vkeys)


def open_store(url: str, config: Config | None = None) -> Store:
    """The store of a write-once copy. `config` says where its endpoint and credentials are; else the environment does.

    Raises BadInput: no URL of a store, no credentials, or the extra `s3` is not installed.
    """
    worm = config.worm if config is not None else WormConfig()
    if url.startswith("file:"):
        return FolderStore(url)
    if url.startswith("s3:"):
        return S3Store(url, S3Settings(worm.endpoint, worm.region, worm.profile, worm.credentials_file))
    raise BadInput("not the URL of a store", place=url[:200], mend="s3://BUCKET/PREFIX or file:///PATH")


def open_follower(
    directory: Path,
    config: Config,
    *,
    tell: Tell | None = None,
    stop: threading.Event | None = None,
    config_file: Path | None = None,
) -> Follower:
    """The follower of a log into its configured store. `config_file` is read again when the keys were rotated.

    Raises BadInput, Broken as `Follower`, and without a store.
    """
    if config.worm.store is None:
        raise BadInput("no write-once store is configured", mend="graven worm enable STORE, or [worm] store")
    return Follower(
        directory, open_store(config.worm.store, config), public_keys(config),
        log_id=config.log_id, retention=retention(config), tell=tell, stop=stop,
        keys_now=lambda: public_keys(load_config(config_file or directory / "graven.toml")),
    )  # fmt: skip


def retention(config: Config) -> Retention:
    """For how long a log's copy is locked."""
    return Retention(config.retention.days, config.retention.by_class, config.worm.open_lock_days)


def committed_size(directory: Path) -> int:
    """How many entries of a log are durable, as its marks say; nothing is checked."""
    mark = read_mark(str(directory / "state" / "committed"), COMMITTED)
    return mark.size if mark is not None else 0


class Log:
    """A log open for writing: one writer, one publisher, and a view. One a directory; close it.

    Threads may share it. `append` blocks; `submit` answers through a callback (on the writer's thread, or wherever
    `set_wake` leads).
    """

    def __init__(
        self, directory: Path, config: Config, lock: Lock, keyring: Keyring, clock: Clock, files: Files
    ) -> None:
        """Use `open`."""
        self.directory, self.config, self.clock = directory, config, clock
        self.keyring, self.files = keyring, files
        self._lock = lock
        self._one_act = threading.RLock()
        self._serving = False
        self.loss_recorded = False
        """Whether this start recorded a loss that somebody declared."""
        self.writer: Writer
        self.publisher: Publisher
        self.view: View
        self.anchoring: Anchoring

    @classmethod
    def open(
        cls,
        directory: str | Path,
        config: Config | None = None,
        *,
        clock: Clock | None = None,
        files: Files | None = None,
        lock_wait_s: float = 10.0,
        serve: bool = False,
        declare_loss: str | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> "Log":
        """Take the lock, recover, and be ready to write. `serve` records the start, and the stop at `close`.

        With a witness policy, each witness is asked what it has seen before anything is signed; `serve` waits for
        enough of them as long as `give_up()` is false.

        Raises:
            Broken: the log cannot be written without breaking a promise; nothing was signed. BadInput: no log, no
                keyring. Disproved: a checkpoint here is not the log's own.
        """
        directory = Path(directory).absolute()
        if not (directory / "graven.toml").exists():
            raise BadInput("there is no log here", place=str(directory), mend="graven init DIR makes one")
        lock = Lock(directory, wait_s=lock_wait_s)
        try:
            config = config or load_config(directory / "graven.toml")
            files = files or LocalFiles()
            keyring = open_keyring(directory, config, files=files)
            return cls._assemble(
                directory, config, keyring,
                clock=clock or SystemClock(), files=files, lock=lock, serve=serve,
                declare_loss=declare_loss, give_up=give_up,
            )  # fmt: skip
        except OSError as error:
            lock.release()
            raise Broken(
                "the log cannot be opened for writing", place=f"{error.filename or directory}: {error.strerror}"
            ) from None
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _assemble(
        cls,
        directory: Path,
        config: Config,
        keyring: Keyring,
        *,
        clock: Clock,
        files: Files,
        lock: Lock | None = None,
        serve: bool = False,
        declare_loss: str | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> "Log":
        finish_rewrap(keyring)
        promote(keyring)  # what a change of keys left to do
        signer = open_signing(config, keyring)
        config = _with_keys_of(signer, config, directory, files)
        log = cls(directory, config, lock or Lock(directory), keyring, clock, files)
        find_key = KeyFinder(keyring)
        found = recover(directory, files=files, signer=signer, find_key=find_key, declare_loss=declare_loss is not None)
        panel = _panel(directory, config, signer, files)
        if panel is not None:
            _ask_witnesses(panel, config, signer, found, wait_s=None if serve else WITNESSES_WAIT_S, give_up=give_up)
        state = _writer_state(directory, config, keyring, signer, find_key, found, clock, files)
        log.view = View(directory, signer.keys, keyring, lambda: time_roots(config))
        log.writer = Writer(state, clock, _limits(config))
        log.publisher = Publisher(
            directory, files=files, clock=clock, signer=signer, tail=found.tail, published=found.published,
            on_disk=found.on_disk, limits=_publish_limits(config), panel=panel,
        )  # fmt: skip
        log.writer.after_commit(lambda _size: log.publisher.wake())
        log.publisher.after_publish(log._save_registers)
        log.publisher.after_publish(
            HandoverKeeper(
                files, directory / "log", lambda: log.registers, log.view.evidence,
                lambda: panel is None or panel.numbers[2],
            )
        )  # fmt: skip
        log.writer.published_size = lambda: log.publisher.published.checkpoint.size
        log.publisher.on_failure = log.writer.halt
        log.anchoring = Anchoring(
            directory, [TimeAuthority(one, verify_signature) for one in time_authorities(config)],
            files=files, clock=clock, limits=_anchor_limits(config), published=lambda: log.published,
            ride=log.writer.ride, append=log.append_act, registers=log.registers, tenures=lambda: signer.tenures,
        )  # fmt: skip
        log.publisher.after_publish(lambda _signed: log.anchoring.wake())
        if panel is not None:
            witnesses = [witness.key for witness in panel.policy.witnesses]
            log.anchoring.witnessed(log.published, witnesses, fresh=False)
            log.publisher.on_witnessed = lambda signed: log.anchoring.witnessed(signed, witnesses)
        log.writer.start()
        log.publisher.start()
        log.publisher.wake()  # what recovery found beyond the published checkpoint
        try:
            log._record_keys(signer)  # first: nothing stands between a hand-over and its event
            log._record_start(found, serve=serve, reason=declare_loss)
        except BaseException:
            log._abandon()
            raise
        if serve:
            log.anchoring.start()
        return log

    @property
    def origin(self) -> str:
        return self.config.origin

    @property
    def keys(self) -> tuple[Key, ...]:
        """The log's public keys: Ed25519, ML-DSA-44."""
        return self.view.keys

    @property
    def size(self) -> int:
        """Committed entries."""
        return self.writer.size

    @property
    def published(self) -> SignedCheckpoint:
        return self.publisher.published

    @property
    def trust(self) -> str:
        """Who vouches for the published checkpoint beside the operator, in one line."""
        return describe_trust(None, ()) if self.publisher.panel is None else self.publisher.panel.trust

    @property
    def registers(self) -> Registers:
        """Sources and tokens, as of the last commit."""
        return self.writer.state.registers

    def set_wake(self, wake: Wake) -> None:
        """Where answers of `submit` are called from now on."""
        self.writer.wake = wake

    def submit(self, batch: Batch, done: Done) -> None:
        """Queue a batch. Raises Busy, Broken, BadInput as `Writer.submit`; `done` gets what became of it."""
        self.writer.submit(batch, done)

    def append(
        self,
        events: bytes | Sequence[bytes | Mapping[str, object]],
        *,
        source: str = LOCAL_SOURCE,
        content_type: str = "",
        wait: str = "committed",
        full: bool = False,
    ) -> Committed:
        """Append events and return when they are durable (`wait="published"`: when a checkpoint covers them).

        `events` is a body as the HTTP door takes it (object, array, NDJSON), or a sequence of events as bytes or
        dictionaries. All of one call stand in one frame.

        Raises:
            BadInput: an event is not in the model (a `Refusal` lists every fault), or no such source. Busy, Broken.
        """
        if wait not in ("committed", "published"):
            raise BadInput(f"there is no state {wait!r} to wait for", mend="committed or published")
        body = events if isinstance(events, bytes) else _as_array(events)
        if not isinstance(events, bytes):
            content_type = "application/json"
        batch = self.batch(parse_body(body, content_type), source=source, full=full)
        return self.commit(batch, wait=wait)

    def batch(self, parsed: Parsed, *, source: str, full: bool = False, received_us: int | None = None) -> Batch:
        """A batch of parsed events from a registered source, each in the class it may have.

        Raises:
            BadInput: no such source, or an event names a class its source may not use.
        """
        row = self.registers.source(source)
        class_name: str | list[str] = row.class_name
        if any(parsed.classes):
            class_name = [_allowed(row, name, position) for position, name in enumerate(parsed.classes)]
        return Batch(
            parsed.slices, parsed.ids, row.number,
            self.clock.now_us() if received_us is None else received_us,
            class_name, parsed.raws, full,
        )  # fmt: skip

    def commit(self, batch: Batch, *, wait: str = "committed", timeout_s: float = 60.0) -> Committed:
        """`submit`, and wait. Raises what the writer answered."""
        ready = threading.Event()
        got: list[Answer] = []

        def done(answer: Answer) -> None:
            got.append(answer)
            ready.set()

        self.submit(batch, done)
        ready.wait()
        answer = got[0]
        if isinstance(answer, GravenError):
            raise answer
        if wait == "published" and self.publisher.wait(answer.size, timeout_s) is None:
            raise Broken(f"the events are durable, but not published after {timeout_s:g} s")
        return answer

    def publish(self) -> SignedCheckpoint:
        """Publish the committed tree now. Raises Broken."""
        return self.publisher.publish()

    def append_act(
        self,
        action: str,
        data: Mapping[str, object],
        *,
        actor: Mapping[str, object] | None = None,
        message: str = "",
        changes: Sequence[Mapping[str, object]] = (),
    ) -> Committed:
        """Append one of Graven's own acts, and wait until it is durable."""
        now_us = self.clock.now_us()
        event = acts.act(action, now_us=now_us, data=data, actor=actor, message=message, changes=changes)
        if action == acts.BACKUP and isinstance(published := data.get("published"), int):
            self.publisher.history.pin_kept(published)  # every checkpoint that an event names is kept
        return self.commit(Batch([event], [None], acts.SELF_SOURCE, now_us, acts.SELF_CLASS))

    def one_act(self) -> threading.RLock:
        """Hold this while an act is planned from the registers and appended, so that numbers are given once."""
        return self._one_act

    def forget(self) -> None:
        """Let the readers of this log drop what they have cached, as erasing asks."""
        self.view.reader.forget()
        self.writer.state.reader.forget()

    def close(self, reason: str = "closed") -> None:
        """Commit what was queued, record the stop, publish, make tiles durable, let go of the lock."""
        try:
            self.anchoring.stop()
            if self._serving and self.writer.error is None:
                with contextlib.suppress(GravenError):
                    self.append_act(acts.STOP, {"reason": reason})
            self.writer.stop()
            if self.writer.error is None:
                self.publisher.stop()
        finally:
            self._abandon()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _abandon(self) -> None:
        """End the threads and let go of everything without a word to the log: for `close`, and when opening failed
        half way. The lock goes last, so that nothing of this log is written beside its next writer."""
        self.anchoring.stop()
        self.writer.stop()
        self.publisher.halt()
        if self.publisher.panel is not None:
            self.publisher.panel.close()
        self.view.close()
        self.writer.state.reader.close()
        self._lock.release()

    def _record_start(self, found: Recovered, *, serve: bool, reason: str | None) -> None:
        if found.unsaid_loss is not None:  # first: the event right behind lost slots names them
            self._say_lost(*found.unsaid_loss)
        registers = self.registers
        rows = _unnamed_cuts(self.directory, found, registers.torn)
        for name, row in rows.items():
            action = acts.LOSS if row.pop("declared") else acts.RECOVERY
            extra = {"known_size": found.committed_before, "reason": reason or ""} if action == acts.LOSS else {}
            self.append_act(action, {"file": name, "size": found.tail.size, **row, **extra})
            self.loss_recorded |= action == acts.LOSS
        if reason is not None and found.committed_before > found.tail.size and not rows:  # nothing is left of it
            data = {"size": found.tail.size, "known_size": found.committed_before, "reason": reason}
            self.append_act(acts.LOSS, data)
            self.loss_recorded = True
        if self.writer.size and registers.running_since is not None:
            self.append_act(acts.UNCLEAN_STOP, {"start": registers.running_since})
        digest = config_sha256(self.config)
        if self.writer.size and registers.config_sha256 and registers.config_sha256 != digest:
            new = flatten(self.config)
            self.append_act(
                acts.CONFIG,
                {"config_sha256": digest, "before_sha256": registers.config_sha256, "config": new},
                changes=_changes(registers.config, new),
            )
        if serve:
            self._serving = True
            published, panel = self.published, self.publisher.panel  # another may follow while this is appended
            shown = published.checkpoint
            start: dict[str, object] = {
                "version": VERSION,
                "config_sha256": digest,
                "checkpoint": {"size": shown.size, "root": encode_base64(shown.root)},
            }
            if panel is not None:
                start["witness_policy_sha256"] = panel.sha256
            self.append_act(acts.START, start)
            self.publisher.history.pin(shown.size, published.data)

    def _record_keys(self, signer: Signer) -> None:
        """The acts of a change of the signing keys that no event names yet."""
        coming = tuple(format_vkey(key) for key in signer.tenures.coming)
        named = {one.note.encode() for one in self.registers.handovers}
        for note in signer.handovers:
            if note not in named:
                self.append_act(acts.KEYS_HANDOVER, {"handover": note.decode()})
        if coming and self.registers.coming != coming:
            vkeys = [format_vkey(key) for key in signer.keys]
            self.append_act(acts.KEYS_ROTATE, {"vkeys": vkeys, "next_vkeys": list(coming)})

    def _say_lost(self, start: int, end: int) -> None:
        root = encode_base64(self.writer.state.tail.range.root())
        self.append_act(acts.HEAL, {"lost": [[start, end]], "size": end, "root": root})
        if self.published.checkpoint.size == end:
            self.publisher.history.pin(end, self.published.data)

    def _save_registers(self, shown: SignedCheckpoint) -> None:
        registers, size = self.registers, shown.checkpoint.size
        if registers.changed or size - registers.saved_size >= REGISTERS_LAG_ENTRIES:
            self.writer.state.anchorings.save(size)
            registers.save(
                self.files,
                self.directory / "state" / "registers.json",
                Mark(size, shown.checkpoint.root),
                self.keyring.window_key,
            )


def open_signing(config: Config, keyring: Keyring) -> Signer:
    """What signs for the log: the keys in its keyring, or the signer that the configuration names. Raises as both."""
    if config.keys.signer is not None:
        return RemoteSigner(socket_path(config.keys.signer), keyring.origin)
    return open_signer(config.keys.log, keyring)


def check_keys(signer: Signer, config: Config) -> bool:
    """Whether the configuration names the keys that sign now; False where it names those of before a change of keys.

    Raises Broken: they are another log's.
    """
    tenures, named = signer.tenures, public_keys(config)
    if named == tenures.keys and tuple(map(parse_vkey, config.next_vkeys)) == tenures.coming:
        return True
    if named not in (tenures.keys, *(handover.old for handover in tenures.handovers)):
        raise Broken(
            "the keyring holds other signing keys than the log's configuration names",
            place=config.keys.dir or "the keyring",
            mend="give this log its own keyring in [keys] dir",
        )
    return False


def _with_keys_of(signer: Signer, config: Config, directory: Path, files: Files) -> Config:
    """The configuration with the keys that sign now, in its file too: a change of keys was cut off before that."""
    if check_keys(signer, config):
        return config
    vkeys, coming = ([format_vkey(key) for key in keys] for keys in (signer.keys, signer.tenures.coming))
    path = directory / CONFIG_NAME
    if path.exists():
        text = set_vkeys(path.read_text(encoding="utf-8"), vkeys, coming)
        write_atomic(files, str(path), text.encode())
    return msgspec.structs.replace(config, vkeys=tuple(vkeys), next_vkeys=tuple(coming))


def _writer_state(
    directory: Path,
    config: Config,
    keyring: Keyring,
    signer: Signer,
    find_key: KeyFinder,
    found: Recovered,
    clock: Clock,
    files: Files,
) -> WriterState:
    size, now_us = found.tail.size, clock.now_us()
    reader = JournalReader(directory / "journal", found.log_id, find_key)
    if found.segment is not None:
        reader.adopt(found.segment.segment_file, found.segment.blocks, found.segment.offset)
    registers = load_registers(
        directory / "state" / "registers.json",
        keyring.window_key,
        reader=reader,
        find_key=find_key,
        log_id=found.log_id,
        tail=found.tail,
        size=size,
    )
    window = Window(
        files,
        directory / "state",
        keyring.window_key,
        ids_max=config.idempotency.max_ids,
        window_us=config.idempotency.window_s * 1_000_000,
    )
    load_window(window, reader=reader, size=size, ids_max=config.idempotency.max_ids, now_us=now_us)
    anchorings = Anchorings(files, directory / "state")
    anchorings.open(size, lambda start, end: self_events(reader, find_key, found.log_id, start, end))
    mark = MarkFile(files, str(directory / "state" / "committed"))
    mark.write(Mark(size, found.tail.range.root()))
    last = reader.read(size - 1).head if size else None
    receipts = ReceiptSigner(keyring, signer)
    return WriterState(
        files=files,
        journal=directory / "journal",
        origin=signer.origin,
        log_id=found.log_id,
        classes=class_names(config),
        keyring=keyring,
        signer=signer,
        receipts=receipts,
        certificates=Certificates(files, directory, receipts),
        reader=reader,
        tail=found.tail,
        window=window,
        registers=registers,
        mark=mark,
        anchorings=anchorings,
        segment=found.segment,
        last_received_us=last.received_us if last else 0,
    )


def _lay_out(
    directory: Path, config: Config, keyring: Keyring, signer: LogSigner, log_id: bytes, clock: Clock, files: Files
) -> None:
    """An empty log on disk: directories, configuration, the checkpoint of the empty tree, the first segment."""
    files.mkdir(str(directory))
    for name in ("journal", "log", "checkpoints", "state"):
        files.mkdir(str(directory / name))
    write_atomic(files, str(directory / "graven.toml"), format_config(config).encode())
    now_us = clock.now_us()
    note = signer.sign_checkpoint(Checkpoint(signer.origin, 0, EMPTY_ROOT), now_us // 1_000_000)
    write_atomic(files, str(directory / "log" / "checkpoint"), note)
    keys = keyring.new_data_keys(0, class_names(config))
    numbers = {"event": 1, "raw": 2}
    header = SegmentHeader(
        signer.origin, log_id, 0, 0, now_us, EMPTY_ROOT, (),
        tuple((name, numbers[kind], key_id) for (name, kind), (key_id, _) in keys.items()),
    )  # fmt: skip
    SegmentWriter.create(files, str(directory / "journal"), header).close()


def _genesis(log: Log, config: Config, successor_of: bytes | None) -> dict[str, object]:
    data: dict[str, object] = {
        "origin": config.origin,
        "log_id": config.log_id,
        "vkeys": list(config.vkeys),
        "receipt_vkey": format_vkey(log.writer.state.receipts.key),
        "version": VERSION,
        "config_sha256": config_sha256(config),
        "config": flatten(config),
        "sources": [msgspec.to_builtins(Source(1, LOCAL_SOURCE, type="command line", grade="authenticated sender"))],
    }
    if successor_of is not None:
        data["successor_of"] = _successor(successor_of)
    return data


def _successor(note: bytes) -> dict[str, object]:
    checkpoint, _ = parse_checkpoint(parse_note(note).text)
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": encode_base64(checkpoint.root),
        "checkpoint": note.decode(),
    }


def _panel(directory: Path, config: Config, signer: Signer, files: Files) -> WitnessPanel | None:
    """The witnesses of the configured policy, else of the one the log was last run with. Raises BadInput, Broken."""
    named = config.publish.witness_policy
    path = Path(named) if named is not None else current_policy(directory)
    if path is None:
        return None
    policy = load_policy(path, signer.tenures.every)
    keep_policy(files, directory, policy)
    return WitnessPanel(
        policy, signer.tenures, verify_signature,
        deadline_s=config.publish.witness_deadline_ms / 1000, state=directory / "state", files=files,
    )  # fmt: skip


def _ask_witnesses(
    panel: WitnessPanel,
    config: Config,
    signer: Signer,
    found: Recovered,
    *,
    wait_s: float | None,
    give_up: Callable[[], bool] | None,
) -> None:
    """What has each witness seen? Only checkpoints that are signed already are shown to them. Raises Broken."""
    mark = signer.highest()
    assert mark is not None  # recovery has opened it
    panel.learn(
        found.published,
        signer.tenures.open(mark, verify_signature),
        lambda old, new: prove_consistency(found.tail.nodes(new), old=old, new=new),
        go_on=config.publish.witness_start == "go_on",
        wait_s=wait_s,
        give_up=give_up or (lambda: False),
    )


def time_authorities(config: Config) -> tuple[AuthoritySettings, ...]:
    """The configured time authorities, their certificates read. Raises BadInput for a file that holds none."""
    found: list[AuthoritySettings] = []
    for name, one in config.authorities.items():
        place = f"[authorities.{name}] ca_file, {one.ca_file}"
        try:
            roots = parse_certificates(Path(one.ca_file or "").read_bytes())
        except OSError as error:
            what = "the certificates of a time authority cannot be read"
            raise BadInput(what, place=f"{place}: {error.strerror}") from None
        except BadInput as error:
            raise BadInput(error.what, place=place, mend="a PEM file with the authority's root") from None
        found.append(AuthoritySettings(name, roots, one.url, one.policy, one.interval_s, one.timeout_ms / 1000))
    return tuple(found)


def time_roots(config: Config) -> tuple[Certificate, ...]:
    """Every certificate that the configured time authorities may lead to. Raises BadInput."""
    return roots_of(time_authorities(config))


def _anchor_limits(config: Config) -> AnchorLimits:
    times, deadline_ms = config.time, config.publish.witness_deadline_ms
    return AnchorLimits(times.clock_bound_ms * 1000, times.renew_s * 1_000_000, deadline_ms * 1000)


def _publish_limits(config: Config) -> PublishLimits:
    publish = config.publish
    return PublishLimits(publish.interval_ms, publish.witness_require, publish.witness_refresh_s)


def _limits(config: Config) -> Limits:
    return Limits(
        queued_events=config.intake.max_events,
        queued_bytes=config.intake.max_bytes,
        group_events=config.intake.group_events,
        segment_bytes=config.journal.segment_bytes,
        segment_age_us=config.journal.segment_age_s * 1_000_000,
    )


def _unnamed_cuts(directory: Path, found: Recovered, named: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Files in journal/torn/ that no event names yet: those cut now, and those a crash left unnamed."""
    rows: dict[str, dict[str, object]] = {
        cut.file: {
            "segment": cut.segment,
            "offset": cut.offset,
            "length": cut.length,
            "sha256": cut.sha256,
            "declared": cut.declared,
        }
        for cut in found.cuts
        if cut.file not in named
    }
    torn = directory / "journal" / "torn"
    for path in sorted(torn.iterdir()) if torn.is_dir() else ():
        if path.name not in named and path.name not in rows and not path.name.endswith(".tmp"):
            segment, _, offset = path.name.rpartition(".")[0].rpartition(".")
            data = path.read_bytes()
            rows[path.name] = {
                "segment": segment,
                "offset": int(offset) if offset.isdecimal() else 0,
                "length": len(data),
                "sha256": sha256(data).hexdigest(),
                "declared": holds_whole_frame(data),  # no other cut may take one
            }
    return rows


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {"path": path, "old": old.get(path), "new": new.get(path)}
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _allowed(source: Source, class_name: str | None, position: int) -> str:
    if class_name is None or class_name == source.class_name:
        return source.class_name
    if class_name in source.classes:
        return class_name
    raise BadInput(
        f"source {source.name!r} may not use the class {class_name!r}",
        place=f"event {position} at $.class",
        mend=f"leave it out, or let it: graven source change {source.name} --allow-class {class_name}",
    )


def _as_array(events: Sequence[bytes | Mapping[str, object]]) -> bytes:
    """One body of these events; no NDJSON, since an event's bytes may have line breaks between its tokens."""
    return b"[%s]" % b",".join(one if isinstance(one, bytes) else msgspec.json.encode(one) for one in events)
