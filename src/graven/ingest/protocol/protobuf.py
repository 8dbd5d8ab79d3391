"""Protocol Buffers' wire format, read and written as far as logs need it: varints, fixed and length-delimited fields.

A message is walked field by field; nothing is built of what nobody asks for. A walk is linear in the bytes, and whoever
descends bounds the depth; but a field may have two bytes, and pack to a thousandth of that, so a `Walk` bounds the
fields of a whole request. Groups, long out of use, are refused.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import TooMany

__all__ = [
    "FIELDS_MAX", "FIXED32", "FIXED64", "LENGTH", "VARINT", "Walk", "fields", "text_of", "write_text", "write_varint"
]  # fmt: skip

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

FIELDS_MAX = 4_000_000
"""Of one request, of all its messages: eighty for each of as many records as there may be."""

_VARINT_BITS_MAX = 63


class Walk:
    """Looking at one request: `left` is how many fields still may be."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = FIELDS_MAX


def fields(message: bytes, walk: Walk) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of each field, in order: an int, or the bytes of a length-delimited one.

    Raises BadInput: cut short, a varint of more than 64 bits, a group, a field number of 0. TooMany: `walk` is over.
    """
    at, end = 0, len(message)
    while at < end:
        walk.left -= 1
        if walk.left < 0:
            raise TooMany("the request has too many fields", mend=f"send at most {FIELDS_MAX} in one request")
        tag = message[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(message, at - 1)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise _broken("a field has the number 0")
        if kind == LENGTH:
            if at >= end:
                raise _broken("a field has no length")
            size = message[at]
            at += 1
            if size >= 0x80:
                size, at = _varint(message, at - 1)
            if size > end - at:
                raise _broken("a field is longer than its message")
            yield number, kind, message[at : at + size]
            at += size
        elif kind == VARINT:
            value, at = _varint(message, at)
            yield number, kind, value
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            if size > end - at:
                raise _broken("a number is cut short")
            yield number, kind, int.from_bytes(message[at : at + size], "little")
            at += size
        else:
            raise _broken(f"a field has the wire type {kind}")


def text_of(value: int | bytes) -> str:
    """A field as text. What is not UTF-8 is kept as `\\xNN`, so that one bad byte costs no record."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def write_varint(number: int, value: int) -> bytes:
    """A varint field; nothing for 0, as proto3 has it."""
    return _tag(number, VARINT) + _encode_varint(value) if value else b""


def write_text(number: int, value: str | bytes) -> bytes:
    """A string, or an embedded message; nothing for an empty one."""
    data = value.encode() if isinstance(value, str) else value
    return _tag(number, LENGTH) + _encode_varint(len(data)) + data if data else b""


def _tag(number: int, kind: int) -> bytes:
    return _encode_varint(number << 3 | kind)


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise _broken("a varint is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise _broken("a varint has more than 64 bits")


def _broken(what: str) -> BadInput:
    return BadInput(f"the body is no protobuf message: {what}", place="body", mend="send what the .proto file says")
