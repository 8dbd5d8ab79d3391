"""The doors for agents: enrolment, signed batches, signed heartbeats.

    POST /api/v1/agent/enrol        a join token (scope `enrol`) and a note that shows the key
    POST /api/v1/agent/batches      a signed statement in a header, the records in the body
    POST /api/v1/agent/heartbeats   a signed note

An enrolled agent has no token: its signature is its credential, looked at before the body is read. A batch is taken
once, in order: it is committed in one frame with the act that moves its agent's chain, so whether it was taken is known
whatever happened to the answer. A batch that cannot be the next is refused and becomes an event; so do gaps, faults in
signatures, and clocks that are off.

    records → normalised, redacted → events, and behind them the statement as an event whose raw is the signed note
"""

import asyncio
import hmac
import os
import threading
from base64 import b64decode
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Any

import msgspec
from starlette.responses import Response

from graven.agent.wire import BODY_BYTES_MAX, decode_body, records_of
from graven.app import Log
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import parse_vkey
from graven.core.signed import STATEMENT_ACTION
from graven.core.spelling import decode_base64, encode_base64
from graven.core.statement import (
    NOTE_BYTES_MAX,
    BatchStatement,
    agent_named,
    open_batch,
    open_enrolment,
    open_heartbeat,
)
from graven.event import Actor, Event, encode_event
from graven.ingest import Normalised
from graven.ingest.protocol.delivery import Delivery
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.admin import ENROL
from graven.log.agents import OutOfChain, Verdict, batch_acts, enrol_agent, judge
from graven.log.registers import Agent, Source
from graven.log.types import Batch, Committed
from graven.log.writer import Answer
from graven.runtime.telemetry import get_logger
from graven.server.answers import JSON, Refused, format_error, reason_of, status_of
from graven.server.body import ClientGone, Share, decompress, read_body, too_large
from graven.server.intake import Receive, Send
from graven.server.live import Live
from graven.server.routes import Ask, Endpoint, json_response
from graven.server.shippers.door import ids_of

BATCHES_PATH = "/api/v1/agent/batches"
ENROL_SKEW_S_MAX = 3_600
SKEW_MS_MAX = 5_000
REFUSED_PAUSE_S = 60.0
AGENTS_TOLD_MAX = 10_000

logger = get_logger("agents")


