"""Restoring a log, healed: a copy built anew beside the place it goes to, verified, renamed, and opened once.

    keyring, or from a kit → the copy, under a name that ends in `.new` → the newest checkpoint known, told to
    the signer → healed up to that, the whole verified → renamed → opened: its next event says what was lost → published

A crash leaves a keyring, a directory that ends in `.new`, or the log, which says what was lost at its next start. The
call is made again, or the log started; neither signs anything that does not grow from the newest checkpoint known.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tomlkit

from graven.app import Log, keys_dir, open_store, public_keys
from graven.cli.files import read_file
from graven.cli.healing import Seen, discard, gather_seen, heal_directory, open_mirror
from graven.cli.options import LOCK_WAIT_S
from graven.cli.progress import progress
from graven.cli.signed import highest_size
from graven.config import CONFIG_NAME, Config, default_config, load_config, read_passphrase
from graven.core.errors import BadInput, Broken, Disproved
from graven.journal.files import Files, LocalFiles, make_dirs, write_atomic
from graven.keys import kit
from graven.keys.keyring import Keyring
from graven.keys.passphrase import read_passphrase as read_passphrase_file
from graven.keys.remote import RemoteSigner, socket_path
from graven.keys.signer import LogSigner, Signer
from graven.log.backup import bytes_to_copy, copy_log
from graven.log.heal import Healed
from graven.runtime.site import Site
from graven.worm.rebuild import rebuild


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say. `directory` is absolute."""

    directory: Path
    mirrors: tuple[str, ...]
    kit_file: Path | None
    passphrase_file: Path | None
    seen: Path | None
    signer: str | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. `size` is published; `tokens` are in force, as of the copy."""

    config: Config
    newest: Seen
    healed: Healed
    size: int
    tokens: int


class Copy(Protocol):
    """What a log is rebuilt from. `place`: where its keyring is, or goes."""

    @property
    def place(self) -> Path: ...

    @property
    def settings(self) -> Config:
        """The configuration, as far as it is known before the log is rebuilt."""

    def build(self, building: Path, signer: Signer, *, unpublished: bool, files: Files) -> Config:
        """Rebuild the log in `building`; its configuration. Raises BadInput, Disproved, Broken."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A directory that `graven backup` made."""

    source: Path
    settings: Config
    place: Path
    text: bytes | None
    as_json: bool

    def build(self, building: Path, signer: Signer, *, unpublished: bool, files: Files) -> Config:
        with progress("copying", bytes_to_copy(self.source), quiet=self.as_json) as advance:
            keys = public_keys(self.settings)
            copy_log(self.source, building, keys, config=self.text, files=files, progress=advance)
        return load_config(building / CONFIG_NAME)


class StoreCopy:
    """A write-once copy. What is in it is believed by the keys of the keyring, or of the kit."""

    def __init__(self, url: str, asked: Asked, keys: Path | None) -> None:
        self._store, self._named = open_store(url), keys is not None
        self._signer = asked.signer
        self.place = keys.absolute() if keys is not None else keys_dir(asked.directory)
        self.settings = default_config(origin="unknown.invalid", log_id="0" * 32, vkeys=())

    def build(self, building: Path, signer: Signer, *, unpublished: bool, files: Files) -> Config:
        rebuild(self._store, building, signer.tenures.keys, files=files, unpublished=unpublished)
        path = building / CONFIG_NAME
        write_atomic(files, str(path), self._at_home(path.read_bytes()))
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


