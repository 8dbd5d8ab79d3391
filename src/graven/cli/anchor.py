"""`graven anchor`: time stamps now, by file, and those there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from graven.anchor.authority import new_request
from graven.anchor.stored import list_anchors, read_anchor
from graven.app import open_view, time_authorities
from graven.cli.files import read_file, write_private
from graven.cli.options import dir_option, file_argument, json_option, path_option
from graven.cli.output import counted, print_json, print_line, shown
from graven.cli.writing import open_writing
from graven.config import CONFIG_NAME, load_config
from graven.core.anchored import MAX_ANCHOR_BYTES
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.timestamp import verify_token
from graven.core.timestamp_request import format_request
from graven.core.timestamp_token import MAX_TOKEN_BYTES
from graven.core.x509 import NotTrusted
from graven.journal.files import LocalFiles
from graven.keys.signature import verify_signature
from graven.log.acts import rfc3339
from graven.log.history import CheckpointHistory
from graven.runtime.clock import US_PER_S

_ANSWER_BYTES_MAX = MAX_TOKEN_BYTES + MAX_ANCHOR_BYTES


@click.group("anchor")
def command() -> None:
    """Fix the log in time: stamps by time authorities (RFC 3161), cosignatures by file.

    A server asks the authorities of its configuration by itself. See docs/time.md.
    """


@command.command("stamp")
@click.option("--authority", metavar="NAME", help="Only this one of [authorities]; else all with a URL.")
@dir_option
@json_option
def stamp(authority: str | None, directory: Path, as_json: bool) -> None:
    """Have the published checkpoint stamped now.

    The stamp is kept in DIR/anchors; its event goes into the log with the next block that somebody else makes.
    """
    with open_writing(directory) as log:
        rows = log.stamp(authority)["stamps"]
    good = [row for row in rows if row["time"] is not None]
    if as_json:
        print_json({"stamps": rows})
    for row in () if as_json else rows:
        told = f"stamped {row['time']}, certificate ends {row['expires']}" if row["time"] else f"no stamp: {row['why']}"
        print_line(f"{shown(row['authority'])}: {shown(told)}")
    if len(good) < len(rows):
        raise Broken(
            f"{counted(len(rows) - len(good), 'authority', 'authorities')} gave no good stamp",
            place="; ".join(f"{row['authority']}: {row['why']}" for row in rows if row["time"] is None),
            mend="ask again; graven status tells how each does",
        )


@command.command("export")
@click.argument("prefix", type=click.Path(path_type=Path), metavar="PREFIX")
@click.option("--authority", metavar="NAME", help="Ask under the policy of this one of [authorities].")
@dir_option
@json_option
def export(prefix: Path, authority: str | None, directory: Path, as_json: bool) -> None:
    """Write the published checkpoint and a request to have it stamped, to be carried elsewhere.

    PREFIX.checkpoint is the note (also what a witness is asked with), PREFIX.tsq the request: an authority answers it
    over HTTP (Content-Type: application/timestamp-query) or by `openssl ts -reply`. The log keeps this note for ever.
    """
    policy = ""
    if authority is not None:
        found = {one.name: one.policy for one in time_authorities(load_config(directory / CONFIG_NAME))}
        if authority not in found:
            raise BadInput(f"no authority is called {authority!r}", mend="[authorities.NAME] in graven.toml")
        policy = found[authority]
    with open_view(directory, need_keys=False) as view:
        published = view.published
    with _on_disk(directory):
        CheckpointHistory(LocalFiles(), directory / "checkpoints").pin(published.checkpoint.size, published.data)
    note, request = prefix.with_name(prefix.name + ".checkpoint"), prefix.with_name(prefix.name + ".tsq")
    write_private(note, published.data)
    write_private(request, format_request(new_request(published.data, policy)))
    if as_json:
        print_json({"checkpoint": str(note), "request": str(request), "size": published.checkpoint.size})
    else:
        size = counted(published.checkpoint.size, "entry", "entries")
        print_line(f"wrote {shown(note)} and {shown(request)}: a tree of {size}")


@command.command("import")
@file_argument("file", "FILE")
@path_option("--request", "request", "The request that FILE answers: its nonce is compared.")
@path_option("--checkpoint", "checkpoint", "The checkpoint that FILE is over, if the log does not keep it.")
@dir_option
@json_option
def import_(file: Path, request: Path | None, checkpoint: Path | None, directory: Path, as_json: bool) -> None:
    """Take an anchor from FILE: an authority's answer, a bare token, a cosigned checkpoint, or a stored anchor.

    It is verified before it is taken: by the roots of [authorities], by the witnesses the log was run with. Its event
    goes into the log with the next block that somebody else makes.
    """
    with open_writing(directory) as log:
        row = log.take_anchor(
            read_file(file, max_bytes=_ANSWER_BYTES_MAX),
            request=read_file(request, max_bytes=MAX_TOKEN_BYTES) if request is not None else None,
            checkpoint=read_file(checkpoint, max_bytes=MAX_ANCHOR_BYTES) if checkpoint is not None else None,
        )
    if as_json:
        print_json(row)
    else:
        size = counted(row["size"], "entry", "entries")
        print_line(f"took {shown(row['file'])}: a tree of {size}, {row['time']}, by {shown(row['by'])}")


@command.command("list")
@dir_option
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List the anchors in DIR/anchors, each verified again, the earliest first."""
    rows = list(_rows(directory))
    if as_json:
        print_json({"anchors": rows})
        return
    for row in rows:
        told = f"expires {row['expires']}" if row["expires"] else ""
        told = f"NOT GOOD: {row['trouble']}" if row["trouble"] else told
        print_line(
            f"{row['time']}  {row['size']:>12}  {row['type'] or '?':<11}  {shown(row['by'] or '?')}  {shown(told)}"
        )
    if not rows:
        print_line("no anchors")


def _rows(directory: Path) -> Iterator[dict[str, Any]]:
    config = load_config(directory / CONFIG_NAME)
    authorities = time_authorities(config)
    with open_view(directory, config, need_keys=False):
        pass  # refuses what is no log
    for name in list_anchors(directory):
        row: dict[str, Any] = {
            "file": name.path, "size": name.size, "time": rfc3339(name.time_s * US_PER_S),
            "type": None, "by": None, "expires": None, "trouble": None,
        }  # fmt: skip
        try:
            anchored = read_anchor(directory, name)
            row["type"] = anchored.type
            if anchored.token is None:
                row["by"] = "witnesses"
            for authority in authorities if anchored.token is not None else ():
                try:
                    stamp = verify_token(
                        anchored.token or b"", anchored.checkpoint, roots=authority.roots, verify=verify_signature
                    )
                except NotTrusted:
                    continue
                row |= {"by": authority.name, "expires": rfc3339(stamp.expires_us)}
                break
            if row["by"] is None:
                raise Disproved("by no configured authority")
        except OSError as error:
            row["trouble"] = error.strerror
        except GravenError as error:
            row["trouble"] = error.what
        yield row


@contextmanager
def _on_disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Broken("the checkpoint cannot be kept", place=f"{directory}: {error.strerror}") from None
