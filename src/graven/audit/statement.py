"""What an auditor checked, in a note signed by the auditor's own key (Ed25519, type 0x01), at most once a day.

    graven-audit-statement/v1
    <origin>
    <size>
    <base64 root>
    time <RFC 3339, UTC>
    checked <what>                    one a line
    found <what is wrong>             one a line; none when nothing is

    DIR/statements/<day>.statement          the first round of a day (UTC) in which nothing was wrong
    DIR/statements/<day>-alarm.statement    the first round of a day in which something was

The key signs nothing else, and never a checkpoint: its name must not be the origin of a log.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from graven.audit.follow import Round
from graven.core.checkpoint import Checkpoint, check_origin, format_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.note import (
    ED25519,
    SEED_BYTES,
    Key,
    Note,
    SecretKey,
    format_note,
    format_skey,
    make_signature,
    parse_skey,
)
from graven.runtime.files import LocalFiles, make_dir, write_atomic
from graven.runtime.terminal import escape_for_terminal

FIRST_LINE = "graven-audit-statement/v1"


class StatementKey:
    """The auditor's signing key."""

    def __init__(self, path: Path) -> None:
        """Read a key that `make_key` wrote. Raises BadInput."""
        try:
            secret = parse_skey(path.read_text(encoding="utf-8").removesuffix("\n"))
            self._private = Ed25519PrivateKey.from_private_bytes(secret.seed)
            self.key = Key(secret.name, ED25519, self._private.public_key().public_bytes_raw())
        except (OSError, ValueError, BadInput):
            raise _no_key(path) from None
        if secret.type != ED25519 or self.key.id != secret.id:
            raise _no_key(path)

    def sign(self, text: str) -> bytes:
        """The note of `text`."""
        return format_note(Note(text, (make_signature(self.key, self._private.sign(text.encode())),)))


def make_key(path: Path, name: str) -> Key:
    """Write a new key called `name` to `path`, mode 0600; its public key. Raises BadInput: the name, or the file."""
    check_origin(name)
    seed = os.urandom(SEED_BYTES)
    key = Key(name, ED25519, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    try:
        file = LocalFiles().create(str(path))
        try:
            file.write_at(0, (format_skey(SecretKey(name, ED25519, seed, key.id)) + "\n").encode())
            file.sync()
        finally:
            file.close()
        LocalFiles().sync_dir(str(path.absolute().parent))
    except OSError as error:
        raise BadInput(f"the key cannot be written: {error.strerror}", place=str(path), mend="a new file") from None
    return key


def format_statement(found: Round) -> str:
    """The text to sign. Raises BadInput when the round has nothing to speak of: no checkpoint was ever good."""
    if found.signed is None:
        raise BadInput("a statement about a log of which no checkpoint was good")
    at = datetime.fromtimestamp(found.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"time {at}", *(f"checked {escape_for_terminal(one)}" for one in found.checked)]
    if found.peers_agreed:
        lines.append(f"checked {found.peers_agreed} peers see the same log")
    lines += [f"found {escape_for_terminal(str(one))}" for one in found.problems]
    head = format_checkpoint(Checkpoint(found.origin, found.size, found.root))
    return f"{FIRST_LINE}\n{head}" + "".join(f"{line}\n" for line in lines)


def state_daily(directory: Path, key: StatementKey, found: Round) -> Path | None:
    """Write the statement of the day, durably, if it is not there yet; its path. Raises Broken, and BadInput when the
    key has the log's name.
    """
    if found.signed is None:
        return None
    if key.key.name == found.origin:
        raise BadInput("the statement key has the name of the log", mend="make one with a name of your own")
    day = datetime.fromtimestamp(found.at_s, UTC).strftime("%Y-%m-%d")
    path = directory / "statements" / f"{day}{'-alarm' if found.problems else ''}.statement"
    if path.exists():
        return None
    try:
        make_dir(LocalFiles(), str(path.parent))
        write_atomic(LocalFiles(), str(path), key.sign(format_statement(found)))
    except OSError as error:
        raise Broken(f"the statement cannot be written: {error.strerror}", place=str(path)) from error
    return path


def _no_key(path: Path) -> BadInput:
    return BadInput("this is no statement key", place=str(path), mend="graven audit init-key FILE --name NAME")
