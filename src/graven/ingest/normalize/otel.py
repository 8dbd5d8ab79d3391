"""OpenTelemetry log records, where nothing recognises their body: by the names the semantic conventions give.

The record is the body; its event name, attributes, resource, severity and trace surround it (`otel.…`), as
`graven.ingest.protocol.otlp` writes them. Without an event name, a body that is one line of text is the action.

Source: OpenTelemetry semantic conventions: general attributes, user, client, HTTP, exceptions, events.
"""

from typing import Any

from graven.event import Event, Target
from graven.ingest.fields import actor_of, correlation_of, origin_of, scope_of
from graven.ingest.record import NO, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "otel"
VERSION = 1

_ACTION_CHARS_MAX = 256
_SEVERITIES: dict[str, Any] = {
    "trace": "informational", "debug": "informational", "info": "informational", "information": "informational",
    "warn": "low", "warning": "low", "error": "medium", "fatal": "high", "critical": "high",
}  # fmt: skip


def recognise(document: Document, /) -> int:
    """Never: what makes a record one of OpenTelemetry surrounds it."""
    return NO


def normalise(record: Record, document: Document, /) -> list[Event]:
    around = record.around

    def found(*names: str) -> str | None:
        return next((value for name in names if (value := around.get(f"otel.attribute.{name}"))), None)

    action = around.get("otel.event_name") or found("event.name", "action", "event.action")
    message = document.strip() if isinstance(document, str) else None
    if action is None:
        action = _first_line(message) or found("http.route", "rpc.method", "code.function.name")
    if action is None:
        raise Unparsed("the log record has neither event name nor text", mend="set its event name")
    outcome: Any = found("event.outcome", "outcome")
    verb: Any = verb_of(action)
    category: Any = category_of(action)
    user, client = found("user.id", "enduser.id"), found("client.address", "source.address", "net.peer.ip")
    target = found("url.full", "url.path", "http.target", "db.namespace", "file.path", "messaging.destination.name")
    return [
        Event(
            time=read_time(around.get("time")),
            action=action,
            verb=verb,
            category=category,
            actor=actor_of(id=user, name=found("user.name"), email=found("user.email"), session=found("session.id")),
            targets=[Target(id=target)] if target else None,
            outcome=outcome if outcome in ("success", "failure", "denied", "unknown") else None,
            reason=found("error.type", "exception.type", "error.message"),
            origin=origin_of(client, found("user_agent.original"), found("host.name")),
            scope=scope_of(
                account=around.get("otel.resource.cloud.account.id"),
                project=around.get("otel.resource.service.name"),
                region=around.get("otel.resource.cloud.region"),
            ),
            severity=_SEVERITIES.get(around.get("otel.severity", "").lower().rstrip("1234")),
            message=message if message != action else None,
            correlation=correlation_of(
                found("http.request.id", "request.id"), around.get("otel.trace_id"), found("session.id")
            ),
            data=document if isinstance(document, dict | list) else None,
        )
    ]


def _first_line(message: str | None) -> str | None:
    line = message.partition("\n")[0].strip() if message else ""
    return line[:_ACTION_CHARS_MAX] or None
