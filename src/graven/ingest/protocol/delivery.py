"""What a protocol's parser makes of a request: records for the pipeline, and what tells a repeat from a likeness.

Shippers send again when they are not sure; most of their records have no id. Two alike records may be two acts, though,
and an audit log must not drop one. So a record has a key only where a repeat can be known: its sender gave an id, or it
carries a time finer than a millisecond (then the record is the key), or at least a time (then the whole request is,
with the record's place in it). Without any time it has none, and is stored as often as it comes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from graven.core.errors import BadInput
from graven.event.density import is_too_dense
from graven.ingest.record import Record

__all__ = [
    "FAULTY_BYTES_MAX",
    "RECORDS_MAX",
    "Delivery",
    "TooMany",
    "add_label",
    "check_count",
    "check_density",
    "count_repeats",
    "faulty",
    "format_ns",
    "format_s",
    "reason_of",
    "request_keys",
]

FAULTY_BYTES_MAX = 64 << 10
"""Bytes kept of a record that is longer than a record may be."""

RECORDS_MAX = 50_000
"""Records of one request: an event weighs more than the shortest record, so a body's size alone does not bound it."""

_LABELS_MAX = 64
_LABEL_CHARS_MAX = 1024
_LABEL_NAME_CHARS_MAX = 120
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Delivery:
    """The records of one request, in order.

    `keys`, one a record: the sender's words for "this one", "" for none. They may be given as what makes them: most
    events have an id of their own, and then nobody asks.
    """

    __slots__ = ("_keys", "records")

    def __init__(self, records: Sequence[Record], keys: Sequence[str] | Callable[[], Sequence[str]] = ()) -> None:
        self.records = records
        self._keys = keys

    @property
    def keys(self) -> Sequence[str]:
        if callable(self._keys):
            self._keys = self._keys()
        return self._keys


class TooMany(BadInput):
    """More records in one request than are taken."""


def check_count(count: int) -> None:
    """Raises TooMany for more than RECORDS_MAX."""
    if count > RECORDS_MAX:
        raise TooMany(f"the request has more than {RECORDS_MAX} records", mend="send fewer in one request")


def check_density(body: bytes) -> None:
    """Raises TooMany for JSON that is nothing but brackets. For what is decoded as a whole."""
    if is_too_dense(body):
        raise TooMany("the request has too many objects and lists for its size", mend="send less in one request")


def faulty(raw: bytes, reason: str, around: Mapping[str, str] | None = None) -> Record:
    """A record that could not be taken out of its envelope: kept as it came, with the reason."""
    return Record(raw, around=around or {}, fault=reason)


def reason_of(error: Exception) -> str:
    """An error as the reason of a fault: our own words, never a value of the record."""
    return error.what if isinstance(error, BadInput) else "it is not valid JSON of the protocol's shape"


def add_label(around: dict[str, str], name: str, value: str) -> None:
    """Add what surrounds a record, within bounds; what goes beyond them is left out."""
    if len(around) < _LABELS_MAX and value:
        around[name[:_LABEL_NAME_CHARS_MAX]] = value[:_LABEL_CHARS_MAX]


def request_keys(body: bytes, timed: Iterable[bool]) -> list[str]:
    """Keys of records whose times are coarse: the request and the place in it. `timed`: whether each has a time."""
    name = hashlib.blake2b(body, digest_size=16).hexdigest()
    return [f"{name}/{position}" if has_time else "" for position, has_time in enumerate(timed)]


def count_repeats(keys: Iterable[str]) -> list[str]:
    """Keys of records with fine times, the second and later of the same request told apart by number."""
    seen: Counter[str] = Counter()
    out: list[str] = []
    for key in keys:
        if not key:
            out.append("")
            continue
        seen[key] += 1
        out.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return out


def format_ns(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 with nine digits, "" for what is no time of the years 1970 to 9999."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z" if ns > 0 else ""
    except OverflowError:
        return ""


@lru_cache(maxsize=1024)
def format_s(value: float | str | None) -> str:
    """Seconds since 1970, a number or its digits, as RFC 3339 with microseconds; "" for what is none."""
    try:
        seconds = 0.0 if value is None else float(value)
        if not 0 < seconds < 1e15:
            return ""
        if seconds >= 1e11:  # some count milliseconds
            seconds /= 1000
        return (_EPOCH + timedelta(microseconds=round(seconds * 1e6))).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""
