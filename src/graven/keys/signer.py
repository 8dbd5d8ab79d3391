"""The signer: the only code that uses the log's private keys.

`LogSigner` signs checkpoints, each with the Ed25519 key (0x01) and the ML-DSA-44 key (0x06), and keeps the high-water
mark: `highest-checkpoint` in the keyring holds the newest checkpoint note ever signed, and is durable in every copy
before the signature leaves this module. So whatever happens to the data, nothing smaller than that, and no other tree
of that size, is ever signed again. Where the primary copy has no mark (after a restore), it is not known what was
signed, whatever a replica says, for that may have been away; then nothing is signed until something outside says it.

While the keys are changed (`rotation.py`) the new pair signs beside the old; `hand_over` ends that: the hand-over note
names the marked size as the last of the old pair, and is durable in the keyring before anything larger is signed.

Receipts are signed by a key of their own (`receipts.py`), and do not move the mark. The log's other texts
(certificates) are signed with Ed25519 by `LogSigner.sign_text`, which refuses what could be read as a checkpoint.

The Ed25519 key may be in a token (`token_key.py`). While that does not sign, every call raises Busy: nothing was
signed, the mark is as it was, and a later call may do better.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from graven.core.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    conflicting,
    format_checkpoint,
    message_to_sign,
    open_checkpoint,
    parse_checkpoint,
)
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.handover import Handover, Tenures, format_handover, message_of_handover, open_handover
from graven.core.note import (
    ED25519,
    Key,
    Note,
    Signature,
    format_note,
    make_signature,
    parse_note,
)
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE, SigningKey, nothing_signed
from graven.keys.rotation import LOG_FILES, NEXT_FILES, Rotation, load_tenures, read_rotation, write_rotation
from graven.keys.signature import verify_signature
from graven.keys.token_key import TokenKey

_SEEN_MEND = "give the newest checkpoint known outside this host: from a witness, a mirror, or `--seen CHECKPOINT_FILE`"


Prove = Callable[[int, int], Sequence[bytes]]
"""(old size, new size) -> the consistency proof of the log's own tree."""


class Signer(Protocol):
    """What signs for a log, wherever its keys are."""

    @property
    def origin(self) -> str: ...
    @property
    def tenures(self) -> Tenures: ...
    @property
    def keys(self) -> tuple[Key, ...]: ...
    @property
    def handovers(self) -> tuple[bytes, ...]: ...
    @property
    def mark_known(self) -> bool: ...
    def highest(self) -> bytes | None: ...
    def sign_checkpoint(self, checkpoint: Checkpoint, time_s: int, prove: Prove | None = None) -> bytes: ...
    def sign_text(self, text: str) -> bytes: ...


