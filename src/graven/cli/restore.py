"""`graven restore`: bring a copy back as a log; and heal it, where a newer tree was signed than the copy holds."""

from collections.abc import Mapping
from pathlib import Path

import click
import tomlkit

from graven.app import keys_dir, public_keys
from graven.cli.options import json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.progress import progress
from graven.cli.restoring import Asked, Backup, Copy, StoreCopy, check_keyring, restore_healed
from graven.config import CONFIG_NAME, Config, load_config
from graven.core.errors import BadInput
from graven.log.backup import bytes_to_copy, copy_log


@click.command("restore")
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[SRC]")
@click.option(
    "--from", "url", metavar="STORE",
    help="A write-once copy instead of SRC: s3://BUCKET/PREFIX or file:///PATH.",
)  # fmt: skip
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="Where the log goes: an empty or new directory.",
)  # fmt: skip
@path_option("--keys", "keys", "Where its keyring is; without it, where graven.toml says, or DIR.keys.", metavar="DIR")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL|DIR",
    help="Heal with what this mirror or auditor has; may be given again.",
)  # fmt: skip
@path_option("--kit", "kit_file", "A recovery kit, where the keyring is gone, too. With --mirror or --from.")
@path_option("--passphrase-file", "passphrase_file", "The file with the passphrase of the kit.")
@path_option("--seen", "seen", "The newest checkpoint known, where no mirror shows it. With --mirror or --from.")
@click.option(
    "--signer", "signer", metavar="unix:PATH",
    help="The socket of the signer that has the keys; without it, as graven.toml says. With --mirror or --from.",
)  # fmt: skip
@json_option
def command(
    source: Path | None, url: str | None, directory: Path, keys: Path | None, mirrors: tuple[str, ...],
    kit_file: Path | None, passphrase_file: Path | None, seen: Path | None, signer: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Copy SRC, made by `graven backup`, to DIR, and see whether the keyring beside it is this log's.

    A copy that is older than what the log has signed since reads, and refuses to write: going on from it would fork the
    log. With --mirror it is healed: the entries it lacks are fetched, proved against the newest checkpoint known, and
    put back as lost; the log goes on in the same tree, and its next event names the indexes that were lost. So it is
    with --from, a write-once copy. Where nobody has the entries, its way on is a successor: graven init NEW_DIR
    --successor-of CHECKPOINT_FILE.
    """
    if (source is None) is (url is None):
        raise BadInput("restore needs one copy", mend="SRC, a backup; or --from s3://BUCKET/PREFIX")
    asked = Asked(directory.absolute(), mirrors, kit_file, passphrase_file, seen, signer, as_json)
    if url is not None:
        _heal(asked, StoreCopy(url, asked, keys))
        return
    assert source is not None
    config = load_config(source / CONFIG_NAME)
    place = keys.absolute() if keys is not None else keys_dir(directory, config)
    told = {} if keys is None else {"dir": str(place)}
    told |= {} if signer is None else {"signer": signer}
    text = _with_keys((source / CONFIG_NAME).read_bytes(), told) if told else None
    if mirrors:
        _heal(asked, Backup(source, config, place, text, as_json))
        return
    if kit_file is not None or seen is not None or passphrase_file is not None or signer is not None:
        raise BadInput(
            "a log is healed with a mirror", mend="--mirror URL|DIR; or graven keys restore KIT_FILE --seen FILE"
        )
    _restore_as_it_was(source, directory, config, place, text, as_json=as_json)


def _restore_as_it_was(
    source: Path, directory: Path, config: Config, place: Path, text: bytes | None, *, as_json: bool
) -> None:
    highest = check_keyring(place, config)
    with progress("copying", bytes_to_copy(source), quiet=as_json) as advance:
        copied = copy_log(source, directory, public_keys(config), config=text, progress=advance)
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
        print_line("Bring back a newer copy, or heal this one with the entries that a mirror or an auditor has:")
        print_line(f"  graven restore {shown(source)} --dir NEW_DIR --keys {shown(place)} --mirror URL")
        print_line("Where nobody has them, go on in a successor:")
        print_line(f"  graven init NEW_DIR --successor-of {shown(directory / 'log' / 'checkpoint')}")


def _heal(asked: Asked, copy: Copy) -> None:
    done = restore_healed(asked, copy)
    directory, place, config = asked.directory, copy.place, done.config
    newest, healed, size, tokens = done.newest, done.healed, done.size, done.tokens
    lost = healed.end - healed.start
    if asked.as_json:
        print_json(
            {
                "dir": str(directory.absolute()), "origin": config.origin, "size": size, "published": {"size": size},
                "keys": str(place), "newest": {"size": newest.signed.checkpoint.size, "where": newest.where},
                "lost": [[healed.start, healed.end]] if lost else [], "lost_count": lost, "tokens_in_force": tokens,
                "writable": True,
            }
        )  # fmt: skip
        return
    print_line(f"restored {shown(config.origin)} to {shown(directory)}, and healed it")
    print_fields(
        [
            ("newest", f"{counted(newest.signed.checkpoint.size, 'entry', 'entries')}, as {newest.where} showed"),
            ("lost", f"{counted(lost, 'event')}: [{healed.start}, {healed.end})" if lost else "nothing"),
            ("goes on at", size),
            ("keys", place),
        ]
    )
    if lost:
        print_line(f"The event at index {healed.end} names what was lost. The entries stand in the tree, so every")
        print_line("proof holds; what they said is gone. Whoever still has those events can send them again.")
    if tokens:
        print_line(f"{counted(tokens, 'token')} in force as of the copy: one that was revoked since is in force again.")
        print_line(f"  graven token list --dir {shown(directory)}")


def _with_keys(text: bytes, told: Mapping[str, str]) -> bytes:
    """A configuration with these values in `[keys]`, and the rest of it as it is."""
    document = tomlkit.parse(text.decode())
    document.setdefault("keys", tomlkit.table()).update(told)
    return tomlkit.dumps(document).encode()
