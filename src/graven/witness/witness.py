"""A witness: one request, from its bytes to its answer. C2SP tlog-witness v1, add-checkpoint and monitoring.

    parse (400) → origin known (404) → signed by the log (403) → in one transaction: judge against the cosigned
    checkpoint (409, 422), allowance (429), cosign, store → committed → answer

What leaves here with status 200 is durable. A cosignature's time never falls for a log, whatever the clock does. A
tree cosigned in this very second is answered with the stored lines: so a stranger who repeats a log's checkpoint
costs one write a second at most, and only the log itself, by growing, uses up its allowance.

Not here: HTTP (`serve.py`). One thread at a time.
"""

from dataclasses import dataclass
from pathlib import Path

from graven.core.checkpoint import message_to_sign, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import Key, Note, Signature, format_note, format_signature, open_note, parse_note
from graven.core.witness_request import parse_add_checkpoint
from graven.keys.signature import verify_signature
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.runtime.files import LocalFiles
from graven.runtime.telemetry import get_logger
from graven.witness.cosigner import Cosigner, make_keys
from graven.witness.evidence import keep
from graven.witness.judge import Refusal, judge
from graven.witness.store import Cosigned, Store, make_store

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"
GROWTHS_PER_S, GROWTHS_BURST = 50, 100

logger = get_logger("witness")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = TEXT


class Witness:
    """The witness in a directory. Every answer is what its store holds at that moment."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        """Raises BadInput when `directory` holds no witness, Broken when keys or database are damaged or do not belong
        together.
        """
        self.directory = directory
        self.cosigner = Cosigner(directory)
        self.store = Store(directory)
        try:
            self.store.check_identity(self.cosigner.keys)
        except GravenError:
            self.store.close()
            raise
        self._clock = clock or SystemClock()
        self._allowances: dict[str, tuple[float, int]] = {}

    def close(self) -> None:
        self.store.close()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer an add-checkpoint request. Raises Busy and Broken as the store does; then nothing was cosigned."""
        try:
            old, proof, note = parse_add_checkpoint(body)
        except BadInput as error:
            return Answer(400, f"invalid input, or an invalid checkpoint: {error}\n".encode())
        new, _ = parse_checkpoint(note.text)
        keys = self.store.keys_of(new.origin)
        if not keys:
            return Answer(404, b"unknown log\n")
        try:
            open_note(note, keys, verify_signature, message=_message)
        except (Disproved, BadInput) as error:
            return Answer(403, f"invalid signature: {error.what}\n".encode())
        note = _only_by(note, keys)
        with self.store.transaction():
            latest = self.store.latest(new.origin)
            refusal = judge(old, proof, new, None if latest is None else latest.checkpoint)
            if refusal is None:
                return self._cosign(Cosigned(new, self._clock.now_us() // US_PER_S, b""), note, latest)
        self._keep(refusal, note, latest)
        return Answer(refusal.status, refusal.words.encode(), SIZE if refusal.status == 409 else TEXT)

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The newest cosigned checkpoint, by the lower-case hex SHA-256 of the log's origin."""
        return self.store.note_by_hash(origin_hash)

    def _cosign(self, new: Cosigned, note: Note, latest: Cosigned | None) -> Answer:
        """Inside the transaction: sign, store, and say what to answer once it has ended."""
        time_s = new.time_s
        if latest is not None:
            time_s = max(time_s, latest.time_s)
            stored = parse_note(latest.note)
            if time_s == latest.time_s and stored.text == note.text:
                return _lines(_only_by(stored, self.cosigner.keys).signatures)
        if (latest is None or new.checkpoint != latest.checkpoint) and not self._may_grow(new.checkpoint.origin):
            return Answer(429, b"this log grows too often; ask again in a second\n")
        lines = self.cosigner.cosign(note.text, time_s)
        data = format_note(Note(note.text, note.signatures + lines))
        self.store.save(Cosigned(new.checkpoint, time_s, data))
        return _lines(lines)

    def _may_grow(self, origin: str) -> bool:
        """Take one from the log's allowance: `GROWTHS_PER_S`, and `GROWTHS_BURST` at once."""
        now_us = self._clock.now_us()
        left, before_us = self._allowances.get(origin, (float(GROWTHS_BURST), now_us))
        left = min(GROWTHS_BURST, left + max(0, now_us - before_us) / US_PER_S * GROWTHS_PER_S)
        self._allowances[origin] = (left - 1 if left >= 1 else left, now_us)
        return left >= 1

    def _keep(self, refusal: Refusal, note: Note, latest: Cosigned | None) -> None:
        """Tell of a refusal, and keep what it is evidence of. A disk that fails here changes no answer."""
        if refusal.kind is None or latest is None:
            return
        refused, _ = parse_checkpoint(note.text)
        fields = {"origin": refused.origin, "size": refused.size, "cosigned": latest.checkpoint.size}
        try:
            notes = (latest.note, format_note(note))
            folder = keep(LocalFiles(), self.directory, refusal.kind, refused, notes)
        except OSError as error:
            logger.error("evidence was not kept", extra={"fields": fields | {"why": error.strerror}})
            return
        if folder is not None:
            level = logger.error if refusal.kind == "fork" else logger.warning
            level(f"refused: {refusal.kind}", extra={"fields": fields | {"kept": str(folder)}})


def make_witness(directory: Path, name: str) -> tuple[Key, ...]:
    """Make a witness in `directory`, which must be empty or not be there; its public keys.

    Raises BadInput: the directory, or a name that is not a key's. Broken: the disk failed.
    """
    files = LocalFiles()
    try:
        if not directory.is_dir():
            files.mkdir(str(directory))
            files.sync_dir(str(directory.absolute().parent))
        elif any(directory.iterdir()):
            raise BadInput("the directory is not empty", place=str(directory), mend="name a new one")
        directory.chmod(0o700)
        make_keys(files, directory, name)
        keys = Cosigner(directory).keys
        make_store(files, directory, keys)
    except (FileNotFoundError, FileExistsError, PermissionError) as error:
        raise BadInput(f"no witness can be made here: {error.strerror}", place=str(directory)) from None
    except OSError as error:
        raise Broken(f"the disk failed: {error.strerror}", place=str(directory)) from error
    return keys


def _message(key: Key, time: int | None, text: str) -> bytes:
    return message_to_sign(key.type, name=key.name, time=time, text=text)


def _only_by(note: Note, keys: tuple[Key, ...]) -> Note:
    """The note with one line of each of `keys` that signed: nothing that was not verified is kept or shown."""
    lines = {(line.name, line.key_id): line for line in note.signatures}
    return Note(note.text, tuple(lines[key.name, key.id] for key in keys if (key.name, key.id) in lines))


def _lines(signatures: tuple[Signature, ...]) -> Answer:
    return Answer(200, "".join(map(format_signature, signatures)).encode())