def restore_healed(asked: Asked, copy: Copy, files: Files | None = None) -> Restored:
    """Restore a copy and heal it. `asked.directory` must be empty or not be there.

    Raises BadInput: something is in the way or missing. Disproved: what was brought is not of one history of this log.
    Broken: nobody has, or says, what is needed; or a disk failed. Then nothing is left but a keyring from a kit.
    """
    files = files or LocalFiles()
    sites = [(name, open_mirror(name)) for name in asked.mirrors]
    seen = read_file(asked.seen) if asked.seen is not None else None
    if not copy.place.exists() and asked.kit_file is None:
        raise BadInput("there is no keyring to go on with", place=str(copy.place), mend="--kit FILE, or --keys DIR")
    target = asked.directory
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput("something is there already", place=str(target), mend="choose an empty or new directory; "
                       "a log that a restore before this one left there is whole: start it")  # fmt: skip
    building = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        make_dirs(files, str(target.parent))
        if not copy.place.exists():
            _restore_keyring(asked, copy, files)
        try:
            config, checkpoints, healed = _build(building, copy, sites, seen, asked, files, unpublished=True)
        except Disproved:  # frames behind the signed tree are vouched for by nobody: without them, then
            discard(building)
            config, checkpoints, healed = _build(building, copy, sites, seen, asked, files, unpublished=False)
        if target.exists():
            target.rmdir()
        files.rename(str(building), str(target))
        files.sync_dir(str(target.parent))
    except OSError as error:
        discard(building)
        raise Broken("the log cannot be restored", place=f"{error.filename or target}: {error.strerror}") from None
    except BaseException:
        discard(building)
        raise
    with Log.open(target, lock_wait_s=LOCK_WAIT_S, files=files) as log:  # its first event says what was lost
        published = log.publish().checkpoint
        tokens = sum(not token.revoked for token in log.registers.tokens.values())
    return Restored(config, checkpoints[-1], healed, published.size, tokens)


def _restore_keyring(asked: Asked, copy: Copy, files: Files) -> None:
    """From the kit, with no mark: it signs nothing before the newest checkpoint is known."""
    assert asked.kit_file is not None
    secret = read_passphrase_file(str(asked.passphrase_file)) if asked.passphrase_file is not None else None
    kit.restore(
        read_file(asked.kit_file), str(copy.place), passphrase=secret,
        keyring_passphrase=read_passphrase(copy.settings), replicas=copy.settings.keys.replicas,
        files=files,
    )  # fmt: skip


def _build(
    building: Path,
    copy: Copy,
    sites: list[tuple[str, Site]],
    seen: bytes | None,
    asked: Asked,
    files: Files,
    *,
    unpublished: bool,
) -> tuple[Config, list[Seen], Healed]:
    signer = _open_at(copy.place, copy.settings, asked.signer, files)
    config = copy.build(building, signer, unpublished=unpublished, files=files)
    _check_keys(signer, copy.place, config)
    mark = signer.highest() if signer.mark_known else None
    checkpoints = gather_seen(building, signer.tenures, sites, seen, mark)
    keyring = _open_keyring(copy.place, config, files)
    with progress("healing", checkpoints[-1].signed.checkpoint.size * 66, quiet=asked.as_json) as advance:
        healed = heal_directory(building, config, keyring, signer, checkpoints, sites, files, advance)
    return config, checkpoints, healed


def _open_at(place: Path, config: Config, signer: str | None, files: Files) -> Signer:
    """What signs: the keyring's keys, or the signer that has them. Raises BadInput, Busy."""
    keyring = _open_keyring(place, config, files)
    if not keyring.signs_elsewhere:
        return LogSigner(keyring)
    uri = signer or config.keys.signer
    if uri is None:
        raise BadInput(
            "the signing keys are with a signer, and it is not said where that is", place=str(place),
            mend="--signer unix:/run/…/NAME.sock, where `graven signer serve` listens",
        )  # fmt: skip
    return RemoteSigner(socket_path(uri), keyring.origin)


def check_keyring(place: Path, config: Config) -> int | None:
    """The largest size the keyring has signed; None when there is no keyring, or that is not known.

    Raises BadInput when it is another log's.
    """
    if not place.exists():
        return None
    keyring = _open_keyring(place, config, LocalFiles())
    if keyring.signs_elsewhere:
        return None
    signer = LogSigner(keyring)
    _check_keys(signer, place, config)
    return highest_size(signer) if signer.mark_known else None


def _open_keyring(place: Path, config: Config, files: Files) -> Keyring:
    return Keyring.open(str(place), passphrase=read_passphrase(config), replicas=config.keys.replicas, files=files)


def _check_keys(signer: Signer, place: Path, config: Config) -> None:
    """Raises BadInput when the keys are of another log than the configuration."""
    if signer.origin != config.origin or not set(public_keys(config)) <= set(signer.tenures.every):
        raise BadInput(
            f"the keyring is of another log: {signer.origin!r}, the copy of {config.origin!r}",
            place=str(place),
            mend="choose another DIR, or name this log's keyring with --keys",
        )
