"""`graven demo`: a tour of what Graven claims, on a log of invented events."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from graven.cli.options import json_option, path_option
from graven.cli.output import print_json
from graven.core.errors import BadInput
from graven.demo.screen import Screen
from graven.demo.tour import Tour
from graven.server.serve import run
from graven.server.sockets import bind

LISTEN = "127.0.0.1:4780"


@click.command("demo")
@path_option("--dir", "directory", "Where the log is made and kept; without it, in a temporary place.", metavar="DIR")
@click.option("--serve", is_flag=True, help="Go on as a server over that log until Ctrl-C.")
@click.option("--listen", default=LISTEN, show_default=True, metavar="HOST:PORT", help="Where --serve listens.")
@json_option
def command(directory: Path | None, serve: bool, listen: str, as_json: bool) -> None:
    """Show, on one screen, what Graven does: proofs, tampering caught, a check by hand, what it costs.

    On first use it makes a log of invented events whose name begins with `demo.invalid/`; run again, it is the same
    log. It ends with 0 only if everything behaved as claimed. No other log is touched.
    """
    with ExitStack() as stack:
        if serve:
            _check_free(listen)
        place = directory
        if place is None:
            place = Path(stack.enter_context(TemporaryDirectory(prefix="graven-demo-")), "graven-demo")
        tour = Tour(place, Screen(quiet=as_json), listen=listen if serve else None, passing=directory is None)
        try:
            tour.show()
        finally:
            if as_json and "wrong" in tour.told:
                print_json(tour.told)
        if serve:
            run(place, listen=listen)


def _check_free(listen: str) -> None:
    """Raises BadInput now, and not after the tour, when the port is taken."""
    try:
        bind(listen).close()
    except BadInput as error:
        raise BadInput(
            error.what,
            place=error.place,
            mend="perhaps the demonstration runs already; else choose another port: graven demo --serve --listen "
            "127.0.0.1:4781, or make run LISTEN=127.0.0.1:4781",
        ) from None
