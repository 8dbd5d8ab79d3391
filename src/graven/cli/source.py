"""`graven source`: the register of who may produce events."""

from pathlib import Path
from typing import Any

import click

from graven.cli.listing import print_table, read_rows
from graven.cli.options import Decorator, dir_option, json_option
from graven.cli.output import print_done, print_fields, print_json, print_line, shown
from graven.cli.sources_shown import source_lines, table_row
from graven.cli.writing import open_writing, source_rows
from graven.core.errors import BadInput
from graven.log.admin import EXPECT_S_MAX
from graven.log.registers import GRADES
from graven.runtime.clock import SystemClock


def _fields(function: Any) -> Any:
    """The options of `add` and `change`."""
    options: tuple[Decorator, ...] = (
        click.option("--type", "kind", metavar="TEXT", help="What it is: application, database, cloud, …"),
        click.option("--owner", metavar="TEXT", help="Who answers for it."),
        click.option("--grade", type=click.Choice(GRADES), help="How much its word is worth, by how it comes here."),
        click.option("--class", "class_name", metavar="CLASS", help="The retention class of its events."),
        click.option(
            "--allow-class", "classes", multiple=True, metavar="CLASS",
            help="A class its events may name instead; may be given again.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


_within = click.option(
    "--within-s", type=click.IntRange(1, EXPECT_S_MAX), metavar="N", help="Something is due every N seconds."
)


@click.group("source")
def command() -> None:
    """Producers of events: which are expected, which are there, how they do. Each change is an event of the log."""


@command.command("list")
@dir_option
@click.option("--missing", is_flag=True, help="Only those that are expected and silent.")
@json_option
def list_(directory: Path, missing: bool, as_json: bool) -> None:
    """List the sources, expected and seen: when each was last heard, how much it sends, what is wrong with it.

    Rates, lag and counts are those of a running server, since its start.
    """
    rows = read_rows(directory, lambda client: client.sources(), source_rows)
    if missing:
        rows = [row for row in rows if row["state"] == "missing"]
    if as_json:
        print_json({"sources": rows})
        return
    now_us = SystemClock().now_us()
    print_table(
        ("NUMBER", "NAME", "STATE", "SEEN", "EVENTS/S", "LAG", "TROUBLE", "TYPE", "GRADE", "CLASSES", "OWNER"),
        [table_row(row, now_us) for row in rows],
    )


@command.command("show")
@click.argument("name", metavar="NAME")
@dir_option
@json_option
def show(name: str, directory: Path, as_json: bool) -> None:
    """Show all there is to say of the source NAME."""
    rows = read_rows(directory, lambda client: client.sources(), source_rows)
    row = next((row for row in rows if row["name"] == name), None)
    if row is None:
        raise BadInput(f"no source is called {name!r}", mend="graven source list")
    if as_json:
        print_json(row)
    else:
        print_line(shown(f"{row['name']}, source {row['number']}: {row['state']}"))
        print_fields(source_lines(row, SystemClock().now_us()))


@command.command("add")
@click.argument("name", metavar="NAME")
@dir_option
@_fields
@_within
@json_option
def add(
    name: str,
    directory: Path,
    within_s: int | None,
    kind: str | None,
    owner: str | None,
    grade: str | None,
    class_name: str | None,
    classes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Register the source NAME. Its number is given once and stands in the head of each of its events."""
    fields = _given(kind, owner, grade, class_name, classes)
    if within_s is not None:
        fields["expect_s"] = within_s
    with open_writing(directory) as log:
        row = log.add_source(name, **fields)
    _print(row, "registered", as_json=as_json)


@command.command("change")
@click.argument("name", metavar="NAME")
@dir_option
@_fields
@click.option("--no-classes", is_flag=True, help="Its events may name no other class any more.")
@json_option
def change(
    name: str,
    directory: Path,
    kind: str | None,
    owner: str | None,
    grade: str | None,
    class_name: str | None,
    classes: tuple[str, ...],
    no_classes: bool,
    as_json: bool,
) -> None:
    """Change what is given of the source NAME. --allow-class adds to the classes its events may name."""
    if no_classes and classes:
        raise BadInput("--allow-class and --no-classes contradict each other", mend="give one of them")
    fields = _given(kind, owner, grade, class_name, classes)
    with open_writing(directory) as log:
        if classes:
            before = next((row["classes"] for row in log.sources() if row["name"] == name), ())
            fields["classes"] = list(dict.fromkeys((*before, *classes)))
        elif no_classes:
            fields["classes"] = []
        if not fields:
            raise BadInput("nothing to change was given", mend="graven source change --help")
        row = log.change_source(name, **fields)
    _print(row, "changed", as_json=as_json)


@command.command("retire")
@click.argument("name", metavar="NAME")
@dir_option
@json_option
def retire(name: str, directory: Path, as_json: bool) -> None:
    """Retire the source NAME: no event is taken from it any more. Its number is never given again."""
    with open_writing(directory) as log:
        row = log.retire_source(name)
    _print(row, "retired", as_json=as_json)


@command.command("expect")
@click.argument("name", metavar="NAME")
@dir_option
@_within
@click.option("--never", is_flag=True, help="Nothing is expected of it any more.")
@json_option
def expect(name: str, directory: Path, within_s: int | None, never: bool, as_json: bool) -> None:
    """Expect something of the source NAME: when nothing comes for so long, that is an event, and when it is back.

    A running server watches; its own start gives every source its full time.
    """
    if (within_s is None) is not never:
        raise BadInput("how often is it expected?", mend="give --within-s N, or --never")
    with open_writing(directory) as log:
        row = log.change_source(name, expect_s=within_s or 0)
    _print(row, "no longer expected:" if never else f"expected every {within_s} s:", as_json=as_json)


@command.command("revoke")
@click.argument("name", metavar="NAME")
@dir_option
@json_option
def revoke(name: str, directory: Path, as_json: bool) -> None:
    """Revoke the key of the agent NAME: nothing it signs is taken. The name may be enrolled again, with a new key."""
    with open_writing(directory) as log:
        row = log.revoke_agent(name)
    print_done(row, f"revoked the key of {row['name']}", as_json=as_json)


def _given(
    kind: str | None, owner: str | None, grade: str | None, class_name: str | None, classes: tuple[str, ...]
) -> dict[str, object]:
    fields: dict[str, object] = {
        "type": kind, "owner": owner, "grade": grade, "class": class_name, "classes": list(classes) or None,
    }  # fmt: skip
    return {key: value for key, value in fields.items() if value is not None}


def _print(row: dict[str, Any], done: str, *, as_json: bool) -> None:
    print_done(row, f"{done} {row['name']}, source {row['number']}", as_json=as_json)
