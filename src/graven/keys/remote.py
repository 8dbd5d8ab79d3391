"""The log's signing keys in another process: the side that asks. `signer_server.py` is the other.

It has the same face as `LogSigner`, and none of the keys: whoever owns this process can have the log's next tree
signed, if it grows from the last one, and nothing else. Nothing the signer answers is believed unchecked: a note is
opened with the keys it named at the start, and those must be what the configuration names.
"""

import socket
import threading
from pathlib import Path

from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.document import as_list, as_text
from graven.core.errors import BadInput, Broken, Busy, Disproved
from graven.core.handover import MAX_HANDOVERS, Tenures, open_handover
from graven.core.note import Key, parse_vkey
from graven.core.receipt import open_certificate, parse_certificate
from graven.keys.signature import verify_signature
from graven.keys.signer import Prove
from graven.keys.signer_protocol import (
    ANSWER_BYTES_MAX,
    TIMEOUT_S,
    Certify,
    Hello,
    Request,
    Sign,
    format_request,
    parse_answer,
    read_line,
)

_MEND = "start it: graven signer serve SIGNER_DIR --socket PATH"


class RemoteSigner:
    """Asks the signer behind a socket. Threads may share it."""

    def __init__(self, path: str, origin: str) -> None:
        """Raises Busy where nobody answers, BadInput for the signer of another log, Disproved or Broken for
        one that contradicts itself."""
        self._path = path
        self._lock = threading.Lock()
        self._unsure = False  # whether an answer was lost: the signer may have signed what this side never saw
        hello = self._ask(Hello())
        try:
            self._origin = as_text(hello.get("origin"), "origin")
            keys, coming = (_keys(hello.get(name), name) for name in ("keys", "coming"))
            notes = as_list(hello.get("handovers"), "handovers", count_max=MAX_HANDOVERS)
            self._handovers = tuple(as_text(note, "handovers").encode() for note in notes)
            handovers = tuple(open_handover(note, verify_signature) for note in self._handovers)
            self._tenures = Tenures(keys, handovers, coming)
            self._known = hello.get("known") is True
            self._highest = self._opened(hello.get("highest"))
        except BadInput as error:
            raise Broken(f"the signer's answer is none: {error.what}", place=path) from None
        if self._origin != origin:
            raise BadInput(f"the signer signs for {self._origin!r}, not for {origin!r}", place=path)

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def tenures(self) -> Tenures:
        return self._tenures

    @property
    def keys(self) -> tuple[Key, ...]:
        return self._tenures.keys

    @property
    def handovers(self) -> tuple[bytes, ...]:
        return self._handovers

    @property
    def mark_known(self) -> bool:
        return self._known

    def highest(self) -> bytes | None:
        """The newest checkpoint note the signer has signed, as far as this process was told."""
        return None if self._highest is None else self._highest.data

    def sign_checkpoint(self, checkpoint: Checkpoint, time_s: int, prove: Prove | None = None) -> bytes:
        """As `LogSigner.sign_checkpoint`; the time is the signer's own. `prove` shows that the tree grew from the last.

        Raises what the signer refused with; Busy when it does not answer, for it may come back.
        """
        with self._lock:
            if self._unsure:
                self._learn()
            proof: tuple[bytes, ...] = ()
            before = self._highest
            if before is not None and 0 < before.checkpoint.size < checkpoint.size:
                if prove is None:
                    raise Broken("the signer wants proof that the tree grew, and there is none", place=self._path)
                proof = tuple(prove(before.checkpoint.size, checkpoint.size))
            self._unsure = True
            note = self._note(Sign(checkpoint.size, checkpoint.root, proof))
            signed = self._tenures.open(note, verify_signature, only_known=True)
            if signed.checkpoint != checkpoint:
                raise Disproved("the signer signed another tree than it was asked for", place=self._path)
            self._highest, self._unsure = signed, False
            return note

    def sign_text(self, text: str) -> bytes:
        """A certificate of a receipt key: the signer signs no other text. Raises as `sign_checkpoint`, and BadInput."""
        wanted = parse_certificate(text)
        note = self._note(Certify(wanted.vkey, wanted.first, wanted.last))
        if open_certificate(note, self.keys, verify_signature) != wanted:
            raise Disproved("the signer certified something else than it was asked for", place=self._path)
        return note

    def _learn(self) -> None:
        """What the signer signed last. Raises Broken: its keys are others than they were."""
        hello = self._ask(Hello())
        try:
            keys = _keys(hello.get("keys"), "keys"), _keys(hello.get("coming"), "coming")
            highest = self._opened(hello.get("highest"))
        except BadInput as error:
            raise Broken(f"the signer's answer is none: {error.what}", place=self._path) from None
        if keys != (self._tenures.keys, self._tenures.coming):
            raise Broken("the signer's keys were changed", place=self._path, mend="start the server again")
        self._highest, self._unsure = highest, False

    def _note(self, request: Request) -> bytes:
        try:
            return as_text(self._ask(request).get("note"), "note").encode()
        except BadInput as error:
            if error.place != "note":
                raise
            raise Broken("the signer's answer has no note", place=self._path) from None

    def _opened(self, note: object) -> SignedCheckpoint | None:
        if note is None:
            return None
        return self._tenures.open(as_text(note, "highest").encode(), verify_signature, only_known=True)

    def _ask(self, request: Request) -> dict[str, object]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(self._path)
            connection.sendall(format_request(request))
            line = read_line(connection, ANSWER_BYTES_MAX)
        except (OSError, BadInput) as error:
            why = error.what if isinstance(error, BadInput) else error.strerror or type(error).__name__
            raise Busy(f"the signer does not answer: {why}", retry_after_s=5, place=self._path, mend=_MEND) from None
        finally:
            connection.close()
        return dict(parse_answer(line))


def socket_path(uri: str) -> str:
    """The path in `unix:/PATH`. Raises BadInput."""
    scheme, _, path = uri.partition(":")
    if scheme != "unix" or not Path(path).is_absolute():
        raise BadInput(
            "not the address of a signer", place=f"[keys] signer = {uri!r}", mend='"unix:/run/graven/signer.sock"'
        )
    return path


def _keys(value: object, place: str) -> tuple[Key, ...]:
    return tuple(parse_vkey(as_text(one, place)) for one in as_list(value, place, count_max=2))
