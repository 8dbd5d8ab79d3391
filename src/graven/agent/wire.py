"""The body of a batch, as an agent spools and sends it: MessagePack, compressed with Zstandard.

    body   = [[run, …]]
    run    = [type (str), around (map of str to str), records (array of bin)]

A run is records of one type from one place, in order, as consecutive lines of a file. `type` names the source type,
"" leaves it to be found, and "graven" says that the records are events in the event model. `around` is what
surrounds each record of the run. The records of a batch are those of its runs, one run after the other.
"""

from collections.abc import Sequence
from itertools import chain

import msgspec

from graven.core.errors import BadInput
from graven.core.statement import RECORDS_MAX
from graven.log.seal import zstd

EVENT_TYPE = "graven"
BODY_BYTES_MAX = 16 << 20
AROUND_MAX = 64
ZSTD_LEVEL = 1

_TEXT_BYTES_MAX = 4096


class Run(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Records that share a type and what surrounds them."""

    type: str
    around: dict[str, str]
    records: list[bytes]


class Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a batch carries."""

    runs: list[Run]

    @property
    def records(self) -> list[bytes]:
        """Every record, in the order that is signed."""
        return list(chain.from_iterable(run.records for run in self.runs))


def encode_body(runs: Sequence[Run]) -> bytes:
    """The bytes whose SHA-256 the statement names."""
    return _ENCODE(Body(list(runs)))


def decode_body(data: bytes) -> Body:
    """The body of these bytes. Raises BadInput: not MessagePack of this shape, or beyond the bounds."""
    try:
        body = _DECODE(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("the body is no batch of an agent", place=str(error)[:200]) from None
    if sum(len(run.records) for run in body.runs) > RECORDS_MAX or len(body.runs) > RECORDS_MAX:
        raise BadInput(f"a batch of more than {RECORDS_MAX} records")
    for run in body.runs:
        texts = (run.type, *run.around, *run.around.values())
        if len(run.around) > AROUND_MAX or max(map(len, texts)) > _TEXT_BYTES_MAX:
            raise BadInput("a run with too much around its records", mend=f"at most {AROUND_MAX} short texts")
    return body


def compress(body: bytes) -> bytes:
    return zstd.compress(body, ZSTD_LEVEL)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Body).decode
