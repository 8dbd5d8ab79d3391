"""`graven token`: tokens for the HTTP doors."""

from pathlib import Path

import click

from graven.cli.listing import print_table, read_rows
from graven.cli.options import dir_option, json_option
from graven.cli.output import print_done, print_json
from graven.cli.times import parse_expiry
from graven.cli.writing import open_writing, token_rows
from graven.log.admin import parse_scopes
from graven.runtime.clock import SystemClock


@click.group("token")
def command() -> None:
    """Make, list and revoke tokens. Each is an event of the log; of a token itself only a hash is kept."""


@command.command("create")
@dir_option
@click.option("--name", required=True, metavar="NAME", help="What the token is called; names whoever uses it.")
@click.option(
    "--scope", "scopes", required=True, metavar="LIST",
    help="What it may do, with commas: ingest (as a source named after it, registered if need be), ingest:SOURCE, "
    "read, admin.",
)  # fmt: skip
@click.option("--owner", default="", metavar="TEXT", help="Who answers for it.")
@click.option("--expires", metavar="TIME", help="90d, 12h, 2027-01-31 or RFC 3339; without it, never.")
@json_option
def create(directory: Path, name: str, scopes: str, owner: str, expires: str | None, as_json: bool) -> None:
    """Make a token and print it, alone, this once: it is kept nowhere."""
    expires_us = parse_expiry(expires, now_us=SystemClock().now_us()) if expires is not None else None
    with open_writing(directory) as log:
        made = log.create_token(name, parse_scopes(scopes), owner=owner, expires_us=expires_us)
        print_done(made, made["secret"], as_json=as_json)


@command.command("list")
@dir_option
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List the tokens. Each with what it may do, until when, and when it was last used."""
    rows = read_rows(directory, lambda client: client.tokens(), lambda registers: token_rows(registers, directory))
    if as_json:
        print_json({"tokens": rows})
        return
    table = [
        (
            row["name"],
            row["id"],
            ",".join(row["scopes"]),
            ",".join(row["sources"]),
            "revoked" if row["revoked"] else row["expires"] or "never",
            row["last_used"] or "never",
            row["owner"],
        )
        for row in rows
    ]
    print_table(("NAME", "ID", "SCOPES", "SOURCES", "EXPIRES", "LAST USED", "OWNER"), table)


@command.command("revoke")
@click.argument("token", metavar="TOKEN")
@dir_option
@json_option
def revoke(token: str, directory: Path, as_json: bool) -> None:
    """Revoke the token with this name or id. It is refused from now on."""
    with open_writing(directory) as log:
        row = log.revoke_token(token)
    print_done(row, f"revoked {row['name']} ({row['id']})", as_json=as_json)
