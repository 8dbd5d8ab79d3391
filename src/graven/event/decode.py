"""From the bytes of one event to an `Event`, within limits.

An event's bytes are the JSON value from its `{` to its `}` and nothing around it, valid UTF-8. They are never changed:
what is decoded here only serves to validate, and to take the id and the class.

Limits, counted on the bytes, so that every reader counts the same: size, nesting of `{` and `[`, number of keys (a
duplicate counts). The exact count runs only where a cheap upper bound allows a limit to be passed.
"""

import re
from datetime import UTC

from msgspec.json import Decoder

from graven.core.errors import BadInput
from graven.event.explain import DEPTH_MAX, DEPTH_MEND, explain
from graven.event.model import ID_BYTES_MAX, Event

__all__ = [
    "DEPTH_MAX",
    "KEYS_MAX",
    "LONG_BYTES",
    "MAX_EVENT_BYTES",
    "check_event",
    "decode_event",
]

MAX_EVENT_BYTES = 1 << 20
KEYS_MAX = 10_000

_KEY_BYTES_MIN = 4  # `"":0`, the shortest key with its value
LONG_BYTES = KEYS_MAX * _KEY_BYTES_MIN  # shorter bytes cannot hold too many keys

_DECODE = Decoder(Event).decode
_STRING = re.compile(rb'"[^"]*"')  # once escapes are gone
_ALL_BYTES = bytes(range(256))
_ROUND = bytes.maketrans(b"{[}]", b"(())")


def decode_event(slice_: bytes) -> Event:
    """The event in `slice_`, which runs from `{` to `}`.

    Raises BadInput with the JSON path as its place. Cost: one decode, plus about a fifth.
    """
    if len(slice_) > MAX_EVENT_BYTES:
        raise _too_long(slice_)
    if slice_[:1] != b"{" or slice_[-1:] != b"}":
        raise _not_an_object(slice_)
    try:
        if not slice_.isascii():
            slice_.decode()
        event = _DECODE(slice_)
    except (ValueError, RecursionError) as error:  # every msgspec and Unicode error is a ValueError
        raise explain(error, slice_) from None
    check_event(event, slice_)
    return event


def check_event(event: Event, slice_: bytes) -> None:
    """What the JSON library does not check: size, depth, keys, the id's length in bytes, the time's zone.

    Raises BadInput with the JSON path as its place. The exact check is only made where a cheaper look leaves a doubt.
    """
    length, time, id_ = len(slice_), event.time, event.id
    if (
        length > LONG_BYTES
        or length - len(slice_.replace(b"{", b"").replace(b"[", b"")) > DEPTH_MAX  # twice as fast as count()
        or (time is not None and time.tzinfo is not UTC)
        or (id_ is not None and not id_.isascii())
    ):
        _check_closely(event, slice_)


def _check_closely(event: Event, slice_: bytes) -> None:
    if slice_.count(b"{") + slice_.count(b"[") > DEPTH_MAX or len(slice_) > LONG_BYTES:
        _check_limits(slice_)
    if event.time is not None and event.time.tzinfo is not UTC:
        raise BadInput("the time is not in UTC", place="$.time", mend="convert it and write it with a Z at its end")
    if event.id is not None and not event.id.isascii() and len(event.id.encode()) > ID_BYTES_MAX:
        raise BadInput(f"the id is longer than {ID_BYTES_MAX} bytes", place="$.id", mend="send a shorter id")


def _too_long(slice_: bytes) -> BadInput:
    what = f"the event has {len(slice_)} bytes; {MAX_EVENT_BYTES} are the most"
    return BadInput(what, place="$", mend="leave large content out, or keep its hash and where it lies")


def _not_an_object(slice_: bytes) -> BadInput:
    """Why `slice_`, which does not run from `{` to `}`, is not an event."""
    if slice_.strip(b" \t\r\n") != slice_:
        return BadInput("there is white space around the event", place="$", mend="pass the bytes from { to } alone")
    try:
        _DECODE(slice_)
    except (ValueError, RecursionError) as error:
        return explain(error, slice_)
    return BadInput("the event is not a JSON object", place="$", mend="send one JSON object an event")


def _check_limits(slice_: bytes) -> None:
    """The exact count, on bytes already known to be well-formed JSON. About 2 µs a kilobyte."""
    if len(slice_) > MAX_EVENT_BYTES:
        raise _too_long(slice_)
    if len(slice_) > LONG_BYTES and (keys := _outside_strings(slice_, b":").count(b":")) > KEYS_MAX:
        mend = "split the event, or put the mass of it as one JSON string under `data`"
        raise BadInput(f"the event has {keys} keys; {KEYS_MAX} are the most", place="$", mend=mend)
    brackets = _outside_strings(slice_, b"{[]}").translate(_ROUND)
    for _ in range(DEPTH_MAX):  # each round takes the innermost level away
        brackets = brackets.replace(b"()", b"")
        if not brackets:
            return
    what = f"the event is nested deeper than {DEPTH_MAX} levels"
    raise BadInput(what, place="$", mend=DEPTH_MEND)


def _outside_strings(slice_: bytes, marks: bytes) -> bytes:
    """The bytes of `slice_` that are one of `marks` and stand outside strings, in order; of well-formed JSON only.

    Whether a byte stands in a string is the parity of the quotes before it, so neighbouring quotes may go in pairs.
    """
    if b"\\" in slice_:
        slice_ = slice_.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = slice_.translate(None, _ALL_BYTES.translate(None, marks + b'"')).replace(b'""', b"")
    return _STRING.sub(b"", kept) if b'"' in kept else kept
