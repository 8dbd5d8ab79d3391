"""The seam between what an agent reads and how it keeps it: records with the place behind them.

A source is asked again and again for what there is. It never waits, and remembers in memory how far it gave out; what
it gave is durable once the batch is spooled, together with the places. After a restart it is told those places.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from graven.agent.wire import Run

PIECE_BYTES = 1 << 20
PIECE_RECORDS = 20_000


@dataclass(slots=True)
class Taken:
    """Records in order, and how places move with them. `type` "" leaves the source type to be found.

    `places` may move without a record (a file that was rotated away); None takes a place away. `runs` are further
    records, of other kinds. All of it goes into one batch; `kept` is called once that is durable.
    """

    type: str = ""
    around: Mapping[str, str] = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)
    places: dict[str, Any] = field(default_factory=dict)
    runs: Sequence[Run] = ()
    kept: Callable[[], None] | None = None

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.records)) + sum(run.size_bytes for run in self.runs)

    @property
    def count(self) -> int:
        return len(self.records) + sum(len(run.records) for run in self.runs)


def in_pieces(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    """`records` in lists of about a megabyte and of at most PIECE_RECORDS, in order; none is empty."""
    piece: list[bytes] = []
    size = 0
    for record in records:
        if piece and (size + len(record) > PIECE_BYTES or len(piece) == PIECE_RECORDS):
            yield piece
            piece, size = [], 0
        piece.append(record)
        size += len(record)
    if piece:
        yield piece


class Source(Protocol):
    """Something records come from. One thread asks."""

    name: str

    def take(self, bytes_max: int) -> list[Taken]:
        """What there is now, about `bytes_max` bytes of it at most; empty when there is nothing."""

    def close(self) -> None:
        """Let go of files and processes."""
