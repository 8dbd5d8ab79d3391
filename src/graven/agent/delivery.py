"""Getting the spool to the server: one batch after the other, each settled only when the server says it is durable.

Before the first batch of a run the server is asked where it stands, by a heartbeat: batches it has are settled, also
those whose answer was lost. What the server says must fit what was spooled. A server that knows more than the spool, or
another batch under the same number, means that this state was restored from an older copy or runs twice; then nothing
more is sent, because anything sent might be lost or doubled.

Whatever may pass by itself (no answer, busy) is tried again for as long as the agent runs.
"""

import logging
import threading
import time
from base64 import b64encode

import msgspec

from graven.agent.identity import Identity
from graven.agent.receipts import ReceiptKeeper
from graven.agent.spool import Batch, Spool
from graven.client.refusals import error_of
from graven.client.retry import persist
from graven.client.transport import NoAnswer, Reply, Transport
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.core.spelling import HASH_BYTES, decode_hash, encode_base64
from graven.core.statement import Heartbeat, format_heartbeat
from graven.runtime.clock import Clock

BATCHES_PATH = "/api/v1/agent/batches"
HEARTBEATS_PATH = "/api/v1/agent/heartbeats"
ENROL_PATH = "/api/v1/agent/enrol"
STATEMENT_HEADER = "Graven-Statement"
ANSWER_BYTES_MAX = 256 << 10

_REFUSED_PAUSE_S = 30.0
_LOGGER = logging.getLogger("graven.agent")


class Position(msgspec.Struct, frozen=True):
    """Where the server stands with this agent: the last batch it holds, and what the next heartbeat must say."""

    sequence: int
    digest: str
    challenge: str = ""


class _Answer(msgspec.Struct, frozen=True):
    position: Position
    receipt: str = ""


class OutOfStep(Broken):
    """The spool and the server do not tell the same story; nothing more is sent."""


