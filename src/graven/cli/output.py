"""What commands print: lines for people, JSON for programs, errors for both.

Everything that may come from an event, a file or a name someone chose is escaped before a person sees it. JSON is one
line of ASCII, so nothing in it can play with a terminal either.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping

import click

from graven.core.errors import BadInput, Busy, Disproved, GravenError
from graven.runtime.terminal import escape_for_terminal

_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_LABEL_WIDTH = 11


class Refused(BadInput):
    """A file that was refused, with every fault found: `errors` are {line, path, what, mend}."""

    def __init__(self, what: str, errors: list[dict[str, object]], *, place: str = "", mend: str = "") -> None:
        super().__init__(what, place=place, mend=mend)
        self.errors = errors


def shown(value: object) -> str:
    """`value` as one line that is safe to show."""
    return escape_for_terminal(str(value))


def counted(count: int, one: str, many: str = "") -> str:
    """`1 entry`, `2 entries`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def print_line(text: str = "") -> None:
    """One line of text that is already safe."""
    click.echo(text)


def print_fields(rows: Iterable[tuple[str, object]], *, indent: int = 2) -> None:
    """Labels and values, aligned; values are escaped, empty ones left out."""
    for label, value in rows:
        if value not in (None, ""):
            click.echo(f"{' ' * indent}{label:<{_LABEL_WIDTH}} {shown(value)}")


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of ASCII."""
    click.echo(dump_json(value))


def print_bytes(data: bytes) -> None:
    """Bytes as they are: notes, proofs and evidence, which are text of our own."""
    sys.stdout.flush()
    click.echo(data, nl=False)


def dump_json(value: object) -> str:
    """JSON in printable ASCII, on one line. Raises ValueError for NaN and infinities."""
    return json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f")


def verbatim_json(text: str) -> str:
    """A JSON text as it is, but in printable ASCII on one line: the same value, digits and duplicate keys included."""
    return _NOT_ASCII.sub(_escape, text)


def print_error(error: GravenError, *, as_json: bool) -> None:
    """An error on standard error: one line, then one for each fault of a file; or one JSON object."""
    if as_json:
        click.echo(dump_json({"error": error_fields(error)}), err=True)
        return
    click.echo(f"graven: {shown(error)}", err=True)
    for fault in faults_of(error):
        at = f"line {fault['line']}" if "line" in fault else f"event {fault['position']}"
        mend = f". Mend: {fault['mend']}" if fault["mend"] else ""
        click.echo("  " + shown(f"{at}, {fault['path']}: {fault['what']}{mend}"), err=True)


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


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\t\n\r":  # only between tokens: inside strings JSON has no raw control characters
        return " "
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