class LogSigner:
    """Signs for one log. Threads may share it; two processes with one keyring cannot sign past each other."""

    def __init__(self, keyring: Keyring) -> None:
        """Load the log's signing keys and the mark. Raises BadInput or Broken for a damaged key, as the keyring does;
        Broken for a damaged mark; Disproved if two copies of the keyring hold marks of two histories.
        """
        self._keyring = keyring
        self._lock = threading.Lock()
        self._failed = False
        self._lasting = False  # whether this mark was written here; one that was found may not be durable yet
        self._load()

    @property
    def origin(self) -> str:
        return self._keyring.origin

    @property
    def tenures(self) -> Tenures:
        """Which of the log's keys are in office at which size."""
        return self._tenures

    @property
    def keys(self) -> tuple[Key, ...]:
        """The public keys in office: Ed25519, ML-DSA-44."""
        return self._tenures.keys

    @property
    def handovers(self) -> tuple[bytes, ...]:
        """Every hand-over note of this log, oldest first."""
        return self._rotation.handovers

    @property
    def mark_known(self) -> bool:
        """False after a restore, until `accept_seen`: what was signed before is not known, and nothing is signed."""
        return self._known

    def highest(self) -> bytes | None:
        """The newest checkpoint note ever signed; None if there is none, or it is not known (see `mark_known`)."""
        return None if self._highest is None else self._highest.data

    def sign_checkpoint(self, checkpoint: Checkpoint, time_s: int, prove: Prove | None = None) -> bytes:
        """The checkpoint as a note with a line of each key, the 0x01 line first; `time_s` is POSIX seconds. While keys
        are changed, the lines of the new pair follow. `prove` is not asked: the tree is this process's own.

        When it returns, the note is in `highest-checkpoint`, durably. The tree already marked is not signed again: its
        stored note is returned. Raises Broken: a smaller tree or another tree of the marked size, a mark not known, or
        a copy of the keyring that cannot be written (after a failed write this signer signs nothing more). BadInput:
        another origin.
        """
        if checkpoint.origin != self.origin:
            raise BadInput(f"this keyring signs for {self.origin!r}, not for {checkpoint.origin!r}")
        with self._lock, self._keyring.locked():
            self._check_ready()
            stored = self._check_mark(checkpoint)
            signing = self._signing_at(checkpoint.size)
            if stored is not None and {one.key for one in signing} <= {one.key for one in stored.signed}:
                if not self._lasting:
                    self._move_mark(stored.data)
                return stored.data
            kept = () if stored is None else stored.note.signatures
            text = format_checkpoint(checkpoint)
            note = Note(text, tuple(self._line(one, kept, text, time_s) for one in signing))
            return self._move_mark(format_note(note)).data

    def hand_over(self, time_s: int) -> bytes:
        """End a change of keys: the hand-over note, durable in the keyring. From now on only the new pair signs.

        The last size of the old pair is the mark's. Raises BadInput where no change is begun, or the marked tree is not
        signed by both pairs yet; as `sign_checkpoint` else.
        """
        with self._lock, self._keyring.locked():
            self._check_ready()
            highest, coming = self._highest, self._coming
            if not coming:
                raise BadInput("no change of keys is begun", mend="graven keys rotate begin --dir DIR")
            if highest is None or not {one.key for one in (*self._signing, *coming)} <= {
                one.key for one in highest.signed
            }:
                raise BadInput("the new keys have signed no tree beside the old ones yet", mend="publish one first")
            handover = Handover(self.origin, highest.checkpoint.size, self.keys, tuple(one.key for one in coming))
            text = format_handover(handover)
            lines = []
            for one in (*self._signing, *coming):
                time = None if one.key.type == ED25519 else time_s
                lines.append(_sign(one, message_of_handover(one.key, time, text), time))
            note = format_note(Note(text, tuple(lines)))
            open_handover(note, verify_signature)
            self._keyring.require_copies()
            done = Rotation("handed", self._rotation.coming, (*self._rotation.handovers, note))
            try:
                write_rotation(self._keyring, done)
            except GravenError:
                self._failed = True
                raise
            self._load()
            return note

    def accept_seen(self, data: bytes) -> None:
        """Take a checkpoint note of this log, seen elsewhere, as the mark; what any copy holds is kept if it is larger.

        From then on the mark is known. Raises Disproved if none of the log's keys signed it, or it shows another tree
        of the marked size; BadInput if it is no checkpoint; Broken if the mark cannot be written.
        """
        seen = self._open(data)
        with self._lock, self._keyring.locked():
            self._reload()
            if self._highest is not None:
                conflicting(self._highest, seen)
                if seen.checkpoint.size <= self._highest.checkpoint.size:
                    seen = self._highest
            ours = {(key.name, key.id) for key in self._tenures.every}
            lines = tuple(line for line in seen.note.signatures if (line.name, line.key_id) in ours)
            self._move_mark(format_note(Note(seen.note.text, lines)))

    def sign_text(self, text: str) -> bytes:
        """A note of `text` signed with the Ed25519 key; while keys are changed, with both.

        Raises BadInput for a text that could pass for a checkpoint or cosignature of this log, or that is no note text.
        """
        if text.partition("\n")[0] in (self.origin, "cosignature/v1"):
            raise BadInput("this text reads as a checkpoint; only sign_checkpoint signs those", place=self.origin)
        signing = [one for one in (*self._signing, *self._coming) if one.key.type == ED25519]
        return format_note(Note(text, tuple(_sign(one, text.encode(), None) for one in signing)))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The keys that sign now and are in a token: which key in which token."""
        found = [one.private for one in (*self._signing, *self._coming)]
        return tuple(one.place for one in found if isinstance(one, TokenKey))

    def open_tokens(self) -> None:
        """See to it that every key in a token signs. Raises BadInput, Busy, Broken."""
        for one in (*self._signing, *self._coming):
            if isinstance(one.private, TokenKey):
                one.private.open()

    def _load(self) -> None:
        """Take keys, rotation and mark from the keyring."""
        keyring = self._keyring
        self._stamp, self._rotation_stamp = keyring.mark_stamp(), keyring.rotation_stamp()
        self._rotation = read_rotation(keyring)
        handed = self._rotation.step == "handed"
        self._signing = [keyring.load_key(file) for file in (NEXT_FILES if handed else LOG_FILES)]
        self._coming = [keyring.load_key(file) for file in NEXT_FILES] if self._rotation.step == "begun" else []
        self._tenures = load_tenures(keyring)
        if tuple(one.key for one in self._signing) != self._tenures.keys or (
            tuple(one.key for one in self._coming) != self._tenures.coming
        ):
            raise Broken(
                "the signing keys in the keyring are not those its hand-overs lead to",
                place=keyring.directory,
                mend="bring back the newest copy of the keyring; an older kit has the keys of before",
            )
        self._known, self._highest = self._read_mark()

    def _signing_at(self, size: int) -> list[SigningKey]:
        """Who signs a tree of `size` entries: nobody any more, where that was the old keys' office."""
        if size <= max((one.last for one in self._tenures.handovers), default=-1):
            return []
        return [*self._signing, *self._coming]

    def _open(self, data: bytes, *, only_known: bool = False) -> SignedCheckpoint:
        """A note that at least one of the keys in office at its size signed."""
        must, may = self._tenures.at(parse_checkpoint(parse_note(data).text)[0].size)
        return open_checkpoint(data, must, verify_signature, cosigners=may, only_known=only_known)

    def _line(self, signing: SigningKey, kept: tuple[Signature, ...], text: str, time_s: int) -> Signature:
        """The line of one key: the one kept from the stored note, or a new one."""
        for line in kept:
            if (line.name, line.key_id) == (signing.key.name, signing.key.id):
                return line
        time = None if signing.key.type == ED25519 else time_s
        message = message_to_sign(signing.key.type, name=signing.key.name, time=time, text=text)
        return _sign(signing, message, time)

    def _check_ready(self) -> None:
        if self._failed:
            raise Broken(
                "an earlier write of highest-checkpoint failed, so nothing more is signed",
                place=self._keyring.directory,
                mend="find out why the disk failed, then start again",
            )
        self._reload()
        if not self._known:
            raise Broken(
                "what was signed before is not known, so nothing is signed",
                place=self._keyring.directory,
                mend=_SEEN_MEND,
            )

    def _check_mark(self, checkpoint: Checkpoint) -> SignedCheckpoint | None:
        """The stored note if it is of the very same tree, None if the tree is larger. Raises Broken."""
        if self._highest is None or checkpoint.size > self._highest.checkpoint.size:
            return None
        marked = self._highest.checkpoint
        if checkpoint == marked:
            return self._highest
        if checkpoint.size == marked.size:
            what = f"another tree of size {marked.size} was signed before, so this one is a fork"
        else:
            what = f"a tree of size {marked.size} was signed before, and this one has size {checkpoint.size}"
        raise Broken(
            f"{what}: it is not signed",
            place=f"{self._keyring.directory}/{HIGHEST_FILE}",
            mend="the data is older than the keys: restore the newest data, or begin a successor log",
        )

    def _move_mark(self, data: bytes) -> SignedCheckpoint:
        """Write the mark, then believe it. What was signed is verified first: a faulty machine must not publish it."""
        signed = self._open(data, only_known=True)
        self._keyring.require_copies()
        try:
            self._keyring.write_mark(data)
        except GravenError:
            self._failed = True
            raise
        self._known, self._highest, self._stamp = True, signed, self._keyring.mark_stamp()
        self._lasting = True
        return signed

    def _reload(self) -> None:
        """Take over a mark another process has written. Raises Broken if another process changed the keys."""
        if self._keyring.rotation_stamp() != self._rotation_stamp:
            raise Broken(
                "the signing keys were changed by another process, so nothing more is signed here",
                place=self._keyring.directory,
                mend="start again",
            )
        stamp = self._keyring.mark_stamp()
        if stamp != self._stamp:
            self._known, self._highest = self._read_mark()
            self._stamp, self._lasting = stamp, False

    def _read_mark(self) -> tuple[bool, SignedCheckpoint | None]:
        """(whether the primary copy has a mark, the largest checkpoint in any copy).

        A damaged replica is noted; a damaged primary is Broken, since no replica is surely as new.
        """
        known = False
        highest: SignedCheckpoint | None = None
        for path, data in self._keyring.marks():
            primary = path == f"{self._keyring.directory}/{HIGHEST_FILE}"
            known = known or primary
            if data == nothing_signed(self.origin):
                continue
            try:
                found = self._open(data, only_known=True)
            except GravenError as error:
                if primary:
                    what = f"the mark of what was signed is damaged: {error.what}"
                    raise Broken(what, place=path, mend=f"remove the file, then {_SEEN_MEND}") from error
                self._keyring.note(f"{path} is damaged ({error.what}); the primary's is used")
                continue
            if highest is None or conflicting(highest, found) == "undecided":
                highest = max(highest or found, found, key=lambda one: one.checkpoint.size)
        return known, highest


def open_signer(keyring: Keyring) -> LogSigner:
    """What signs with the keys of a keyring. Keys in a token are asked to sign once, so that it is known that they can.

    Raises what `LogSigner` raises; BadInput or Busy for a token that does not sign.
    """
    signer = LogSigner(keyring)
    signer.open_tokens()
    return signer


def _sign(signing: SigningKey, message: bytes, time: int | None) -> Signature:
    return make_signature(signing.key, signing.sign(message), time=time)
