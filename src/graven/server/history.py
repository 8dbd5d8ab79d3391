"""History: records that were kept elsewhere before, taken into a source of the grade "imported history".

    POST /api/v1/history/{source}               parts of files (`ingest/history.py`)
    POST /api/v1/history/{source}/positions     how far files are in the log

A part is committed in one frame with the act that says how far its file is then, so that whatever is killed, the log
itself knows where to go on, and no record is in it twice. Which is asked again after a lost answer is refused, and the
answer says the position. One part of a source at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from graven.app import Log
from graven.core.errors import BadInput
from graven.event import decode_event
from graven.ingest import Normalised, Pipeline
from graven.ingest.history import BODY_BYTES_MAX, POSITIONS_MAX, Part, Sha256, decode_parts, records_of_part
from graven.ingest.pipeline import NATIVE_TYPE
from graven.log import acts
from graven.log.admin import INGEST
from graven.log.registers import HISTORY_GRADE, Imported, Source
from graven.log.types import Batch, Committed
from graven.server.answers import Refused
from graven.server.body import decompress, too_large
from graven.server.routes import Ask, Endpoint, json_response
from graven.server.shippers.door import batch_of

__all__ = ["ENDPOINTS", "history_source", "import_parts", "position_rows"]

EVENTS_MAX = 50_000


class Positions(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /api/v1/history/{source}/positions."""

    files: Annotated[list[Sha256], msgspec.Meta(max_length=POSITIONS_MAX)]


@dataclass(frozen=True, slots=True)
class Done:
    """Parts that are durable; `batch` is None where they held no event."""

    committed: Committed
    batch: Batch | None
    quarantined: int

    @property
    def answer(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "accepted": self.committed.accepted if self.batch is not None else 0,
            "duplicates": len(self.committed.duplicates),
            "quarantined": self.quarantined,
            "size": self.committed.size,
        }


def history_source(log: Log, name: str) -> Source:
    """The source that history is imported as. Raises BadInput: there is none, or it is of another grade."""
    source = log.registers.source(name)
    if source.grade != HISTORY_GRADE:
        raise BadInput(
            f"the source {name!r} has the grade {source.grade!r}: history goes under a source of its own",
            mend=f'graven source add NAME --grade "{HISTORY_GRADE}"',
        )
    return source


def position_rows(log: Log, source: Source, files: Sequence[str]) -> list[dict[str, object]]:
    """How far each file (by its SHA-256) is."""
    return [msgspec.structs.asdict(log.registers.imported(source.number, sha256)) for sha256 in files]


def import_parts(
    log: Log, pipeline: Pipeline, name: str, parts: Sequence[Part], *, actor: Mapping[str, object] | None
) -> Done:
    """Commit parts. Within the source's turn.

    Raises:
        BadInput: no source of history, a type that is not known, a part that is not the next of its file (its `mend`
            says where that goes on), too many events. Busy, Broken.
    """
    source = history_source(log, name)
    received_us = log.clock.now_us()
    made: list[Normalised] = []
    said: list[bytes] = []
    notes: list[bytes] = []
    for part in parts:
        if part.type and part.type not in pipeline.types:
            raise BadInput(f"the source type {part.type!r} is not known", mend="graven parse --help")
        known = log.registers.imported(source.number, part.sha256)
        if known.done or known.records != part.first:
            where = "is in the log whole" if known.done else f"goes on at record {known.records}"
            raise Refused(409, f"{part.name} {where}", reason="conflict", mend="ask for its position")
        found = pipeline.run(records_of_part(part))
        made += found
        said += (_verbatim(event) for event in part.said)
        notes.append(_note(source, part, known, found, now_us=received_us, actor=actor))
    events = made + [Normalised(event, None, None, NATIVE_TYPE) for event in said]
    if len(events) > EVENTS_MAX:
        raise Refused(413, f"more than {EVENTS_MAX} events in one request", reason="too_large", mend="send less")
    batch = batch_of(events, source, received_us)[0] if events else None
    committed = _commit(log, batch, notes, received_us)
    return Done(committed, batch, sum(1 for one in made if one.quarantined))


def take(ask: Ask) -> Response:
    """Take parts of files."""
    name, live = _allowed(ask), ask.live
    log = live.taking()
    clear = decompress(ask.body, "zstd", bytes_max=BODY_BYTES_MAX)
    if clear is None:
        raise too_large(BODY_BYTES_MAX)
    with live.importing.of(name):
        done = import_parts(log, live.pipeline, name, decode_parts(clear), actor=ask.actor)
    if done.batch is not None:
        live.count_soon(
            name, done.committed, events=done.batch.events, size_bytes=len(clear),
            received_us=done.batch.received_us, quarantined=done.quarantined,
        )  # fmt: skip
    return json_response(done.answer)


def positions(ask: Ask) -> Response:
    """How far files are."""
    name = _allowed(ask)
    source = history_source(ask.log, name)
    return json_response({"positions": position_rows(ask.log, source, ask.document(Positions).files)})


ENDPOINTS = (
    Endpoint("POST", "/api/v1/history/{source}", take, INGEST, body_bytes_max=BODY_BYTES_MAX),
    Endpoint("POST", "/api/v1/history/{source}/positions", positions, INGEST),
)


def _allowed(ask: Ask) -> str:
    """The source, if who asks may append as it. Raises Refused (403)."""
    assert ask.principal is not None
    return ask.principal.source(ask.path["source"])


def _commit(log: Log, batch: Batch | None, notes: Sequence[bytes], now_us: int) -> Committed:
    if batch is None:  # a file without a record: only that it was imported
        return log.commit(Batch(list(notes), [None] * len(notes), acts.SELF_SOURCE, now_us, acts.SELF_CLASS))
    batch.acts = notes
    return log.commit(batch)


def _note(
    source: Source,
    part: Part,
    known: Imported,
    found: Sequence[Normalised],
    *,
    now_us: int,
    actor: Mapping[str, object] | None,
) -> bytes:
    """The act that goes with a part. Its counts are of the file so far."""
    data = {
        "source": source.name,
        "number": source.number,
        "file": part.name,
        "size_bytes": part.size_bytes,
        "sha256": part.sha256,
        "records": known.records + len(part.records),
        "events": known.events + len(found),
        "quarantined": known.quarantined + sum(1 for one in found if one.quarantined),
    }
    action = acts.IMPORT_FILE if part.last else acts.IMPORT_PART
    message = f"imported {part.name}; its integrity before is not claimed" if part.last else ""
    return acts.act(action, now_us=now_us, data=data, actor=actor, message=message)


def _verbatim(event: bytes) -> bytes:
    """An event of the importer's own. Raises BadInput."""
    decode_event(event)
    return event
