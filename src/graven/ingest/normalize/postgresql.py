"""PostgreSQL's server log: who connected, who was refused, what was executed, what changed.

Whether a statement worked is said by a separate ERROR entry of the same session; an entry without an error says
nothing.
"""

import re
from datetime import timedelta
from typing import Any

from graven.event.model import Actor, Category, Correlation, Event, Origin, Scope, Severity, Target, Verb
from graven.ingest.fields import TEXT_MAX, text
from graven.ingest.normalize.postgresql_line import LEVELS, read_entry
from graven.ingest.normalize.rules import Rule
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

__all__ = ["TYPE", "VERSION", "base_event", "kind_of_command", "normalise", "recognise"]

TYPE = "postgresql"
VERSION = 1
KEYS = frozenset({"error_severity"})
LINES = True
MARKS = (":  ", ",")

AUDIT_START = "AUDIT: "
_TEXT = re.compile(rf"[^\n]{{0,512}}?\b(?:{'|'.join(LEVELS)}|DETAIL|HINT|STATEMENT|CONTEXT|QUERY):  ")
_STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? [A-Za-z0-9+:-]{1,8}")
_QUOTED = r"\"(?P<{}>[^\"]{{1,256}})\""
_SEVERITIES: dict[str, Severity] = {"PANIC": "critical", "FATAL": "high", "ERROR": "medium", "WARNING": "low"}
_DENIED_STATES = frozenset({"42501", "28000"})
_RULES = (
    Rule(
        re.compile(r"connection received: host=(?P<ip>\S+)(?: port=(?P<port>\d+))?"),
        "connection received", "other", "network",
    ),
    Rule(
        re.compile(r"connection authenticated: (?:identity=\"(?P<identity>[^\"]{1,256})\" method=(?P<method>\S+)"
                   r"|user=\"(?P<user>[^\"]{1,256})\" method=(?P<method2>\S+))"),
        "connection authenticated", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"connection authorized: user=(?P<user>\S+)(?: database=(?P<database>\S+))?(?: "
                   r"application_name=(?P<application>[^\n]{1,256}?))?(?: SSL enabled \((?P<tls>[^)]{1,256})\))?\Z"),
        "connection authorized", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"replication connection authorized: user=(?P<user>\S+)"),
        "replication connection authorized", "login", "authentication", "success",
    ),
    Rule(
        re.compile(r"disconnection: session time: (?P<session_time>\S+)(?: user=(?P<user>\S+))?(?: "
                   r"database=(?P<database>\S+))?(?: host=(?P<ip>\S+))?(?: port=(?P<port>\d+))?"),
        "disconnection", "logout", "authentication", "success",
    ),
    Rule(
        re.compile(rf"(?P<method>[\w -]{{1,40}}?) authentication failed for user {_QUOTED.format('user')}"),
        "authentication failed", "login", "authentication", "failure", "{method} authentication failed",
    ),
    Rule(
        re.compile(rf"role {_QUOTED.format('user')} (?P<word>does not exist|is not permitted to log in)"),
        "role {word}", "login", "authentication", "failure", "role {word}",
    ),
    Rule(
        re.compile(r"no pg_hba\.conf entry for (?:replication connection from )?host \"(?P<ip>[^\"]{1,64})\", "
                   r"user \"(?P<user>[^\"]{1,256})\"(?:, database \"(?P<database>[^\"]{1,256})\")?"),
        "no pg_hba.conf entry", "login", "authentication", "denied", "no pg_hba.conf entry",
    ),
    Rule(
        re.compile(r"pg_hba\.conf rejects connection for host \"(?P<ip>[^\"]{1,64})\", user "
                   r"\"(?P<user>[^\"]{1,256})\"(?:, database \"(?P<database>[^\"]{1,256})\")?"),
        "pg_hba.conf rejects connection", "login", "authentication", "denied", "pg_hba.conf rejects connection",
    ),
    Rule(
        re.compile(r"(?P<word>permission denied) for (?P<object_type>[\w ]{1,40}?) (?P<target_file>\S{1,256})"),
        "permission denied", "other", "data", "denied", "permission denied",
    ),
    Rule(
        re.compile(r"must be (?P<need>[^\n]{1,200})"),
        "permission denied", "other", "permission", "denied", "must be {need}",
    ),
    Rule(
        re.compile(r"parameter \"(?P<path>[^\"]{1,128})\" (?P<word>changed to|removed)[^\n]{0,200}"),
        "parameter {word}", "configure", "configuration", "success",
    ),
    Rule(re.compile(r"received (?P<word>SIGHUP|\w+ shutdown request)"), "received {word}", "configure", "system"),
    Rule(re.compile(r"starting PostgreSQL (?P<version>\S+)"), "starting PostgreSQL", "execute", "system", "success"),
    Rule(
        re.compile(r"database system is (?P<word>ready to accept (?:read-only )?connections|shut down)"),
        "database system is {word}", "execute", "system", "success",
    ),
)  # fmt: skip
_STATEMENT = re.compile(
    r"(?:duration: (?P<ms>[\d.]{1,20}) ms  ?)?(?:(?P<how>statement|execute|parse|bind|fastpath function call)"
    r"(?: (?P<prepared>[^:\n]{1,128}))?: )(?P<sql>.*)\Z",
    re.DOTALL,
)
_WORD = re.compile(
    r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/|\()*([A-Za-z]+)(?:\s+(?:OR\s+REPLACE\s+)?([A-Za-z]+))?", re.IGNORECASE
)
_COMMANDS: dict[str, Verb] = {
    "SELECT": "read", "TABLE": "read", "VALUES": "read", "FETCH": "read", "SHOW": "read", "EXPLAIN": "read",
    "WITH": "read", "INSERT": "create", "UPDATE": "update", "MERGE": "update", "DELETE": "delete", "TRUNCATE": "delete",
    "COPY": "export", "CREATE": "create", "ALTER": "update", "DROP": "delete", "COMMENT": "update", "REINDEX": "update",
    "GRANT": "grant", "REVOKE": "revoke", "REASSIGN": "update", "SECURITY": "update", "SET": "configure",
    "RESET": "configure", "DISCARD": "configure", "DO": "execute", "CALL": "execute", "EXECUTE": "execute",
    "PREPARE": "execute", "IMPORT": "create", "REFRESH": "update", "LOCK": "other",
}  # fmt: skip
_DATA = frozenset(
    ["SELECT", "TABLE", "VALUES", "FETCH", "WITH", "INSERT", "UPDATE", "MERGE", "DELETE", "TRUNCATE", "COPY", "EXECUTE"]
)
_ROLES = frozenset({"ROLE", "USER", "GROUP", "POLICY"})
_PERMISSION = frozenset({"GRANT", "REVOKE", "REASSIGN", "SECURITY"})
_DDL = frozenset({"CREATE", "ALTER", "DROP", "COMMENT", "REINDEX", "IMPORT", "REFRESH", "SET", "RESET", "DISCARD"})


