"""A log that takes what a command writes: this process's own while nobody else holds it, else the server that does.

Both answer the same calls with the same values, so a command does not know which it has. The lock and the control
socket are tried in turn for up to ten seconds: a server that is starting has the one and not yet the other, one that
stops has let go of the other first.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from graven.app import LOCAL_SOURCE, Log, build_pipeline
from graven.cli.options import LOCK_WAIT_S
from graven.core.errors import GravenError
from graven.core.spelling import encode_base64
from graven.ingest import Pipeline
from graven.ingest.history import Part
from graven.log import admin
from graven.log.agents import revoke_agent
from graven.log.lock import Locked
from graven.log.registers import Agent, Registers, Source, Token
from graven.server.access import read_token_uses
from graven.server.answers import AnswerWriter, Reached
from graven.server.control_client import ControlClient, NoServer, connect_control
from graven.server.retry import retry_quarantined

Answer = dict[str, Any]
_POLL_S = 0.1


class Writing(Protocol):
    """What commands ask of a log. See `graven.server.control_client.ControlClient` for what each call means."""

    def append(
        self, body: bytes, *, source: str = ..., content_type: str = ..., wait: str = ..., full: bool = ...
    ) -> Answer: ...
    def publish(self) -> Answer: ...
    def record_act(self, action: str, data: Mapping[str, object], *, message: str = ...) -> Answer: ...
    def tokens(self) -> list[Answer]: ...
    def create_token(
        self, name: str, scopes: Sequence[str], *, owner: str = ..., expires_us: int | None = ...
    ) -> Answer: ...
    def revoke_token(self, name_or_id: str) -> Answer: ...
    def sources(self) -> list[Answer]: ...
    def add_source(self, name: str, **fields: object) -> Answer: ...
    def change_source(self, name: str, **fields: object) -> Answer: ...
    def retire_source(self, name: str) -> Answer: ...
    def revoke_agent(self, name: str) -> Answer: ...
    def stamp(self, authority: str | None = ...) -> Answer: ...
    def take_anchor(self, data: bytes, *, request: bytes | None = ..., checkpoint: bytes | None = ...) -> Answer: ...
    def retry_quarantined(self, *, indexes: Sequence[int] = ..., since: int = ...) -> Answer: ...
    def import_history(self, source: str, parts: Sequence[Part]) -> Answer: ...
    def history_positions(self, source: str, files: Sequence[str]) -> list[Answer]: ...


@contextmanager
def open_writing(directory: Path) -> Iterator[Writing]:
    """The log in `directory`, to write to. What was appended is published before this ends.

    Raises:
        Broken: ten seconds long another process held the log and did not listen; or the log cannot be written.
        BadInput: there is no log, or this user may not write it.
    """
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            connect_control(directory / "state").close()
        except NoServer:
            pass
        else:
            client = ControlClient(directory)
            yield client
            client.publish()
            return
        try:
            log = Log.open(directory, lock_wait_s=0)
        except Locked:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(_POLL_S)
            continue
        with log:
            yield HeldLog(log)
        return


@contextmanager
def recorded(done: str) -> Iterator[None]:
    """For an act that is done beside the log and then recorded in it: an error says that it is done all the same."""
    try:
        yield
    except GravenError as error:
        error.what = f"{done}, but the log could not record it: {error.what}"
        raise


class HeldLog:
    """A log that this process writes itself, answering as a server would."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._answers = AnswerWriter()
        self._pipeline: Pipeline | None = None
        self._actor = {"type": "user", "id": f"uid:{os.geteuid()}", "credential": "command line"}

    def append(
        self,
        body: bytes,
        *,
        source: str = LOCAL_SOURCE,
        content_type: str = "application/x-ndjson",
        wait: str = "committed",
        full: bool = False,
    ) -> Answer:
        committed = self._log.append(body, source=source, content_type=content_type, wait=wait, full=full)
        answer: Answer = msgspec.json.decode(self._answers.write(committed, Reached(wait)))
        return answer

    def publish(self) -> Answer:
        shown = self._log.publish()
        head = shown.checkpoint
        return {"size": head.size, "root": encode_base64(head.root), "checkpoint": shown.data.decode()}

    def record_act(self, action: str, data: Mapping[str, object], *, message: str = "") -> Answer:
        committed = self._log.append_act(action, data, actor=self._actor, message=message)
        return {"index": committed.first_index, "size": committed.size}

    def tokens(self) -> list[Answer]:
        return token_rows(self._log.registers, self._log.directory)

    def create_token(
        self, name: str, scopes: Sequence[str], *, owner: str = "", expires_us: int | None = None
    ) -> Answer:
        token, secret = admin.create_token(
            self._log, name, scopes, owner=owner, expires_us=expires_us, actor=self._actor
        )
        return {"secret": secret, "token": _token_row(token)}

    def revoke_token(self, name_or_id: str) -> Answer:
        return _token_row(admin.revoke_token(self._log, name_or_id, actor=self._actor))

    def sources(self) -> list[Answer]:
        return source_rows(self._log.registers)

    def add_source(self, name: str, **fields: object) -> Answer:
        return _source_row(admin.add_source(self._log, name, **self._source_fields(fields)))

    def change_source(self, name: str, **fields: object) -> Answer:
        return _source_row(admin.change_source(self._log, name, **self._source_fields(fields)))

    def retire_source(self, name: str) -> Answer:
        return _source_row(admin.retire_source(self._log, name, actor=self._actor))

    def revoke_agent(self, name: str) -> Answer:
        return _agent_row(revoke_agent(self._log, name, actor=self._actor))

    def stamp(self, authority: str | None = None) -> Answer:
        return {"stamps": self._log.anchoring.stamp(authority)}

    def take_anchor(self, data: bytes, *, request: bytes | None = None, checkpoint: bytes | None = None) -> Answer:
        return self._log.anchoring.bring(data, request=request, checkpoint=checkpoint)

    def retry_quarantined(self, *, indexes: Sequence[int] = (), since: int = 0) -> Answer:
        pipeline = build_pipeline(self._log.config)
        return retry_quarantined(self._log, pipeline, indexes=indexes, since=since, actor=self._actor)

    def import_history(self, source: str, parts: Sequence[Part]) -> Answer:
        from graven.server.history import import_parts

        if self._pipeline is None:
            self._pipeline = build_pipeline(self._log.config)
        return import_parts(self._log, self._pipeline, source, parts, actor=self._actor).answer

    def history_positions(self, source: str, files: Sequence[str]) -> list[Answer]:
        from graven.server.history import history_source, position_rows

        return position_rows(self._log, history_source(self._log, source), files)

    def _source_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`class` as JSON has it is `class_name` in Python."""
        named = {"class_name" if key == "class" else key: value for key, value in fields.items()}
        return {**named, "declared": self._log.config.classes, "actor": self._actor}


def token_rows(registers: Registers, directory: Path) -> list[Answer]:
    """Every token, without its secret, as a server answers."""
    uses = read_token_uses(directory / "state")
    return [_token_row(token, uses.get(token.id)) for token in registers.tokens.values()]


def source_rows(registers: Registers) -> list[Answer]:
    """Every source, as a server answers, without what only a server knows."""
    from graven.server.rows import inventory_row

    return [inventory_row(source, registers) for source in registers.sources.values()]


# How the server writes rows. It loads a web framework, 0.2 s: only who needs rows pays for it.


def _token_row(token: Token, last_used_us: int | None = None) -> Answer:
    from graven.server.rows import token_row

    return token_row(token, last_used_us)


def _source_row(source: Source) -> Answer:
    from graven.server.rows import source_row

    return source_row(source)


def _agent_row(agent: Agent) -> Answer:
    from graven.server.rows import agent_row

    return agent_row(agent)
