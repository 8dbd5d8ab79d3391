"""sudo: who ran which command as whom, and who was refused.

sudo writes `USER : [why not ;] TTY=… ; PWD=… ; USER=… ; COMMAND=…`. A directory's name or a command's arguments may
hold ` ; COMMAND=` again; the first one counts, and `data.ambiguous` says that there were more.
"""

import re

from graven.event.model import Actor, Event, Target
from graven.ingest.normalize.host_line import HostLine, fits_program, plain_event, read_line, said
from graven.ingest.normalize.rules import Rule, Rules
from graven.ingest.record import Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "event_of", "normalise", "recognise"]

TYPE = "sudo"
VERSION = 1
KEYS = frozenset({"MESSAGE"})
LINES = True

PROGRAMS = frozenset({"sudo", "sudo-i", "sudoedit"})
_FIELD = re.compile(r" ; (?=[A-Z]{2,12}=)")
_COMMAND = "COMMAND="
_DENIED = (
    "command not allowed",
    "user NOT in sudoers",
    "user not in sudoers",
    "user NOT authorized on host",
    "not allowed",
    "sorry",
)
_HEAD = re.compile(r" *(?P<who>\S{1,256}) : (?P<rest>.*)\Z", re.DOTALL)
_RULES = Rules(
    Rule(
        re.compile(r"\(command continued\) (?P<command>.*)\Z", re.DOTALL),
        "command continued", "execute", "execution",
    ),
)  # fmt: skip


def recognise(document: Document) -> int:
    return fits_program(document, PROGRAMS, ())


def normalise(record: Record, document: Document) -> list[Event]:
    line = read_line(record, document)
    if line is None:
        raise Unparsed("not a line of sudo", mend="send sudo's lines as text, or as journald's JSON")
    return [event_of(line)]


def event_of(line: HostLine) -> Event:
    """The event of a line of sudo."""
    return _command(line) or _RULES.event(line) or plain_event(line, category="execution", action="sudo")


def _command(line: HostLine) -> Event | None:
    head = _HEAD.match(line.message)
    if head is None:
        return None
    rest, found, command = head["rest"].partition(_COMMAND)
    reason, fields = "", {}
    for at, part in enumerate(_FIELD.split(rest.strip().removesuffix(";").strip())):
        name, equals, value = part.partition("=")
        if equals and name.isupper():
            fields[name] = value.strip()
        elif at == 0:
            reason = part.strip()
    if not found and "TTY" not in fields and "USER" not in fields:
        return None
    event = plain_event(line, category="execution", action="sudo")
    run_as, group = fields.pop("USER", None), fields.pop("GROUP", None)
    event.verb = "execute"
    event.actor = Actor(type="user", name=head["who"], session=said(fields.get("TSID")))
    event.outcome = "success" if not reason else "denied" if reason.startswith(_DENIED) else "failure"
    event.reason = reason or None
    event.targets = [Target(type=kind, name=name) for kind, name in (("user", run_as), ("group", group)) if name]
    if line.hostname:
        event.targets.append(Target(type="host", name=line.hostname))
    event.targets = event.targets or None
    data: dict[str, object] = {name.lower(): value for name, value in fields.items()}
    if found:
        data["command"] = command
        if f" ; {_COMMAND}" in command:
            data["ambiguous"] = True
    event.data = data or None
    return event
