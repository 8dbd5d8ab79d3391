"""A log in memory, sealed by the formulas of the design written out anew: what receipts and evidence are tested on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core import oracle
from core.signers import LOG, LOG_PQ, RECEIPTS, Signer, seed_of, sign_certificate, sign_checkpoint, sign_receipt
from graven.core.evidence import Disclosed, Evidence
from graven.core.note import format_vkey
from graven.core.proof import TlogProof
from graven.core.spelling import MAX_NUMBER, encode_base64

ZEROS = bytes(32)


@dataclass(frozen=True)
class Slot:
    head: bytes
    event: bytes
    event_salt: bytes
    raw: bytes | None
    raw_salt: bytes

    @property
    def d_event(self) -> bytes:
        return oracle.sha(self.event_salt + self.event)

    @property
    def d_raw(self) -> bytes:
        return ZEROS if self.raw is None else oracle.sha(self.raw_salt + self.raw)

    @property
    def entry(self) -> bytes:
        return oracle.sha(self.head + self.d_event + self.d_raw)

    @property
    def opening(self) -> dict[str, str]:
        """What `receipt=full` tells the producer of this event."""
        if self.raw is None:
            return {"salt": encode_base64(self.event_salt)}
        return {"event_digest": encode_base64(self.d_event), "raw_salt": encode_base64(self.raw_salt)}


@dataclass
class Ledger:
    slots: list[Slot] = field(default_factory=list)

    def seal(
        self, event: bytes, raw: bytes | None = None, *, source: int = 7, received_us: int = 1_700_000_000_000_000
    ) -> int:
        """The index of the newly sealed event."""
        salts = seed_of(f"event salt {len(self.slots)}"), seed_of(f"raw salt {len(self.slots)}")
        head = f"graven/1 {source} {received_us}\n".encode()
        self.slots.append(Slot(head, event, salts[0], raw, salts[1]))
        return len(self.slots) - 1

    @property
    def leaves(self) -> list[bytes]:
        return [oracle.sha(b"\x00" + slot.entry) for slot in self.slots]

    @property
    def root(self) -> bytes:
        return oracle.root(self.leaves)

    def inclusion(self, index: int) -> list[bytes]:
        return oracle.inclusion(index, self.leaves)

    def checkpoint(self, signers: Sequence[Signer] = (LOG, LOG_PQ)) -> bytes:
        return sign_checkpoint(len(self.slots), self.root, signers)

    def proof(self, index: int, *, bare: bool = False, signers: Sequence[Signer] = (LOG, LOG_PQ)) -> TlogProof:
        extra = self.slots[index].entry if bare else None
        return TlogProof(extra, index, tuple(self.inclusion(index)), self.checkpoint(signers))

    def evidence(self, index: int) -> Evidence:
        """Everything disclosed."""
        slot = self.slots[index]
        raw = None if slot.raw is None else Disclosed(slot.raw, slot.raw_salt)
        event = Disclosed(slot.event, slot.event_salt)
        vkeys = (format_vkey(LOG.key), format_vkey(LOG_PQ.key))
        return Evidence(index, slot.head, event, raw, self.proof(index), vkeys)

    def answer(self, count: int, new: Sequence[int], duplicates: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
        """The answer to a request of `count` events: `new` indexes in a row, `duplicates` as (position, index)."""
        first = new[0] if new else None
        texts = [encode_base64(one) for one in oracle.range_proof(new[0], new[-1] + 1, self.leaves)] if new else []
        named = [{"position": position, "index": index} for position, index in duplicates]
        assert len(new) + len(duplicates) == count
        return {
            "accepted": len(new),
            "first_index": first,
            "size": len(self.slots),
            "duplicates": named,
            "state": "committed",
            "receipt": sign_receipt(len(self.slots), self.root).decode(),
            "opened": {
                "certificate": sign_certificate(format_vkey(RECEIPTS.key), 0, MAX_NUMBER).decode(),
                "head": (self.slots[new[0]] if new else self.slots[-1]).head.decode(),
                "first_index": first,
                "proof": texts,
                "events": [self.slots[index].opening for index in new],
                "duplicates": [
                    one
                    | {"head": self.slots[one["index"]].head.decode()}
                    | self.slots[one["index"]].opening
                    | {"proof": [encode_base64(node) for node in self.inclusion(one["index"])]}
                    for one in named
                ],
            },
        }
