"""cron, of Debian and of cronie: which command ran for whom, and whose table was changed."""

import re

from graven.event.model import Event
from graven.ingest.normalize.host_line import HostLine, fits_program, plain_event, read_line
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "cron"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

PROGRAMS = frozenset({"CRON", "cron", "crond", "crontab", "anacron", "atd", "CROND"})
_WHO = r"\((?P<user>[^)]{1,256})\)"
_RULES = Rules(
    Rule(re.compile(rf"{_WHO} CMD \((?P<command>.*)\)\Z", re.DOTALL), "CMD", "execute", "execution", "success"),
    Rule(
        re.compile(rf"{_WHO} (?P<word>CMDEND|CMDOUT) \((?P<command>.*)\)\Z", re.DOTALL),
        "{word}", "other", "execution",
    ),
    Rule(
        re.compile(rf"{_WHO} (?P<word>REPLACE|BEGIN EDIT|END EDIT|LIST|DELETE|RELOAD) "
                   rf"\((?P<target_user>[^)]{{1,256}})\)"),
        "{word}", "configure", "configuration", "success",
    ),
    Rule(
        re.compile(rf"{_WHO} (?P<word>AUTH|FAILED to authorize user|ACCESS DENIED)(?P<reason>.{{0,200}})"),
        "{word}", "execute", "execution", "denied",
    ),
    Rule(
        re.compile(r"\(CRON\) (?P<word>INFO|STARTUP|DEATH|error|ERROR) \((?P<detail>.*)\)\Z", re.DOTALL),
        "{word}", "other", "system",
    ),
)  # fmt: skip


def recognise(document: Document) -> int:
    return fits_program(document, PROGRAMS, ())


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of cron", mend="send cron's lines as text, or as journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of a line of cron."""
    return _RULES.event(line) or plain_event(line)
