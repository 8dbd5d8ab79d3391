"""A log to be witnessed, in memory: real keys, real trees, and whatever lies a test needs."""

from collections.abc import Sequence
from pathlib import Path

from core import oracle
from core.signers import LOG, LOG_PQ, ORIGIN, Signer, sign_checkpoint
from graven.core.checkpoint import message_to_sign
from graven.core.note import Key, Note, Signed, format_vkey, open_note, parse_note
from graven.core.witness_request import format_add_checkpoint
from graven.keys.signature import verify_signature
from graven.runtime.clock import US_PER_S, FixedClock
from graven.witness.store import Store
from graven.witness.witness import Witness, make_witness

NAME = "witness.invalid/w"
NOW_S = 1_790_000_000
VKEY = format_vkey(LOG.key)


class Tree:
    """A log's entries; two trees with different `salt` agree on nothing after `shared` leaves."""

    def __init__(self, salt: int = 0, shared: int = 0) -> None:
        self._leaves = [*oracle.leaves(shared), *oracle.leaves(300, first=1000 * (salt + 1))]

    def root(self, size: int) -> bytes:
        return oracle.root(self._leaves[:size])

    def note(self, size: int, signers: Sequence[Signer] = (LOG, LOG_PQ), origin: str = ORIGIN) -> bytes:
        return sign_checkpoint(size, self.root(size), signers, origin)

    def request(self, old: int, size: int, signers: Sequence[Signer] = (LOG, LOG_PQ)) -> bytes:
        """The request an honest log with this tree sends."""
        return format_add_checkpoint(old, self.proof(old, size), self.note(size, signers))

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        """The consistency proof, empty from size 0."""
        return tuple(oracle.consistency(old, self._leaves[:size]) if old else ())


def made(directory: Path, *keys: Key) -> Path:
    """A witness in `directory` that knows the log by `keys` (its Ed25519 key, if none is given)."""
    make_witness(directory, NAME)
    store = Store(directory)
    for key in keys or (LOG.key,):
        assert store.add_key(key)
    store.close()
    return directory


def fixed_clock(now_s: int = NOW_S) -> FixedClock:
    return FixedClock(now_s * US_PER_S)


def cosignatures(witness_keys: Sequence[Key], note: bytes, lines: bytes) -> tuple[Signed, ...]:
    """The good cosignatures on `note`, as a client finds them: both keys must be there."""
    joined: Note = parse_note(note + lines)
    return open_note(
        joined, witness_keys, verify_signature, require_all=True,
        message=lambda key, time, text: message_to_sign(key.type, name=key.name, time=time, text=text),
    )  # fmt: skip


def evidence_of(witness: Witness) -> list[str]:
    """The kinds of what was kept."""
    return sorted(path.name.split("-")[0] for path in (witness.directory / "evidence").glob("*"))