def recognise(document: Document) -> int:
    if isinstance(document, dict):
        return SURE if "error_severity" in document and "message" in document and "backend_type" in document else NO
    if not isinstance(document, str):
        return NO
    head = document[:600]
    if _TEXT.match(head) and read_entry(head.partition("\n")[0]) is not None:
        return SURE if _STAMPED.match(head) else LIKELY
    return LIKELY if _STAMPED.match(head) and head.count(",") > 8 and read_entry(document) is not None else NO


def normalise(record: Record, document: Document) -> list[Event]:
    entry = read_entry(document)
    if entry is None:
        raise Unparsed(
            "not an entry of PostgreSQL's log", mend="send jsonlog, csvlog, or stderr lines with their prefix"
        )
    event = base_event(entry)
    message = str(entry.get("message", ""))
    if not _by_rule(event, message) and (statement := _STATEMENT.match(message)):
        event.verb, event.category = kind_of_command(statement["sql"])
        event.action = _first_words(statement["sql"]) or statement["how"]
        event.data = {**event.data, "statement": statement["sql"]}
        if statement["ms"]:
            event.data["duration_ms"] = statement["ms"]
    return [event]


def base_event(entry: dict[str, Any]) -> Event:
    """What an entry says whatever its message: who, where, when, how it ended."""
    level = str(entry.get("error_severity", "")).upper()
    state = text(entry.get("state_code"))
    message = text(entry.get("message"))
    user, ip, session = (text(entry.get(name)) for name in ("user", "remote_host", "session_id"))
    number = text(entry.get("line_num"))
    event = Event(
        action=_action(message) or level or "postgresql",
        verb="other",
        category="system" if user is None else "data",
        id=f"{session}/{number}" if session and number else None,
        time=_time(text(entry.get("timestamp"))),
        message=message,
        severity=_SEVERITIES.get(level),
    )
    if user:
        event.actor = Actor(type="user", name=user, session=session)
    if database := text(entry.get("dbname")):
        event.scope = Scope(project=database)
    if ip or (device := text(entry.get("application_name"))):
        event.origin = Origin(ip=ip, user_agent=text(entry.get("application_name")) if ip else device)
    if session:
        event.correlation = Correlation(session_id=session)
    if level in ("ERROR", "FATAL", "PANIC"):
        event.outcome = "denied" if state in _DENIED_STATES else "failure"
        event.reason = message if state is None else f"{state} {message}"[:TEXT_MAX]
        if statement := text(entry.get("statement")):
            event.verb, event.category = kind_of_command(statement)
    event.data = {name: value for name, value in entry.items() if name not in _IN_MODEL} or {}
    return event


