"""What `graven import --history` hands over: parts of files, each a run of records with its place in the file.

    body = [[name, SHA-256, size, type, first, last, records, cut, said], …]    (MessagePack, compressed: Zstandard)

`first` counts the file's records in front of this part, and `last` says that it is the file's last. `cut` maps the
position of a record of which only the beginning is here to [why, size, SHA-256 of the whole]. `said` are events of the
model that the importer itself says of the file (a verdict on a foreign chain), kept as they are.

Each event made of such a record bears the label `graven.history`, in whatever it was written: nothing is claimed of
what happened to it before it was imported. When that was, the event's head says. A record that already is an event of
the model is written anew with the label, and kept as it was as the raw.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from graven.core.errors import BadInput
from graven.ingest.record import HISTORY, HISTORY_WORDS, Record
from graven.log.seal import zstd

__all__ = [
    "BODY_BYTES_MAX",
    "PARTS_MAX",
    "POSITIONS_MAX",
    "RECORDS_MAX",
    "Part",
    "Sha256",
    "decode_parts",
    "encode_parts",
    "records_of_part",
]

BODY_BYTES_MAX = 32 << 20
PARTS_MAX = 1_000
POSITIONS_MAX = 800
RECORDS_MAX = 20_000
ZSTD_LEVEL = 3

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Records `first`, `first` + 1, … of a file."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    sha256: Sha256
    size_bytes: _Count
    type: Annotated[str, msgspec.Meta(max_length=64)]
    first: _Count
    last: bool
    records: list[bytes]
    cut: dict[int, tuple[str, _Count, Sha256]] = {}
    said: list[bytes] = []


def encode_parts(parts: Sequence[Part]) -> bytes:
    """The body of a request."""
    return zstd.compress(_ENCODE(parts), ZSTD_LEVEL)


def decode_parts(clear: bytes) -> list[Part]:
    """The parts of an uncompressed body, at most `BODY_BYTES_MAX` of it. Raises BadInput."""
    try:
        parts = _DECODE(clear)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("the body is no part of a history", place=str(error)[:200]) from None
    if not parts or len(parts) > PARTS_MAX or sum(len(part.records) + len(part.said) for part in parts) > RECORDS_MAX:
        raise BadInput(f"1 to {PARTS_MAX} parts, of at most {RECORDS_MAX} records together")
    if len({part.sha256 for part in parts}) < len(parts):
        raise BadInput("a file stands twice in one request")
    if any(not part.name.isprintable() for part in parts):
        raise BadInput("the name of a file has characters that cannot be shown")
    return parts


def records_of_part(part: Part) -> list[Record]:
    """The records, marked as history."""
    around = {HISTORY: HISTORY_WORDS, "file.name": part.name}
    return [
        Record(raw, part.type, around, fault=cut[0][:200], size_bytes=cut[1], sha256=cut[2])
        if (cut := part.cut.get(at)) is not None
        else Record(raw, part.type, around)
        for at, raw in enumerate(part.records)
    ]


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Part]).decode