class NewAgent(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/agent/enrol. `enrolment`: the signed note, base64."""

    enrolment: str
    silent_after_s: int | None = None


class Agents:
    """What the doors for agents know beside the registers: challenges, who was heard when, whose clock is off."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._challenges: dict[str, str] = {}
        self._refused: dict[str, tuple[float, int]] = {}  # agent -> (when an event said so, refusals since)
        self._skewed: dict[str, bool] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/api/v1/agent/enrol", self.enrol, ENROL),
            Endpoint("POST", "/api/v1/agent/heartbeats", self.heartbeat, knows_callers=False),
        )

    def enrol(self, ask: Ask) -> Response:
        """Make an agent known by its key."""
        asked = ask.document(NewAgent)
        log = ask.live.taking()
        try:
            enrolment = open_enrolment(decode_base64(asked.enrolment), verify_signature)
        except Disproved as error:
            raise BadInput(f"the enrolment is not signed by the key it names: {error.what}") from None
        now_us = log.clock.now_us()
        if abs(enrolment.time_us - now_us) > ENROL_SKEW_S_MAX * 1_000_000:
            raise BadInput("the agent's clock is more than an hour off, or this enrolment is an old one")
        agent = enrol_agent(
            log, enrolment.key, declared=ask.live.config.classes, expect_s=asked.silent_after_s or None,
            now_us=now_us, actor=ask.actor,
        )  # fmt: skip
        config = ask.live.config
        return json_response({"agent": agent.name, "origin": config.origin, "vkeys": config.vkeys}, 201)

    def heartbeat(self, ask: Ask) -> Response:
        """An agent is there, or says goodbye."""
        log = ask.live.taking()
        agent = self.agent_of(log, ask.body)
        try:
            beat = open_heartbeat(ask.body, parse_vkey(agent.vkey), verify_signature)
        except Disproved as error:
            raise self.refuse(log, agent, "forged", error.what) from None
        with self._lock:
            challenge = self._challenges.get(agent.name, "")
            answered = bool(challenge) and hmac.compare_digest(challenge, encode_base64(beat.challenge))
            self._challenges[agent.name] = encode_base64(os.urandom(32))
            while len(self._challenges) > AGENTS_TOLD_MAX:
                self._challenges.pop(next(iter(self._challenges)))
        if not answered:  # a heartbeat somebody kept cannot be shown again
            return self._position(log, agent.name, 409)
        self._live.watch.heard(agent.name)
        now_us = log.clock.now_us()
        self._live.activity.beat(agent.name, beat.time_us - now_us, now_us)
        self._note_skew(log, agent.name, beat.time_us)
        if beat.word == "goodbye" and not log.registers.agents[agent.name].ended:
            log.append_act(acts.AGENT_GOODBYE, {"agent": agent.name, "sequence": beat.sequence})
        return self._position(log, agent.name, 200)

    def agent_of(self, log: Log, note: bytes) -> Agent:
        """The agent a note says it is of. Raises Refused: there is none in use."""
        try:
            name = agent_named(note)
        except BadInput as error:
            raise Refused(400, error.what, reason="bad_statement") from None
        agent = log.registers.agents.get(name)
        if agent is None or agent.revoked or log.registers.sources[name].retired:
            raise Refused(401, "no agent in use has this name", reason="unauthorized", mend="graven agent enrol")
        return agent

    def turn(self, name: str) -> asyncio.Lock:
        """One batch of an agent at a time. On the loop."""
        return self._turns.setdefault(name, asyncio.Lock())

    def refuse(self, log: Log, agent: Agent, why: str, what: str) -> Refused:
        """The refusal of what is said to be an agent's; now and then an event says so, too. Not on the loop."""
        now_s = monotonic()
        self._live.activity.wrong(agent.name, why, log.clock.now_us())
        with self._lock:
            told_s, count = self._refused.get(agent.name, (-REFUSED_PAUSE_S, 0))
            tell = now_s - told_s >= REFUSED_PAUSE_S
            self._refused[agent.name] = (now_s, 0) if tell else (told_s, count + 1)
        if tell:
            data = {"agent": agent.name, "why": why, "since": count + 1}
            log.append_act(acts.AGENT_REFUSED, data, message=what)
        logger.warning("refused", extra={"fields": {"agent": agent.name, "why": why, "what": what}})
        return Refused(401, what, reason=why)

    def took(self, log: Log, name: str, sent_us: int) -> None:
        """A batch was taken. Not on the loop."""
        self._note_skew(log, name, sent_us, only_ahead=True)

    def position(self, log: Log, name: str) -> dict[str, object]:
        agent = log.registers.agents[name]
        with self._lock:
            challenge = self._challenges.get(name, "")
        return {"sequence": agent.sequence, "digest": agent.digest, "challenge": challenge}

    def _position(self, log: Log, name: str, status: int) -> Response:
        return json_response({"position": self.position(log, name)}, status)

    def _note_skew(self, log: Log, name: str, said_us: int, *, only_ahead: bool = False) -> None:
        """A clock that is off becomes an event when it begins to be. A batch may be old, but not of tomorrow."""
        skew_ms = (said_us - log.clock.now_us()) // 1000
        off = skew_ms > SKEW_MS_MAX if only_ahead else abs(skew_ms) > SKEW_MS_MAX
        with self._lock:
            before = self._skewed.get(name, False)
            if off or not only_ahead:
                self._skewed[name] = off
        if off and not before:
            log.append_act(acts.AGENT_SKEW, {"agent": name, "ahead_ms": skew_ms})


