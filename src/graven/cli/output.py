"""What commands print: lines for people, JSON for programs, errors for both.

Everything that may come from an event, a file or a name someone chose is escaped before a person sees it. JSON is one
line of ASCII, so nothing in it can play with a terminal either.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping

import click

from graven.check.words import counted as counted
from graven.check.words import dump_json as dump_json
from graven.check.words import error_fields as error_fields
from graven.check.words import faults_of as faults_of
from graven.check.words import lines_of
from graven.check.words import shown as shown
from graven.core.errors import BadInput, GravenError

_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


class Refused(BadInput):
    """A file that was refused, with every fault found: `errors` are {line, path, what, mend}."""

    def __init__(self, what: str, errors: list[dict[str, object]], *, place: str = "", mend: str = "") -> None:
        super().__init__(what, place=place, mend=mend)
        self.errors = errors


def print_line(text: str = "") -> None:
    """One line of text that is already safe."""
    click.echo(text)


def print_fields(rows: Iterable[tuple[str, object]], *, indent: int = 2) -> None:
    """Labels and values, aligned; values are escaped, empty ones left out."""
    for line in lines_of(rows, indent=indent):
        click.echo(line)


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of ASCII."""
    click.echo(dump_json(value))


def print_done(row: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """What was done: the row of what it was done to, or a line that may hold any text."""
    if as_json:
        print_json(row)
    else:
        print_line(shown(text))


def print_bytes(data: bytes) -> None:
    """Bytes as they are: notes, proofs and evidence, which are text of our own."""
    sys.stdout.flush()
    click.echo(data, nl=False)


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


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\t\n\r":  # only between tokens: inside strings JSON has no raw control characters
        return " "
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
