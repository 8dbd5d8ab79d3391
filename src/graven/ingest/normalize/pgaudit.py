"""pgAudit's entries in PostgreSQL's log: each statement, or each object of one, with its class and its text.

An entry is written before the statement ends, so it has no outcome: an ERROR entry of the same session says that it
failed.
"""

import csv
import re
from io import StringIO

from graven.event.model import Category, Correlation, Event, Target, Verb
from graven.ingest.fields import TEXT_MAX
from graven.ingest.normalize.postgresql import base_event, kind_of_command
from graven.ingest.normalize.postgresql_line import read_entry
from graven.ingest.record import NO, SURE, Document, Record, Unparsed

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "pgaudit"
VERSION = 1
KEYS = frozenset({"error_severity"})
LINES = True
MARKS = ("AUDIT: ",)

_START = re.compile(r"AUDIT: (?:SESSION|OBJECT),\d{1,20},\d{1,20},")
_TRANSCRIPT = "psql"
_CLASSES: dict[str, tuple[Verb, Category]] = {
    "READ": ("read", "data"),
    "WRITE": ("update", "data"),
    "FUNCTION": ("execute", "execution"),
    "ROLE": ("update", "permission"),
    "DDL": ("update", "configuration"),
    "MISC": ("other", "other"),
    "MISC_SET": ("configure", "configuration"),
}
_NAMES = (
    "audit_type",
    "statement_id",
    "substatement_id",
    "class",
    "command",
    "object_type",
    "object_name",
    "statement",
    "parameters",
    "rows",
)
_SAID_BEFORE = "<previously logged>"


def recognise(document: Document) -> int:
    if isinstance(document, dict):
        return SURE if "error_severity" in document and _is_audit(document.get("message")) else NO
    if not isinstance(document, str):
        return NO
    if _START.search(document, 0, 1024):
        return SURE if read_entry(document) is not None else NO
    return NO


def normalise(record: Record, document: Document) -> list[Event]:
    entry = read_entry(document)
    if entry is None:
        if record.type == TYPE and isinstance(document, str):
            return [Event(action=_TRANSCRIPT, verb="other", category="other", message=document[:TEXT_MAX] or None)]
        raise Unparsed(
            "not an entry of PostgreSQL's log", mend="send jsonlog, csvlog, or stderr lines with their prefix"
        )
    message = str(entry.get("message", ""))
    if not _is_audit(message):
        if record.type == TYPE:  # the log holds other entries beside pgAudit's
            return [base_event(entry)]
        raise Unparsed("the entry is not pgAudit's", path="$.message")
    try:
        rows = list(csv.reader(StringIO(message.removeprefix("AUDIT: "), newline="")))
    except csv.Error as error:
        raise Unparsed("the audit entry is no CSV") from error
    audit = dict(zip(_NAMES, rows[0], strict=False))
    return [_event(entry, audit)]


def _is_audit(message: object) -> bool:
    return isinstance(message, str) and _START.match(message) is not None


def _event(entry: dict[str, object], audit: dict[str, str]) -> Event:
    event = base_event(entry)
    command = audit.get("command", "")
    verb, category = kind_of_command(command)
    class_ = audit.get("class", "").upper()
    class_verb, class_category = _CLASSES.get(class_, ("other", "other"))
    event.verb = class_verb if verb == "other" else "create" if class_ == "WRITE" and command == "COPY FROM" else verb
    event.category = class_category if class_ in _CLASSES else category
    event.action = f"{class_} {command}".strip() or "AUDIT"
    event.severity = None
    event.message = None
    if name := audit.get("object_name"):
        event.targets = [Target(type=(audit.get("object_type") or "object").lower(), name=name)]
    if event.correlation is not None:
        statement = f"{audit.get('statement_id', '')}.{audit.get('substatement_id', '')}"
        event.correlation = Correlation(
            session_id=event.correlation.session_id, request_id=f"{event.correlation.session_id}/{statement}"
        )
    if (text := audit.get("statement")) and text != _SAID_BEFORE:
        event.message = text[:TEXT_MAX]
    event.data = {**(event.data or {}), "pgaudit": {name: value for name, value in audit.items() if value}}
    return event
