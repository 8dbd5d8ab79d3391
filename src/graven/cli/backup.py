"""`graven backup`: a consistent copy of a log, running or not, without its keys."""

from pathlib import Path

import click

from graven.app import public_keys
from graven.cli.options import dir_option, json_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.progress import progress
from graven.cli.writing import open_writing, recorded
from graven.config import CONFIG_NAME, load_config
from graven.core.spelling import encode_base64
from graven.log.acts import BACKUP
from graven.log.backup import Copied, bytes_to_copy, copy_log


@click.command("backup")
@click.argument("target", type=click.Path(path_type=Path), metavar="DEST")
@dir_option
@json_option
def command(target: Path, directory: Path, as_json: bool) -> None:
    """Copy the log to DEST, an empty or new directory. A server may be writing meanwhile.

    DEST is a log directory itself: whole to its committed size, with a published checkpoint, without the keys. It can
    be verified (`graven verify --dir DEST`) and restored. The log records that it was made.
    """
    config = load_config(directory / CONFIG_NAME)
    with progress("copying", bytes_to_copy(directory), quiet=as_json) as advance:
        copied = copy_log(directory, target, public_keys(config), progress=advance)
    _print(copied, target, as_json=as_json)
    size, root = copied.committed.size, encode_base64(copied.committed.root)
    with recorded("the copy is whole"), open_writing(directory) as log:
        log.record_act(BACKUP, {"size": size, "root": root, "published": copied.published.size})


def _print(copied: Copied, target: Path, *, as_json: bool) -> None:
    mark = copied.committed
    if as_json:
        print_json(
            {
                "dir": str(target.absolute()),
                "origin": copied.published.origin,
                "size": mark.size,
                "published": {"size": copied.published.size, "root": encode_base64(copied.published.root)},
                "files": copied.files,
                "bytes": copied.bytes,
            }
        )
        return
    print_line(f"copied {shown(copied.published.origin)} to {shown(target)}")
    print_fields(
        [
            ("entries", f"{mark.size}, {copied.published.size} of them published"),
            ("copied", f"{counted(copied.files, 'file')}, {copied.bytes} bytes; read back and found whole"),
            ("keys", "none are in it. Without the keyring, or a kit, nobody can read its events"),
        ]
    )
