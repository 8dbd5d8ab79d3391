"""Secrets taken out of an event and its raw record before anything is sealed: an immutable log keeps them for ever.

Two ways to find them: rules that name a place, and detectors that know a secret by its looks (`detectors`). Whatever is
found on one side is taken out of the other as well, wherever the same text stands: an event quotes its raw.

    event   values are replaced, or left out; `redacted` lists where
    raw     JSON: only the bytes of the value change; text: only those of the secret. Also where a secret stands there
            as a JSON escape, or, as audit records have it, in hexadecimal

A stand-in says what it stands for: `[redacted:NAME]`, or `[hmac:32 hex digits]` under a key of the operator's, so
that equal values can be told to be equal and nothing else. What was redacted is not what the producer sent, and is
never claimed to be.

Pure, bounded, linear; a record in which nothing is found is given back as it is, the same objects.
"""

import hmac
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from graven.core.errors import BadInput
from graven.event import Event, encode_event
from graven.ingest.detectors import DETECTORS, Scanner, Sights, find_secrets, is_secret_name
from graven.ingest.redact_paths import (
    Action,
    RedactionRule,
    find_values,
    fits,
    hint_of,
    json_values,
    step,
    unquote,
)

__all__ = ["REDACTED_MAX", "SecretRedactor"]

REDACTED_MAX = 100
"""Entries of `redacted`; more are counted in the last one."""

_SECRET_CHARS_MIN = 6  # shorter texts, and plain words, are not looked for elsewhere: they stand in every record
_LONG_SECRET_CHARS = 16
_SECRETS_MAX = 200
_ENUM_FIELDS = frozenset({"verb", "category", "outcome", "severity", "class", "redacted", "derived_from"})

_DECODE = msgspec.json.Decoder().decode


class SecretRedactor:
    """What redaction does, built once from configuration. Immutable, safe to share between threads."""

    def __init__(
        self, *, detect: Sequence[str] = (), rules: Sequence[RedactionRule] = (), key: bytes | None = None
    ) -> None:
        """`key`: what hashes are made under. Raises BadInput for an unknown detector, or a hash without a key."""
        if unknown := [name for name in detect if name not in DETECTORS]:
            raise BadInput(f"there is no detector {unknown[0][:40]!r}", mend="one of " + ", ".join(DETECTORS))
        if key is None and any(rule.action == "hash" for rule in rules):
            raise BadInput("a rule hashes, and there is no key to do it under", mend="set [redaction] key_file")
        self.scanner = Scanner(tuple(name for name in DETECTORS if name in detect))
        self.rules = tuple(rules)
        self._hints = tuple(hint_of(rule) for rule in rules)
        self._key = key

    def apply(self, event: Event, raw: bytes) -> tuple[Event, bytes]:
        """The event and raw to seal: the same objects where nothing was found."""
        encoded = encode_event(event)
        # what an event quotes of a JSON raw stands there in the same letters, if none is escaped
        plain = raw[:1] == b"{" and b"\\u" not in raw
        sights = self.scanner.look(raw) if plain else self.scanner.look(raw, encoded)
        if not (sights or any(hint in raw or hint in encoded for hint in self._hints)):
            return event, raw
        work = _Work(self, sights)
        tree = _DECODE(encoded)
        work.walk_event(tree)
        sealed = work.raw(raw)
        work.replace_known(tree)  # what was found in the raw may stand in the event as well
        if not work.redacted and sealed == raw:
            return event, raw
        _list(tree, work.redacted)
        return msgspec.convert(tree, Event), (raw if sealed == raw else sealed)

    def apply_raw(self, raw: bytes) -> bytes:
        """The raw to seal of a record that could not be read."""
        sights = self.scanner.look(raw)
        if not (sights or any(hint in raw for hint in self._hints)):
            return raw
        sealed = _Work(self, sights).raw(raw)
        return raw if sealed == raw else sealed

    def stand_in(self, value: str, name: str, action: Action) -> str:
        """What stands in the place of a value."""
        if action == "hash" and self._key is not None:
            return f"[hmac:{hmac.new(self._key, value.encode('utf-8', 'surrogatepass'), sha256).hexdigest()[:32]}]"
        return f"[redacted:{name}]"


