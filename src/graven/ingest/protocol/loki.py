"""Grafana Loki's push: streams of labelled lines, as JSON or as protobuf (which arrives snappy-compressed).

The record is the line. Its stream's labels and its own metadata surround it; its time, in nanoseconds, is part of
what tells a repeat: Loki itself takes the same line at the same time of the same stream for one.

Source: "Ingest logs" of Loki's HTTP API, and push.proto.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import (
    Delivery,
    TooMany,
    add_label,
    check_count,
    check_density,
    count_repeats,
    faulty,
    format_ns,
)
from graven.ingest.protocol.protobuf import Walk, fields, text_of
from graven.ingest.record import Record

__all__ = ["read_json", "read_protobuf"]

_LABELS_BYTES_MAX = 64 << 10
_PAIR = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_.:-]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class _Stream(Struct):
    stream: dict[str, str] = {}
    values: list[msgspec.Raw] = []


class _Push(Struct):
    streams: list[_Stream] = []


_DECODE = msgspec.json.Decoder(_Push).decode
_DECODE_PLAIN = msgspec.json.Decoder(tuple[str, str]).decode
_DECODE_ENTRY = msgspec.json.Decoder(tuple[str, str, dict[str, str]]).decode


def read_json(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The records of a JSON push. Raises BadInput when it has not Loki's shape as a whole; TooMany."""
    check_density(body)
    try:
        push = _DECODE(body)
    except (ValueError, RecursionError):
        raise _not_loki() from None
    gathered = _Gathered(around)
    for stream in push.streams:
        gathered.begin(stream.stream)
        for raw in stream.values:
            piece = bytes(raw)
            try:
                try:
                    stamp, line = _DECODE_PLAIN(piece)
                    meta: Mapping[str, str] = {}
                except msgspec.ValidationError:
                    stamp, line, meta = _DECODE_ENTRY(piece)
                ns = int(stamp) if stamp.isascii() and stamp.isdecimal() and len(stamp) <= 20 else 0
                gathered.add(line.encode("utf-8", "surrogatepass"), ns, meta)
            except (ValueError, RecursionError):
                gathered.add_faulty(piece, 'an entry is not ["nanoseconds", "line"]')
    return gathered.delivery()


def read_protobuf(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The records of a protobuf push, decompressed. Raises BadInput when it is none; TooMany."""
    gathered, walk = _Gathered(around), Walk()
    for number, _, stream in fields(body, walk):
        if number != 1 or not isinstance(stream, bytes):
            continue
        parts = [(n, value) for n, _, value in fields(stream, walk) if n in (1, 2) and isinstance(value, bytes)]
        gathered.begin(parse_labels(text_of(next((value for field, value in parts if field == 1), b""))))
        for field, entry in parts:
            if field == 2:
                try:
                    found = _entry(entry, walk)
                except TooMany:
                    raise
                except BadInput as bad:
                    gathered.add_faulty(entry, bad.what)
                else:
                    gathered.add(*found)
    return gathered.delivery()


def parse_labels(text: str) -> dict[str, str]:
    """The labels of `{name="value", …}`. What does not fit that form is kept whole, as `_`."""
    inner = text.strip()
    if not (inner.startswith("{") and inner.endswith("}")) or len(text) > _LABELS_BYTES_MAX:
        return {"_": text[:_LABELS_BYTES_MAX]} if inner else {}
    inner = inner[1:-1].strip()
    found: dict[str, str] = {}
    at = 0
    while at < len(inner):
        pair = _PAIR.match(inner, at)
        if pair is None:
            return {"_": text}
        found[pair[1]] = _ESCAPE.sub(_unescape, pair[2])
        at = pair.end()
    return found


class _Gathered:
    """Records of one push, as they are found."""

    def __init__(self, around: Mapping[str, str]) -> None:
        self._around = around
        self._records: list[Record] = []
        self._keys: list[str] = []
        self._said: dict[str, str] = {}
        self._stream = b""

    def begin(self, labels: Mapping[str, str]) -> None:
        """What follows is of the stream with these labels."""
        self._said = dict(self._around)
        for name, value in labels.items():
            add_label(self._said, f"loki.{name}", value)
        self._stream = msgspec.json.encode(sorted(labels.items()))

    def add(self, line: bytes, ns: int, meta: Mapping[str, str]) -> None:
        check_count(len(self._records) + 1)
        said, key = dict(self._said), ""
        if time := format_ns(ns):
            said["time"] = time
            hash_ = hashlib.blake2b(self._stream, digest_size=16)
            hash_.update(b"%d\0" % ns)
            hash_.update(line)
            key = f"loki:{hash_.hexdigest()}"
        for name, value in meta.items():
            add_label(said, f"loki.{name}", value)
        self._records.append(Record(line, around=said))
        self._keys.append(key)

    def add_faulty(self, raw: bytes, reason: str) -> None:
        check_count(len(self._records) + 1)
        self._records.append(faulty(raw, reason, self._said))
        self._keys.append("")

    def delivery(self) -> Delivery:
        return Delivery(self._records, count_repeats(self._keys))


def _entry(entry: bytes, walk: Walk) -> tuple[bytes, int, dict[str, str]]:
    line, ns, meta = b"", 0, dict[str, str]()
    for number, _, value in fields(entry, walk):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            ns = _timestamp(value, walk)
        elif number == 2:
            line = value
        elif number == 3:
            pair = {field: text_of(part) for field, _, part in fields(value, walk)}
            meta[pair.get(1, "")] = pair.get(2, "")
    return line, ns, meta


def _timestamp(message: bytes, walk: Walk) -> int:
    parts: Iterator[tuple[int, int]] = ((n, v) for n, _, v in fields(message, walk) if isinstance(v, int))
    found = dict(parts)
    return found.get(1, 0) * 1_000_000_000 + found.get(2, 0)


def _unescape(found: "re.Match[str]") -> str:
    escape = found[1]
    if escape[0] in "xuU" and len(escape) > 1:
        number = int(escape[1:], 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
    return _NAMED.get(escape, escape)


def _not_loki() -> BadInput:
    mend = 'send {"streams": [{"stream": {}, "values": [["nanoseconds", "line"]]}]}'
    return BadInput("the body is no push", place="body", mend=mend)
