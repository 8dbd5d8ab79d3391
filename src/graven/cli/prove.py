"""`graven prove`: the evidence for one event, for somebody who does not trust this machine."""

import time
from pathlib import Path

import click

from graven.app import open_view
from graven.cli.files import write_private
from graven.cli.options import LOCK_WAIT_S, dir_option, json_option, path_option
from graven.cli.output import print_bytes, print_json, print_line, shown
from graven.core.errors import BadInput, GravenError
from graven.core.spelling import encode_base64
from graven.log.prove import tlog_proof
from graven.log.signed import signed_document
from graven.log.view import View
from graven.server.control_client import connect_control

_POLL_S = 0.1


@click.command("prove")
@click.argument("index", type=click.IntRange(0), metavar="INDEX")
@dir_option
@path_option("-o", "output", "Write to this file (mode 0600) instead of standard output.")
@click.option("--tlog-proof", "bare", is_flag=True, help="The bare C2SP tlog-proof, which shows nothing of the event.")
@click.option("--signed", is_flag=True, help="Also what shows that an agent signed it at the source.")
@click.option("--no-event", is_flag=True, help="Withhold the event: only its digest is written.")
@click.option("--no-raw", is_flag=True, help="Withhold the raw record: only its digest is written.")
@json_option
def command(
    index: int,
    directory: Path,
    output: Path | None,
    bare: bool,
    signed: bool,
    no_event: bool,
    no_raw: bool,
    as_json: bool,
) -> None:
    """Write the evidence for the event at INDEX: the event, its salt, and the proof that leads to a signed checkpoint.

    Whoever has it can check it with `graven check`, or by hand with coreutils and openssl, and needs nothing else but
    trust in the log's key. It says what the event says: hand it to those who may read that. An event that was only just
    appended is waited for, up to ten seconds, until it is published.
    """
    if str(output) == "-":
        output = None
    if signed and (bare or no_raw):
        raise BadInput("what an agent signed is the raw: it cannot be withheld", mend="--signed without the other")
    with open_view(directory) as view:
        _wait(view, index)
        published = view.published
        if bare:
            data = tlog_proof(directory, index, published)
        elif signed:
            data = signed_document(view, index, event=not no_event)
        else:
            data = view.evidence_of(view.read(index), published, event=not no_event, raw=not no_raw)
    head = published.checkpoint
    if output is not None:
        write_private(output, data)
    if as_json and (bare or output is not None):
        print_json(
            {
                "index": index,
                "format": "tlog-proof" if bare else "signed event" if signed else "evidence",
                "file": None if output is None else str(output),
                "text": data.decode() if output is None else None,
                "size": head.size,
                "root": encode_base64(head.root),
            }
        )
    elif output is None:
        print_bytes(data)  # evidence is a JSON object by itself
    else:
        print_line(f"wrote {shown(output)}: event {index}, proved at size {head.size}")


def _wait(view: View, index: int) -> None:
    """A running server publishes within a second or so. Without one, what is committed stays so: no use to wait."""
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while view.published.checkpoint.size <= index < view.size and time.monotonic() < deadline_s:
        try:
            connect_control(view.directory / "state").close()
        except GravenError:
            return
        time.sleep(_POLL_S)