class _Work:
    """One record: what was found in it so far."""

    def __init__(self, redactor: SecretRedactor, sights: Sights) -> None:
        self._of, self._sights = redactor, sights
        self._names = redactor.scanner.names if sights.named else ()
        self.secrets: dict[str, str] = {}
        self.redacted: list[str] = []

    def walk_event(self, tree: dict[str, Any]) -> None:
        """Apply rules, then detectors, to the event's values in place."""
        rules = [rule for rule in self._of.rules if rule.side != "raw"]
        if rules:
            for rule in rules:
                for holder, key, path in find_values(tree, rule.path):
                    if _replaceable(holder, key, path):
                        self._take(holder, key, path, rule)
        self._walk(tree, "$")

    def raw(self, raw: bytes) -> bytes:
        """The raw without what rules and detectors find in it, and without what the event had to give up."""
        try:
            text, errors = raw.decode(), "strict"
        except UnicodeDecodeError:
            text, errors = raw.decode("utf-8", "surrogateescape"), "surrogateescape"
        rules = [rule for rule in self._of.rules if rule.side != "event"]
        is_json = text.lstrip()[:1] in ("{", "[")
        if is_json and (rules or self._names or "\\" in text):
            text = self._json(text, rules)
        text = self._text(text)
        for secret, stand_in in self.secrets.items():
            text = _replace_all(text, secret, stand_in)
        return text.encode("utf-8", errors)

    def replace_known(self, tree: dict[str, Any]) -> None:
        """Take every known secret out of the event's texts."""
        if self.secrets:
            self._walk(tree, "$")

    def _take(self, holder: Any, key: Any, path: str, rule: RedactionRule) -> None:
        value = holder[key]
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if isinstance(value, str) and self._is_stand_in(value):
            return
        stand_in = self._of.stand_in(shown, "rule", rule.action)
        if isinstance(value, str):
            self._remember(value, stand_in)
        if rule.action == "drop":
            if isinstance(holder, list):
                holder[key] = None
            else:
                del holder[key]
        else:
            holder[key] = stand_in
        self._note(path)

    def _walk(self, root: dict[str, Any], place: str) -> None:
        waiting: list[tuple[Any, str]] = [(root, place)]
        while waiting:
            node, path = waiting.pop()
            pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
            for key, value in pairs:
                if path == "$" and key in _ENUM_FIELDS:
                    continue
                if isinstance(value, dict | list):
                    waiting.append((value, path + step(key)))
                elif isinstance(value, str) and value:
                    new = self._clean(key, value)
                    if new != value:
                        node[key] = new
                        self._note(path + step(key))

    def _clean(self, key: object, value: str) -> str:
        if isinstance(key, str) and (name := is_secret_name(key, self._names)) and not self._is_stand_in(value):
            stand_in = self._of.stand_in(value, name, "mask")
            self._remember(value, stand_in)
            return stand_in
        value = self._text(value)
        for secret, stand_in in self.secrets.items():
            if secret in value:
                value = value.replace(secret, stand_in)
        return value

    def _text(self, text: str) -> str:
        """`text` without what the detectors find in it."""
        spans = sorted(find_secrets(text, self._sights.patterns))
        if not spans:
            return text
        parts: list[str] = []
        at = 0
        for start, end, name in spans:
            if end <= at:
                continue
            start = max(start, at)
            stand_in = self._of.stand_in(text[start:end], name, "mask")
            self._remember(text[start:end], stand_in)
            parts += (text[at:start], stand_in)
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def _json(self, text: str, rules: Sequence[RedactionRule]) -> str:
        """A JSON text with the values that rules and names point at replaced, every other byte as it was."""
        spans: list[tuple[int, int, str]] = []
        for path, start, end in json_values(text):
            key = path[-1] if path else ""
            value = text[start:end]
            rule = next((rule for rule in rules if fits(rule.path, path)), None)
            if rule is not None:
                inner = unquote(value)
                if inner is not None and self._is_stand_in(inner):
                    continue
                stand_in = self._of.stand_in(value if inner is None else inner, "rule", rule.action)
                if inner:
                    self._remember(inner, stand_in)
                spans.append((start, end, "null" if rule.action == "drop" else json.dumps(stand_in)))
                self._note("raw:$" + "".join(step(key) for key in path))
            elif value[:1] == '"' and (name := is_secret_name(key, self._names)):
                inner = unquote(value)
                if inner and not self._is_stand_in(inner):
                    stand_in = self._of.stand_in(inner, name, "mask")
                    self._remember(inner, stand_in)
                    spans.append((start, end, json.dumps(stand_in)))
                    self._note("raw:$" + "".join(step(key) for key in path))
            elif value[:1] == '"' and "\\" in value and (inner := unquote(value)):
                clean = self._text(inner)  # a secret may be spelled with escapes that no search would meet
                for secret, stand_in in self.secrets.items():
                    clean = clean.replace(secret, stand_in)
                if clean != inner:
                    spans.append((start, end, json.dumps(clean)))
        parts: list[str] = []
        at = 0
        for start, end, new in sorted(spans):
            if start < at:
                continue  # inside a value that goes as a whole
            parts += (text[at:start], new)
            at = end
        return "".join(parts) + text[at:]

    def _remember(self, value: str, stand_in: str) -> None:
        if len(self.secrets) < _SECRETS_MAX and _is_telling(value):
            self.secrets.setdefault(value, stand_in)

    def _note(self, path: str) -> None:
        if path not in self.redacted:
            self.redacted.append(path)

    @staticmethod
    def _is_stand_in(value: str) -> bool:
        return value.startswith(("[redacted:", "[hmac:")) and value.endswith("]")


def _list(tree: dict[str, Any], paths: Sequence[str]) -> None:
    """Put the places into the event's `redacted`, after what the producer listed itself."""
    said = tree.get("redacted")
    listed = [*(said if isinstance(said, list) else []), *(paths or ["raw"])]
    if len(listed) > REDACTED_MAX:
        listed = [*listed[: REDACTED_MAX - 1], f"and {len(listed) - REDACTED_MAX + 1} more"]
    tree["redacted"] = listed


def _replaceable(holder: Any, key: Any, path: str) -> bool:
    """Whether the model lets this value be replaced by text: not a closed word, a time, a number, the action."""
    return path not in ("$.action", "$.time", "$.count", "$.bytes") and not (
        path.count(".") == 1
        and "[" not in path
        and key in (*_ENUM_FIELDS, "actor", "targets", "changes", "origin", "scope", "correlation", "labels")
    )


def _replace_all(text: str, secret: str, stand_in: str) -> str:
    """Every spelling in which a raw may hold a secret, as it is, escaped as JSON, or in upper-case hexadecimal."""
    data = secret.encode("utf-8", "surrogatepass")
    spellings = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    for spelled in dict.fromkeys(spellings):
        if spelled in text:
            text = text.replace(spelled, stand_in)
    encoded = data.hex().upper()
    if encoded in text:
        text = text.replace(encoded, stand_in.encode().hex().upper())
    return text


def _is_telling(value: str) -> bool:
    """Whether a secret may be looked for elsewhere without taking ordinary words for it."""
    if len(value) < _SECRET_CHARS_MIN:
        return False
    return len(value) >= _LONG_SECRET_CHARS or not value.isalpha() or not (value.islower() or value.istitle())