class BatchDoor:
    """The ASGI application of `POST /api/v1/agent/batches`."""

    def __init__(self, live: Live, agents: Agents) -> None:
        self._live, self._agents = live, agents

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = []
        try:
            status, body = await self._take(scope, receive)
        except GravenError as error:
            self._live.metrics.refused.add(1, reason_of(error))
            body, named = format_error(error)
            status = 503 if (found := status_of(error)) == 500 else found
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
        except ClientGone:
            self._live.metrics.refused.add(1, "gone")
            return
        except Exception as error:
            logger.error("a batch failed", exc_info=error)
            status, (body, _) = 503, format_error(Broken(f"the batch failed: {type(error).__name__}"))
        self._live.metrics.requests.add(1, BATCHES_PATH, str(status))
        head = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _take(self, scope: dict[str, Any], receive: Receive) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            raise Refused(405, "batches are sent with POST", reason="method", headers={"Allow": "POST"})
        live, log = self._live, self._live.taking()
        note, length = _read_head(scope["headers"])
        agent = self._agents.agent_of(log, note)
        loop = asyncio.get_running_loop()
        try:
            statement = open_batch(note, parse_vkey(agent.vkey), verify_signature)
        except (Disproved, BadInput) as error:
            refuse = partial(self._agents.refuse, log, agent, "forged", error.what)
            raise await loop.run_in_executor(live.parses, refuse) from None
        async with self._agents.turn(agent.name):
            agent = log.registers.agents[agent.name]
            try:
                verdict = judge(agent, statement)
            except OutOfChain as error:
                await loop.run_in_executor(live.parses, self._agents.refuse, log, agent, error.reason, error.what)
                return 409, self._answer(log, agent.name, error=error)
            if not verdict.fresh:
                return 200, self._answer(log, agent.name)
            share = Share(live.allowance)
            try:
                body = await read_body(receive, length, bytes_max=live.config.intake.max_request_bytes, share=share)
                received_us = log.clock.now_us()
                share.take(min(BODY_BYTES_MAX, 16 * len(body)))
                make = partial(self._batch, log, agent, statement, verdict, note, body, received_us)
                batch, found = await loop.run_in_executor(live.parses, make)
                committed = await _commit(live.taking(), batch)
            finally:
                share.give_back()
        live.count(
            agent.name, committed, events=batch.events[: len(found)] or batch.events, size_bytes=len(body),
            received_us=received_us, quarantined=sum(1 for one in found if one.quarantined),
        )  # fmt: skip
        if verdict.gap:
            live.activity.gap(agent.name, received_us)
        if statement.time_us > received_us:
            await loop.run_in_executor(live.parses, self._agents.took, log, agent.name, statement.time_us)
        return 200, self._answer(log, agent.name, committed=committed)

    def _batch(
        self,
        log: Log,
        agent: Agent,
        statement: BatchStatement,
        verdict: Verdict,
        note: bytes,
        packed: bytes,
        received_us: int,
    ) -> tuple[Batch, Sequence[Normalised]]:
        """The events of a batch. On a thread. Raises Refused: the body is not what was signed."""
        data = decompress(packed, "zstd", bytes_max=BODY_BYTES_MAX)
        if data is None:
            raise too_large(BODY_BYTES_MAX)
        if sha256(data).digest() != statement.body:
            raise self._agents.refuse(log, agent, "forged", "the body is not the one that was signed")
        body = decode_body(data)
        try:
            statement.verify_records(body.records)
        except Disproved as error:
            raise self._agents.refuse(log, agent, "forged", error.what) from None
        given, keys = records_of(body)
        found = self._live.pipeline.run(given)
        source = log.registers.source(agent.name)
        said = _statement_event(statement, len(found))
        events = [one.event for one in found] + [said]
        classes: list[str] = [_class(source, one.class_) for one in found] + [source.class_name]
        return Batch(
            events, [*ids_of(found, Delivery(given, keys)), None], source.number, received_us,
            classes if len(set(classes)) > 1 else source.class_name,
            [one.raw for one in found] + [note],
            acts=batch_acts(agent, statement, verdict, now_us=received_us),
        ), found  # fmt: skip

    def _answer(
        self, log: Log, name: str, *, committed: Committed | None = None, error: GravenError | None = None
    ) -> bytes:
        answer: dict[str, object] = {"position": self._agents.position(log, name)}
        if committed is not None:
            answer |= {
                "accepted": committed.accepted,
                "first_index": committed.first_index,
                "size": committed.size,
                "receipt": committed.receipt.decode(),
            }
        if error is not None:
            answer |= msgspec.json.decode(format_error(error)[0])
        return msgspec.json.encode(answer)


async def _commit(log: Log, batch: Batch) -> Committed:
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(value: Answer) -> None:
        if not answer.done():
            answer.set_result(value)

    log.submit(batch, settle)
    committed = await answer
    if isinstance(committed, GravenError):
        raise committed
    return committed


def _statement_event(statement: BatchStatement, events: int) -> bytes:
    """What the log says of a batch, in the batch's own source; the raw beside it is the signed note."""
    return encode_event(
        Event(
            actor=Actor(type="agent", id=statement.agent),
            action=STATEMENT_ACTION,
            verb="other",
            category="system",
            outcome="success",
            data={"sequence": statement.sequence, "records": statement.records, "events": events},
        )
    )


def _class(source: Source, asked: str | None) -> str:
    """An event's own class where its source may use it, else the source's."""
    return asked if asked is not None and asked in source.classes else source.class_name


def _read_head(headers: list[tuple[bytes, bytes]]) -> tuple[bytes, int]:
    """(the statement's note, the body's length). Raises Refused."""
    note, length, encoding = b"", -1, b""
    for name, value in headers:
        if name == b"graven-statement":
            if len(value) > 2 * NOTE_BYTES_MAX:
                raise Refused(400, "the statement is too long", reason="bad_statement")
            try:
                note = b64decode(value, validate=True)
            except ValueError:
                raise Refused(400, "the statement is not base64", reason="bad_statement") from None
        elif name == b"content-length":
            length = int(value)
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    if length < 0:
        raise Refused(411, "a batch says how long it is", reason="no_length")
    if encoding != b"zstd":
        raise Refused(415, "a batch is compressed with Zstandard", reason="bad_encoding")
    return note, length
