"""`graven restore`: bring a copy back as a log; and heal it, where a newer tree was signed than the copy holds."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
import tomlkit

from graven.app import Log, keys_dir, open_store, public_keys
from graven.cli.files import read_file
from graven.cli.healing import Seen, discard, gather_seen, heal_directory, open_mirror
from graven.cli.options import LOCK_WAIT_S, json_option, path_option
from graven.cli.output import counted, print_fields, print_json, print_line, shown
from graven.cli.progress import progress
from graven.cli.signed import highest_size
from graven.config import CONFIG_NAME, Config, default_config, load_config, read_passphrase
from graven.core.errors import BadInput, Broken, Disproved
from graven.journal.files import LocalFiles, write_atomic
from graven.keys import kit
from graven.keys.keyring import Keyring
from graven.keys.passphrase import read_passphrase as read_passphrase_file
from graven.keys.remote import RemoteSigner, socket_path
from graven.keys.signer import LogSigner, Signer
from graven.log.backup import bytes_to_copy, copy_log
from graven.log.heal import Healed
from graven.runtime.site import Site
from graven.worm.rebuild import rebuild


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
    asked = _Asked(directory.absolute(), mirrors, kit_file, passphrase_file, seen, signer, as_json)
    if url is not None:
        _restore_healed(asked, _StoreCopy(url, asked, keys))
        return
    assert source is not None
    config = load_config(source / CONFIG_NAME)
    place = keys.absolute() if keys is not None else keys_dir(directory, config)
    told = {} if keys is None else {"dir": str(place)}
    told |= {} if signer is None else {"signer": signer}
    text = _with_keys((source / CONFIG_NAME).read_bytes(), told) if told else None
    if mirrors:
        _restore_healed(asked, _Backup(source, config, place, text, as_json))
        return
    if kit_file is not None or seen is not None or passphrase_file is not None or signer is not None:
        raise BadInput(
            "a log is healed with a mirror", mend="--mirror URL|DIR; or graven keys restore KIT_FILE --seen FILE"
        )
    _restore_as_it_was(source, directory, config, place, text, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options say. `directory` is absolute."""

    directory: Path
    mirrors: tuple[str, ...]
    kit_file: Path | None
    passphrase_file: Path | None
    seen: Path | None
    signer: str | None
    as_json: bool


class _Copy(Protocol):
    """What a log is rebuilt from. `place`: where its keyring is, or goes."""

    @property
    def place(self) -> Path: ...

    @property
    def settings(self) -> Config:
        """The configuration, as far as it is known before the log is rebuilt."""

    def build(self, building: Path, signer: Signer, *, unpublished: bool) -> Config:
        """Rebuild the log in `building`; its configuration. Raises BadInput, Disproved, Broken."""


@dataclass(frozen=True, slots=True)
class _Backup:
    """A directory that `graven backup` made."""

    source: Path
    settings: Config
    place: Path
    text: bytes | None
    as_json: bool

    def build(self, building: Path, signer: Signer, *, unpublished: bool) -> Config:
        with progress("copying", bytes_to_copy(self.source), quiet=self.as_json) as advance:
            copy_log(self.source, building, public_keys(self.settings), config=self.text, progress=advance)
        return load_config(building / CONFIG_NAME)


class _StoreCopy:
    """A write-once copy. What is in it is believed by the keys of the keyring, or of the kit."""

    def __init__(self, url: str, asked: _Asked, keys: Path | None) -> None:
        self._store, self._named = open_store(url), keys is not None
        self._signer = asked.signer
        self.place = keys.absolute() if keys is not None else keys_dir(asked.directory)
        self.settings = default_config(origin="unknown.invalid", log_id="0" * 32, vkeys=())

    def build(self, building: Path, signer: Signer, *, unpublished: bool) -> Config:
        rebuild(self._store, building, signer.tenures.keys, unpublished=unpublished)
        path = building / CONFIG_NAME
        write_atomic(LocalFiles(), str(path), self._at_home(path.read_bytes()))
        return load_config(path)

    def _at_home(self, text: bytes) -> bytes:
        """The configuration as it must be on this host: where the keyring is, and no replica that is not there."""
        document = tomlkit.parse(text.decode())
        table = document.setdefault("keys", tomlkit.table())
        table.pop("dir", None)
        if self._named:
            table["dir"] = str(self.place)
        if self._signer is not None:
            table["signer"] = self._signer
        replicas = [one for one in table.get("replicas", ()) if Path(str(one)).is_dir()]
        if "replicas" in table:
            table["replicas"] = replicas
        return tomlkit.dumps(document).encode()


def _restore_as_it_was(
    source: Path, directory: Path, config: Config, place: Path, text: bytes | None, *, as_json: bool
) -> None:
    highest = _check_keyring(place, config)
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


