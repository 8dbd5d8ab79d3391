"""From a refusal of the JSON library to words a person can act on: what, the JSON path, how to mend it.

Only runs on the failure path, so it may be slow; its output is bounded however long the input's keys are.
The words hold key names (they are the path) but never a value: a value may be a secret.
"""

import json
import math
import re
from difflib import get_close_matches
from typing import Any

import msgspec

from graven.core.doubled import KEY_CHARS_MAX, format_key
from graven.core.errors import BadInput
from graven.event.model import (
    CATEGORIES,
    ID_BYTES_MAX,
    OUTCOMES,
    SEVERITIES,
    VERBS,
    Actor,
    Change,
    Correlation,
    Event,
    Origin,
    Scope,
    Target,
)

__all__ = ["DEPTH_MAX", "DEPTH_MEND", "explain"]

DEPTH_MAX = 64
INTEGER_DIGITS_MAX = 4300  # what Python reads by default, and msgspec with it
DEPTH_MEND = "flatten it, or put the deep part as one JSON string under `data`"

_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "$": Event,
    "actor": Actor,
    "on_behalf_of": Actor,
    "targets": Target,
    "changes": Change,
    "origin": Origin,
    "scope": Scope,
    "correlation": Correlation,
}
_WORDS = {"verb": VERBS, "category": CATEGORIES, "outcome": OUTCOMES, "severity": SEVERITIES}
# Names that others use for what the model calls something else; difflib would not find these.
_ALIASES = {
    "@timestamp": "time",
    "details": "data",
    "description": "message",
    "error": "reason",
    "event": "action",
    "event_id": "id",
    "event_type": "action",
    "extra": "data",
    "level": "severity",
    "metadata": "data",
    "principal": "actor",
    "resource": "targets",
    "resources": "targets",
    "result": "outcome",
    "retention_class": "class",
    "source_ip": "origin.ip",
    "status": "outcome",
    "subject": "actor",
    "tags": "labels",
    "target": "targets",
    "timestamp": "time",
    "trace": "correlation.trace_id",
    "ts": "time",
    "user": "actor",
    "uuid": "id",
}

_AT = re.compile(r" - at `(\$[\w.\[\]]*)`\Z")
_UNKNOWN = re.compile(r"\AObject contains unknown field `(.*)\Z", re.DOTALL)  # greedy: a key may hold anything
_MISSING = re.compile(r"\AObject missing required field `(\w+)`\Z")
_ENUM = re.compile(r"\AInvalid enum value '(.*)'\Z", re.DOTALL)
_EXPECTED = re.compile(r"\AExpected `([\w |]+)`, got `(\w+)`\Z")
_LENGTH = re.compile(r"\AExpected `str` of length (>=|<=) (\d+)\Z")
_RANGE = re.compile(r"\AExpected `int` (>=|<=) (\d+)\Z")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_OUT_OF_RANGE = object()
_TIME_MEND = "write RFC 3339 in UTC, like 2026-03-01T08:30:00.123Z; write a leap second as 23:59:59.999999Z"


def explain(error: Exception, slice_: bytes, *, subject: str = "event") -> BadInput:
    """What `error`, raised while decoding `slice_`, says to the one who sent it; `.place` is the JSON path.

    `subject`: what `slice_` is, an event or a whole body.
    """
    if isinstance(error, BadInput):
        return error
    if isinstance(error, RecursionError):
        return BadInput(f"the {subject} is nested deeper than {DEPTH_MAX} levels", place="$", mend=DEPTH_MEND)
    if isinstance(error, UnicodeError):
        return _explain_utf8(slice_, subject)
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return _explain_syntax(text, slice_)
    at = _AT.search(text)
    path, text = (at[1], text[: at.start()]) if at else ("$", text)
    if "[...]" in path:
        path = _name_keys(path, slice_)
    return _explain_value(text, path)


def _explain_utf8(slice_: bytes, subject: str) -> BadInput:
    mend = "encode the text as UTF-8"
    try:
        slice_.decode()
    except UnicodeDecodeError as error:
        return BadInput(f"the {subject} is not valid UTF-8 (byte {error.start})", place="$", mend=mend)
    return BadInput(f"the {subject} holds text that is not valid Unicode", place="$", mend=mend)


def _explain_syntax(text: str, slice_: bytes) -> BadInput:
    mend = "send one well-formed JSON object an event"
    if "truncated" in text:
        text = "the JSON ends too early"
        mend = "was it cut? In NDJSON an event is one line, without line breaks inside"
    else:
        text = text.replace("JSON is malformed", "the JSON is malformed", 1)
    if "trailing characters" in text:
        mend = "nothing may follow the event's closing brace; NDJSON (application/x-ndjson) is one event a line"
    elif slice_.startswith(b"\xef\xbb\xbf"):
        text, mend = "there is a byte order mark before the JSON", "send UTF-8 without a byte order mark"
    elif re.search(rb"[:,\[]\s*(NaN|-?Infinity)", slice_):
        mend = "NaN and Infinity are not JSON: write null or a string"
    elif _LONE_SURROGATE.search(slice_):
        mend = "a \\ud800 to \\udfff escape must be one of a pair: drop or replace the lone one"
    return BadInput(text, place="$", mend=mend)


