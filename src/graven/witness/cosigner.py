"""The keys of a witness, and cosigning with them: C2SP tlog-cosignature.

    DIR/witness.ed25519   `PRIVATE+KEY+…` and a newline, type 0x04
    DIR/witness.mldsa44   the same, type 0x06

Both bear the witness's name and lie in files of mode 0600. They sign nothing but checkpoints, each with a time.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from graven.core.checkpoint import check_origin, message_to_sign
from graven.core.errors import BadInput, Broken
from graven.core.note import (
    COSIG_ED25519,
    COSIG_MLDSA44,
    SEED_BYTES,
    Key,
    SecretKey,
    Signature,
    format_skey,
    make_signature,
    parse_skey,
)
from graven.runtime.files import Files, write_atomic

KEY_FILES = {"witness.ed25519": COSIG_ED25519, "witness.mldsa44": COSIG_MLDSA44}


@dataclass(frozen=True, slots=True)
class _Signing:
    key: Key
    sign: Callable[[bytes], bytes] = field(repr=False)


class Cosigner:
    """A witness's name and keys. Threads may share it."""

    def __init__(self, directory: Path) -> None:
        """Raises BadInput when `directory` holds no witness, Broken when a key is damaged."""
        self._signing = [_read(directory / file, key_type) for file, key_type in KEY_FILES.items()]
        names = {signing.key.name for signing in self._signing}
        if len(names) != 1:
            raise Broken("the keys of this witness have different names", place=str(directory))
        (self.name,) = names

    @property
    def keys(self) -> tuple[Key, ...]:
        """The public keys: Ed25519, ML-DSA-44."""
        return tuple(signing.key for signing in self._signing)

    def cosign(self, text: str, time_s: int) -> tuple[Signature, ...]:
        """A line of each key over the checkpoint `text`, at `time_s` (POSIX seconds). Remembers nothing."""
        lines = []
        for signing in self._signing:
            message = message_to_sign(signing.key.type, name=signing.key.name, time=time_s, text=text)
            lines.append(make_signature(signing.key, signing.sign(message), time=time_s))
        return tuple(lines)


def make_keys(files: Files, directory: Path, name: str) -> None:
    """Write new random keys of a witness called `name`, durably. Raises BadInput for a name no key may have."""
    check_origin(name)  # the same bounds: a key name of at most 240 bytes
    for file, key_type in KEY_FILES.items():
        seed = os.urandom(SEED_BYTES)
        key = _load(name, key_type, seed).key
        line = format_skey(SecretKey(name, key_type, seed, key.id)) + "\n"
        write_atomic(files, str(directory / file), line.encode())


def _read(path: Path, key_type: int) -> _Signing:
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput("there is no witness here", place=str(path), mend="graven witness init DIR --name N") from None
    except OSError as error:
        raise Broken(f"the key of this witness cannot be read: {error.strerror}", place=str(path)) from None
    try:
        secret = parse_skey(text.removesuffix("\n"))
    except BadInput:
        raise Broken("the key of this witness is damaged", place=str(path)) from None
    signing = _load(secret.name, key_type, secret.seed)
    if secret.type != key_type or signing.key.id != secret.id:
        raise Broken("the key of this witness is damaged, or another's", place=str(path))
    return signing


def _load(name: str, key_type: int, seed: bytes) -> _Signing:
    private: Ed25519PrivateKey | MLDSA44PrivateKey
    if key_type == COSIG_ED25519:
        private = Ed25519PrivateKey.from_private_bytes(seed)
    else:
        private = MLDSA44PrivateKey.from_seed_bytes(seed)
    return _Signing(Key(name, key_type, private.public_key().public_bytes_raw()), private.sign)
