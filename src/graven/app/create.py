"""`create_log`: a new log, made beside its place and renamed into it whole."""

import os
import shutil
from pathlib import Path

import msgspec

from graven.app.log import LOCAL_SOURCE, Log
from graven.app.pieces import VERSION, class_names, keys_dir
from graven.config import (
    Config,
    config_sha256,
    default_config,
    flatten,
    format_config,
    read_token_access,
)
from graven.core.checkpoint import Checkpoint, SignedCheckpoint, check_origin, parse_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.merkle import EMPTY_ROOT
from graven.core.note import format_vkey, parse_note
from graven.core.spelling import encode_base64
from graven.journal.files import Files, LocalFiles, make_dirs, write_atomic
from graven.journal.frame import SegmentHeader
from graven.journal.segment import SegmentWriter
from graven.keys.keyring import Keyring
from graven.keys.passphrase import Passphrase
from graven.keys.signer import LogSigner
from graven.keys.token_key import token_line
from graven.keys.token_uri import TokenUri
from graven.log import acts
from graven.log.history import CheckpointHistory
from graven.log.registers import Source
from graven.runtime.clock import Clock, SystemClock
from graven.runtime.terminal import escape_for_terminal


def create_log(
    directory: Path,
    *,
    origin: str | None = None,
    passphrase: Passphrase | None = None,
    passphrase_file: str | None = None,
    successor_of: bytes | None = None,
    keyring_dir: Path | None = None,
    config: Config | None = None,
    token: TokenUri | None = None,
    make_key: bool = False,
    clock: Clock | None = None,
    files: Files | None = None,
) -> SignedCheckpoint:
    """Make a new log with its keyring, its first event and its first published checkpoint.

    Both directories are built under other names and renamed at the end, so an interrupted call leaves nothing that
    looks like a log. `successor_of` is the last checkpoint of the log this one goes on from; the first event pins it.
    `token` says in which token the Ed25519 key is, or with `make_key` is made: that one stays there in any case.

    Raises:
        BadInput: the directory holds something, the origin is not allowed, a keyring is there already, or the token
            does not let us in. Busy: it does not answer. Broken: the disk failed; at most the finished keyring is left.
    """
    files, clock = files or LocalFiles(), clock or SystemClock()
    origin = check_origin(origin) if origin is not None else f"graven.invalid/{os.urandom(16).hex()}"
    if escape_for_terminal(origin) != origin:  # such a name could pass for another; only the format allows it
        place = escape_for_terminal(origin)
        raise BadInput("an origin with invisible characters", place=place, mend="use plain letters")
    directory = directory.absolute()
    keyring_path = keyring_dir or keys_dir(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput("something is there already", place=str(directory), mend="choose an empty or new directory")
    if keyring_path.exists():
        raise BadInput(
            "a keyring is there already", place=str(keyring_path), mend="choose another DIR, or move it away"
        )
    access = read_token_access(config)
    line = None if token is None else token_line(token, origin, access, make=make_key)
    try:
        make_dirs(files, str(directory.parent))
    except OSError as error:
        raise Broken("the log could not be made", place=f"{directory.parent}: {error.strerror}") from None
    unfinished = f".{os.urandom(4).hex()}.new"  # nobody else's name: what is there is never removed
    building, building_keys = (path.with_name(path.name + unfinished) for path in (directory, keyring_path))
    try:
        keyring = Keyring.create(
            str(building_keys), origin=origin, passphrase=passphrase, files=files, log_ed25519=line, access=access
        )
        signer = LogSigner(keyring)
        log_id = os.urandom(16)
        base = config or default_config(origin=origin, log_id=log_id.hex(), vkeys=[format_vkey(k) for k in signer.keys])
        settings = msgspec.structs.replace(
            base,
            origin=origin,
            log_id=log_id.hex(),
            vkeys=tuple(format_vkey(key) for key in signer.keys),
            keys=msgspec.structs.replace(
                base.keys,
                dir=str(keyring_dir.absolute()) if keyring_dir else base.keys.dir,
                passphrase_file=passphrase_file or base.keys.passphrase_file,
            ),
        )
        _lay_out(building, settings, keyring, signer, log_id, clock, files)
        with Log._assemble(building, settings, keyring, clock=clock, files=files) as log:
            log.append_act(acts.GENESIS, _genesis(log, settings, successor_of))
            if successor_of is not None:
                size = _successor(successor_of)["size"]
                CheckpointHistory(files, building / "checkpoints").keep_predecessor(int(str(size)), successor_of)
            published = log.publish()
        files.rename(str(building_keys), str(keyring_path))
        files.sync_dir(str(keyring_path.parent))
        files.rename(str(building), str(directory))
        files.sync_dir(str(directory.parent))
    except BaseException as error:
        for leftover in (building, building_keys):
            shutil.rmtree(leftover, ignore_errors=True)
        if isinstance(error, OSError):
            place = f"{error.filename or directory}: {error.strerror}"
            raise Broken("the log could not be made", place=place) from None
        raise
    return published


def _lay_out(
    directory: Path, config: Config, keyring: Keyring, signer: LogSigner, log_id: bytes, clock: Clock, files: Files
) -> None:
    """An empty log on disk: directories, configuration, the checkpoint of the empty tree, the first segment."""
    files.mkdir(str(directory))
    for name in ("journal", "log", "checkpoints", "state"):
        files.mkdir(str(directory / name))
    write_atomic(files, str(directory / "graven.toml"), format_config(config).encode())
    now_us = clock.now_us()
    note = signer.sign_checkpoint(Checkpoint(signer.origin, 0, EMPTY_ROOT), now_us // 1_000_000)
    write_atomic(files, str(directory / "log" / "checkpoint"), note)
    keys = keyring.new_data_keys(0, class_names(config))
    numbers = {"event": 1, "raw": 2}
    header = SegmentHeader(
        signer.origin, log_id, 0, 0, now_us, EMPTY_ROOT, (),
        tuple((name, numbers[kind], key_id) for (name, kind), (key_id, _) in keys.items()),
    )  # fmt: skip
    SegmentWriter.create(files, str(directory / "journal"), header).close()


def _genesis(log: Log, config: Config, successor_of: bytes | None) -> dict[str, object]:
    data: dict[str, object] = {
        "origin": config.origin,
        "log_id": config.log_id,
        "vkeys": list(config.vkeys),
        "receipt_vkey": format_vkey(log.writer.state.receipts.key),
        "version": VERSION,
        "config_sha256": config_sha256(config),
        "config": flatten(config),
        "sources": [msgspec.to_builtins(Source(1, LOCAL_SOURCE, type="command line", grade="authenticated sender"))],
    }
    if successor_of is not None:
        data["successor_of"] = _successor(successor_of)
    return data


def _successor(note: bytes) -> dict[str, object]:
    checkpoint, _ = parse_checkpoint(parse_note(note).text)
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": encode_base64(checkpoint.root),
        "checkpoint": note.decode(),
    }
