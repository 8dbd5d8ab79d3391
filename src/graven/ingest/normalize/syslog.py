"""Any other program's line: the header is read, the message is kept as it is.

This is where a line ends that nobody knows better; a line without any header is none of a host's, and is not taken.
"""

from graven.event.model import Event
from graven.ingest.normalize.host_line import HostLine, head_of, plain_event, read_line
from graven.ingest.record import LIKELY, MAYBE, NO, Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "syslog"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

_SEVERITY = {
    "emerg": "critical", "alert": "critical", "crit": "critical", "err": "high", "warning": "medium",
    "notice": "low", "info": "informational", "debug": "informational",
}  # fmt: skip


def recognise(document: Document) -> int:
    head = head_of(document)
    if head is None or not head.form:
        return NO
    return LIKELY if head.app else MAYBE


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of text", mend="send text, or journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of any program's line."""
    event = plain_event(line)
    event.severity = _SEVERITY.get(line.severity)  # type: ignore[assignment]
    return event
