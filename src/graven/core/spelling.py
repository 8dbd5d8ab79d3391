"""One spelling only: base64 and decimal numbers as every text format of the log writes them.

Base64 is RFC 4648 section 4 (standard alphabet, padded) with unused bits zero; a number is ASCII decimal without sign
or leading zeros. A value that could be written two ways would let two files with different bytes mean the same thing,
so everything else is refused. What this module does not do: it knows no format, only the two kinds of words.
"""

import base64
import re

from graven.core.errors import BadInput

MAX_NUMBER = 2**63 - 1
"""The largest index, size or time any format of the log holds: what a signed 64-bit integer holds."""

HASH_BYTES = 32

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding, on one line."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, *, place: str = "", ignore_unused_bits: bool = False) -> bytes:
    """The bytes `text` spells. `ignore_unused_bits` reads as Go's StdEncoding does: `x6gx=` for `x6gw=`.

    Raises BadInput for any other alphabet, missing padding, white space, or (unless ignored) unused bits that are not
    zero.
    """
    if _BASE64.fullmatch(text) is None:
        raise BadInput(
            "not standard base64 with padding", place=place, mend="write RFC 4648 section 4 base64 on one line"
        )
    data = base64.b64decode(text)
    if not ignore_unused_bits and encode_base64(data) != text:
        raise BadInput("base64 with unused bits that are not zero", place=place, mend="encode the bytes again")
    return data


def decode_hash(text: str, *, place: str = "") -> bytes:
    """Base64 of exactly 32 bytes. Raises BadInput."""
    data = decode_base64(text, place=place) if len(text) == 44 else b""
    if len(data) != HASH_BYTES:
        raise BadInput("not the base64 of a 32-byte hash", place=place)
    return data


def parse_decimal(text: str, *, place: str = "") -> int:
    """A number from 0 to 2^63-1 in its one decimal spelling. Raises BadInput."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_NUMBER:
        raise BadInput("not a decimal number from 0 to 2^63-1 without leading zeros", place=place)
    return int(text)


def check_number(value: int, *, place: str) -> int:
    """`value` itself when 0 <= value < 2^63. Raises BadInput."""
    if not 0 <= value <= MAX_NUMBER:
        raise BadInput("a number outside 0 to 2^63-1", place=place)
    return value
