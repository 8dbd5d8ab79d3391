"""`graven recover`: what every start does, alone; and declaring a loss, which no start does by itself."""

from pathlib import Path

import click

from graven.app import Log
from graven.cli.options import LOCK_WAIT_S, dir_option, json_option
from graven.cli.output import counted, print_fields, print_json, print_line
from graven.core.errors import BadInput


@click.command("recover")
@dir_option
@click.option(
    "--declare-loss", "reason", metavar="REASON",
    help="Cut the journal at its first bad frame, and say in the log what was cut and why.",
)  # fmt: skip
@json_option
def command(directory: Path, reason: str | None, as_json: bool) -> None:
    """Bring a log in order: adopt whole frames, cut at most one unfinished one, rebuild tiles, publish.

    Every start does the same; this does it without a server. A journal that is damaged before its end, or that lost
    what was acknowledged, is refused, unless --declare-loss: then everything from the first bad frame on is cut, kept
    in journal/torn/, and named by an event with REASON. That never goes below a published or signed checkpoint.
    """
    if reason is not None and not reason.strip():
        raise BadInput("a declared loss needs a reason", mend="--declare-loss 'what happened'")
    torn = _torn(directory)
    with Log.open(directory, lock_wait_s=LOCK_WAIT_S, declare_loss=reason) as log:
        found, lost = log.size, log.loss_recorded
        published = log.publish().checkpoint
    cut = sorted(_torn(directory) - torn)
    if as_json:
        print_json({"size": found, "published": {"size": published.size}, "cut": cut, "declared": reason})
        return
    print_line(f"the log is in order: {counted(found, 'entry', 'entries')}, all published")
    print_fields([("cut", f"journal/torn/{name}") for name in cut])
    if cut:
        print_line("Each is named by an event of the log, with its offset, length and SHA-256.")
    if lost:
        print_line("The declared loss is an event of the log.")
    elif reason is not None:
        print_line("nothing was lost, so no loss was recorded")


def _torn(directory: Path) -> set[str]:
    folder = directory / "journal" / "torn"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
