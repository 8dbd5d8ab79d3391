"""Data keys and the file that holds those of one segment, wrapped.

A data key is 32 random bytes that seal the events, or the raws, of one class in one segment; it is never derived from
anything, so that destroying its file entry destroys it. On disk it is wrapped by AES-256-GCM under the key-encryption
key; its id, class and kind are associated data, so that no key can stand in for another.

A file is a JSON list of `{id, class, kind, nonce, wrapped}`; an empty list says that every key was destroyed. A reader
can see that a file is damaged, not that an entry was taken out: that is what erasing does, and the log itself says
whether it was allowed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import Broken
from graven.core.spelling import encode_base64
from graven.keys.keyfile import RECOVER, format_document, parse_document, take, take_bytes

KEY_BYTES = 32
KEY_ID_BYTES = 16
NONCE_BYTES = 12
WRAPPED_BYTES = KEY_BYTES + 16

Kind = Literal["event", "raw"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_ASSOCIATED = b"graven/data-key/1"
_FIELDS = ("id", "class", "kind", "nonce", "wrapped")


@dataclass(frozen=True, slots=True)
class DataKey:
    """One data key: its 16-byte id, what it seals, and its 32 bytes (never shown)."""

    id: bytes
    class_name: str
    kind: Kind
    key: bytes = field(repr=False)


def make_data_key(class_name: str, kind: Kind) -> DataKey:
    """A new key with a new id, both random."""
    return DataKey(os.urandom(KEY_ID_BYTES), class_name, kind, os.urandom(KEY_BYTES))


def encode_data_keys(keys: Sequence[DataKey], kek: bytes) -> bytes:
    """The file of these keys, each wrapped under the 32-byte key-encryption key with a fresh nonce."""
    cipher = AESGCM(kek)
    entries = []
    for key in keys:
        nonce = os.urandom(NONCE_BYTES)
        entries.append(
            {
                "id": key.id.hex(),
                "class": key.class_name,
                "kind": key.kind,
                "nonce": encode_base64(nonce),
                "wrapped": encode_base64(cipher.encrypt(nonce, key.key, _associated(key.id, key.class_name, key.kind))),
            }
        )
    return format_document(entries)


def decode_data_keys(data: bytes, kek: bytes, *, place: str) -> tuple[DataKey, ...]:
    """The keys of a file. Raises Broken if any of them is damaged or wrapped under another key-encryption key."""
    entries = parse_document(data, place=place)
    if not isinstance(entries, list):
        raise Broken("this file of data keys is damaged: it is not a list", place=place, mend=RECOVER)
    cipher = AESGCM(kek)
    keys = tuple(_unwrap(entry, cipher, place=f"{place}, key {n}") for n, entry in enumerate(entries))
    if len({key.id for key in keys}) != len(keys):
        raise Broken("this file of data keys is damaged: it names a key twice", place=place, mend=RECOVER)
    return keys


def _unwrap(entry: object, cipher: AESGCM, *, place: str) -> DataKey:
    id_hex, class_name, kind, nonce, wrapped = take(entry, _FIELDS, place=place)
    nonce_bytes = take_bytes(nonce, NONCE_BYTES, place=place)
    wrapped_bytes = take_bytes(wrapped, WRAPPED_BYTES, place=place)
    if not isinstance(id_hex, str) or not isinstance(class_name, str) or kind not in KINDS:
        raise Broken("this data key is damaged: a value is not of its shape", place=place, mend=RECOVER)
    try:
        key_id = bytes.fromhex(id_hex)
        key = cipher.decrypt(nonce_bytes, wrapped_bytes, _associated(key_id, class_name, kind))
    except (ValueError, InvalidTag):
        raise Broken(
            "this data key does not open: it is damaged or of another keyring", place=place, mend=RECOVER
        ) from None
    if key_id.hex() != id_hex or len(key_id) != KEY_ID_BYTES:
        raise Broken("this data key is damaged: its id is not 32 small hexadecimal digits", place=place, mend=RECOVER)
    return DataKey(key_id, class_name, kind, key)


def _associated(key_id: bytes, class_name: str, kind: str) -> bytes:
    return _ASSOCIATED + key_id + class_name.encode() + kind.encode()
