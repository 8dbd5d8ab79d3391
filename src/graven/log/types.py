"""What doors hand to the log, and what the log answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from graven.core.commitment import Head


@dataclass(slots=True)
class Batch:
    """The events of one request. All share one head: the source, and when the request's last byte was in.

    `events` are the exact bytes to commit to, from `{` to `}`; `ids` the producer's ids, None where it gave none.
    `class_name` is one class for all, or one a event. `raws` is None when every event came in the event model.
    `full` asks for the opened receipt. `acts` are Graven's own events that stand in the same frame, behind the group's.
    """

    events: list[bytes]
    ids: list[str | None]
    source: int
    received_us: int
    class_name: str | list[str] = "default"
    raws: list[bytes | None] | None = None
    full: bool = False
    acts: Sequence[bytes] = ()

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.events)) + sum(map(len, filter(None, self.raws or ())))


@dataclass(frozen=True, slots=True)
class Committed:
    """A request's events are durable.

    `accepted` counts newly stored events; they stand at consecutive indexes from `first_index` (None if there is
    none). `duplicates` are (position in the request, index of the first copy). `size` is the tree's size after the
    frame that holds the request; `receipt` the signed promise of that tree.
    """

    accepted: int
    first_index: int | None
    duplicates: tuple[tuple[int, int], ...]
    size: int
    receipt: bytes
    opened: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One slot of the log, as the journal holds it.

    `state` is "readable", "erased" (a husk stands for it, named by the event at `erasure_index`), "lost" (only its
    entry is known, as the event at `erasure_index` says), or "unreadable" (the keyring does not hold its key). Digests
    are None where it is lost or unreadable, the entry only where it is unreadable.
    """

    index: int
    class_name: str
    state: str
    head: Head | None = None
    event: bytes | None = None
    event_salt: bytes | None = None
    raw: bytes | None = None
    raw_salt: bytes | None = None
    event_digest: bytes | None = None
    raw_digest: bytes | None = None
    entry: bytes | None = None
    erasure_index: int | None = None
