"""Moving a log's signing keys out of its keyring, into one of their own for `graven signer`.

    the signer's keyring made, whole and durable: signing keys, mark, hand-overs; a key-encryption key of its own, no
    data key → `signer` in the log's keyring says that its keys are elsewhere → they are removed, the bytes overwritten

The receipt key stays with the server, which signs a receipt a commit; the signer certifies it. A call that was cut off
is made again.
"""

import os
from pathlib import Path

from graven.core.errors import BadInput
from graven.keys.copies import install
from graven.keys.datakey import KEY_BYTES
from graven.keys.keyring import Keyring
from graven.keys.passphrase import SCRYPT_N, Passphrase
from graven.keys.rewrap import require_no_rewrap
from graven.keys.rootkeys import (
    HIGHEST_FILE,
    KEY_FILES,
    RECEIPT_FILE,
    ROTATION_FILE,
    SIGNER_FILE,
    RootKeys,
    format_root_keys,
    signed_elsewhere,
)
from graven.keys.rotation import Rotation, format_rotation, read_rotation
from graven.keys.signer import LogSigner
from graven.runtime.files import Files, LocalFiles


def split(
    keyring: Keyring, target: Path, passphrase: Passphrase | None, *, files: Files | None = None,
    scrypt_n: int = SCRYPT_N,
) -> None:  # fmt: skip
    """Move the signing keys of `keyring` into a new keyring at `target`, sealed under `passphrase` if there is one.

    The caller holds the log's lock. Raises BadInput: something else is at `target`, or a re-wrapping waits. Busy,
    Broken.
    """
    require_no_rewrap(keyring)
    if not keyring.signs_elsewhere:
        before = LogSigner(keyring)
        highest = before.highest()
        if highest is None:
            raise BadInput("what this log signed is not known", mend="graven keys seen CHECKPOINT_FILE --dir DIR")
        if target.exists():
            _check_same(keyring, target, passphrase, highest)
        else:
            _make(keyring, target, passphrase, highest, LocalFiles() if files is None else files, scrypt_n)
        with keyring.locked():
            keyring.write_file(SIGNER_FILE, signed_elsewhere(keyring.origin))
    with keyring.locked():
        for name in (*(file for file in KEY_FILES if file != RECEIPT_FILE), HIGHEST_FILE, ROTATION_FILE):
            keyring.remove_file(name)


def _make(
    keyring: Keyring, target: Path, passphrase: Passphrase | None, highest: bytes, files: Files, scrypt_n: int
) -> None:
    root = keyring.root_keys()
    signing = {file: line for file, line in root.signing.items() if file != RECEIPT_FILE}
    keys = RootKeys(root.origin, os.urandom(KEY_BYTES), os.urandom(KEY_BYTES), signing)
    contents = format_root_keys(keys, passphrase, scrypt_n=scrypt_n)
    contents[HIGHEST_FILE] = highest
    if (rotation := read_rotation(keyring)) != Rotation():
        contents[ROTATION_FILE] = format_rotation(rotation, keyring.origin)
    install(files, str(target), contents)


def _check_same(keyring: Keyring, target: Path, passphrase: Passphrase | None, highest: bytes) -> None:
    """A call before this one was cut off when the signer's keyring was made: it must be of these keys."""
    there = LogSigner(Keyring.open(str(target), passphrase=passphrase))
    if there.tenures != LogSigner(keyring).tenures:
        raise BadInput("another keyring is there already", place=str(target), mend="choose another directory")
    there.accept_seen(highest)
