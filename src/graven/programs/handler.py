"""`AuditHandler`: log records of the standard library's `logging` as audit events.

    logging.getLogger("audit").addHandler(AuditHandler(recorder))
    audit.info("payment approved", extra={"audit": {"action": "payment.approve", "actor": {"id": "alice"}}})

What stands in `extra={"audit": {...}}` is the event; the record fills in what is missing: time, message, severity, and
logger, file and function as labels. Without it the action is the logger's name.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from graven.core.errors import GravenError
from graven.programs.recorder import Recorder, event_fields

_SEVERITIES = ((logging.CRITICAL, "critical"), (logging.ERROR, "high"), (logging.WARNING, "medium"))
_OWN = ("graven", "urllib3")  # what sending itself logs
_MESSAGE_CHARS_MAX = 8_192


class AuditHandler(logging.Handler):
    """Hands each record to a `Recorder`; never waits, and never raises into the program."""

    def __init__(self, recorder: Recorder, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in _OWN:
            return
        try:
            self._recorder.record(event_of(record))
        except (GravenError, ValueError, TypeError):
            self.handleError(record)


def event_of(record: logging.LogRecord) -> dict[str, Any]:
    """The event a log record stands for."""
    labels = {"logger": record.name, "file": record.filename if hasattr(record, "filename") else record.module}
    if record.funcName:
        labels["function"] = record.funcName
    error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
    given = getattr(record, "audit", None)
    given = dict(given) if isinstance(given, dict) else None
    if given and isinstance(given.get("labels"), dict):
        labels |= given.pop("labels")
    return event_fields(
        given,
        {
            "action": record.name,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "message": record.getMessage()[:_MESSAGE_CHARS_MAX],
            "severity": next((word for level, word in _SEVERITIES if record.levelno >= level), "low"),
            "outcome": "failure" if error else None,
            "reason": error,
            "labels": labels,
        },
    )
