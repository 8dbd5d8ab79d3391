"""`Log`: a log open for writing, for the server and for programs that embed one."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from graven.anchor.authority import TimeAuthority
from graven.anchor.policies import describe_trust
from graven.app.pieces import (
    anchor_limits,
    open_keyring,
    open_panel,
    open_signing,
    publish_limits,
    time_authorities,
    time_roots,
    writer_limits,
)
from graven.app.start import WITNESSES_WAIT_S, ask_witnesses, record_keys, record_start, with_keys_of, writer_state
from graven.config import (
    Config,
    load_config,
)
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.note import Key
from graven.event import Parsed, parse_body
from graven.journal.files import Files, LocalFiles
from graven.journal.mark import Mark
from graven.keys.keyring import Keyring
from graven.keys.rewrap import finish_rewrap
from graven.keys.rotation import promote
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.anchoring import Anchoring
from graven.log.handovers import HandoverKeeper
from graven.log.lock import Lock
from graven.log.publish import Publisher
from graven.log.reader import KeyFinder
from graven.log.recover import recover
from graven.log.registers import Registers, Source
from graven.log.types import Batch, Committed
from graven.log.view import View
from graven.log.writer import Answer, Done, Wake, Writer
from graven.runtime.clock import Clock, SystemClock

LOCAL_SOURCE = "local"
REGISTERS_LAG_ENTRIES = 2_000


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
        config = with_keys_of(signer, config, directory, files)
        log = cls(directory, config, lock or Lock(directory), keyring, clock, files)
        find_key = KeyFinder(keyring)
        found = recover(directory, files=files, signer=signer, find_key=find_key, declare_loss=declare_loss is not None)
        panel = open_panel(directory, config, signer, files)
        if panel is not None:
            ask_witnesses(panel, config, signer, found, wait_s=None if serve else WITNESSES_WAIT_S, give_up=give_up)
        state = writer_state(directory, config, keyring, signer, find_key, found, clock, files)
        log.view = View(directory, signer.keys, keyring, lambda: time_roots(config))
        log.writer = Writer(state, clock, writer_limits(config))
        log.publisher = Publisher(
            directory, files=files, clock=clock, signer=signer, tail=found.tail, published=found.published,
            on_disk=found.on_disk, limits=publish_limits(config), panel=panel,
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
            files=files, clock=clock, limits=anchor_limits(config), published=lambda: log.published,
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
            record_keys(log, signer)  # first: nothing stands between a hand-over and its event
            record_start(log, found, serve=serve, reason=declare_loss)
            log._serving = serve
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
            elif self.publisher.error is not None:  # it stopped the writer, and nobody was told by an answer
                raise self.publisher.error
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

    def _save_registers(self, shown: SignedCheckpoint) -> None:
        registers, size = self.registers, shown.checkpoint.size
        if registers.changed or size - registers.saved_size >= REGISTERS_LAG_ENTRIES:
            if registers.size >= size:  # else the writer is still taking in what was published: the next time, then
                self.writer.state.anchorings.save(size)
            registers.save(
                self.files,
                self.directory / "state" / "registers.json",
                Mark(size, shown.checkpoint.root),
                self.keyring.window_key,
            )


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
