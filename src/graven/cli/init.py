"""`graven init`: a new log and its keyring."""

from pathlib import Path

import click

from graven.app import create_log, keys_dir
from graven.cli.files import read_file
from graven.cli.options import json_option, make_key_option, path_option
from graven.cli.output import print_fields, print_json, print_line, shown
from graven.config import CONFIG_NAME, load_config
from graven.core.errors import BadInput
from graven.keys.passphrase import read_passphrase
from graven.keys.token_uri import parse_token_uri


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--log-key", "log_key", metavar="URI",
    help="The token that has the Ed25519 key: pkcs11:token=…;object=…?module-path=…&pin-source=file:…",
)  # fmt: skip
@make_key_option
@click.option("--origin", metavar="NAME", help="The log's name for ever, as example.com/log. Without it: a random one.")
@path_option("--keys", "keys", "Where the keyring goes; without it, DIR.keys beside DIR.", metavar="DIR")
@path_option("--passphrase-file", "passphrase_file", "Seal the keyring with the passphrase in this file (mode 0600).")
@path_option("--successor-of", "successor_of", "The last checkpoint of the log that this one goes on from.")
@json_option
def command(
    directory: Path,
    origin: str | None,
    keys: Path | None,
    passphrase_file: Path | None,
    successor_of: Path | None,
    log_key: str | None,
    make_key: bool,
    as_json: bool,
) -> None:
    """Make a new log in DIR, its keys, and its first signed checkpoint. Asks nothing.

    DIR must be empty or not be there. The keys are made beside it, never in it, readable for this user alone. With
    --log-key the Ed25519 key is in a token (PKCS #11), which signs with it and never gives it out.
    """
    if keys is not None and not keys.absolute().parent.is_dir():
        raise BadInput("the directory of the keyring is not there", place=str(keys.parent), mend="make it first")
    if make_key and log_key is None:
        raise BadInput("--make-key is for a key in a token", mend="--log-key URI")
    token = parse_token_uri(log_key) if log_key is not None else None
    published = create_log(
        directory,
        origin=origin,
        passphrase=read_passphrase(str(passphrase_file)) if passphrase_file else None,
        passphrase_file=str(passphrase_file.absolute()) if passphrase_file else None,
        successor_of=read_file(successor_of) if successor_of else None,
        keyring_dir=keys.absolute() if keys else None,
        token=token,
        make_key=make_key,
    )
    config = load_config(directory / CONFIG_NAME)
    place = keys_dir(directory, config)
    if as_json:
        print_json(
            {
                "dir": str(directory.absolute()),
                "keys": str(place),
                "origin": config.origin,
                "vkeys": list(config.vkeys),
                "size": published.checkpoint.size,
                "token": token.place if token is not None else None,
            }
        )
        return
    print_line(f"made the log {shown(config.origin)}")
    print_fields(
        [
            ("data", directory.absolute()),
            ("keys", f"{place} ({'sealed by a passphrase' if passphrase_file else 'not sealed'}, mode 0600)"),
            *([("token", f"{token.place}: the Ed25519 key is there, in no kit and no replica")] if token else []),
            ("vkey", config.vkeys[0]),
        ]
    )
    print_line("Give the vkey to whoever will check this log, by another way than this machine.")
    print_line("Lost keys are lost events. Back them up, off this machine:")
    print_line(f"  graven keys backup KIT_FILE --passphrase-file FILE --dir {shown(directory)}")
