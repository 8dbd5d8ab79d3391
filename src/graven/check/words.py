"""How verdicts and errors are spelled: rows for people, JSON for programs. Whoever prints rows escapes them."""

import json
from collections.abc import Iterable

from graven.core.commitment import Head
from graven.core.doubled import duplicate_keys
from graven.core.errors import BadInput, Busy, Disproved, GravenError
from graven.runtime.clock import rfc3339
from graven.runtime.terminal import escape_for_terminal

Row = tuple[str, object]
"""A label and its value."""

HISTORY = "graven.history"
"""The label of events that were imported from where they were kept before."""

_LABEL_WIDTH = 11


def counted(count: int, one: str, many: str = "") -> str:
    """`1 entry`, `2 entries`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def shown(value: object) -> str:
    """`value` as one line that is safe to show."""
    return escape_for_terminal(str(value))


def lines_of(rows: Iterable[Row], *, indent: int = 2) -> list[str]:
    """Labels and values, aligned; values are escaped, empty ones left out."""
    return [f"{' ' * indent}{label:<{_LABEL_WIDTH}} {shown(value)}" for label, value in rows if value not in (None, "")]


def head_row(head: Head, source: str = "") -> Row:
    """What the log itself says of an event. `source` is the name of its number, where it is known."""
    return ("received", f"{rfc3339(head.received_us)} from source {head.source}{f' ({source})' if source else ''}")


def plain_rows(event: bytes) -> list[Row]:
    """An event as its text, whatever it says: for a reader that does not know the event model."""
    rows: list[Row] = [("event", event.decode(errors="backslashreplace"))]
    return rows + caution_rows(event)


def caution_rows(event: bytes) -> list[Row]:
    """A row that flags keys given twice, if there are any. Raises BadInput when the event is no JSON."""
    doubled = duplicate_keys(event)
    if not doubled:
        return []
    return [
        ("caution", f"keys given twice: {', '.join(doubled)}; the last counts here, other readers may take the first")
    ]


def history_rows(event: bytes, head: Head) -> list[Row]:
    """A row that says of an imported event what is not claimed of it."""
    if HISTORY.encode() not in event:
        return []
    try:
        labels = json.loads(event).get("labels")
    except (ValueError, RecursionError, AttributeError):
        return []
    if not isinstance(labels, dict) or HISTORY not in labels:
        return []
    return [("history", f"imported at {rfc3339(head.received_us)}; integrity before that is not claimed")]


def dump_json(value: object) -> str:
    """JSON in printable ASCII, on one line. Raises ValueError for NaN and infinities."""
    return json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f")


def error_fields(error: GravenError) -> dict[str, object]:
    """An error as a JSON object."""
    fields: dict[str, object] = {
        "kind": _kind(error),
        "what": error.what,
        "place": error.place,
        "mend": error.mend,
        "exit_code": error.exit_code,
    }
    if isinstance(error, Disproved):
        fields |= {"expected": error.expected, "found": error.found}
    if isinstance(error, Busy):
        fields["retry_after_s"] = error.retry_after_s
    if faults := faults_of(error):
        fields["errors"] = faults
    return fields


def faults_of(error: GravenError) -> list[dict[str, object]]:
    """The single faults a refusal lists."""
    return list(getattr(error, "errors", ()))


def _kind(error: GravenError) -> str:
    for kind, name in ((BadInput, "bad_input"), (Disproved, "disproved"), (Busy, "busy")):
        if isinstance(error, kind):
            return name
    return "broken"
