"""`graven keys`: the recovery kit, restoring from it, replicas, and what was seen outside this host."""

from pathlib import Path

import click

from graven.app import keys_dir, open_keyring
from graven.cli.files import read_file, write_private
from graven.cli.options import dir_option, file_argument, json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.rotate import command as rotate_command
from graven.cli.rotate import held
from graven.cli.signed import highest_size
from graven.cli.writing import open_writing, recorded
from graven.config import CONFIG_NAME, Config, load_config
from graven.config import read_passphrase as read_configured_passphrase
from graven.core.errors import BadInput
from graven.core.note import format_vkey
from graven.keys import kit
from graven.keys.passphrase import Passphrase, read_passphrase
from graven.keys.rewrap import rewrap
from graven.keys.rotation import token_uri
from graven.keys.signer import LogSigner
from graven.log.acts import KEYS_BACKUP
from graven.runtime.clock import SystemClock

_SEALED = "Move it off this machine, and the passphrase elsewhere."
_PLAIN = "It is NOT sealed: whoever has it can read every event and sign for the log. Move it off this machine."


@click.group("keys")
def command() -> None:
    """Back up, restore and copy the keyring. Losing every copy of it loses the events, not the proofs."""


command.add_command(rotate_command)


@command.command("backup")
@click.argument("kit_file", type=click.Path(path_type=Path), metavar="KIT_FILE")
@dir_option
@path_option("--passphrase-file", "passphrase_file", "Seal the kit with the passphrase in this file (mode 0600).")
@click.option("--no-passphrase", is_flag=True, help="Write the kit unsealed: whoever has the file has the log's keys.")
@json_option
def backup(kit_file: Path, directory: Path, passphrase_file: Path | None, no_passphrase: bool, as_json: bool) -> None:
    """Write a recovery kit: every key the keyring holds now, in one file to keep off this machine.

    It opens the segments begun by now and no later one, so make it anew from time to time; `graven status` says how
    many events no copy but this machine's can open. The log records that it was made. A server may be running.
    """
    if (passphrase_file is not None) is no_passphrase:
        raise BadInput(
            "a kit is sealed by a passphrase, or explicitly not",
            mend="--passphrase-file FILE, with a passphrase kept elsewhere than the kit; or --no-passphrase",
        )
    passphrase = read_passphrase(str(passphrase_file)) if passphrase_file is not None else None
    keyring = open_keyring(directory, load_config(directory / CONFIG_NAME))
    data = kit.backup(keyring, passphrase, made_us=SystemClock().now_us(), plain=no_passphrase)
    write_private(kit_file, data, replace=False)
    label = kit.read_label(data)
    if as_json:
        print_json({"file": str(kit_file), "origin": label.origin, "segments": label.segments, "sealed": label.sealed})
    else:
        print_line(
            f"wrote {shown(kit_file)}: the keys of {shown(label.origin)}, for {counted(label.segments, 'segment')}"
        )
        print_line(_SEALED if label.sealed else _PLAIN)
        if not keyring.signs_elsewhere and (token := token_uri(keyring)) is not None:
            print_line(
                f"The Ed25519 key is not in it, but in its token: {shown(token.place)}. Back that up its own way."
            )
    row = {"segments": label.segments, "newest_segment": label.newest_segment, "sealed": label.sealed}
    with recorded("the kit is written"), open_writing(directory) as log:
        log.record_act(KEYS_BACKUP, row)


@command.command("restore")
@file_argument("kit_file", "KIT_FILE")
@dir_option
@path_option("--passphrase-file", "passphrase_file", "The file with the passphrase of the kit.")
@path_option("--keyring-passphrase-file", "keyring_passphrase_file", "Seal the restored keyring with this passphrase.")
@path_option(
    "--keys", "keys", "Where the keyring goes; without it, where graven.toml says, or DIR.keys.", metavar="DIR"
)
@path_option("--seen", "seen", "The newest checkpoint known outside this machine, as a file.")
@json_option
def restore(
    kit_file: Path,
    directory: Path,
    passphrase_file: Path | None,
    keyring_passphrase_file: Path | None,
    keys: Path | None,
    seen: Path | None,
    as_json: bool,
) -> None:
    """Make the keyring anew from a kit. Nothing that is there is written over.

    What the log signed since the kit was made is not known then, so it reads, and signs nothing until you name the
    newest checkpoint anyone outside has: with --seen, or later with `graven keys seen`.
    """
    config = _config(directory)
    target = keys or keys_dir(directory, config)
    keyring_passphrase = _keyring_passphrase(keyring_passphrase_file, config)
    keyring = kit.restore(
        read_file(kit_file),
        str(target.absolute()),
        passphrase=read_passphrase(str(passphrase_file)) if passphrase_file is not None else None,
        keyring_passphrase=keyring_passphrase,
        replicas=config.keys.replicas if config is not None else (),
        seen=read_file(seen) if seen is not None else None,
    )
    if keyring.signs_elsewhere and as_json:
        print_json({"keys": keyring.directory, "origin": keyring.origin, "signs": False})
        return
    if keyring.signs_elsewhere:
        print_line(f"restored the keys of {shown(keyring.origin)}, but those it signs with: they are with the signer")
        return
    signer = LogSigner(keyring)
    if as_json:
        print_json(
            {
                "keys": keyring.directory,
                "origin": keyring.origin,
                "vkeys": [format_vkey(key) for key in signer.keys],
                "segments": len(keyring.segment_starts()),
                "signs": signer.mark_known,
            }
        )
        return
    print_line(f"restored the keys of {shown(keyring.origin)}, for {counted(len(keyring.segment_starts()), 'segment')}")
    print_fields([("keys", keyring.directory), ("vkey", format_vkey(signer.keys[0]))])
    if not signer.mark_known:
        print_line(
            "What was signed since is not known: the log reads, and signs nothing. Name the newest checkpoint that"
        )
        print_line(f"anyone outside this machine has:  graven keys seen CHECKPOINT_FILE --dir {shown(directory)}")


