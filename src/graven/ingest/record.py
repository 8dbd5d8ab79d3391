"""The seam of collecting: a record as it arrived, an event made of it, and what a source type must offer.

A normaliser is a module (or an object) with `TYPE`, `VERSION`, `recognise` and `normalise`; both functions are pure.
The document they are given is the record decoded once: whatever JSON it holds, or the text of a line.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from graven.check.words import HISTORY
from graven.event import Event

__all__ = [
    "AROUND_MAX",
    "HISTORY",
    "HISTORY_WORDS",
    "LIKELY",
    "MAYBE",
    "NO",
    "SURE",
    "UNKNOWN_TYPE",
    "Document",
    "Normalised",
    "Normaliser",
    "Record",
    "Unparsed",
]

NO, MAYBE, LIKELY, SURE = 0, 1, 2, 3
"""How well a document fits a type. SURE ends the search; of equal ones the first in the registry counts."""

UNKNOWN_TYPE = "unknown"
AROUND_MAX = 64
"""Entries of `Record.around` that become labels; the rest is left out."""

HISTORY_WORDS = "imported; integrity before that is not claimed"
"""What the label `HISTORY` says."""

Document = Any
"""JSON as msgspec decodes it, or the text of a record that is not JSON. What it holds is the sender's choice."""


class Record(Struct, frozen=True, gc=False):
    """One record as it arrived at a door.

    `raw`: the smallest slice of the request or file that holds it. `type`: the source type stated by sender, door or
    configuration, "" to detect it. `around`: what surrounded it, flat: "syslog.hostname", "hec.sourcetype",
    "file.path", "time" (RFC 3339, of the envelope, used where the record itself has none). `id`: the sender's own id
    of this record, used where the record has none. `otherwise`: the type to take where none is stated and none
    recognises the record; without it, such a record is quarantined.

    `fault`: why a door could not take the record out of what it came in; it is quarantined with these words, unread. Of
    one of which only the first bytes were kept, `size_bytes` and `sha256` (hex) are those of the whole.
    """

    raw: bytes
    type: str = ""
    around: Mapping[str, str] = {}
    id: str = ""
    otherwise: str = ""
    fault: str = ""
    size_bytes: int = 0
    sha256: str = ""


class Normalised(Struct, frozen=True, gc=False):
    """One event made of a record; a record may give several, each with the same raw.

    `event`: JSON in the event model. `raw`: the producer's bytes, as redaction left them; None where the record already
    was an event. `id`: for the idempotency window. `class_`: the retention class an event asks for itself.
    `type`: the source type, "unknown" where none was found. `quarantined`: why it could not be read, or "".
    `redacted`: whether redaction changed anything; such a record is never claimed as sent. `position`: 0-based, of its
    record among those that were run together.
    """

    event: bytes
    raw: bytes | None
    id: str | None
    type: str
    quarantined: str = ""
    class_: str | None = None
    redacted: bool = False
    position: int = 0


class Unparsed(Exception):
    """A record that its normaliser cannot read: it is kept as a quarantined event.

    `reason`: a full clause without any value of the record. `path`: where in it. `mend`: what would help.
    """

    def __init__(self, reason: str, *, path: str = "$", mend: str = "") -> None:
        super().__init__(reason)
        self.reason, self.path, self.mend = reason, path, mend


class Normaliser(Protocol):
    """A source type. Modules of `ingest.normalize` are such objects, and so is a user's mapping."""

    @property
    def TYPE(self) -> str: ...  # noqa: N802 (a module's constant)

    @property
    def VERSION(self) -> int: ...  # noqa: N802

    def recognise(self, document: Document, /) -> int:
        """NO, MAYBE, LIKELY or SURE; cheap, and never raises."""
        ...

    def normalise(self, record: Record, document: Document, /) -> list[Event]:
        """The events of a record, at least one.

        Raises Unparsed. Any other error is a fault of the parser; the record is quarantined all the same.
        """
        ...
