"""JSON of no known producer that uses the usual names: the last resort of detection, before quarantine.

Takes what an application is likely to call things; needs at least an action beside a time, an actor or a level. Whoever
wants more of a source writes a mapping for it (docs/mapping.md).
"""

from graven.event import Event
from graven.ingest.record import MAYBE, NO, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "json"
VERSION = 1

_ACTION = ("action", "event_type", "eventType", "event_name", "eventName", "operation", "activity", "event", "type")
KEYS = frozenset(_ACTION)
_TIME = ("time", "timestamp", "@timestamp", "ts", "created_at", "createdAt", "date", "datetime", "eventTime")
_ACTOR = ("actor.id", "user.id", "user_id", "userId", "actor_id", "uid", "actor.login", "user.name", "username", "user",
          "actor", "operator", "login", "email", "principal", "subject")  # fmt: skip

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("action",)),
    fields={
        "id": ("id", "uuid", "event_id", "eventId"),
        "time": _TIME,
        "action": _ACTION,
        "actor.id": _ACTOR,
        "actor.name": ("actor.name", "user.name", "username", "user_name"),
        "actor.email": ("actor.email", "user.email", "email", "user_email"),
        "origin.ip": ("ip", "ip_address", "ipAddress", "remote_addr", "client_ip", "clientIp", "source_ip",
                      "remoteAddress"),
        "origin.user_agent": ("user_agent", "userAgent", "http_user_agent"),
        "reason": ("reason", "error", "error_message", "errorMessage"),
        "message": ("message", "msg", "description", "text"),
        "correlation.request_id": ("request_id", "requestId", "req_id"),
        "correlation.trace_id": ("trace_id", "traceId"),
        "correlation.session_id": ("session_id", "sessionId"),
    },
    words={
        "outcome": Words(
            {"success": "success", "succeeded": "success", "ok": "success", "true": "success",
             "allow": "success", "allowed": "success", "failure": "failure", "failed": "failure",
             "false": "failure", "error": "failure", "denied": "denied", "deny": "denied", "forbidden": "denied",
             "blocked": "denied"},
            ["outcome", "result", "status", "success"],
        ),
        "severity": Words(
            {"debug": "informational", "trace": "informational", "info": "informational",
             "notice": "informational", "warning": "medium", "warn": "medium", "error": "high",
             "critical": "critical", "fatal": "critical"},
            ["severity", "level", "log_level"],
        ),
    },
)  # fmt: skip


def recognise(document: Document) -> int:
    """MAYBE at most: anything that knows more comes first."""
    if not isinstance(document, dict):
        return NO
    acts = any(isinstance(document.get(key), str) and document[key] for key in _ACTION)
    context = any(key.partition(".")[0] in document for key in (*_TIME, *_ACTOR, "level", "severity"))
    return MAYBE if acts and context else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event."""
    return _TABLE.normalise(record, document)
