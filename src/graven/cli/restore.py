"""`graven restore`: bring a copy made by `graven backup` back as a log."""

from pathlib import Path

import click
import tomlkit

from graven.app import keys_dir, public_keys
from graven.cli.options import json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.progress import progress
from graven.cli.signed import highest_size
from graven.config import CONFIG_NAME, Config, load_config, read_passphrase
from graven.core.errors import BadInput
from graven.journal.files import LocalFiles, write_atomic
from graven.keys.keyring import Keyring
from graven.keys.signer import LogSigner
from graven.log.backup import bytes_to_copy, copy_log


@click.command("restore")
@click.argument("source", type=click.Path(path_type=Path), metavar="SRC")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="Where the log goes: an empty or new directory.",
)  # fmt: skip
@path_option("--keys", "keys", "Where its keyring is; without it, where graven.toml says, or DIR.keys.", metavar="DIR")
@json_option
def command(source: Path, directory: Path, keys: Path | None, as_json: bool) -> None:
    """Copy SRC, made by `graven backup`, to DIR, and see whether the keyring beside it is this log's.

    A copy that is older than what the log has signed since reads, and refuses to write: going on from it would fork the
    log. Its way on is a successor: graven init NEW_DIR --successor-of CHECKPOINT_FILE.
    """
    config = load_config(source / CONFIG_NAME)
    place = keys.absolute() if keys is not None else keys_dir(directory, config)
    highest = _check_keyring(place, config)
    with progress("copying", bytes_to_copy(source), quiet=as_json) as advance:
        copied = copy_log(source, directory, public_keys(config), progress=advance)
    if keys is not None:
        _set_keys_dir(directory / CONFIG_NAME, place)
    size = copied.committed.size
    writable = highest is not None and highest <= size
    if as_json:
        print_json(
            {
                "dir": str(directory.absolute()),
                "origin": config.origin,
                "size": size,
                "published": {"size": copied.published.size},
                "keys": str(place) if place.exists() else None,
                "highest_signed": highest,
                "writable": writable,
            }
        )
        return
    print_line(f"restored {shown(config.origin)} to {shown(directory)}")
    print_fields([("entries", f"{size}, {copied.published.size} of them published"), ("keys", place)])
    if not place.exists():
        print_line("There is no keyring: its events cannot be read. Bring it back from a kit:")
        print_line(f"  graven keys restore KIT_FILE --dir {shown(directory)} --seen CHECKPOINT_FILE")
    elif highest is None:
        print_line(
            "What was signed before is not known, so it reads, and refuses to write. Name the newest checkpoint:"
        )
        print_line(f"  graven keys seen CHECKPOINT_FILE --dir {shown(directory)}")
    elif not writable:
        signed = counted(highest, "entry", "entries")
        print_line(f"A tree of {signed} was signed after this copy was made, so it reads, and refuses to write.")
        print_line("Bring back a newer copy, or go on in a successor:")
        print_line(f"  graven init NEW_DIR --successor-of {shown(directory / 'log' / 'checkpoint')}")


def _check_keyring(place: Path, config: Config) -> int | None:
    """The largest size the keyring has signed; None when there is no keyring, or that is not known.

    Raises BadInput when it is another log's.
    """
    if not place.exists():
        return None
    signer = LogSigner(Keyring.open(str(place), passphrase=read_passphrase(config), replicas=config.keys.replicas))
    if signer.origin != config.origin or not set(public_keys(config)) <= set(signer.tenures.every):
        raise BadInput(
            f"the keyring is of another log: {signer.origin!r}, the copy of {config.origin!r}",
            place=str(place),
            mend="choose another DIR, or name this log's keyring with --keys",
        )
    return highest_size(signer) if signer.mark_known else None


def _set_keys_dir(path: Path, keys: Path) -> None:
    """Write `[keys] dir` into a configuration file, and leave the rest of it as it is."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document.setdefault("keys", tomlkit.table())["dir"] = str(keys)
    write_atomic(LocalFiles(), str(path), tomlkit.dumps(document).encode())
