"""What an agent has to say itself: events in the event model, sent like every other record.

Not a loss that was prevented, but one that could not be: a file that was cut or is gone, an entry of the spool that
cannot be read back.
"""

from collections.abc import Mapping
from typing import Any

from graven.agent.source import Taken
from graven.agent.wire import EVENT_TYPE
from graven.event import Actor, Event, encode_event
from graven.event.model import Outcome

FILE_TRUNCATED = "graven.agent.file_truncated"
FILE_UNREAD = "graven.agent.file_unread"
SPOOL_DAMAGED = "graven.agent.spool_damaged"
STARTED = "graven.agent.started"
TRAIL_DIGEST = "graven.agent.cloudtrail_digest"
PULL_GAP = "graven.agent.pull_gap"
SOURCE_FAILED = "graven.agent.source_failed"
SYSLOG_LOST = "graven.agent.syslog_lost"

NOTICES: dict[str, str] = {
    FILE_TRUNCATED: "a followed file was cut or replaced in place: path, bytes read of it before, its size now",
    FILE_UNREAD: "a followed file was gone after a restart: path, bytes read of it before",
    SPOOL_DAMAGED: "an entry of the spool could not be read back: where; what it held is lost",
    STARTED: "the agent started: version, sources",
    PULL_GAP: "a service no longer gives what it kept while nobody asked: source, from, until",
    TRAIL_DIGEST: "CloudTrail's digest was judged: which, the verdict, the hour, how many log files, what is wrong",
    SYSLOG_LOST: "datagrams came faster than they were read, and the kernel dropped some: source, how many",
    SOURCE_FAILED: "a source cannot be read: its name, why",
}


def notice(
    action: str,
    message: str,
    data: Mapping[str, Any],
    places: Mapping[str, Any] | None = None,
    *,
    outcome: Outcome | None = None,
) -> Taken:
    """One event of the agent's own."""
    if action not in NOTICES:
        raise AssertionError(f"undocumented notice {action}")
    event = Event(
        actor=Actor(type="system", id="graven-agent"),
        action=action,
        category="system",
        verb="other",
        message=message,
        outcome=outcome,
        data=dict(data),
    )
    return Taken(EVENT_TYPE, {}, [encode_event(event)], dict(places or {}))
