"""What a client asks a log about itself, and how much of the answer it may believe.

`status` and `record` are the server's own words. `evidence`, `checkpoint` and `check_promise` return only what was
checked with the log's verifier keys; a log that cannot show it is Disproved.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from graven.client.refusals import error_of
from graven.client.transport import Reply, Transport
from graven.core.checkpoint import SignedCheckpoint, conflicting, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Busy, Disproved, NotSigned
from graven.core.evidence import MAX_EVIDENCE_BYTES, Verified, parse_evidence, verify_evidence
from graven.core.merkle import prove_consistency, verify_consistency
from graven.core.note import MAX_NOTE_BYTES, Key, parse_note
from graven.core.policy import Succession, log_keys_at
from graven.core.receipt import Receipt, check_promise
from graven.core.succession import follow, served
from graven.core.tile import tile_nodes
from graven.event import MAX_EVENT_BYTES
from graven.keys.signature import verify_signature

STATUS_BYTES_MAX = 4 << 20
RECORD_BYTES_MAX = 8 * MAX_EVENT_BYTES  # an event and its raw, as JSON strings
ERROR_BYTES_MAX = 1 << 20

_T = TypeVar("_T")


class Again(Protocol):
    """Asks once or several times, as `retry.persist`."""

    def __call__(self, ask: Callable[[], _T], /) -> _T: ...


@dataclass(frozen=True, slots=True)
class Proved:
    """Evidence that was checked: its bytes, to keep or hand on, and what they show."""

    data: bytes
    verified: Verified


class Reading:
    """The questions to one log, whose verifier keys are `keys`. Each may raise BadInput, Busy and NoAnswer."""

    def __init__(self, transport: Transport, keys: tuple[Key, ...], again: Again) -> None:
        self._transport, self._again = transport, again
        self.trust = Succession(keys)
        """The keys given, and the hand-overs followed from them."""
        self._following = threading.Lock()
        self._seen: SignedCheckpoint | None = None
        self._known = 0  # hand-overs that were followed, or led to the keys given

    def follow(self) -> bool:
        """Ask the log for hand-overs of its keys, and follow those that count; whether there were any new ones.

        Raises Disproved for one that does not count; NoAnswer and so on as every question.
        """
        with self._following:

            def get(path: str, size_max: int) -> bytes | None:
                reply = self._get_once(f"/log/{path}", size_max, but=404)
                return None if reply.status == 404 else reply.data

            documents = list(served(get, after=self._known))
            try:
                self.trust, relied = follow(self.trust, documents, verify_signature)
            except BadInput as error:
                raise _unreadable("hand-over", error) from None
            if relied:
                self._known += len(documents)
            return bool(relied)

    def status(self) -> dict[str, Any]:
        """The server's own words about itself."""
        return self._json("/api/v1/status", STATUS_BYTES_MAX)

    def record(self, index: int) -> dict[str, Any]:
        """One event as the server shows it."""
        return self._json(f"/api/v1/events/{_check_index(index)}", RECORD_BYTES_MAX)

    def evidence(self, index: int) -> Proved:
        """The evidence for `index`, checked. Raises Disproved; Broken when it is none; Busy: not published."""
        reply = self._get(f"/api/v1/events/{_check_index(index)}/evidence", MAX_EVIDENCE_BYTES)
        try:
            evidence = parse_evidence(reply.data)
            verified = self.led(lambda trust: verify_evidence(evidence, trust=trust, verify=verify_signature))
        except BadInput as error:
            raise _unreadable("evidence", error) from None
        if verified.index != index:
            raise Disproved("evidence for another event", expected=str(index), found=str(verified.index))
        return Proved(reply.data, verified)

    def checkpoint(self, *, size_min: int = 0) -> SignedCheckpoint:
        """The published checkpoint, signed by every key, of at least `size_min` entries.

        Raises Disproved; Broken when it is none; Busy: not published that far.
        """

        def ask() -> SignedCheckpoint:
            reply = self._get_once("/log/checkpoint", MAX_NOTE_BYTES)
            try:
                shown = self.led(lambda trust: _open(reply.data, trust))
            except BadInput as error:
                raise _unreadable("checkpoint", error) from None
            if shown.checkpoint.size < size_min:
                what = f"the log has published {shown.checkpoint.size} entries, not {size_min} yet"
                raise Busy(what, mend="ask again after the next checkpoint")
            return shown

        shown = self._again(ask)
        if self._seen is not None:
            conflicting(self._seen, shown)
        if self._seen is None or self._seen.checkpoint.size <= shown.checkpoint.size:
            self._seen = shown
        return shown

    def check_promise(self, receipt: Receipt) -> SignedCheckpoint:
        """The published checkpoint whose tree holds the promised one, proved from the log's tiles.

        Raises Disproved when it does not; Busy: not published that far.
        """
        shown = self.checkpoint(size_min=receipt.size)
        size = shown.checkpoint.size
        if check_promise(receipt, shown) == "undecided":
            proof = prove_consistency(tile_nodes(self._fetch_tile, size), old=receipt.size, new=size)
            verify_consistency(proof, old=receipt.size, new=size, old_root=receipt.root, new_root=shown.checkpoint.root)
        return shown

    def led(self, judge: Callable[[Succession], _T]) -> _T:
        """What `judge` makes of the trust there is; asked again where the log's keys were handed over meanwhile."""
        try:
            return judge(self.trust)
        except NotSigned as first:
            try:
                new = self.follow()
            except (Disproved, BadInput) as error:
                first.add_note(f"graven: no hand-over of the log's keys explains it: {error}")
                raise first from None
            if not new:
                raise
        return judge(self.trust)

    def _fetch_tile(self, path: str) -> bytes:
        """As `tile_nodes` wants it: a partial tile may be gone once the full one is there."""
        reply = self._get(f"/log/{path}", ERROR_BYTES_MAX, but=404)
        if reply.status == 404:
            raise FileNotFoundError(path)
        return reply.data

    def _json(self, path: str, bytes_max: int) -> dict[str, Any]:
        reply = self._get(path, bytes_max)
        try:
            return msgspec.json.decode(reply.data, type=dict[str, Any])
        except (ValueError, RecursionError):
            raise Broken("the server's answer is no JSON object", place=f"GET {self._transport.url}{path}") from None

    def _get(self, path: str, bytes_max: int, *, but: int = 200) -> Reply:
        """`_get_once`, asked again where that may help."""
        return self._again(lambda: self._get_once(path, bytes_max, but=but))

    def _get_once(self, path: str, bytes_max: int, *, but: int = 200) -> Reply:
        """A reply with status 200, or `but`; any other is raised."""
        reply = self._transport.ask("GET", path, answer_bytes_max=max(bytes_max, ERROR_BYTES_MAX))
        if reply.status not in (200, but):
            raise error_of(reply, f"GET {self._transport.url}{path}")
        return reply


def _check_index(index: int) -> int:
    if index < 0:
        raise BadInput("an index is 0 or more", place="index")
    return index


def _open(data: bytes, trust: Succession) -> SignedCheckpoint:
    keys = log_keys_at(trust, parse_checkpoint(parse_note(data).text)[0].size)
    return open_checkpoint(data, keys, verify_signature, require_all=True)


def _unreadable(what: str, error: BadInput) -> Broken:
    return Broken(f"the server's {what} cannot be read: {error.what}", place=error.place)
