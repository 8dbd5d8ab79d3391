"""Real keys from fixed seeds, and notes signed with them: what the tests of notes, receipts and evidence sign with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from graven.core.checkpoint import Checkpoint, format_checkpoint, message_to_sign
from graven.core.note import (
    COSIG_ED25519,
    COSIG_MLDSA44,
    ED25519,
    Key,
    Note,
    Signature,
    format_note,
    make_signature,
)
from graven.core.receipt import Certificate, Receipt, format_certificate, format_receipt

ORIGIN = "test.invalid/log"
TIME_S = 1_700_000_000


@dataclass(frozen=True)
class Signer:
    """A key that signs bytes."""

    key: Key
    sign: Callable[[bytes], bytes]

    def line(self, text: str, time: int | None = None) -> Signature:
        """The signature line over a checkpoint text, or over any text for 0x01."""
        if self.key.type == ED25519:
            return make_signature(self.key, self.sign(text.encode()))
        time = TIME_S if time is None else time
        message = message_to_sign(self.key.type, name=self.key.name, time=time, text=text)
        return make_signature(self.key, self.sign(message), time=time)


def ed25519(name: str, seed: bytes, key_type: int = ED25519) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return Signer(Key(name, key_type, private.public_key().public_bytes_raw()), private.sign)


def mldsa44(name: str, seed: bytes) -> Signer:
    private = MLDSA44PrivateKey.from_seed_bytes(seed)
    return Signer(Key(name, COSIG_MLDSA44, private.public_key().public_bytes_raw()), private.sign)


def seed_of(label: str) -> bytes:
    return sha256(label.encode()).digest()


LOG = ed25519(ORIGIN, seed_of("log ed25519"))
LOG_PQ = mldsa44(ORIGIN, seed_of("log ml-dsa"))
RECEIPTS = ed25519(ORIGIN + "/receipt", seed_of("receipts"))
WITNESS = ed25519("witness.invalid/w1", seed_of("witness 1"), COSIG_ED25519)
WITNESS_PQ = mldsa44("witness.invalid/w2", seed_of("witness 2"))
STRANGER = ed25519(ORIGIN, seed_of("stranger"))
LOG_KEYS = (LOG.key, LOG_PQ.key)


def sign_text(text: str, *signers: Signer) -> bytes:
    return format_note(Note(text, tuple(signer.line(text) for signer in signers)))


def sign_checkpoint(size: int, root: bytes, signers: Sequence[Signer] = (LOG, LOG_PQ), origin: str = ORIGIN) -> bytes:
    return sign_text(format_checkpoint(Checkpoint(origin, size, root)), *signers)


def sign_receipt(size: int, root: bytes, *signers: Signer, origin: str = ORIGIN) -> bytes:
    return sign_text(format_receipt(Receipt(origin, size, root)), *(signers or (RECEIPTS,)))


def sign_certificate(vkey: str, first: int, last: int, *signers: Signer, origin: str = ORIGIN) -> bytes:
    return sign_text(format_certificate(Certificate(origin, vkey, first, last)), *(signers or (LOG,)))
