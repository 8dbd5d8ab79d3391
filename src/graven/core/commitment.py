"""The commitment that stands in the tree for one event: head, digests, entry.

    head     "graven/1 <source> <received>\\n"             ASCII; written by the log, about the event
    d_event  SHA-256(salt ‖ event)                        salt: 32 random bytes
    d_raw    SHA-256(another salt ‖ raw), or NO_RAW       the record the event was made from, where there is one
    entry    SHA-256(head ‖ d_event ‖ d_raw)              32 bytes, the leaf data

The salts hide what was hashed from everyone who is not told them, so the whole tree can be public. The last 64 bytes of
what an entry hashes are fixed in place, so it reads in one way only.

Invariants: one spelling of a head, no encoding of anything else: bytes are hashed as they came. `graven.core.merkle`
makes a leaf of an entry; where salts come from is the sealer's affair.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core.errors import BadInput

SALT_BYTES = 32
DIGEST_BYTES = 32
NO_RAW = bytes(DIGEST_BYTES)  # stands for a raw that is absent; no digest of anything
SOURCE_MAX = 2**32 - 1
RECEIVED_US_MAX = 2**63 - 1
HEAD_BYTES_MAX = len(f"graven/1 {SOURCE_MAX} {RECEIVED_US_MAX}\n")


@dataclass(frozen=True, slots=True)
class Head:
    """What the log itself says of an event.

    `source`: number in the log's register of sources, 0 … 2³²−1; 0 is Graven itself. `received_us`: when the last byte
    of the request was in, in µs since the Unix epoch, UTC, 0 … 2⁶³−1, by the log's clock. Raises BadInput outside
    these.
    """

    source: int
    received_us: int

    def __post_init__(self) -> None:
        if not 0 <= self.source <= SOURCE_MAX:
            raise BadInput(f"a source number is between 0 and 2^32-1, not {self.source}")
        if not 0 <= self.received_us <= RECEIVED_US_MAX:
            raise BadInput(f"a receiving time is between 0 and 2^63-1 microseconds, not {self.received_us}")


def format_head(head: Head) -> bytes:
    """The head line, at most 40 bytes, with its newline."""
    return b"graven/1 %d %d\n" % (head.source, head.received_us)


def parse_head(data: bytes) -> Head:
    """The head that `data` spells. Raises BadInput for whatever `format_head` does not write: leading zeros, a tail."""
    match = _HEAD.fullmatch(data[: HEAD_BYTES_MAX + 1])
    if match is None:
        raise BadInput('a head is one line "graven/1 SOURCE RECEIVED", both decimal without zeros in front')
    return Head(int(match[1]), int(match[2]))


def digest(salt: bytes, data: bytes) -> bytes:
    """SHA-256(salt ‖ data): `d_event` of an event, `d_raw` of a raw. Raises BadInput unless the salt is 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise BadInput(f"a salt is 32 bytes, this one is {len(salt)}")
    return sha256(salt + data).digest()


def digests(salts: Sequence[bytes], items: Sequence[bytes]) -> list[bytes]:
    """`digest` for a batch, one salt an item. Raises BadInput unless they are as many and each salt is 32 bytes."""
    if len(salts) != len(items) or not set(map(len, salts)) <= {SALT_BYTES}:
        raise BadInput(f"{len(items)} digests need as many salts of 32 bytes")
    begin = sha256().copy  # a copy of an idle hash costs less than a new one
    hashes = []
    for salt, item in zip(salts, items, strict=True):
        h = begin()
        h.update(salt)
        h.update(item)
        hashes.append(h.digest())
    return hashes


def entry_of(head: bytes, d_event: bytes, d_raw: bytes) -> bytes:
    """The entry: 32 bytes. `d_raw` is NO_RAW where there is no raw.

    Raises BadInput for a digest that is not 32 bytes, a `d_event` of zeros (every entry has an event), or a `head` that
    `parse_head` refuses.
    """
    if len(d_event) != DIGEST_BYTES or len(d_raw) != DIGEST_BYTES:
        raise BadInput(f"a digest is 32 bytes, these are {len(d_event)} and {len(d_raw)}")
    if d_event == NO_RAW:
        raise BadInput("a digest of zeros stands for no event, and every entry has one")
    parse_head(head)
    return sha256(head + d_event + d_raw).digest()


def entries_of(heads: Iterable[bytes], d_events: Iterable[bytes], d_raws: Iterable[bytes]) -> list[bytes]:
    """`entry_of` for a batch the log itself made: three columns, of which only the equal length is checked."""
    begin = sha256().copy  # as in digests
    hashes = []
    for head, d_event, d_raw in zip(heads, d_events, d_raws, strict=True):
        h = begin()
        h.update(head + d_event + d_raw)
        hashes.append(h.digest())
    return hashes


_HEAD = re.compile(rb"graven/1 (0|[1-9][0-9]{0,9}) (0|[1-9][0-9]{0,18})\n")
