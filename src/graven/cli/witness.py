"""`graven witness`: a witness for any log that speaks C2SP."""

from contextlib import closing
from hashlib import sha256
from pathlib import Path

import click

from graven.cli.listing import print_table
from graven.cli.options import json_option
from graven.cli.output import print_json, print_line, shown
from graven.config import parse_listen
from graven.core.note import format_vkey, parse_vkey
from graven.log.acts import rfc3339
from graven.runtime.clock import US_PER_S
from graven.witness.cosigner import Cosigner
from graven.witness.evidence import kept
from graven.witness.serve import Running, serve
from graven.witness.store import Store
from graven.witness.witness import make_witness

_directory = click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")


@click.group("witness")
def command() -> None:
    """Watch other people's logs: cosign what a log grows into, refuse and keep what does not follow.

    DIR is the witness's own directory, and no log's. It must never be restored from a copy.
    """


@command.command("init")
@_directory
@click.option("--name", required=True, metavar="N", help="The witness's name, for ever: as witness.example.com/w1.")
@json_option
def init(directory: Path, name: str, as_json: bool) -> None:
    """Make a witness and its keys, and print its verifier keys."""
    make_witness(directory, name)
    _print_vkeys(directory, as_json)


@command.command("add-log")
@_directory
@click.argument("vkey", metavar="VKEY")
@json_option
def add_log(directory: Path, vkey: str, as_json: bool) -> None:
    """Know a log by its verifier key; its name is the log's origin. A log may have several keys.

    A running witness knows it at once.
    """
    key = parse_vkey(vkey.strip())
    with closing(Store(directory)) as store:
        added = store.add_key(key)
    if as_json:
        print_json({"origin": key.name, "added": added})
    else:
        print_line(f"{shown(key.name)}: {'added' if added else 'known already'}")


@command.command("vkey")
@_directory
@json_option
def vkey(directory: Path, as_json: bool) -> None:
    """Print the witness's verifier keys for a policy: Ed25519, then ML-DSA-44."""
    _print_vkeys(directory, as_json)


@command.command("serve")
@_directory
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen. Port 0: a free one.")
@json_option
def serve_(directory: Path, listen: str, as_json: bool) -> None:
    """Serve the witness until SIGTERM or Ctrl-C. Prints `listening on http://HOST:PORT` when it is ready."""
    host, port = parse_listen(listen)
    serve(directory, host, port, ready=_announce)


@command.command("list")
@_directory
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List the logs: what was cosigned of each, and when; and the evidence that was kept."""
    with closing(Store(directory)) as store:
        rows = [(origin, store.latest(origin), store.keys_of(origin)) for origin in store.origins()]
    evidence = kept(directory)
    if as_json:
        logs = [
            {
                "origin": origin,
                "path": f"/{sha256(origin.encode()).hexdigest()}/checkpoint",
                "size": None if latest is None else latest.checkpoint.size,
                "cosigned_s": None if latest is None else latest.time_s,
                "vkeys": [format_vkey(key) for key in keys],
            }
            for origin, latest, keys in rows
        ]
        print_json({"logs": logs, "evidence": [str(folder) for folder in evidence]})
        return
    table = [
        (
            origin,
            "-" if latest is None else str(latest.checkpoint.size),
            "never" if latest is None else rfc3339(latest.time_s * US_PER_S),
            str(len(keys)),
        )
        for origin, latest, keys in rows
    ]
    print_table(("ORIGIN", "SIZE", "COSIGNED", "KEYS"), table)
    for folder in evidence:
        print_line(f"evidence: {shown(folder)}")


def _print_vkeys(directory: Path, as_json: bool) -> None:
    cosigner = Cosigner(directory)
    vkeys = [format_vkey(key) for key in cosigner.keys]
    if as_json:
        print_json({"name": cosigner.name, "vkeys": vkeys})
        return
    for line in vkeys:
        print_line(line)


def _announce(running: Running) -> None:
    print_line(f"listening on {running.url}")
