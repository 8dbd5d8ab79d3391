"""A request to a shippers' door, and what is said to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from graven.core.errors import GravenError
from graven.ingest.protocol.delivery import Delivery
from graven.ingest.record import Normalised
from graven.log.types import Committed
from graven.server.answers import JSON, Refused

__all__ = ["Call", "Outcome", "Parcel", "Reply", "Shipper", "parse_query"]


@dataclass(slots=True)
class Call:
    """One request. `fields` in order, `headers` the last of each name; names are lower case. `body` is clear.

    `token_id` names who sends, "" for a door without tokens; `signed` is what such a door found of the sender.
    """

    method: str
    path: str
    fields: Sequence[tuple[bytes, bytes]]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    token_id: str = ""
    signed: object = None

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def media(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `headers` beyond content type and length. `hang_up`: none at all."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request's records: their events, in order, and the commit; None where there was no record."""

    normalised: Sequence[Normalised]
    committed: Committed | None

    @property
    def quarantined(self) -> dict[int, str]:
        """Position of each record that could not be read → why."""
        return {one.position: one.quarantined for one in self.normalised if one.quarantined}

    def indexes(self) -> list[int]:
        """The index of each event, of its first copy where it was stored before."""
        if self.committed is None:
            return []
        known = dict(self.committed.duplicates)
        fresh = self.committed.first_index or 0
        out: list[int] = []
        for at in range(len(self.normalised)):
            if at in known:
                out.append(known[at])
            else:
                out.append(fresh)
                fresh += 1
        return out


@dataclass(frozen=True, slots=True)
class Parcel:
    """Records to store, and how their sender is told what became of them."""

    delivery: Delivery
    reply: Callable[[Outcome], Reply]


class Shipper(Protocol):
    """One protocol. Its functions are pure but for what they remember; they run on any thread, one call at a time."""

    @property
    def name(self) -> str:
        """One word for the metrics."""
        ...

    def take(self, call: Call) -> Parcel | Reply:
        """What a request holds, or the answer to one that stores nothing. Raises Refused, BadInput."""
        ...

    def refuse(self, call: Call, error: GravenError) -> Reply:
        """How this protocol says an error."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers a path. `source`: for a door without tokens, whoever signs: called once the body is here."""

    shipper: Shipper
    source: Callable[[Call], str] | None = None
    needs_token: bool = field(default=True)


def parse_query(query: bytes) -> dict[str, str]:
    """The query of a request, the last of each key. Raises Refused (400) for what cannot be read."""
    if not query:
        return {}
    try:
        return dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=64))
    except ValueError:
        raise Refused(400, "the query cannot be read", reason="bad_query") from None
