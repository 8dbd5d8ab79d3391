"""`graven signer`: the log's signing keys in a process, and under a user, of their own."""

import os
import pwd
import signal
from collections.abc import Sequence
from pathlib import Path

import click

from graven.app import open_keyring
from graven.cli.files import read_file
from graven.cli.options import dir_option, file_argument, json_option, make_key_option, path_option, to_option
from graven.cli.output import counted, print_json, print_line, shown
from graven.cli.rotate import begin_to, held
from graven.cli.signed import highest_size
from graven.config import CONFIG_NAME, load_config, read_token_access
from graven.core.errors import BadInput
from graven.core.note import format_vkey
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase, read_passphrase
from graven.keys.rotation import promote, read_rotation, token_uri
from graven.keys.signer import LogSigner, open_signer
from graven.keys.signer_server import SignerServer, Signing, serve
from graven.keys.split import split
from graven.keys.token_uri import parse_access
from graven.runtime.clock import US_PER_S, SystemClock
from graven.runtime.telemetry import set_up_logging

_signer_dir = click.argument("directory", type=click.Path(path_type=Path), metavar="SIGNER_DIR")
_passphrase = path_option("--passphrase-file", "passphrase_file", "The file with the passphrase of SIGNER_DIR.")
_token = click.option(
    "--token", "token", metavar="URI",
    help="How this host gets at a key in a token: pkcs11:?module-path=…&pin-source=file:…; goes before what SIGNER_DIR "
    "says.",
)  # fmt: skip


@click.group("signer")
def command() -> None:
    """Keep the signing keys in another process and user than the server, which asks it over a Unix socket."""


@command.command("split")
@click.argument("signer_dir", type=click.Path(path_type=Path), metavar="SIGNER_DIR")
@dir_option
@_passphrase
@json_option
def split_command(signer_dir: Path, directory: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Move the signing keys of the log in DIR into SIGNER_DIR, a keyring of their own. Stop the server for it.

    Then give SIGNER_DIR to the signer's user (chown -R), start the signer, and name its socket in [keys] signer.
    """
    with held(directory):
        keyring = open_keyring(directory, load_config(directory / CONFIG_NAME))
        split(keyring, signer_dir.absolute(), _read(passphrase_file))
    if as_json:
        print_json({"signer": str(signer_dir.absolute()), "origin": keyring.origin})
        return
    print_line(f"the signing keys of {shown(keyring.origin)} are in {shown(signer_dir)}, and no longer in the keyring")
    if passphrase_file is None:
        print_line("It is not sealed: whoever reads its files can sign. --passphrase-file seals the next one.")
    print_line("Give it to the signer's user, start `graven signer serve`, and set [keys] signer in graven.toml.")


@command.command("serve")
@_signer_dir
@click.option("--socket", "path", type=click.Path(path_type=Path), required=True, metavar="PATH", help="The socket.")
@click.option("--user", "users", multiple=True, metavar="USER", help="Who may ask, beside the signer's own user.")
@_passphrase
@_token
@json_option
def serve_command(
    directory: Path, path: Path, users: tuple[str, ...], passphrase_file: Path | None, token: str | None, as_json: bool
) -> None:
    """Sign for the log's server until SIGTERM or Ctrl-C. Prints `listening on unix:PATH` when it is ready.

    It signs trees that grow from the one it signed last, which the server must prove, and certificates of receipt keys,
    and nothing else.
    """
    set_up_logging()
    keyring = _open(directory, passphrase_file, token)
    promote(keyring)
    signer = open_signer(keyring)

    def ready(server: SignerServer) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        if as_json:
            print_json({"listening": f"unix:{path.absolute()}", "origin": keyring.origin})
        else:
            print_line(f"listening on unix:{path.absolute()}")

    serve(Signing(signer), path.absolute(), _uids(users), ready=ready)


@command.command("seen")
@file_argument("checkpoint", "CHECKPOINT_FILE")
@_signer_dir
@_passphrase
@json_option
def seen(checkpoint: Path, directory: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Take CHECKPOINT_FILE, seen outside this machine, for the newest tree signed. As `graven keys seen`."""
    signer = LogSigner(Keyring.open(str(directory.absolute()), passphrase=_read(passphrase_file)))
    signer.accept_seen(read_file(checkpoint))
    size = highest_size(signer)
    if as_json:
        print_json({"origin": signer.origin, "highest_size": size})
    else:
        print_line(f"{shown(signer.origin)} signs no tree smaller than {counted(size, 'entry', 'entries')}")


@command.command("rotate")
@click.argument("step", type=click.Choice(["begin", "finish"]), metavar="STEP")
@_signer_dir
@_passphrase
@_token
@to_option
@make_key_option
@json_option
def rotate(
    step: str, directory: Path, passphrase_file: Path | None, token: str | None, to: str | None, make_key: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Change the log's signing keys, as `graven keys rotate` does where they are in the log's keyring.

    STEP is begin or finish. Stop server and signer; afterwards start the signer, then the server, which records it.
    """
    keyring, left = _open(directory, passphrase_file, token), None
    if step == "begin":
        vkeys = [format_vkey(key) for key in begin_to(keyring, to, make_key).coming]
    elif to is not None or make_key:
        raise BadInput("rotate finish makes no key", mend="--to and --make-key are of begin")
    else:
        old = token_uri(keyring)
        if read_rotation(keyring).step == "begun":
            LogSigner(keyring).hand_over(SystemClock().now_us() // US_PER_S)
        promote(keyring)
        handovers = read_rotation(keyring).opened()
        if not handovers:
            raise BadInput("no change of keys is begun", mend="graven signer rotate begin SIGNER_DIR")
        vkeys = [format_vkey(key) for key in handovers[-1].new]
        left = old if old is not None and old != token_uri(keyring) else None
    if as_json:
        print_json({"step": step, "vkeys": vkeys, "left_in_token": left.place if left is not None else None})
        return
    if left is not None:
        print_line(f"The old Ed25519 key is still in its token. Remove it there: {shown(left.place)}")
    print_line("both pairs of keys sign from the next start on; the new ones:" if step == "begin" else "handed over to")
    for vkey in vkeys:
        print_line(shown(vkey))


def _open(directory: Path, passphrase_file: Path | None, token: str | None) -> Keyring:
    access = read_token_access()
    if token is not None:
        access = access.over(parse_access(token))
    return Keyring.open(str(directory.absolute()), passphrase=_read(passphrase_file), access=access)


def _read(file: Path | None) -> Passphrase | None:
    return read_passphrase(str(file)) if file is not None else None


def _uids(users: Sequence[str]) -> set[int]:
    """The user ids of names or numbers, and this process's own. Raises BadInput."""
    found = {os.geteuid()}
    for user in users:
        try:
            found.add(int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise BadInput("there is no such user here", place=user) from None
    return found
