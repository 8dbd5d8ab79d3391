"""Who an agent is: its name, its key, and the log it is enrolled with. One file, mode 0600, in the state directory.

The key is made where it is used and never leaves: enrolling shows the public part and a signature. Whoever has the
file is the agent, so a copied machine is two agents with one key, which the server notices at the next batch.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from graven.core.errors import BadInput, Broken
from graven.core.note import ED25519, Key, Note, SecretKey, format_note, format_skey, make_signature, parse_skey
from graven.runtime.files import Files, write_atomic

IDENTITY_FILE = "agent.json"
FORMAT = "graven-agent/v1"


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    skey: str
    origin: str
    vkeys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """An agent's key, and the log that knows it: its origin and its verifier keys as they were at the enrolment."""

    key: Key
    origin: str
    vkeys: tuple[str, ...]
    _private: Ed25519PrivateKey = field(repr=False)

    @property
    def name(self) -> str:
        return self.key.name

    def sign(self, text: str) -> bytes:
        """The signed note of `text`."""
        return format_note(Note(text, (make_signature(self.key, self._private.sign(text.encode())),)))

    def enrolled(self, origin: str, vkeys: tuple[str, ...]) -> "Identity":
        return Identity(self.key, origin, vkeys, self._private)

    def save(self, files: Files, state: Path) -> None:
        """Write the file durably. Raises OSError."""
        seed = self._private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        skey = format_skey(SecretKey(self.key.name, ED25519, seed, self.key.id))
        saved = _Saved(FORMAT, skey, self.origin, self.vkeys)
        write_atomic(files, str(state / IDENTITY_FILE), msgspec.json.format(msgspec.json.encode(saved)) + b"\n")


def make_identity(name: str) -> Identity:
    """A new key under this name, not enrolled yet. Raises BadInput for a name that no agent can have."""
    return _identity(name, os.urandom(32), "", ())


def load_identity(state: Path) -> Identity:
    """The identity in the state directory.

    Raises:
        BadInput: there is none, or others may read it. Broken: the file is damaged.
    """
    path = state / IDENTITY_FILE
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput("this agent is not enrolled", place=str(state), mend="graven agent enrol") from None
    except OSError as error:
        raise BadInput("the agent's key cannot be read", place=f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise BadInput("others may read the agent's key", place=str(path), mend=f"chmod 600 {path}")
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        secret = parse_skey(saved.skey)
        identity = _identity(secret.name, secret.seed, saved.origin, saved.vkeys)
    except (msgspec.MsgspecError, BadInput):
        raise Broken("the agent's key file is damaged", place=str(path), mend="enrol this host again") from None
    if saved.format != FORMAT or secret.id != identity.key.id:
        raise Broken("the agent's key file is damaged", place=str(path), mend="enrol this host again")
    return identity


def _identity(name: str, seed: bytes, origin: str, vkeys: tuple[str, ...]) -> Identity:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Identity(Key(name, ED25519, public), origin, vkeys, private)
