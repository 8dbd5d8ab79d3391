"""Sealing secrets under a passphrase: scrypt (RFC 7914) and AES-256-GCM.

A sealed secret is one JSON object of format `graven-sealed/v1`: the scrypt parameters, a 16-byte salt, a 12-byte nonce
and the ciphertext. Its purpose (which secret of which log this is) is associated data, so that one sealed secret cannot
be put in the place of another.

AES-GCM does not tell a wrong passphrase from changed bytes, and neither can we: both are BadInput, in words that name
both. No message holds a passphrase, a key, or a part of one.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from graven.core.errors import BadInput
from graven.core.spelling import encode_base64
from graven.keys.keyfile import take, take_bytes

SEALED_FORMAT = "graven-sealed/v1"
SCRYPT_N = 1 << 15  # with r = 8: 32 MiB and about 0.1 s for each guess
SCRYPT_R = 8
SCRYPT_P = 1
SALT_BYTES = 16
NONCE_BYTES = 12
PASSPHRASE_BYTES_MAX = 1024

_MEMORY_BYTES_MAX = 1 << 30  # what a file from elsewhere may make us spend on one guess
_P_MAX = 16
_FIELDS = ("format", "kdf", "n", "r", "p", "salt", "nonce", "ciphertext")


class Passphrase:
    """A passphrase and the keys already derived from it. Its text is never shown, not even by `repr`."""

    __slots__ = ("_derived", "_secret")

    def __init__(self, text: str | bytes) -> None:
        """`text`: 1 to 1,024 bytes, taken as they are (text as UTF-8). Raises BadInput."""
        secret = text.encode() if isinstance(text, str) else bytes(text)
        if not 0 < len(secret) <= PASSPHRASE_BYTES_MAX:
            raise BadInput(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes, this one has {len(secret)}")
        self._secret = secret
        self._derived: dict[tuple[bytes, int, int, int], bytes] = {}

    def __repr__(self) -> str:
        return "Passphrase(hidden)"

    def derive(self, salt: bytes, *, n: int, r: int, p: int) -> bytes:
        """The 32-byte scrypt key for these parameters; slow the first time, kept in memory after that."""
        wanted = (salt, n, r, p)
        if wanted not in self._derived:
            self._derived[wanted] = Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(self._secret)
        return self._derived[wanted]


def read_passphrase(path: str, *, private: bool = True) -> Passphrase:
    """The passphrase in a file: its bytes, without one newline at the end.

    With `private`, a file that the group or others may read is refused. Raises BadInput.
    """
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(PASSPHRASE_BYTES_MAX + 3)
    except OSError as error:
        raise BadInput(f"the passphrase file cannot be read: {error.strerror}", place=path) from error
    if private and mode & 0o077:
        raise BadInput(
            f"the passphrase file may be read by others (mode {mode:04o})", place=path, mend=f"chmod 600 {path}"
        )
    try:
        return Passphrase(data.removesuffix(b"\n").removesuffix(b"\r"))
    except BadInput as error:
        raise BadInput(error.what, place=path) from None


def seal(
    passphrase: Passphrase, secret: bytes, *, purpose: str, salt: bytes | None = None, scrypt_n: int = SCRYPT_N
) -> dict[str, object]:
    """Seal `secret` for `purpose`; the answer goes into a JSON document.

    Secrets sealed together may share a `salt` (16 random bytes), so that opening them costs one derivation; each has
    its own nonce. `scrypt_n` below the default is for tests only.
    """
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    nonce = os.urandom(NONCE_BYTES)
    key = passphrase.derive(salt, n=scrypt_n, r=SCRYPT_R, p=SCRYPT_P)
    return {
        "format": SEALED_FORMAT,
        "kdf": "scrypt",
        "n": scrypt_n,
        "r": SCRYPT_R,
        "p": SCRYPT_P,
        "salt": encode_base64(salt),
        "nonce": encode_base64(nonce),
        "ciphertext": encode_base64(AESGCM(key).encrypt(nonce, secret, _associated(purpose))),
    }


def open_sealed(passphrase: Passphrase, sealed: object, *, purpose: str, place: str) -> bytes:
    """The secret that `seal` sealed for the same purpose.

    Raises BadInput if the passphrase is wrong, the bytes were changed, or the parameters ask for more than 1 GiB of
    memory; Broken if it is no sealed secret at all.
    """
    form, kdf, n, r, p, salt, nonce, ciphertext = take(sealed, _FIELDS, place=place)
    salt_bytes = take_bytes(salt, SALT_BYTES, place=place)
    nonce_bytes = take_bytes(nonce, NONCE_BYTES, place=place)
    secret = take_bytes(ciphertext, None, place=place)
    if form != SEALED_FORMAT or kdf != "scrypt":
        raise BadInput(f"this is not sealed as {SEALED_FORMAT} with scrypt", place=place)
    if not (type(n) is int and type(r) is int and type(p) is int) or min(n - 1, r, p) < 1 or p > _P_MAX:
        raise BadInput("the scrypt parameters are out of bounds", place=place)
    if n & (n - 1) or 128 * r * (n + p) > _MEMORY_BYTES_MAX:
        raise BadInput("the scrypt parameters are out of bounds", place=place)
    key = passphrase.derive(salt_bytes, n=n, r=r, p=p)
    try:
        return AESGCM(key).decrypt(nonce_bytes, secret, _associated(purpose))
    except (InvalidTag, ValueError):
        raise BadInput("the passphrase is wrong, or the file was changed", place=place) from None


def _associated(purpose: str) -> bytes:
    return f"{SEALED_FORMAT}\n{purpose}".encode()