@command.command("seen")
@file_argument("checkpoint", "CHECKPOINT_FILE")
@dir_option
@json_option
def seen(checkpoint: Path, directory: Path, as_json: bool) -> None:
    """Take CHECKPOINT_FILE, seen outside this machine, for the newest tree this log has signed.

    The log then refuses to sign any smaller tree, or another one of this size.
    """
    signer = LogSigner(open_keyring(directory, load_config(directory / CONFIG_NAME)))
    signer.accept_seen(read_file(checkpoint))
    head = highest_size(signer)
    if as_json:
        print_json({"origin": signer.origin, "highest_size": head})
    else:
        print_line(f"{shown(signer.origin)} signs no tree smaller than {counted(head, 'entry', 'entries')}")


@command.command("replicate")
@click.argument("replica", type=click.Path(path_type=Path), metavar="REPLICA_DIR")
@dir_option
@json_option
def replicate(replica: Path, directory: Path, as_json: bool) -> None:
    """Make REPLICA_DIR, on another disk, a copy of the keyring, or bring it up to date.

    Name it in [keys] replicas of graven.toml, so that from then on every key is durable there before it is used.
    """
    config = load_config(directory / CONFIG_NAME)
    written = open_keyring(directory, config).replicate(str(replica.absolute()))
    named = str(replica.absolute()) in config.keys.replicas
    if as_json:
        print_json({"replica": str(replica.absolute()), "files": written, "configured": named})
        return
    print_line(f"{shown(replica)} is a copy of the keyring: {counted(written, 'file')} written")
    if not named:
        print_line("It is not kept up to date yet: add it to [keys] replicas in graven.toml.")


@command.command("rewrap")
@dir_option
@path_option("--new-passphrase-file", "new_passphrase_file", "Seal the keyring with the passphrase in this file.")
@click.option("--no-passphrase", is_flag=True, help="Leave the keyring unsealed.")
@json_option
def rewrap_command(directory: Path, new_passphrase_file: Path | None, no_passphrase: bool, as_json: bool) -> None:
    """Make a new key-encryption key and wrap every data key under it, in every replica; nothing else is rewritten.

    Without an option the passphrase stays. Stop the server for it. When cut off, call it again with the same options;
    the keyring opens at every step. Kits made before open what they opened: make a new one, destroy the old.
    """
    if new_passphrase_file is not None and no_passphrase:
        raise BadInput("the keyring is sealed or it is not", mend="--new-passphrase-file FILE, or --no-passphrase")
    config = load_config(directory / CONFIG_NAME)
    with held(directory):
        keyring = open_keyring(directory, config)
        passphrase = read_configured_passphrase(config) if keyring.sealed else None
        if new_passphrase_file is not None or no_passphrase:
            passphrase = read_passphrase(str(new_passphrase_file)) if new_passphrase_file is not None else None
        count = rewrap(keyring, passphrase)
    if as_json:
        print_json({"files": count, "sealed": passphrase is not None})
        return
    print_line(f"{counted(count, 'file')} of data keys wrapped under a new key-encryption key")
    if new_passphrase_file is not None:
        print_line(
            "The keyring opens by the new passphrase: let [keys] passphrase_file, or the environment, name its file."
        )
    print_line("Make a new recovery kit now, and destroy the old ones: they open what they opened before.")


def _config(directory: Path) -> Config | None:
    path = directory / CONFIG_NAME
    return load_config(path) if path.exists() else None


def _keyring_passphrase(file: Path | None, config: Config | None) -> Passphrase | None:
    """What seals the restored keyring: the file given, else what the configuration names."""
    if file is not None:
        return read_passphrase(str(file))
    return read_configured_passphrase(config) if config is not None else None
