"""The keys a keyring begins with, and their files: the key-encryption key, the window key and the signing keys.

    keyring.json   {"format": "graven-keyring/v1", "origin", "kek", "window"}
        kek        {"plain": base64} or a sealed secret (see passphrase.py)
        window     {"nonce", "wrapped"}: AES-256-GCM under the kek, the origin being associated data
    log.ed25519    `PRIVATE+KEY+…` and a newline, type 0x01, named as the origin; or a sealed secret holding that line
    log.mldsa44    the same, type 0x06
    receipt.ed25519  the same, type 0x01, named `<origin>/receipt`
    next.ed25519, next.mldsa44  as the log's, while keys are changed (rotation.py)

The window key doubles as the check of the kek: a kek with one wrong bit does not open it. A signing key is checked by
deriving its public key and comparing the key id written beside the seed. Nothing here touches a disk.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.checkpoint import check_origin
from graven.core.errors import BadInput, Broken
from graven.core.note import COSIG_MLDSA44, ED25519, Key, SecretKey, format_skey, parse_skey
from graven.core.spelling import encode_base64
from graven.keys.datakey import KEY_BYTES, NONCE_BYTES, WRAPPED_BYTES
from graven.keys.keyfile import RECOVER, format_document, parse_document, take, take_bytes
from graven.keys.passphrase import SALT_BYTES, SCRYPT_N, Passphrase, open_sealed, seal
from graven.keys.token_key import TokenKey, is_token_line, parse_line, with_access
from graven.keys.token_uri import NO_ACCESS, Access

KEYRING_FORMAT = "graven-keyring/v1"
KEYRING_FILE = "keyring.json"
LOG_ED25519_FILE = "log.ed25519"
LOG_MLDSA44_FILE = "log.mldsa44"
RECEIPT_FILE = "receipt.ed25519"
NEXT_ED25519_FILE = "next.ed25519"
NEXT_MLDSA44_FILE = "next.mldsa44"
SIGNING_FILES = {LOG_ED25519_FILE: ED25519, LOG_MLDSA44_FILE: COSIG_MLDSA44, RECEIPT_FILE: ED25519}
"""The files every keyring has, and the type of the key in each."""
KEY_FILES = SIGNING_FILES | {NEXT_ED25519_FILE: ED25519, NEXT_MLDSA44_FILE: COSIG_MLDSA44}
"""Those, and the ones of keys that are to come (`rotation.py`)."""
TOKEN_FILES = (LOG_ED25519_FILE, NEXT_ED25519_FILE)
"""Those whose key may be in a token instead: their line says which (`token_key.py`)."""
ROTATION_FILE = "rotation.json"
SIGNER_FILE = "signer"
HIGHEST_FILE = "highest-checkpoint"
NOTHING_SIGNED_FORMAT = "graven-nothing-signed/v1"

_WINDOW_ASSOCIATED = b"graven/window-key/1"


@dataclass(frozen=True, slots=True)
class RootKeys:
    """All keys of a log but its data keys, in clear. `signing`: file name -> `PRIVATE+KEY+…`. Never shown."""

    origin: str
    kek: bytes = field(repr=False)
    window: bytes = field(repr=False)
    signing: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key ready for use: its public half, and the private one as the cryptographic library, or a token, holds
    it."""

    key: Key
    private: Ed25519PrivateKey | MLDSA44PrivateKey | TokenKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The bare signature: Ed25519 (RFC 8032), or ML-DSA-44 (FIPS 204, hedged, empty context). Raises Busy while a
        token does not sign."""
        return self.private.sign(message)


def key_name(file: str, origin: str) -> str:
    """The name of the key in a signing file."""
    return f"{origin}/receipt" if file == RECEIPT_FILE else origin


def make_root_keys(origin: str, *, log_ed25519: str | None = None) -> RootKeys:
    """New random keys for a log; `log_ed25519` is the line of one that is there already, in a token. Raises BadInput
    for an origin no log may bear."""
    check_origin(origin)
    signing = {}
    for file, key_type in SIGNING_FILES.items():
        if file == LOG_ED25519_FILE and log_ed25519 is not None:
            signing[file] = log_ed25519
            continue
        seed = os.urandom(KEY_BYTES)
        key = make_signing_key(key_name(file, origin), key_type, seed).key
        signing[file] = format_skey(SecretKey(key.name, key.type, seed, key.id))
    return RootKeys(origin, os.urandom(KEY_BYTES), os.urandom(KEY_BYTES), signing)


def format_root_keys(keys: RootKeys, passphrase: Passphrase | None, *, scrypt_n: int = SCRYPT_N) -> dict[str, bytes]:
    """The files (name -> bytes) of these keys: sealed, all with one salt, if there is a passphrase.

    The private mark `highest-checkpoint` is not among them: whoever makes a new log adds `nothing_signed`.
    """
    salt = os.urandom(SALT_BYTES)
    kek: dict[str, object] = {"plain": encode_base64(keys.kek)}
    if passphrase is not None:
        kek = seal(passphrase, keys.kek, purpose=_purpose(KEYRING_FILE, keys.origin), salt=salt, scrypt_n=scrypt_n)
    nonce = os.urandom(NONCE_BYTES)
    wrapped = AESGCM(keys.kek).encrypt(nonce, keys.window, _window_associated(keys.origin))
    window = {"nonce": encode_base64(nonce), "wrapped": encode_base64(wrapped)}
    files = {
        KEYRING_FILE: format_document({"format": KEYRING_FORMAT, "origin": keys.origin, "kek": kek, "window": window})
    }
    for file in keys.signing:
        files[file] = format_signing_file(
            keys.signing[file], file, keys.origin, passphrase, salt=salt, scrypt_n=scrypt_n
        )
    return files


def format_signing_file(
    text: str, file: str, origin: str, passphrase: Passphrase | None, *, salt: bytes | None = None,
    scrypt_n: int = SCRYPT_N,
) -> bytes:  # fmt: skip
    """The bytes of a signing file that holds the line `text`, sealed if there is a passphrase."""
    line = f"{text}\n".encode()
    if passphrase is None:
        return line
    return format_document(seal(passphrase, line, purpose=_purpose(file, origin), salt=salt, scrypt_n=scrypt_n))


def nothing_signed(origin: str) -> bytes:
    """The `highest-checkpoint` of a log that never signed one. A missing file says something else: not known."""
    return f"{NOTHING_SIGNED_FORMAT}\n{origin}\n".encode()


def signed_elsewhere(origin: str) -> bytes:
    """The file `signer` of a keyring whose signing keys a signer process has (`split.py`)."""
    return f"graven-signer/v1\n{origin}\n".encode()


def parse_keyring_file(data: bytes, passphrase: Passphrase | None, *, place: str) -> tuple[str, bytes, bytes, bool]:
    """(origin, kek, window key, whether a passphrase was needed) of a `keyring.json`.

    Raises BadInput when the passphrase is missing or wrong, Broken when the file is damaged.
    """
    form, origin, kek_field, window = take(
        parse_document(data, place=place), ("format", "origin", "kek", "window"), place=place
    )
    if form != KEYRING_FORMAT or not isinstance(origin, str):
        raise Broken(f"this file is not of format {KEYRING_FORMAT}", place=place, mend=RECOVER)
    sealed = not (isinstance(kek_field, dict) and tuple(kek_field) == ("plain",))
    if not sealed:
        (plain,) = take(kek_field, ("plain",), place=place)
        kek = take_bytes(plain, KEY_BYTES, place=place)
    else:
        kek = _open(kek_field, passphrase, purpose=_purpose(KEYRING_FILE, origin), place=place)
    nonce, wrapped = take(window, ("nonce", "wrapped"), place=place)
    nonce_bytes = take_bytes(nonce, NONCE_BYTES, place=place)
    wrapped_bytes = take_bytes(wrapped, WRAPPED_BYTES, place=place)
    try:
        window_key = AESGCM(kek).decrypt(nonce_bytes, wrapped_bytes, _window_associated(origin))
    except (InvalidTag, ValueError):
        raise Broken("the keys in this file do not fit together: it is damaged", place=place, mend=RECOVER) from None
    return origin, kek, window_key, sealed


def parse_signing_file(data: bytes, file: str, origin: str, passphrase: Passphrase | None, *, place: str) -> str:
    """The line (`PRIVATE+KEY+…`) in a signing file, sealed if there is a passphrase. Raises as `parse_keyring_file`."""
    if passphrase is not None:
        document = parse_document(data, place=place)
        data = _open(document, passphrase, purpose=_purpose(file, origin), place=place)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.endswith("\n"):
        raise Broken("this signing key is damaged", place=place, mend=RECOVER)
    load_signing_key(text[:-1], file, origin, place=place)
    return text[:-1]


def load_signing_key(text: str, file: str, origin: str, *, place: str, access: Access = NO_ACCESS) -> SigningKey:
    """The key a signing file's line holds, or stands for: one in a token is got at by `access` first, and not touched
    yet.

    Raises Broken: damaged, of another log, or in the place of another key.
    """
    if is_token_line(text):
        return _load_token_key(text, file, origin, place, access)
    try:
        secret = parse_skey(text)
    except BadInput:
        raise Broken("this signing key is damaged", place=place, mend=RECOVER) from None
    if (secret.name, secret.type) != (key_name(file, origin), KEY_FILES[file]):
        raise Broken("this signing key is of another log or of another kind", place=place, mend=RECOVER)
    loaded = make_signing_key(secret.name, secret.type, secret.seed)
    if loaded.key.id != secret.id or format_skey(secret) != text:
        raise Broken("this signing key is damaged: its key id is not that of its seed", place=place, mend=RECOVER)
    return loaded


def make_signing_key(name: str, key_type: int, seed: bytes) -> SigningKey:
    """The key of a 32-byte seed."""
    private: Ed25519PrivateKey | MLDSA44PrivateKey
    if key_type == ED25519:
        private = Ed25519PrivateKey.from_private_bytes(seed)
    else:
        private = MLDSA44PrivateKey.from_seed_bytes(seed)
    return SigningKey(Key(name, key_type, private.public_key().public_bytes_raw()), private)


def _load_token_key(text: str, file: str, origin: str, place: str, access: Access) -> SigningKey:
    try:
        key, uri = parse_line(text)
    except BadInput as error:
        raise Broken(f"this signing key is damaged: {error.what}", place=place, mend=RECOVER) from None
    if file not in TOKEN_FILES or key.name != key_name(file, origin):
        raise Broken("this signing key is of another log or of another kind", place=place, mend=RECOVER)
    return SigningKey(key, TokenKey(key, with_access(uri, access)))


def _open(sealed: object, passphrase: Passphrase | None, *, purpose: str, place: str) -> bytes:
    if passphrase is None:
        raise BadInput(
            "the keyring is sealed by a passphrase and none was given",
            place=place,
            mend="name a file that holds it in GRAVEN_PASSPHRASE_FILE or in [keys] passphrase_file",
        )
    return open_sealed(passphrase, sealed, purpose=purpose, place=place)


def _purpose(file: str, origin: str) -> str:
    return f"{file} of {origin}"


def _window_associated(origin: str) -> bytes:
    return _WINDOW_ASSOCIATED + origin.encode()
