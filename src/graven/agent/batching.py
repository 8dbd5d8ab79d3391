"""From what sources give to signed batches in the spool.

    take → gather, until it is enough or old enough → salt, root, statement, signature → one durable entry

A batch's place in the agent's chain is fixed when it is spooled, and its bytes never change again: sending it twice is
sending the same.
"""

import os
from collections.abc import Callable
from hashlib import sha256

from graven.agent.identity import Identity
from graven.agent.source import Taken
from graven.agent.spool import Batch, Places, Spool
from graven.agent.wire import Run, compress, encode_body
from graven.core.statement import RECORDS_MAX, BatchStatement, format_batch, records_root
from graven.runtime.clock import Clock

RECORD_BYTES_MAX = 4 << 20
"""Of a longer record only the beginning is sent, with its size and hash: a batch must fit a request."""

BATCH_BYTES_MAX = 12 << 20
"""Of a batch, about: its body must stay below what a server takes."""

_KEPT_BYTES = 64 << 10


class Gathering:
    """What was taken and is not spooled yet. In memory only: a crash lets it be read again."""

    def __init__(self, *, records_max: int, bytes_max: int) -> None:
        self._records_max, self._bytes_max = records_max, bytes_max
        self._runs: list[Run] = []
        self._places: Places = {}
        self._kept: list[Callable[[], None]] = []
        self.records = self.size_bytes = 0

    def fits(self, taken: Taken) -> bool:
        """Whether a batch can hold this, too."""
        return not self.records or (
            self.records + taken.count <= RECORDS_MAX and self.size_bytes + taken.size_bytes <= BATCH_BYTES_MAX
        )

    def add(self, taken: Taken) -> None:
        self._places.update(taken.places)
        if taken.kept is not None:
            self._kept.append(taken.kept)
        for run in taken.runs:
            self._append(run.type, run.around, run.records)
        if not taken.records:
            return
        if max(map(len, taken.records)) > RECORD_BYTES_MAX:
            for one in taken.records:
                around, kept = cut_record(one)
                self._append(taken.type, {**taken.around, **around}, [kept])
            return
        self._append(taken.type, dict(taken.around), taken.records)

    def tell(self) -> None:
        """It is durable: whoever waits for that may go on."""
        for kept in self._kept:
            kept()

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody has no answer before this is durable."""
        return bool(self._kept)

    def _append(self, type_: str, around: dict[str, str], records: list[bytes]) -> None:
        last = self._runs[-1] if self._runs else None
        if last is not None and last.type == type_ and last.around == around:
            last.records += records
        else:
            self._runs.append(Run(type_, around, list(records)))
            self.size_bytes += Run(type_, around, []).size_bytes
        self.records += len(records)
        self.size_bytes += sum(map(len, records))

    @property
    def is_full(self) -> bool:
        return self.records >= self._records_max or self.size_bytes >= self._bytes_max

    @property
    def room_bytes(self) -> int:
        return max(0, self._bytes_max - self.size_bytes)

    @property
    def runs(self) -> list[Run]:
        return self._runs

    @property
    def places(self) -> Places:
        return self._places


def spool_batch(spool: Spool, identity: Identity, gathering: Gathering, clock: Clock) -> int:
    """Sign what was gathered as the next batch and make it durable; returns its sequence. Raises Busy, Broken."""
    body, salt = encode_body(gathering.runs), os.urandom(32)
    records = [record for run in gathering.runs for record in run.records]
    statement = BatchStatement(
        identity.name, spool.sequence + 1, spool.digest, len(records),
        records_root(records, salt), salt, sha256(body).digest(), clock.now_us(),
    )  # fmt: skip
    note = identity.sign(format_batch(statement))
    return spool.put(Batch(note, compress(body), len(records), statement.digest, statement.previous, gathering.places))


def cut_record(record: bytes) -> tuple[dict[str, str], bytes]:
    """(what is to be said of it, what is kept of it): all of a record that is not too long."""
    if len(record) <= RECORD_BYTES_MAX:
        return {}, record
    said = {
        "graven.cut": "true",
        "graven.size_bytes": str(len(record)),
        "graven.sha256": sha256(record).hexdigest(),
    }
    return said, record[:_KEPT_BYTES]