def _explain_value(text: str, path: str) -> BadInput:
    name = path.rsplit(".", 1)[-1].split("[", 1)[0]
    if found := _UNKNOWN.match(text):
        return _explain_unknown(found[1].removesuffix("`"), path, name)
    if found := _MISSING.match(text):
        mend = "say what was done, in the source's own words" if found[1] == "action" else ""
        return BadInput("a required field is missing", place=f"{path}.{found[1]}", mend=mend)
    if found := _ENUM.match(text):
        words = _WORDS.get(name, ())
        near = get_close_matches(found[1][:KEY_CHARS_MAX].lower(), words, n=1)
        mend = f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(words)}"
        return BadInput("the word is not one of the closed list", place=path, mend=mend)
    if found := _EXPECTED.match(text):
        wanted = found[1].removesuffix(" | null")
        if wanted == "datetime":
            return BadInput(f"expected a time as a string, got {found[2]}", place=path, mend=_TIME_MEND)
        mend = f"use {_an(wanted)}, or leave the field out; free data goes under `data`"
        if path == "$":
            mend = "send one JSON object an event"
        elif path.startswith("$.labels"):
            mend = "labels are strings: write the value as one, or put it under `data`"
        return BadInput(f"expected {wanted}, got {found[2]}", place=path, mend=mend)
    if found := _LENGTH.match(text):
        if found[1] == ">=":
            return BadInput("the value is empty", place=path, mend="write a text or leave the field out")
        return BadInput(
            f"the value is longer than {found[2]}", place=path, mend=f"at most {ID_BYTES_MAX} bytes of UTF-8"
        )
    if found := _RANGE.match(text):
        return BadInput("the number is out of range", place=path, mend="use an integer from 0 to 9223372036854775807")
    if "out of range" in text:
        mend = f"write it as a string: a float must fit an IEEE 754 double, an integer {INTEGER_DIGITS_MAX} digits"
        return BadInput("the number is out of range", place=path, mend=mend)
    if "RFC3339" in text or "datetime" in text:
        what = "the time names no zone" if "timezone" in text else "the time is not RFC 3339"
        return BadInput(what, place=path, mend=_TIME_MEND)
    return BadInput("the value does not fit the event model", place=path, mend="see docs/event-model.md")


def _explain_unknown(key: str, path: str, parent: str) -> BadInput:
    """Parent is the name of the structure that holds the key; `$` for the event itself."""
    known = _fields(_STRUCTS.get(parent, Event))
    short = key[:KEY_CHARS_MAX].lower()
    elsewhere = [name for name, struct in _STRUCTS.items() if name != "on_behalf_of" and short in _fields(struct)]
    if near := get_close_matches(short, known, n=1, cutoff=0.75):
        mend = f"did you mean `{near[0]}`?"
    elif parent == "$" and short in _ALIASES:
        mend = f"the model calls it `{_ALIASES[short]}`; free data goes under `labels` or `data`"
    elif elsewhere:
        homes = ", ".join("the event itself" if name == "$" else f"`{name}`" for name in elsewhere)
        mend = f"`{short}` belongs to {homes}; free data goes under `labels` or `data`"
    else:
        mend = "put free data under `labels` or `data`"
    return BadInput("the field is unknown", place=path + format_key(key), mend=mend)


def _fields(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return struct.__struct_encode_fields__


def _an(kind: str) -> str:
    names = {"str": "a string", "int": "an integer", "object": "an object", "array": "an array"}
    return names.get(kind, kind)


def _name_keys(path: str, slice_: bytes) -> str:
    """The path with its keys in place of `[...]`, which is all the JSON library says of a key in a free object."""
    try:
        document: Any = json.loads(slice_, parse_int=_fits_int, parse_float=_fits_float)
    except (ValueError, RecursionError):  # the rest of the event is worse still
        return path
    if path == "$.labels[...]":
        labels = document.get("labels") if isinstance(document, dict) else None
        culprits = (
            [key for key, value in labels.items() if not isinstance(value, str)] if isinstance(labels, dict) else []
        )
        return "$.labels" + format_key(culprits[0]) if culprits else path
    waiting: list[tuple[str, Any]] = [("$", document)]
    while waiting:
        at, value = waiting.pop()
        if value is _OUT_OF_RANGE:
            return at
        if isinstance(value, dict):
            waiting += [(at + format_key(key), inner) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{at}[{i}]", value[i]) for i in range(len(value) - 1, -1, -1)]
    return path


def _fits_int(text: str) -> object:
    return 0 if len(text.lstrip("-")) <= INTEGER_DIGITS_MAX else _OUT_OF_RANGE


def _fits_float(text: str) -> object:
    return _OUT_OF_RANGE if math.isinf(float(text)) else 0.0
