"""The receipts of an agent's batches, judged when they come and kept: what the log promised, for whoever must show it.

A receipt is believed by the key that the log's own keys certify, those the agent knows since its enrolment, or those
they handed over to. One that does not hold, or says that the tree fell or forked, is a broken promise: it is kept
beside the others, and the agent stops.

    receipts.ndjson      one line a batch: {"batch", "answer": {"receipt", "opened": {"certificate"}}}
    receipts.1.ndjson    the lines before them; older ones are gone
    receipts.wrong.json  the last receipt that did not hold, and why

`graven receipts check FILE` holds these files against what the log publishes. Lines are written at once and not
synced: a crash of the machine may cost the last of them. A place that cannot be written costs receipts, not records.
"""

import contextlib
import json
import logging
import re
from pathlib import Path

import msgspec

from graven.agent.identity import Identity
from graven.client.transport import Transport
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import Key, parse_note, parse_vkey
from graven.core.policy import Succession
from graven.core.receipt import Receipt, open_receipt, parse_certificate, parse_receipt
from graven.core.succession import follow, served
from graven.keys.signature import verify_signature
from graven.runtime.files import Files, write_atomic

RECEIPTS_FILE, OLDER_FILE, WRONG_FILE = "receipts.ndjson", "receipts.1.ndjson", "receipts.wrong.json"
FILE_BYTES_MAX = 8 << 20
CERTIFICATE_PATH = "/api/v1/receipt-certificates/"

CERTIFICATES_BYTES_MAX = 1 << 20

_BETWEEN = re.compile(rb"\n(?=graven-receipt-key/v1\n)")
_LOGGER = logging.getLogger("graven.agent")


class _Line(msgspec.Struct, frozen=True):
    answer: dict[str, object]


class ReceiptKeeper:
    """One agent's receipts. One thread: that of the delivery."""

    def __init__(
        self, files: Files, state: Path, identity: Identity, transport: Transport, *, file_bytes: int = FILE_BYTES_MAX
    ) -> None:
        self._files, self._state, self._identity, self._transport = files, state, identity, transport
        self._file_bytes = file_bytes
        self._certificate = b""
        self._newest = self._read_newest()
        self.kept = self.unchecked = 0

    def take(self, batch: int, note: str) -> None:
        """Judge and keep the receipt of a batch.

        Raises Disproved: it does not hold. NoAnswer, Busy: its certificate could not be had; ask again.
        """
        data = note.encode()
        try:
            said = parse_receipt(parse_note(data).text)
        except BadInput as error:
            raise self._wrong(batch, note, Disproved(f"the answer's receipt is none: {error.what}")) from None
        certificates = self._certificates_of(said)
        if not certificates:  # a server that gives none: kept, to be checked by whoever has one
            self.unchecked += 1
            self._keep(batch, note, "")
            return
        try:
            receipt = self._judged(data, certificates)
            self._compare(receipt)
        except Disproved as error:
            raise self._wrong(batch, note, error) from None
        self._newest = receipt
        self._keep(batch, note, self._certificate.decode())

    def _judged(self, note: bytes, certificates: list[bytes]) -> Receipt:
        """The receipt, by the first certificate that holds; the log's keys may be others by now."""
        keys = tuple(parse_vkey(vkey) for vkey in self._identity.vkeys)
        receipt, error = self._opened(note, certificates, keys)
        if receipt is None:
            succession, relied = follow(keys, served(self._served), verify_signature)
            receipt, error = self._opened(note, certificates, succession) if relied else (None, error)
        if receipt is None:
            raise error
        if receipt.origin != self._identity.origin:
            raise Disproved("a receipt of another log", expected=self._identity.origin, found=receipt.origin)
        return receipt

    def _opened(
        self, note: bytes, certificates: list[bytes], keys: Succession | tuple[Key, ...]
    ) -> tuple[Receipt | None, Disproved]:
        error = Disproved("no certificate that the log signed is for it")
        for certificate in certificates:
            try:
                receipt = open_receipt(note, certificate, keys, verify_signature)
            except Disproved as found:
                error = found
            else:
                self._certificate = certificate
                return receipt, error
        return None, error

    def _compare(self, receipt: Receipt) -> None:
        before = self._newest
        if before is None:
            return
        if receipt.size < before.size:
            raise Disproved(
                "the log is smaller than it was", expected=f"{before.size} entries or more", found=str(receipt.size)
            )
        if receipt.size == before.size and receipt.root != before.root:
            raise Disproved(f"the log promised two trees of {receipt.size} entries")

    def _certificates_of(self, said: Receipt) -> list[bytes]:
        """The certificates that cover a size, the newest first; none where the server has none to give."""
        if self._certificate:
            known = parse_certificate(parse_note(self._certificate).text)
            if known.first <= said.size <= known.last:
                return [self._certificate]
        found: list[bytes] = []
        for note in _BETWEEN.split(self._get(f"{CERTIFICATE_PATH}{said.size}", CERTIFICATES_BYTES_MAX) or b""):
            with contextlib.suppress(BadInput):
                parse_certificate(parse_note(note).text)
                found.append(note)
        return found

    def _served(self, path: str, size_max: int) -> bytes | None:
        return self._get(f"/log/{path}", size_max)

    def _get(self, path: str, size_max: int) -> bytes | None:
        reply = self._transport.ask("GET", path, answer_bytes_max=size_max)
        return reply.data if reply.status == 200 else None

    def _keep(self, batch: int, note: str, certificate: str) -> None:
        line = {"batch": batch, "answer": {"receipt": note, "opened": {"certificate": certificate}}}
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        path = self._state / RECEIPTS_FILE
        try:
            size = path.stat().st_size if path.exists() else 0
            if size and size + len(data) > self._file_bytes:
                self._files.rename(str(path), str(self._state / OLDER_FILE))
                size = 0
            file = self._files.open(str(path)) if path.exists() else self._files.create(str(path))
            try:
                file.write_at(size, data)
            finally:
                file.close()
            self.kept += 1
        except OSError as error:
            _LOGGER.warning("a receipt cannot be kept: %s", error.strerror)

    def _wrong(self, batch: int, note: str, error: Disproved) -> GravenError:
        """Keep what did not hold, durably, and the error to raise."""
        row = {
            "batch": batch, "receipt": note, "certificate": self._certificate.decode(), "what": error.what,
            "expected": error.expected, "found": error.found,
        }  # fmt: skip
        with contextlib.suppress(OSError):
            write_atomic(self._files, str(self._state / WRONG_FILE), json.dumps(row, indent=1).encode() + b"\n")
        return Disproved(
            f"the receipt of batch {batch} does not hold: {error.what}",
            expected=error.expected,
            found=error.found,
            place=str(self._state / WRONG_FILE),
            mend="keep that file and the receipts beside it, and ask who runs the log; to go on, move them away",
        )

    def _read_newest(self) -> Receipt | None:
        """The newest receipt kept, by which the next is judged."""
        for name in (RECEIPTS_FILE, OLDER_FILE):
            try:
                with (self._state / name).open("rb") as file:
                    lines = file.read(2 * self._file_bytes).splitlines()
            except OSError:
                continue
            for line in reversed(lines):
                with contextlib.suppress(msgspec.MsgspecError, BadInput, KeyError):
                    answer = msgspec.json.decode(line, type=_Line).answer
                    return parse_receipt(parse_note(str(answer["receipt"]).encode()).text)
        return None