def _restore_healed(asked: _Asked, copy: _Copy) -> None:
    sites = [(name, open_mirror(name)) for name in asked.mirrors]
    seen = read_file(asked.seen) if asked.seen is not None else None
    if not copy.place.exists() and asked.kit_file is None:
        raise BadInput("there is no keyring to go on with", place=str(copy.place), mend="--kit FILE, or --keys DIR")
    target = asked.directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput("something is there already", place=str(target), mend="choose an empty or new directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy.place.exists():
        _restore_keyring(asked, copy)
    building = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        try:
            config, checkpoints, healed = _build(building, copy, sites, seen, asked, unpublished=True)
        except Disproved:  # frames behind the signed tree are vouched for by nobody: without them, then
            discard(building)
            config, checkpoints, healed = _build(building, copy, sites, seen, asked, unpublished=False)
        if target.exists():
            target.rmdir()
        files = LocalFiles()
        files.rename(str(building), str(target))
        files.sync_dir(str(target.parent))
    except OSError as error:
        discard(building)
        raise Broken("the log cannot be restored", place=f"{error.filename or target}: {error.strerror}") from None
    except BaseException:
        discard(building)
        raise
    with Log.open(target, lock_wait_s=LOCK_WAIT_S) as log:  # its first event says what was lost
        published = log.publish().checkpoint
        tokens = sum(not token.revoked for token in log.registers.tokens.values())
    _print_healed(target, config, copy.place, checkpoints[-1], healed, published.size, tokens, as_json=asked.as_json)


def _restore_keyring(asked: _Asked, copy: _Copy) -> None:
    """From the kit, with no mark: it signs nothing before the newest checkpoint is known."""
    assert asked.kit_file is not None
    secret = read_passphrase_file(str(asked.passphrase_file)) if asked.passphrase_file is not None else None
    kit.restore(
        read_file(asked.kit_file), str(copy.place), passphrase=secret,
        keyring_passphrase=read_passphrase(copy.settings), replicas=copy.settings.keys.replicas,
    )  # fmt: skip


def _build(
    building: Path, copy: _Copy, sites: list[tuple[str, Site]], seen: bytes | None, asked: _Asked, *, unpublished: bool
) -> tuple[Config, list[Seen], Healed]:
    signer = _open_at(copy.place, copy.settings, asked.signer)
    config = copy.build(building, signer, unpublished=unpublished)
    _check_keys(signer, copy.place, config)
    mark = signer.highest() if signer.mark_known else None
    checkpoints = gather_seen(building, signer.tenures, sites, seen, mark)
    keyring = Keyring.open(str(copy.place), passphrase=read_passphrase(config), replicas=config.keys.replicas)
    with progress("healing", checkpoints[-1].signed.checkpoint.size * 66, quiet=asked.as_json) as advance:
        return config, checkpoints, heal_directory(building, config, keyring, signer, checkpoints, sites, advance)


def _print_healed(
    directory: Path, config: Config, place: Path, newest: Seen, healed: Healed, size: int, tokens: int, *,
    as_json: bool,
) -> None:  # fmt: skip
    lost = healed.end - healed.start
    if as_json:
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


def _open_at(place: Path, config: Config, signer: str | None) -> Signer:
    """What signs: the keyring's keys, or the signer that has them. Raises BadInput, Busy."""
    keyring = Keyring.open(str(place), passphrase=read_passphrase(config), replicas=config.keys.replicas)
    if not keyring.signs_elsewhere:
        return LogSigner(keyring)
    uri = signer or config.keys.signer
    if uri is None:
        raise BadInput(
            "the signing keys are with a signer, and it is not said where that is", place=str(place),
            mend="--signer unix:/run/…/NAME.sock, where `graven signer serve` listens",
        )  # fmt: skip
    return RemoteSigner(socket_path(uri), keyring.origin)


def _check_keyring(place: Path, config: Config) -> int | None:
    """The largest size the keyring has signed; None when there is no keyring, or that is not known.

    Raises BadInput when it is another log's.
    """
    if not place.exists():
        return None
    keyring = Keyring.open(str(place), passphrase=read_passphrase(config), replicas=config.keys.replicas)
    if keyring.signs_elsewhere:
        return None
    signer = LogSigner(keyring)
    _check_keys(signer, place, config)
    return highest_size(signer) if signer.mark_known else None


def _check_keys(signer: Signer, place: Path, config: Config) -> None:
    """Raises BadInput when the keys are of another log than the configuration."""
    if signer.origin != config.origin or not set(public_keys(config)) <= set(signer.tenures.every):
        raise BadInput(
            f"the keyring is of another log: {signer.origin!r}, the copy of {config.origin!r}",
            place=str(place),
            mend="choose another DIR, or name this log's keyring with --keys",
        )


def _with_keys(text: bytes, told: Mapping[str, str]) -> bytes:
    """A configuration with these values in `[keys]`, and the rest of it as it is."""
    document = tomlkit.parse(text.decode())
    document.setdefault("keys", tomlkit.table()).update(told)
    return tomlkit.dumps(document).encode()
