"""DER, the one spelling of ASN.1 (X.690 chapters 8, 10 and 11): just what time stamps and certificates are written in.

Read strictly and without recursion of its own: definite, shortest lengths; low tag numbers; whole numbers, object
identifiers and times in their one form. The order of a SET OF is not looked at: authorities write certificates in any
order, and what is signed is hashed as it came. Bounded: 64 KiB a document, 256 members, 32 arcs.

A `Reader` walks the members of one value in order; every step says what it wants, so nothing is passed over unseen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from graven.core.errors import BadInput

MAX_DER_BYTES = 64 << 10
MAX_MEMBERS = 256
MAX_ARCS = 32
MAX_INTEGER_BYTES = 64

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

_UTC_TIME = re.compile(rb"[0-9]{12}Z")
_GENERALIZED_TIME = re.compile(rb"([0-9]{14})(?:\.([0-9]{0,17}[1-9]))?Z")
_MAX_ARC_BITS = 128
_EPOCH, _MICROSECOND = datetime.fromtimestamp(0, UTC), datetime.resolution


@dataclass(frozen=True, slots=True)
class Element:
    """One value: its tag, what is in it, and its bytes as they stand in the document."""

    tag: int
    content: bytes
    raw: bytes


class Reader:
    """The members of one value, from left to right. `what` names the value in errors."""

    def __init__(self, content: bytes, what: str) -> None:
        self._data, self._at, self._left, self._what = content, 0, MAX_MEMBERS, what

    @property
    def tag(self) -> int | None:
        """The tag of the next member, None behind the last."""
        return self._data[self._at] if self._at < len(self._data) else None

    def take(self, tag: int) -> Element:
        """The next member, which must have this tag. Raises BadInput."""
        if self.tag != tag:
            raise BadInput(f"not the DER of {self._what}: a member of tag {tag:#04x} is missing", place=self._what)
        return self._next()

    def maybe(self, tag: int) -> Element | None:
        """The next member if it has this tag. Raises BadInput for one that cannot be read."""
        return self._next() if self.tag == tag else None

    def every(self) -> Iterator[Element]:
        """All members that are left. Raises BadInput."""
        while self.tag is not None:
            yield self._next()

    def inside(self, tag: int, what: str = "") -> "Reader":
        """A reader of the next member, which must have this tag. Raises BadInput."""
        return Reader(self.take(tag).content, what or self._what)

    def end(self) -> None:
        """Raises BadInput when a member is left."""
        if self.tag is not None:
            raise BadInput(f"not the DER of {self._what}: more in it than belongs there", place=self._what)

    def _next(self) -> Element:
        self._left -= 1
        if self._left < 0:
            raise BadInput(f"more than {MAX_MEMBERS} members", place=self._what)
        element, self._at = _read(self._data, self._at, self._what)
        return element


def read_whole(data: bytes, tag: int, what: str, *, max_bytes: int = MAX_DER_BYTES) -> Element:
    """The one value `data` is. Raises BadInput: another tag, bytes behind it, too long, not DER."""
    if len(data) > max_bytes:
        raise BadInput(f"{what} of more than {max_bytes} bytes")
    reader = Reader(data, what)
    element = reader.take(tag)
    reader.end()
    return element


def read_integer(element: Element, what: str) -> int:
    """A whole number of at most 64 bytes. Raises BadInput."""
    content = element.content
    if not 1 <= len(content) <= MAX_INTEGER_BYTES:
        raise BadInput(f"a number of {len(content)} bytes", place=what)
    if len(content) > 1 and (content[0] == 0) is (content[1] < 0x80) and content[0] in (0x00, 0xFF):
        raise BadInput("a number with bytes that say nothing", place=what)
    return int.from_bytes(content, "big", signed=True)


def read_boolean(element: Element, what: str) -> bool:
    """Raises BadInput for another byte than 00 and FF."""
    if element.content not in (b"\x00", b"\xff"):
        raise BadInput("a truth value that is neither", place=what)
    return element.content == b"\xff"


def read_oid(element: Element, what: str) -> str:
    """An object identifier as dotted decimal. Raises BadInput."""
    arcs: list[int] = []
    arc = 0
    fresh = True
    for byte in element.content:
        if fresh and byte == 0x80:
            raise BadInput("an object identifier that is not in its shortest form", place=what)
        arc = arc << 7 | byte & 0x7F
        fresh = byte < 0x80
        if arc.bit_length() > _MAX_ARC_BITS or len(arcs) > MAX_ARCS:
            raise BadInput("an object identifier that is too long", place=what)
        if fresh:
            arcs.append(arc)
            arc = 0
    if not arcs or not fresh:
        raise BadInput("an object identifier that is cut short", place=what)
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read_bits(element: Element, what: str) -> bytes:
    """The bytes of a bit string that has whole bytes. Raises BadInput."""
    if element.content[:1] != b"\x00":
        raise BadInput("a bit string that is no bytes", place=what)
    return element.content[1:]


def read_flags(element: Element, what: str) -> frozenset[int]:
    """The numbers of the bits that are set in a named bit list. Raises BadInput."""
    content = element.content
    if not 1 <= len(content) <= 9 or content[0] > 7 or (len(content) == 1 and content[0]):
        raise BadInput("not a list of flags", place=what)
    if content[0] and content[-1] & ((1 << content[0]) - 1):
        raise BadInput("flags with unused bits that are not zero", place=what)
    return frozenset(
        8 * number + bit for number, byte in enumerate(content[1:]) for bit in range(8) if byte & (0x80 >> bit)
    )


def read_time(element: Element, what: str) -> tuple[int, int]:
    """(microseconds since the Unix epoch, how fine the text is in microseconds) of a UTCTime or GeneralizedTime in UTC.

    What is finer than a microsecond is cut off. Raises BadInput.
    """
    fraction = b""
    if element.tag == UTC_TIME and _UTC_TIME.fullmatch(element.content):
        century = b"19" if element.content[:2] >= b"50" else b"20"
        digits = century + element.content[:12]
    elif element.tag == GENERALIZED_TIME and (found := _GENERALIZED_TIME.fullmatch(element.content)):
        digits, fraction = found[1], found[2] or b""
    else:
        raise BadInput("not a time in UTC", place=what)
    try:
        moment = datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadInput("a time that is none", place=what) from None
    whole_us = (moment - _EPOCH) // _MICROSECOND
    return whole_us + int(fraction[:6].ljust(6, b"0")), 10 ** max(0, 6 - len(fraction))


def encode(tag: int, *parts: bytes) -> bytes:
    """One value of these parts."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def encode_integer(value: int) -> bytes:
    """A whole number that is not negative, in its shortest form."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encode_oid(dotted: str) -> bytes:
    """An object identifier from dotted decimal. Raises BadInput."""
    arcs = [int(arc) for arc in dotted.split(".") if arc.isascii() and arc.isdecimal()]
    if len(arcs) != dotted.count(".") + 1 or len(arcs) < 2 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise BadInput(f"not an object identifier: {dotted[:80]!r}", mend="dotted decimal, as 1.3.6.1.4.1.311")
    content = bytearray()
    for arc in (40 * arcs[0] + arcs[1], *arcs[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    data = encode(OID, bytes(content))
    read_oid(read_whole(data, OID, "an object identifier"), "an object identifier")
    return data


def _read(data: bytes, at: int, what: str) -> tuple[Element, int]:
    start = at
    if len(data) - at < 2:
        raise BadInput(f"not the DER of {what}: cut short", place=what)
    tag, length = data[at], data[at + 1]
    at += 2
    if tag & 0x1F == 0x1F:
        raise BadInput(f"not the DER of {what}: a long tag", place=what)
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or len(data) - at < count:
            raise BadInput(f"not the DER of {what}: a length that cannot be read", place=what)
        length = int.from_bytes(data[at : at + count], "big")
        if length < 0x80 or length < 1 << 8 * (count - 1):
            raise BadInput(f"not the DER of {what}: a length that is not in its shortest form", place=what)
        at += count
    if len(data) - at < length:
        raise BadInput(f"not the DER of {what}: cut short", place=what)
    end = at + length
    return Element(tag, data[at:end], data[start:end]), end
