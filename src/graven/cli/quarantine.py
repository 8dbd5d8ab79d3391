"""`graven quarantine`: records that could not be read, and reading them again."""

from pathlib import Path

import click

from graven.app import open_view
from graven.cli.listing import print_table
from graven.cli.options import dir_option, json_option
from graven.cli.output import counted, print_json, print_line, shown
from graven.cli.writing import open_writing
from graven.ingest.quarantine import find_quarantined
from graven.server.retry import quarantine_row


@click.group("quarantine")
def command() -> None:
    """Records that could not be read as events, and were kept as they came."""


@command.command("list")
@dir_option
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="INDEX", help="The first index to look at.")
@click.option("--all", "everything", is_flag=True, help="Those that were read again since, too.")
@json_option
def list_(directory: Path, since: int, everything: bool, as_json: bool) -> None:
    """List the quarantined events that wait for a parser that can read them."""
    view = open_view(directory)
    found, done = find_quarantined(view.reader.records(since, view.size))
    rows = [quarantine_row(one, done) for one in found if everything or one.index not in done]
    if as_json:
        print_json({"quarantined": rows})
        return
    if not rows:
        print_line("nothing is quarantined")
        return
    table = [
        (
            str(row["index"]) + (" (read again)" if row["read_again"] else ""),
            str(row["received"]),
            str(row["source"]),
            str(row["type"]),
            str(row["size_bytes"]) + ("" if row["whole"] else " (cut)"),
            str(row["reason"]),
        )
        for row in rows
    ]
    print_table(("INDEX", "RECEIVED", "SOURCE", "TYPE", "BYTES", "REASON"), table)


@command.command("retry")
@dir_option
@click.argument("indexes", nargs=-1, type=click.IntRange(min=0), metavar="[INDEX]...")
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="INDEX", help="The first index to look at.")
@json_option
def retry(directory: Path, indexes: tuple[int, ...], since: int, as_json: bool) -> None:
    """Read quarantined records again with today's parsers, mappings and rules, and append what can be read now.

    All of them, or those at INDEX. Each new event names the quarantined one in `derived_from` and keeps its raw record;
    the quarantined event stays. A record is read again once: another call finds it done.
    """
    with open_writing(directory) as log:
        done = log.retry_quarantined(indexes=list(indexes), since=since)
    if as_json:
        print_json(done)
        return
    for index, events in done["read"].items():
        print_line(f"{index}: read as {', '.join(map(str, events))}")
    for row in done["left"]:
        print_line(f"{row['index']}: {shown(str(row['reason']))}")
    print_line(f"{counted(len(done['read']), 'record')} read, {len(done['left'])} left, {done['before']} read before")
