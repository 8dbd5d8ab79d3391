"""JSON keys given twice in one object: readers disagree about which of the two counts, so a reader is told.

Nothing is refused here, and what the event says otherwise is not looked at.
"""

import json
import re
from typing import Any

from graven.core.errors import BadInput

DUPLICATES_MAX = 100
KEY_CHARS_MAX = 64  # of one key, in a path that is shown

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


def duplicate_keys(slice_: bytes) -> list[str]:
    """The JSON paths of keys that stand twice or more in one object, in order, the first 100.

    The last one counts for Graven; other readers may take the first. Raises BadInput when it is not JSON.
    """
    try:
        root: Any = json.loads(
            slice_.decode(), object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadInput(
            "the bytes are not a JSON document", place="$", mend="compare them with what was sent"
        ) from error
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("$", root)]
    while waiting and len(found) < DUPLICATES_MAX:
        path, value = waiting.pop()
        if isinstance(value, _Pairs):
            seen: dict[str, int] = {}
            for key, _ in value:
                seen[key] = seen.get(key, 0) + 1
            found += [path + format_key(key) for key, times in seen.items() if times > 1]
            waiting += [(path + format_key(key), inner) for key, inner in reversed(value) if isinstance(inner, list)]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", value[i]) for i in range(len(value) - 1, -1, -1) if isinstance(value[i], list)]
    return found[:DUPLICATES_MAX]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, in order, duplicates kept."""


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def format_key(key: str) -> str:
    """One key as a step of a JSON path: `.name` where it can be, else quoted in ASCII and cut to 64 characters."""
    if len(key) <= KEY_CHARS_MAX and _PLAIN_KEY.match(key):
        return f".{key}"
    shown = key if len(key) <= KEY_CHARS_MAX else key[:KEY_CHARS_MAX] + "..."
    return f"[{json.dumps(shown)}]"
