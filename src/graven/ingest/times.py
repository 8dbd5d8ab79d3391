"""Times as producers write them, to UTC. Pure; a time that cannot be read is None, never a guess.

Read: RFC 3339 with any offset, `T` or a space, any length of fraction; the same without a zone, which is taken as UTC
(CloudTrail lookups, Microsoft 365 and most exports write it so); seconds, milliseconds, microseconds or nanoseconds
since 1970 as a number or its digits. What is finer than a microsecond is cut off here and stays in the raw record.
"""

import math
import re
from datetime import UTC, datetime, timedelta

__all__ = ["read_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))  # below the bound a number counts seconds, ms, µs; else ns
_DIGITS = re.compile(r"[0-9]{9,19}(\.[0-9]{1,9})?", re.ASCII)
_SHAPE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]+([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,12}))? ?"
    r"(Z|z|UTC|GMT|[+-][0-2][0-9]:?[0-5][0-9])?",
    re.ASCII,
)
_SHORT_LEFTOVER = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})([0-9]{3,9})", re.ASCII)
_TEXT_MAX = 64


def read_time(value: object) -> datetime | None:
    """`value` as a time in UTC, or None where it is none, out of the years 1–9999, or a leap second."""
    if isinstance(value, str):
        if len(value) == 20 and value[10] == "T" and value[19] == "Z" and value.isascii():  # what most records have
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                return None
        if 21 < len(value) < 28 and value[19] == "." and value[10] == "T" and value[-1] == "Z" and value[5] in "01":
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                pass
        return _read_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _read_number(value)


def _read_text(text: str) -> datetime | None:
    text = text.strip()
    if not text or len(text) > _TEXT_MAX:
        return None
    if _DIGITS.fullmatch(text):
        return _read_number(float(text) if "." in text else int(text))
    found = _SHAPE.fullmatch(text)
    if found is None:
        lost_dot = _SHORT_LEFTOVER.fullmatch(text)  # "2024-12-17 00:00:00000000": exporters that drop the dot
        found = _SHAPE.fullmatch(f"{lost_dot[1]}.{lost_dot[2]}") if lost_dot else None
        if found is None:
            return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    micro = int((found[7] or "0")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, micro, UTC)
        return local - _offset(found[8])
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone[0] not in "+-":
        return timedelta(0)
    digits = zone[1:].replace(":", "")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return away if zone[0] == "+" else -away


def _read_number(value: float) -> datetime | None:
    if not math.isfinite(value) or not 0 < value < 1e20:
        return None
    for bound, unit_us in _UNITS:
        if value < bound:
            micros = value * unit_us
            break
    else:
        micros = value // 1000
    try:
        return _EPOCH + timedelta(microseconds=round(micros))
    except OverflowError:
        return None
