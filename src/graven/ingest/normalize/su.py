"""su, of util-linux and of shadow: who became whom, and who tried to."""

import re

from graven.event.model import Event
from graven.ingest.normalize.host_line import HostLine, fits_program, plain_event, read_line
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "su"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

PROGRAMS = frozenset({"su", "su-l", "runuser"})
_RULES = Rules(
    Rule(
        re.compile(r"FAILED SU \(to (?P<target_user>[^)]{1,256})\) (?P<user>\S+) on (?P<tty>\S+)"),
        "FAILED SU", "login", "authentication", "failure", "failed su",
    ),
    Rule(
        re.compile(r"\(to (?P<target_user>[^)]{1,256})\) (?P<user>\S+) on (?P<tty>\S+)"),
        "su", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"FAILED su for (?P<target_user>\S+) by (?P<user>\S+)"),
        "FAILED su", "login", "authentication", "failure", "failed su",
    ),
    Rule(
        re.compile(r"Successful su for (?P<target_user>\S+) by (?P<user>\S+)"),
        "Successful su", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"\+ (?P<tty>\S+) (?P<user>[^:\s]+):(?P<target_user>\S+)"),
        "su", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"- (?P<tty>\S+) (?P<user>[^:\s]+):(?P<target_user>\S+)"),
        "su", "login", "authentication", "failure", "failed su",
    ),
    Rule(
        re.compile(r"pam_authenticate: (?P<reason>.{1,200})", re.DOTALL),
        "pam_authenticate", "login", "authentication", "failure",
    ),
)  # fmt: skip


def recognise(document: Document) -> int:
    return fits_program(document, PROGRAMS, ("FAILED SU (to ", "Successful su for ", "FAILED su for "))


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of su", mend="send su's lines as text, or as journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of a line of su."""
    return _RULES.event(line) or plain_event(line, category="authentication", action="su")
