"""`Client`: a program's way to a Graven server.

    with Client("https://audit.example.com:4780", token, vkey=VKEY, receipts="/var/lib/app/receipts") as client:
        answer = client.append({"action": "user.create", "actor": {"id": "alice"}})   # durable and proved, or raised
        client.send({"action": "file.read"})                                          # queued; sent in batches

Every answer to an append is checked against the bytes that were sent, with the log's Ed25519 verifier key, which the
program must be given from elsewhere. `append` returns what is proved or raises; `send` queues within bounds, and a
thread does the same in batches.
"""

import atexit
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from graven.client.answer import Answer, WrongReceipt, answer_bytes_max, open_answer
from graven.client.outbox import Outbox
from graven.client.outgoing import COMPRESS_BYTES_MIN, OneEvent, body_of, compressed, prepare, with_ids
from graven.client.reading import ERROR_BYTES_MAX, Proved, Reading
from graven.client.receipts import FILE_BYTES, ReceiptStore
from graven.client.refusals import error_of
from graven.client.retry import persist
from graven.client.sender import Sender
from graven.client.transport import Transport
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import ED25519, Key, parse_vkey
from graven.core.receipt import Receipt

_LOGGER = logging.getLogger("graven.client")
_JOIN_S = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What `send` has queued: events without an answer yet, refused ones nobody took, the bytes of both.

    `trouble` is why nothing gets through at the moment: the last attempt's error (it is tried again), or the failure
    that stopped the sending until `flush`.
    """

    waiting: int
    refused: int
    size_bytes: int
    trouble: GravenError | None


class ReceiptNotKept(Broken):
    """The log holds the events, and `answer` proves it, but the receipt could not be written. Do not send them anew."""

    def __init__(self, error: Broken, answer: Answer) -> None:
        mend = "the events are stored: keep .answer, make room, and do not send them anew"
        super().__init__(error.what, place=error.place, mend=mend)
        self.answer = answer


class Client:
    """One server, one log. Threads may share it, processes may not. Close it, or use it as a context manager.

    `vkey`: the log's verifier key or keys (`graven vkey`), the Ed25519 one among them; every one given must have signed
    whatever is believed, or have handed over to the keys that did.
    `token` or `token_file`: `ingest` to append, `read` to read. `receipts`: directory for kept
    answers; without one only wrong ones are kept, in a temporary directory. `ca_file`: PEM file of the only
    authorities to trust for HTTPS; else the system's. `retries`: how often `append` and the readers ask again, after
    growing pauses. `on_answer`: called on the sending thread for each batch.

    Raises:
        BadInput: an argument that cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        vkey: str | Sequence[str],
        token_file: str | Path | None = None,
        receipts: str | Path | None = None,
        receipts_file_bytes: int = FILE_BYTES,
        ca_file: str | Path | None = None,
        allow_http: bool = False,
        batch_events: int = 500,
        batch_bytes: int = 1 << 20,
        linger_ms: int = 100,
        queue_events_max: int = 20_000,
        queue_bytes_max: int = 32 << 20,
        timeout_s: float = 30.0,
        retries: int = 7,
        compress: bool = True,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        self.keys = _log_keys(vkey)
        _check_knobs(
            batch_events=batch_events, batch_bytes=batch_bytes, queue_events_max=queue_events_max,
            queue_bytes_max=queue_bytes_max, receipts_file_bytes=receipts_file_bytes, timeout_s=timeout_s,
            linger_ms=linger_ms + 1, retries=retries + 1,
        )  # fmt: skip
        self._transport = Transport(
            url, token=token, token_file=token_file, ca_file=ca_file, timeout_s=timeout_s, allow_http=allow_http
        )
        self._store = None if receipts is None else ReceiptStore(receipts, file_bytes=receipts_file_bytes)
        self._timeout_s, self._retries, self._compress, self._on_answer = timeout_s, retries, compress, on_answer
        self._outbox = Outbox(
            events_max=queue_events_max, bytes_max=queue_bytes_max,
            batch_events=batch_events, batch_bytes=batch_bytes, linger_s=linger_ms / 1000,
        )  # fmt: skip
        self._reading = Reading(self._transport, self.keys, self._again)
        self._sender: Sender | None = None
        self._starting = threading.Lock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def append(
        self,
        events: OneEvent | Iterable[OneEvent],
        *,
        wait: Literal["committed", "published", "timestamped"] = "committed",
    ) -> Answer:
        """Send events in one request, and return when the log provably holds them.

        `events` as in `with_ids`. `wait="published"`: when a checkpoint covers them; `"timestamped"`: when a time
        authority stamped one that does. A log that does not get so far within a minute says so (`Answer.state`,
        `missing`): the events are stored all the same; `timeout_s` of the client has to be longer than that. To be
        able to call again after Busy or Broken without storing anything twice, give events with ids of their own, or
        prepare them with `with_ids` once and pass the same bytes again.

        Raises:
            Refusal (a BadInput): events that are not in the model or that the server does not take; none was stored.
            BadInput: the token or the address is not right. WrongReceipt (a Disproved): the log did not prove that it
            holds what was sent; the evidence is on disk. Busy: full, or starting up. NoAnswer, Broken: the events may
            be stored. ReceiptNotKept: they are, and the receipt is in the error.
        """
        self._check_open()
        if wait not in ("committed", "published", "timestamped"):
            raise BadInput("there is no such state to wait for", place="wait", mend="committed, published, timestamped")
        return self._again(self._asking(with_ids(events), wait))

    def send(self, event: OneEvent, *, wait_s: float | None = None) -> str:
        """Queue one event and return its id; a thread sends it in a batch.

        When the queue is full it waits for room, at most `wait_s` seconds (0: not at all; None: as long as it takes).

        Raises:
            BadInput: not in the model, or the client is closed. Busy: still no room. And what stopped the sending, a
            WrongReceipt for example, until `flush` tries again.
        """
        self._check_open()
        data, id_ = prepare(event)
        if self._sender is None:
            self._start()
        self._outbox.put(data, wait_s=wait_s)
        return id_

    def flush(self, timeout_s: float | None = None) -> None:
        """Send what is queued now and wait until the log provably holds it. After a failure, try again.

        Raises:
            What stopped the sending; Busy: not done within `timeout_s` (None: no limit), the events stay queued;
            BadInput: the server refused some, `take_refused` hands them back.
        """
        self._check_open()
        self._outbox.flush(timeout_s)
        if self._store is not None:
            self._store.sync()

    def close(self, timeout_s: float | None = None) -> None:
        """Flush for at most `timeout_s` seconds (None: `timeout_s` of the client), then stop. Raises as `flush`.

        What could not be sent stays in `unsent`. Closing twice does nothing, nor does closing in another process.
        """
        if os.getpid() != self._pid or self._outbox.closed:
            return
        atexit.unregister(self._close_at_exit)
        try:
            self._outbox.flush(self._timeout_s if timeout_s is None else timeout_s)
        finally:
            self._outbox.close()
            if self._sender is not None:
                self._sender.join(_JOIN_S)
            self._transport.close()
            if self._store is not None:
                self._store.close()

    def unsent(self) -> list[bytes]:
        """The queued events no answer was had for, in order, with their ids: append them again whenever you can."""
        self._check_process()
        return self._outbox.waiting()

    def take_refused(self) -> list[tuple[bytes, BadInput]]:
        """The events `send` queued and the server does not take, and why. They are the caller's from now on."""
        self._check_process()
        return self._outbox.take_refused()

    @property
    def backlog(self) -> Backlog:
        """How much is queued, and what holds it up."""
        self._check_process()
        return Backlog(*self._outbox.counts(), self._outbox.failure or self._outbox.trouble)

    def status(self) -> dict[str, Any]:
        """The server's own words about itself, unproved.

        Raises BadInput, Busy, NoAnswer, Broken.
        """
        self._check_open()
        return self._reading.status()

    def get(self, index: int) -> dict[str, Any]:
        """One event as the server shows it, unproved: `evidence` proves it.

        Raises BadInput (not there, no right to read), Busy, NoAnswer, Broken.
        """
        self._check_open()
        return self._reading.record(index)

    def evidence(self, index: int) -> Proved:
        """The proof that the event at `index` is in the published log, checked.

        Raises:
            Disproved: it does not hold, or is for another index. Broken: it is none. BadInput: not there, or no right
            to read it. Busy: not published yet, after asking again for a while. NoAnswer.
        """
        self._check_open()
        return self._reading.evidence(index)

    def checkpoint(self) -> SignedCheckpoint:
        """The published checkpoint, signed by every key of `vkey`.

        Raises:
            Disproved: a signature is missing or fails, or it is another tree than the one of the same size this client
            was shown before. Broken: it is none. BadInput, Busy, NoAnswer.
        """
        self._check_open()
        return self._reading.checkpoint()

    def check_promise(self, receipt: Receipt) -> SignedCheckpoint:
        """The published checkpoint whose tree holds the tree that `receipt` promised, proved from the log's own tiles.

        Ask for this now and then of receipts you keep: a log that lost or changed what it promised cannot show it.

        Raises:
            Disproved: the published tree does not grow out of the promised one. Busy: not published that far, after
            asking again for a while. Broken, BadInput, NoAnswer.
        """
        self._check_open()
        return self._reading.check_promise(receipt)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. If the block raised, its error goes on, with a note if events stay unsent."""
        try:
            self.close()
        except GravenError as unsent:
            if error is None:
                raise
            error.add_note(f"graven: {len(self.unsent())} events are unsent: {unsent}")

    def _again(self, ask: Callable[[], _T]) -> _T:
        return persist(ask, retries=self._retries, stopped=self._outbox.pause)

    def _asking(self, sent: Sequence[bytes], wait: str) -> Callable[[], Answer]:
        """One attempt to append `sent`, checked and kept; each call sends the same bytes."""
        body, content_type = body_of(sent)
        headers, posted = {"Content-Type": content_type}, body
        if self._compress and len(body) >= COMPRESS_BYTES_MIN:
            headers["Content-Encoding"], posted = "gzip", compressed(body)
        path = "/api/v1/events?receipt=full" + ("" if wait == "committed" else f"&wait={wait}")
        bytes_max = max(answer_bytes_max(len(sent)), ERROR_BYTES_MAX)

        def ask() -> Answer:
            reply = self._transport.ask("POST", path, body=posted, headers=headers, answer_bytes_max=bytes_max)
            if reply.status != 200:
                raise error_of(reply, f"POST {self._transport.url}/api/v1/events", of_events=True)
            try:
                answer = self._reading.led(lambda trust: open_answer(reply.data, body=body, sent=sent, keys=trust))
            except Disproved as error:
                raise self._wrong(error, reply.data, body) from error
            self._keep(answer)
            return answer

        return ask

    def _keep(self, answer: Answer) -> None:
        if self._store is None:
            return
        try:
            self._store.keep(answer.data, answer.body, url=self._transport.url)
        except Broken as error:
            raise ReceiptNotKept(error, answer) from error

    def _wrong(self, error: Disproved, answer: bytes, body: bytes) -> WrongReceipt:
        try:
            store = self._store or ReceiptStore(tempfile.mkdtemp(prefix="graven-wrong-receipt-"))
            return WrongReceipt(error, answer=answer, body=body, files=store.keep_wrong(answer, body))
        except (OSError, BadInput) as trouble:
            return WrongReceipt(error, answer=answer, body=body, files=None, trouble=str(trouble))

    def _start(self) -> None:
        with self._starting:
            if self._sender is None:
                self._sender = Sender(
                    self._outbox, lambda batch: self._asking(batch, "committed"), on_answer=self._on_answer
                )
                atexit.register(self._close_at_exit)

    def _close_at_exit(self) -> None:
        """For programs that forgot: what is queued is sent while there is time."""
        try:
            self.close()
        except GravenError as error:
            _LOGGER.error("%d events are unsent at the end of the program: %s", len(self.unsent()), error)

    def _check_open(self) -> None:
        self._check_process()
        if self._outbox.closed:
            raise BadInput("this client is closed", mend="make a new one")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise BadInput("this client was made in another process", mend="make one after the fork, in each process")


def _log_keys(vkey: str | Sequence[str]) -> tuple[Key, ...]:
    keys = tuple(parse_vkey(line.strip()) for line in ([vkey] if isinstance(vkey, str) else vkey))
    if not any(key.type == ED25519 for key in keys):
        raise BadInput(
            "no Ed25519 verifier key", place="vkey", mend="receipts are checked with it: graven vkey prints it"
        )
    if len({key.name for key in keys}) > 1:
        raise BadInput("verifier keys of several logs", place="vkey", mend="one client, one log")
    return keys


def _check_knobs(**knobs: float) -> None:
    for name, value in knobs.items():
        if not value > 0:
            raise BadInput("a bound that leaves nothing", place=name, mend="give a larger one")
