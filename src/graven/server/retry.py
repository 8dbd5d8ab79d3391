"""Quarantined records read again with today's parsers; what can be read now is appended, once.

    events of up to 200 records, by source, and the act that names them: one frame

So a crash leaves both or neither, and what was read again is never read twice, however much later somebody asks.
"""

from collections.abc import Collection, Mapping
from typing import Any

from graven.app import Log
from graven.core.errors import BadInput
from graven.ingest import Pipeline
from graven.ingest.quarantine import Quarantined, ReadAgain, find_quarantined, read_again
from graven.log import acts
from graven.log.types import Batch

__all__ = ["quarantine_row", "retry_quarantined"]

_ROUND_RECORDS = 200


def retry_quarantined(
    log: Log,
    pipeline: Pipeline,
    *,
    indexes: Collection[int] = (),
    since: int = 0,
    actor: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Read them again: those at `indexes`, or all from `since` on.

    The answer: `read` (quarantined index → indexes of its events), `left` (those that still cannot be read, with the
    reason), `before` (how many had been read again earlier). Raises BadInput for an index that is not quarantined.
    """
    with log.one_act():  # two at once would read the same ones
        found, done = find_quarantined(log.view.reader.records(since, log.size))
        wanted = [one for one in found if not indexes or one.index in indexes]
        if missing := set(indexes) - {one.index for one in wanted}:
            mend = "list them: graven quarantine list"
            raise BadInput(f"the event at index {min(missing)} is not quarantined", mend=mend)
        waiting = [one for one in wanted if one.index not in done]
        read: dict[str, list[int]] = {}
        left: list[dict[str, object]] = []
        for start in range(0, len(waiting), _ROUND_RECORDS):
            again = [read_again(pipeline, one) for one in waiting[start : start + _ROUND_RECORDS]]
            left += [{"index": one.of.index, "reason": one.reason} for one in again if not one.events]
            for source in dict.fromkeys(one.of.source for one in again):
                group = [one for one in again if one.events and one.of.source == source]
                if group:
                    read |= _append(log, source, group, actor)
        return {"read": read, "left": left, "before": len(wanted) - len(waiting)}


def _append(log: Log, source: int, group: list[ReadAgain], actor: Mapping[str, object] | None) -> dict[str, list[int]]:
    owners = [one.of for one in group for _ in one.events]
    made = [event for one in group for event in one.events]
    batch = Batch(
        events=[one.event for one in made],
        ids=[one.id for one in made],
        source=source,
        received_us=log.clock.now_us(),
        class_name=[owner.class_name for owner in owners],
        raws=[one.raw for one in made],
        acts=[
            acts.act(
                acts.QUARANTINE_RETRY,
                now_us=log.clock.now_us(),
                data={"indexes": [one.of.index for one in group], "events": len(made)},
                actor=actor,
            )
        ],
    )
    done = log.commit(batch)
    stored = dict(done.duplicates)
    new = iter(range(done.first_index or 0, (done.first_index or 0) + done.accepted))
    read: dict[str, list[int]] = {}
    for position, owner in enumerate(owners):
        index = stored[position] if position in stored else next(new)
        read.setdefault(str(owner.index), []).append(index)
    return read


def quarantine_row(one: Quarantined, done: Collection[int]) -> dict[str, object]:
    """One of them as listings show it."""
    return {
        "index": one.index,
        "received": acts.rfc3339(one.received_us),
        "source": one.source,
        "type": one.type,
        "reason": one.reason,
        "size_bytes": one.size_bytes,
        "whole": one.whole,
        "read_again": one.index in done,
    }
