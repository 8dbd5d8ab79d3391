"""A line of text of no known type: what it says is the message, and all that is known of it.

What surrounds it (a Loki stream's labels, a collector's host) is under `labels`; the time is the envelope's, and where
that has none, none. Bytes that are no text are not taken.
"""

from graven.event.model import Event
from graven.ingest.fields import TEXT_MAX
from graven.ingest.record import NO, Document, Record, Unparsed

__all__ = ["ACTION", "TYPE", "VERSION", "normalise", "recognise"]

TYPE = "plain"
VERSION = 1
ACTION = "log.line"

_NO_TEXT = frozenset(map(chr, (*range(9), 11, 12, *range(14, 27), 28, 29, 30, 31)))  # but for tab, breaks, escape


def recognise(document: Document, /) -> int:
    """Never: anything that says more of itself comes first."""
    return NO


def normalise(record: Record, document: Document, /) -> list[Event]:
    """One event a record. Text in another encoding than UTF-8 is taken, the bytes that are none written as `\\xe9`."""
    text = record.raw.decode("utf-8", "backslashreplace").strip()
    if not text:
        raise Unparsed("the record is blank", mend="send nothing instead")
    if not _NO_TEXT.isdisjoint(text):
        raise Unparsed("the record is no text: it holds control characters", mend="state its type, or send it encoded")
    return [Event(action=ACTION, verb="other", category="other", message=text[:TEXT_MAX])]
