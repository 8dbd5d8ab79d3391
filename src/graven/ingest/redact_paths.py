"""Places in a document: rules that name them, and the values they mean, in an event and in the text of a JSON record.

A path is keys with dots between: `data.user.password`; `*` is any one key or index, `**` any number of them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from graven.core.errors import BadInput

__all__ = [
    "ACTIONS",
    "Action",
    "RedactionRule",
    "find_values",
    "fits",
    "hint_of",
    "json_values",
    "parse_path",
    "step",
    "unquote",
]

Action = Literal["mask", "hash", "drop"]
ACTIONS: tuple[Action, ...] = ("mask", "hash", "drop")

_PATH = re.compile(r"(?:(event|raw):)?(\$?\.?)(.+)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))', re.DOTALL)


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """`side`: "event", "raw" or "" for both. `path`: keys; `*` is any one key or index, `**` any number of them."""

    side: str
    path: tuple[str, ...]
    action: Action = "mask"


def parse_path(spelled: str, action: Action = "mask") -> RedactionRule:
    """A rule for `[event:|raw:][$.]a.b.*.c`. A key that holds a dot is quoted: `annotations."a.b/c"`.

    Raises BadInput.
    """
    found = _PATH.fullmatch(spelled)
    keys: list[str] = []
    rest = found[3] if found and not found[3].startswith(("event:", "raw:")) else ""
    while rest:
        if rest.startswith('"'):
            end = rest.find('"', 1)
            key, rest = rest[1:end], rest[end + 1 :] if end > 0 else "?"
        else:
            key, dot, after = rest.partition(".")
            rest = dot + after
        if not key or (rest and (not rest.startswith(".") or rest == ".")):
            keys = []
            break
        keys.append(key)
        rest = rest[1:]
    if found is None or not keys or all(key in ("*", "**") for key in keys):
        mend = "name keys with dots between: data.user.password, **.password, raw:requestParameters.*.key"
        raise BadInput(f"not a path of values: {spelled[:80]!r}", mend=mend)
    return RedactionRule(found[1] or "", tuple(keys), action)


def find_values(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any, str]]:
    """(holder, key, place) of every value a path means."""
    waiting: list[tuple[Any, tuple[str, ...], str]] = [(tree, path, "$")]
    seen: set[str] = set()
    while waiting:
        node, left, place = waiting.pop()
        if not isinstance(node, dict | list):
            continue
        first, rest = left[0], left[1:]
        pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
        for key, value in pairs:
            here = place + step(key)
            if first == "**":
                waiting.append((value, left, here))
                if rest and rest[0] in ("*", str(key)):
                    if rest[1:]:
                        waiting.append((value, rest[1:], here))
                    elif here not in seen:
                        seen.add(here)
                        yield node, key, here
            elif first in ("*", str(key)):
                if rest:
                    waiting.append((value, rest, here))
                elif here not in seen:
                    seen.add(here)
                    yield node, key, here


def fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a path of keys is one the pattern means."""
    places = {0}
    for key in path:
        after: set[int] = set()
        for place in places:
            while place < len(pattern) and pattern[place] == "**":
                after.add(place)
                place += 1
            if place < len(pattern) and pattern[place] in ("*", key):
                after.add(place + 1)
        places = after
    return len(pattern) in places


def json_values(text: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """(path, start, end) of every value in a JSON text, in the order of their ends; stops where it is no JSON."""
    stack: list[tuple[bool, int]] = []  # is it an object, where it starts
    path: list[str] = []
    counts: list[int] = []
    at, awaiting_key = 0, False
    while token := _TOKEN.match(text, at):
        at = token.end()
        mark = token[1]
        if mark in ("{", "["):
            stack.append((mark == "{", at - 1))
            counts.append(0)
            path.append("" if mark == "{" else "0")
            awaiting_key = mark == "{"
        elif mark in ("}", "]"):
            if not stack:
                return
            _, start = stack.pop()
            counts.pop()
            path.pop()
            yield tuple(path), start, at
            awaiting_key = False
        elif mark == ",":
            if not stack:
                return
            if stack[-1][0]:
                awaiting_key = True
            else:
                counts[-1] += 1
                path[-1] = str(counts[-1])
        elif mark == ":":
            awaiting_key = False
        elif awaiting_key and token[2] is not None:
            path[-1] = unquote(token[2]) or ""
        else:
            yield tuple(path), token.start(2) if token[2] is not None else token.start(3), at


def unquote(value: str) -> str | None:
    if value[:1] != '"':
        return None
    try:
        found = json.loads(value, strict=False)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def step(key: object) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    name = str(key)
    if name.isdigit():
        return f"[{name}]"
    return f".{name}" if _NAME.fullmatch(name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def hint_of(rule: RedactionRule) -> bytes:
    """Bytes that stand in every document the rule can touch: the last key that is named."""
    named = next((key for key in reversed(rule.path) if key not in ("*", "**") and not key.isdigit()), "")
    return json.dumps(named, ensure_ascii=False).encode()[1:-1]