class Delivery:
    """Sends on a thread of its own until it is stopped. `failure` is why it gave up, None while it works."""

    def __init__(
        self,
        spool: Spool,
        identity: Identity,
        transport: Transport,
        clock: Clock,
        *,
        heartbeat_s: float,
        receipts: ReceiptKeeper | None = None,
    ) -> None:
        self._spool, self._identity, self._transport, self._clock = spool, identity, transport, clock
        self._receipts = receipts
        self._heartbeat_s = heartbeat_s
        self._stop = threading.Event()
        self._position: Position | None = None
        self._beaten_s = 0.0
        self.failure: GravenError | None = None
        self.trouble: GravenError | None = None
        """Why nothing gets through at the moment."""
        self.sent_batches = self.sent_records = 0
        self._thread = threading.Thread(target=self._run, name="graven-agent-delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait_s: float = 5.0) -> None:
        """Finish the exchange that is under way, and no more."""
        self._stop.set()
        self._spool.wake()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def beat(self, word: str = "alive") -> Position:
        """One heartbeat, answered. Raises Busy, NoAnswer, BadInput, OutOfStep."""
        for _ in range(3):
            position = self._beat_once(word)
            if position is not None:
                self._position, self._beaten_s = position, time.monotonic()
                return position
        raise Busy("the server takes no heartbeat of this agent", retry_after_s=5)

    def _beat_once(self, word: str) -> Position | None:
        """None: the server wants another challenge answered."""
        challenge = self._position.challenge if self._position is not None else ""
        beat = Heartbeat(
            self._identity.name, "goodbye" if word == "goodbye" else "alive",
            self._spool.sequence, self._spool.digest, self._spool.waiting_bytes,
            decode_hash(challenge) if challenge else bytes(HASH_BYTES), self._clock.now_us(),
        )  # fmt: skip
        note = self._identity.sign(format_heartbeat(beat))
        reply = self._transport.ask("POST", HEARTBEATS_PATH, body=note, answer_bytes_max=ANSWER_BYTES_MAX)
        if reply.status == 409:
            self._position = _position(reply)
            return None
        if reply.status != 200:
            raise error_of(reply, f"POST {self._transport.url}{HEARTBEATS_PATH}")
        return _position(reply)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                persist(self._step, retries=None, stopped=self._pause, trouble=self._note_trouble)
            except (OutOfStep, Disproved) as error:
                self.failure = error
                _LOGGER.error("sending stopped: %s", error)
                return
            except (NoAnswer, Busy):
                return  # told to stop
            except GravenError as error:  # refused: revoked, not known, a faulty address: people must look
                self.trouble = error
                _LOGGER.error("the server refuses this agent: %s", error)
                self._position = None
                self._stop.wait(_REFUSED_PAUSE_S)
            except Exception as error:  # never die in silence
                self.failure = Broken(f"sending stopped by a fault: {type(error).__name__}: {error}")
                _LOGGER.exception("sending stopped")
                return

    def _step(self) -> None:
        """Once around: learn where the server stands, send what waits, say that we are here."""
        if self._position is None:
            self._reconcile(self.beat())
            self.trouble = None
        elif time.monotonic() - self._beaten_s >= self._heartbeat_s:
            self.beat()
            self.trouble = None
        wait_s = min(1.0, max(0.01, self._heartbeat_s / 4))
        found = self._spool.first(wait_s=wait_s)
        if found is not None and not self._stop.is_set():
            self._send(*found)

    def _send(self, sequence: int, batch: Batch) -> None:
        headers = {
            STATEMENT_HEADER: b64encode(batch.statement).decode("ascii"),
            "Content-Type": "application/msgpack",
            "Content-Encoding": "zstd",
        }
        reply = self._transport.ask(
            "POST", BATCHES_PATH, body=batch.body, headers=headers, answer_bytes_max=ANSWER_BYTES_MAX
        )
        if reply.status == 409 and _has_position(reply):
            self._position = None  # ask anew, and compare
            self._reconcile(_position(reply))
            return
        if reply.status != 200:
            raise error_of(reply, f"POST {self._transport.url}{BATCHES_PATH}")
        receipt = _receipt(reply)
        if self._receipts is not None and receipt:  # none where the batch was there already
            self._receipts.take(sequence, receipt)
        self._spool.settle(sequence)
        self.sent_batches += 1
        self.sent_records += batch.records
        self.trouble = None

    def _reconcile(self, position: Position) -> None:
        """Settle what the server has. Raises OutOfStep when its story is another one than the spool's."""
        spool = self._spool
        if position.sequence > spool.sequence:
            raise _out_of_step(f"the server holds batch {position.sequence} of this agent, the spool ends before it")
        digest = decode_hash(position.digest)
        if position.sequence == spool.sequence and digest != spool.digest:
            raise _out_of_step(f"the server holds another batch {position.sequence} of this agent")
        spool.settle(position.sequence)
        found = spool.first(wait_s=0)
        if found is not None and found[0] == position.sequence + 1 and found[1].previous != digest:
            raise _out_of_step(f"the server holds another batch {position.sequence} of this agent")

    def _pause(self, seconds: float) -> bool:
        return self._stop.wait(seconds)

    def _note_trouble(self, error: NoAnswer | Busy) -> None:
        if self.trouble is None:
            _LOGGER.warning("batches wait: %s", error)
        self.trouble = error


def enrol(
    transport: Transport, identity: Identity, clock: Clock, *, token: str, silent_after_s: int, note: bytes
) -> Identity:
    """Have the server know this agent's key; returns the identity with the log's own. Raises BadInput, NoAnswer, …"""
    body = msgspec.json.encode({"enrolment": encode_base64(note), "silent_after_s": silent_after_s})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    reply = transport.ask("POST", ENROL_PATH, body=body, headers=headers, answer_bytes_max=ANSWER_BYTES_MAX)
    if reply.status not in (200, 201):
        raise error_of(reply, f"POST {transport.url}{ENROL_PATH}")
    try:
        answer = msgspec.json.decode(reply.data, type=_Enrolled)
    except msgspec.MsgspecError:
        raise Broken("the server's answer cannot be read", mend="is this a Graven server?") from None
    return identity.enrolled(answer.origin, answer.vkeys)


class _Enrolled(msgspec.Struct, frozen=True):
    origin: str
    vkeys: tuple[str, ...]


def _position(reply: Reply) -> Position:
    try:
        position = msgspec.json.decode(reply.data, type=_Answer).position
        decode_hash(position.digest)
        if position.challenge:
            decode_hash(position.challenge)
        return position
    except (msgspec.MsgspecError, BadInput):
        raise Broken("the server's answer cannot be read", mend="is this a Graven server?") from None


def _receipt(reply: Reply) -> str:
    try:
        return msgspec.json.decode(reply.data, type=_Answer).receipt
    except msgspec.MsgspecError:
        raise Broken("the server's answer cannot be read", mend="is this a Graven server?") from None


def _has_position(reply: Reply) -> bool:
    try:
        msgspec.json.decode(reply.data, type=_Answer)
        return True
    except msgspec.MsgspecError:
        return False


def _out_of_step(what: str) -> OutOfStep:
    return OutOfStep(
        what,
        mend="this state was restored from an older copy, or two agents use one key: stop all but one, move its state "
        "away and enrol it again; the log's events say what came from where",
    )
