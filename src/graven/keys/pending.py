"""A re-wrapping of the keyring that is under way: `rewrap.json`, what every reader of the keyring must know of it.

    {"format": "graven-rewrap/v1", "origin", "step", "kek", "files"}

    step "wrapping"   files of data keys are wrapped under the old key-encryption key or the new one; `kek` is the new
                      one, wrapped under the old: {"nonce", "wrapped"}; `files` is empty
    step "commit"     all of them are under the new one; `files` (name -> text) are in force in the place of the files
                      of these names, which are being replaced; `kek` is null

The document is replaced at one stroke, so the keyring opens by the old passphrase before and by the new one after.
Without it nothing is under way. `rewrap.py` does the work.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import Broken
from graven.core.spelling import encode_base64
from graven.keys.datakey import KEY_BYTES, NONCE_BYTES, WRAPPED_BYTES
from graven.keys.keyfile import RECOVER, format_document, parse_document, take, take_bytes
from graven.keys.rootkeys import KEY_FILES, KEYRING_FILE

REWRAP_FORMAT = "graven-rewrap/v1"
REWRAP_FILE = "rewrap.json"

_ASSOCIATED = b"graven/rewrap/1"
_FIELDS = ("format", "origin", "step", "kek", "files")


@dataclass(frozen=True, slots=True)
class Pending:
    """What the document says; `wrapped` is (nonce, ciphertext) of the new key-encryption key."""

    origin: str
    step: Literal["wrapping", "commit"]
    wrapped: tuple[bytes, bytes] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def next_kek(self, kek: bytes) -> bytes:
        """The new key-encryption key, by the old one. Raises Broken."""
        assert self.wrapped is not None
        try:
            return AESGCM(kek).decrypt(*self.wrapped, _ASSOCIATED + self.origin.encode())
        except InvalidTag:
            raise Broken("the new key-encryption key does not open", place=REWRAP_FILE, mend=RECOVER) from None


def begin_wrapping(origin: str, kek: bytes) -> tuple[Pending, bytes]:
    """A new random key-encryption key, and the document that says so."""
    nonce, new = os.urandom(NONCE_BYTES), os.urandom(KEY_BYTES)
    wrapped = AESGCM(kek).encrypt(nonce, new, _ASSOCIATED + origin.encode())
    return Pending(origin, "wrapping", (nonce, wrapped)), new


def format_pending(pending: Pending) -> bytes:
    """The bytes of `rewrap.json`."""
    kek = None
    if pending.wrapped is not None:
        kek = {"nonce": encode_base64(pending.wrapped[0]), "wrapped": encode_base64(pending.wrapped[1])}
    files = {name: data.decode() for name, data in pending.files.items()}
    return format_document(
        {"format": REWRAP_FORMAT, "origin": pending.origin, "step": pending.step, "kek": kek, "files": files}
    )


def parse_pending(data: bytes, *, place: str) -> Pending:
    """What a `rewrap.json` says. Raises Broken."""
    form, origin, step, kek, files = take(parse_document(data, place=place), _FIELDS, place=place)
    if form != REWRAP_FORMAT or not isinstance(origin, str) or not isinstance(files, dict):
        raise Broken("this file of a re-wrapping is damaged", place=place, mend=RECOVER)
    if not all(isinstance(text, str) for text in files.values()) or not set(files) <= {KEYRING_FILE, *KEY_FILES}:
        raise Broken("this file of a re-wrapping is damaged", place=place, mend=RECOVER)
    if step == "commit" and kek is None and KEYRING_FILE in files:
        return Pending(origin, "commit", None, {name: text.encode() for name, text in files.items()})
    if step != "wrapping" or files:
        raise Broken("this file of a re-wrapping is damaged", place=place, mend=RECOVER)
    nonce, wrapped = take(kek, ("nonce", "wrapped"), place=place)
    found = take_bytes(nonce, NONCE_BYTES, place=place), take_bytes(wrapped, WRAPPED_BYTES, place=place)
    return Pending(origin, "wrapping", found)
