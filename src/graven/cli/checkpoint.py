"""`graven checkpoint`: the published checkpoint, as the log signed it."""

from pathlib import Path

import click

from graven.app import public_keys
from graven.cli.options import dir_option, json_option
from graven.cli.output import print_bytes, print_json
from graven.config import CONFIG_NAME, load_config
from graven.core.checkpoint import open_checkpoint
from graven.core.errors import Broken
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature
from graven.log.history import checkpoint_time_s


@click.command("checkpoint")
@dir_option
@json_option
def command(directory: Path, as_json: bool) -> None:
    """Print the published checkpoint, byte for byte, once each of the log's keys was found good over it."""
    config = load_config(directory / CONFIG_NAME)
    path = directory / "log" / "checkpoint"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Broken("the published checkpoint cannot be read", place=f"{path}: {error.strerror}") from None
    head = open_checkpoint(data, public_keys(config), verify_signature, require_all=True).checkpoint
    if as_json:
        print_json(
            {
                "origin": head.origin,
                "size": head.size,
                "root": encode_base64(head.root),
                "time_s": checkpoint_time_s(data),
                "checkpoint": data.decode(),
            }
        )
    else:
        print_bytes(data)