_IN_MODEL = frozenset({"timestamp", "user", "dbname", "remote_host", "message", "session_id"})


def kind_of_command(sql: str) -> tuple[Verb, Category]:
    """Verb and category of a statement, or of a command tag, by its first words."""
    found = _WORD.match(sql[:TEXT_MAX])
    if found is None:
        return "other", "data"
    first, second = found[1].upper(), (found[2] or "").upper()
    verb = _COMMANDS.get(first, "other")
    if first == "COPY" and " FROM " in sql[:TEXT_MAX].upper():
        verb = "create"
    if first in _PERMISSION or (first in _DDL and second in _ROLES):
        return verb, "permission"
    if first in _DDL:
        return verb, "configuration"
    return verb, "data" if first in _DATA else "execution" if verb == "execute" else "other"


def _by_rule(event: Event, message: str) -> bool:
    for rule in _RULES:
        if found := rule.pattern.match(message):
            groups = {name: value for name, value in found.groupdict().items() if value}
            event.action = rule.action.format_map(groups)
            event.verb = rule.verb if rule.verb != "other" else event.verb
            event.category, event.outcome = rule.category, rule.outcome or event.outcome
            if rule.reason:
                event.reason = rule.reason.format_map(groups)
            user = groups.pop("user", None) or groups.pop("identity", None)
            if user and event.actor is None:
                event.actor = Actor(type="user", name=user)
            if (ip := groups.pop("ip", None)) and event.origin is None:
                event.origin = Origin(ip=ip)
            if database := groups.get("database"):
                event.targets = [Target(type="database", name=database)]
            if name := groups.pop("target_file", None):
                event.targets = [Target(type=groups.pop("object_type", "object"), name=name)]
            groups.pop("word", None)
            event.data = {**event.data, **groups} or None
            return True
    event.data = event.data or None
    return False


def _action(message: str | None) -> str | None:
    """The first words of a message, without what is particular to it: up to a quote, a colon, or sixty characters."""
    if message is None:
        return None
    found = re.match(r"[^\":\n]{1,60}", message)
    return found[0].strip() if found and found[0].strip() else None


def _first_words(sql: str) -> str | None:
    found = _WORD.match(sql[:TEXT_MAX])
    if found is None:
        return None
    first, second = found[1].upper(), (found[2] or "").upper()
    return f"{first} {second}" if first in _DDL and second else first


def _time(stamp: str | None) -> Any:
    """PostgreSQL names zones by letters; UTC and GMT are known, others are no moment."""
    if stamp is None:
        return None
    moment, _, zone = stamp.rpartition(" ")
    if zone in ("UTC", "GMT"):
        return read_time(moment)
    if re.fullmatch(r"[+-]\d\d", zone):
        shift = timedelta(hours=int(zone))
        found = read_time(moment)
        return None if found is None else found - shift
    return read_time(stamp)
