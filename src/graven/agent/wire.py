"""The body of a batch, as an agent spools and sends it: MessagePack, compressed with Zstandard.

    body   = [[run, …]]
    run    = [type (str), around (map of str to str), records (array of bin)]

A run is records of one type from one place, in order, as consecutive lines of a file. `type` names the source type,
"" leaves it to be found, and "graven" says that the records are events in the event model. `around` is what
surrounds each record of the run. The records of a batch are those of its runs, one run after the other.

What an agent's door found out of a record stands in `around` under names of its own, taken out again by the server:
what the record is where nothing recognises it, what tells a repeat, why it could not be read.
"""

import re
from collections.abc import Sequence
from itertools import chain

import msgspec

from graven.core.errors import BadInput
from graven.core.statement import RECORDS_MAX
from graven.ingest.record import Record
from graven.log.seal import zstd

EVENT_TYPE = "graven"
BODY_BYTES_MAX = 16 << 20
AROUND_MAX = 64
ZSTD_LEVEL = 1

KEY = "graven.key"
OTHERWISE = "graven.otherwise"
FAULT = "graven.fault"
SIZE, SHA256 = "graven.size_bytes", "graven.sha256"
KEY_CHARS_MAX = 512

_TEXT_BYTES_MAX = 4096
_SIZE = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Run(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Records that share a type and what surrounds them."""

    type: str
    around: dict[str, str]
    records: list[bytes]

    @property
    def size_bytes(self) -> int:
        """What it weighs in a body, about."""
        said = sum(len(name) + len(value) + 4 for name, value in self.around.items())
        return sum(map(len, self.records)) + said


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


def run_of(record: Record, key: str = "") -> Run:
    """A record of a door as a run of its own; `key`: what tells it from a repeat. What is too much around it is cut."""
    said: dict[str, str] = {}
    if record.otherwise:
        said[OTHERWISE] = record.otherwise
    if key:
        said[KEY] = key[:KEY_CHARS_MAX]
    if record.fault:
        said[FAULT] = record.fault
        if record.sha256:
            said |= {SIZE: str(record.size_bytes), SHA256: record.sha256}
    for name, value in record.around.items():
        if len(said) == AROUND_MAX:
            break
        said.setdefault(name[:_TEXT_BYTES_MAX], value[:_TEXT_BYTES_MAX])
    return Run(record.type, said, [record.raw])


def records_of(body: Body) -> tuple[list[Record], list[str]]:
    """(the records for the pipeline, what tells each from a repeat, "" for nothing)."""
    records: list[Record] = []
    keys: list[str] = []
    for run in body.runs:
        around, otherwise, key, fault, size, sha256 = run.around, "", "", "", 0, ""
        if OTHERWISE in around or KEY in around or FAULT in around:
            around = dict(around)
            otherwise, key = around.pop(OTHERWISE, ""), around.pop(KEY, "")[:KEY_CHARS_MAX]
            fault = around.pop(FAULT, "")
            if fault and _SIZE.fullmatch(around.get(SIZE, "")) and _SHA256.fullmatch(around.get(SHA256, "")):
                size, sha256 = int(around.pop(SIZE)), around.pop(SHA256)
        for number, raw in enumerate(run.records):
            records.append(Record(raw, run.type, around, "", otherwise, fault, size, sha256))
            keys.append(f"{key}#{number + 1}" if key and number else key)
    return records, keys


def compress(body: bytes) -> bytes:
    return zstd.compress(body, ZSTD_LEVEL)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Body).decode
