"""Options that several commands have, spelled once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


class Decorator(Protocol):
    """What adds an option or argument to a command."""

    def __call__(self, command: _F, /) -> _F: ...


LOCK_WAIT_S = 10.0
"""How long a command waits for the log's lock, a server's socket, or a publication, before it refuses."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; an error is one, too.")

dir_option = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), envvar="GRAVEN_DIR", required=True, metavar="DIR",
    help="The directory of the log (or GRAVEN_DIR).",
)  # fmt: skip


tsa_root_option = click.option(
    "--tsa-root", "tsa_roots", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Certificates (PEM) that a time authority may lead to; may be given again.",
)  # fmt: skip


make_key_option = click.option(
    "--make-key", is_flag=True, help="Make the key in the token now; without it, it must be there."
)

to_option = click.option(
    "--to", "to", metavar="URI",
    help="Of begin: where the new Ed25519 key is: pkcs11:token=…;object=…?…, or file:, which is the keyring.",
)  # fmt: skip


def file_argument(name: str, metavar: str, *, nargs: int = 1) -> Decorator:
    """A file that is read; `-` is standard input."""
    return click.argument(
        name, type=click.Path(path_type=Path, allow_dash=True), metavar=metavar, nargs=nargs, required=True
    )


def path_option(flag: str, name: str, text: str, *, metavar: str = "FILE") -> Decorator:
    """An optional path."""
    return click.option(flag, name, type=click.Path(path_type=Path), metavar=metavar, help=text)
