"""`graven vkey`: the log's public keys, for whoever checks it."""

from pathlib import Path

import click

from graven.cli.options import dir_option, json_option
from graven.cli.output import print_json, print_line
from graven.config import CONFIG_NAME, load_config


@click.command("vkey")
@dir_option
@click.option("--all", "every", is_flag=True, help="Also the ML-DSA-44 key, on a second line.")
@json_option
def command(directory: Path, every: bool, as_json: bool) -> None:
    """Print the log's Ed25519 verifier key, as graven.toml has it, on one line."""
    config = load_config(directory / CONFIG_NAME)
    if as_json:
        print_json({"origin": config.origin, "vkeys": list(config.vkeys)})
        return
    for vkey in config.vkeys if every else config.vkeys[:1]:
        print_line(vkey)
