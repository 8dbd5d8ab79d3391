"""A source type written as a table: paths to fields, words to words. What a user's TOML mapping is read into, too.

    fields    field of the model → paths in the record; the first that has a text counts (docs/mapping.md lists them)
    fixed     field → what it always is, where no path gave it
    words     field → (paths, table): verb, category, outcome, severity and actor.type have closed or usual words; the
              value found at the path is looked up. `x*`, `*x`, `*x*` match beginnings, ends, middles; `*` all else.
              Compared without regard to case; exact entries first, then patterns in their order.
    targets   what was acted upon: one each, or one an element of a list

Without a table of its own, verb and category come from the words of the action. What no field took is under `data`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graven.event import CATEGORIES, OUTCOMES, SEVERITIES, VERBS, Actor, Event, Target
from graven.ingest.fields import at, correlation_of, first, items, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, NO, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

__all__ = ["FIELDS", "WORD_FIELDS", "Match", "Table", "TargetRule", "Words"]

FIELDS = frozenset(
    ("id", "time", "action", "reason", "message", "class", "count", "bytes",
     "actor.type", "actor.id", "actor.name", "actor.email", "actor.session", "actor.credential",
     "behind.type", "behind.id", "behind.name", "behind.email",
     "origin.ip", "origin.user_agent", "origin.device",
     "scope.tenant", "scope.account", "scope.project", "scope.region",
     "correlation.request_id", "correlation.trace_id", "correlation.session_id")
)  # fmt: skip
"""What `fields` and `fixed` may name; `behind` is `actor.on_behalf_of`."""

WORD_FIELDS: Mapping[str, frozenset[str]] = {
    "verb": frozenset(VERBS),
    "category": frozenset(CATEGORIES),
    "outcome": frozenset(OUTCOMES),
    "severity": frozenset(SEVERITIES),
    "actor.type": frozenset(),  # open
}
"""What `words` may name, with the words allowed."""

_INTEGER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Match:
    """When a document is of this type: every path of `has` is there, and each of `equals` has one of its values."""

    has: tuple[str, ...] = ()
    equals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    score: int = LIKELY

    @property
    def keys(self) -> frozenset[str]:
        """One of these an object must have to be of this type."""
        path = next(iter((*self.has, *self.equals)), "")
        return frozenset({path, path.partition(".")[0]})

    def __call__(self, document: Document) -> int:
        if not isinstance(document, dict) or not (self.has or self.equals):
            return NO
        if any(at(document, path) is None for path in self.has):
            return NO
        if any(at(document, path) is not None for path in self.lacks):
            return NO
        for path, values in self.equals.items():
            if text(at(document, path)) not in values:
                return NO
        return self.score


class Words:
    """A table of words: what the source says → what the model says."""

    def __init__(self, table: Mapping[str, str], paths: Sequence[str] = ()) -> None:
        self.paths = tuple(paths)
        self._exact = {word.lower(): meaning for word, meaning in table.items() if "*" not in word}
        self._patterns = [(word.lower(), meaning) for word, meaning in table.items() if "*" in word]

    def look_up(self, word: str) -> str | None:
        """The meaning of `word`, or None where the table has none."""
        word = word.lower()
        if (found := self._exact.get(word)) is not None:
            return found
        return next((meaning for pattern, meaning in self._patterns if _fits(word, pattern)), None)


@dataclass(frozen=True, slots=True)
class TargetRule:
    """A thing acted upon. `type` is a word, or where `type_paths` give a text, that; `each` the path of a list."""

    type: str | None = None
    id: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    type_paths: tuple[str, ...] = ()
    each: str = ""

    def read(self, document: Mapping[str, Any]) -> list[Target]:
        """The targets of a document; one without id and name is none."""
        found = []
        for one in items(at(document, self.each), count_max=64) if self.each else (document,):
            id_, name = first(one, *self.id), first(one, *self.name)
            if id_ is not None or name is not None:
                kind = first(one, *self.type_paths) or self.type
                found.append(Target(type=kind, id=id_, name=name, owner=first(one, *self.owner)))
        return found


@dataclass(frozen=True, kw_only=True)
class Table:
    """A source type made of tables; a `Normaliser`. `taken`: keys of the record that `data` leaves out."""

    type: str
    version: int = 1
    match: Match
    fields: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Words] = field(default_factory=dict)
    targets: tuple[TargetRule, ...] = ()
    taken: frozenset[str] = frozenset()

    @property
    def TYPE(self) -> str:  # noqa: N802
        return self.type

    @property
    def VERSION(self) -> int:  # noqa: N802
        return self.version

    @property
    def KEYS(self) -> frozenset[str]:  # noqa: N802
        return self.match.keys

    def recognise(self, document: Document, /) -> int:
        """The score of `match`, or NO."""
        return self.match(document)

    def normalise(self, record: Record, document: Document, /) -> list[Event]:
        """One event. Raises Unparsed where the record is no object or names no action."""
        if not isinstance(document, dict):
            raise Unparsed(f"a record of {self.type} is a JSON object")
        return [self.read(document)]

    def read(self, document: Mapping[str, Any]) -> Event:
        """The event of a document, for source types that add to what the table says. Raises Unparsed."""
        action = self._text(document, "action")
        if action is None:
            paths = self.fields.get("action", ())
            raise Unparsed("the record does not say what was done", path="$." + (paths[0] if paths else "action"))
        get = self._text
        time_paths = self.fields.get("time", ())
        times = (read_time(at(document, path)) for path in time_paths)
        actor = _actor(document, self, "actor")
        behind = _actor(document, self, "behind")
        if behind is not None:
            actor = actor or Actor()
            actor.on_behalf_of = behind
        return Event(
            id=get(document, "id"),
            time=next((time for time in times if time is not None), None),
            actor=actor,
            action=action,
            verb=self._word(document, "verb", action) or verb_of(action),  # type: ignore[arg-type]
            category=self._word(document, "category", action) or category_of(action),  # type: ignore[arg-type]
            targets=[target for rule in self.targets for target in rule.read(document)] or None,
            outcome=self._word(document, "outcome", action),  # type: ignore[arg-type]
            reason=get(document, "reason"),
            origin=origin_of(*(get(document, f"origin.{name}") for name in ("ip", "user_agent", "device"))),
            scope=scope_of(*(get(document, f"scope.{name}") for name in ("tenant", "account", "project", "region"))),
            severity=self._word(document, "severity", action),  # type: ignore[arg-type]
            message=get(document, "message"),
            count=self._number(document, "count"),
            bytes=self._number(document, "bytes"),
            correlation=correlation_of(
                *(get(document, f"correlation.{name}") for name in ("request_id", "trace_id", "session_id"))
            ),
            class_=get(document, "class"),
            data=rest(document, self.taken),
        )

    def _text(self, document: Mapping[str, Any], name: str) -> str | None:
        paths = self.fields.get(name)
        found = first(document, *paths) if paths else None
        return found if found is not None else self.fixed.get(name)

    def _word(self, document: Mapping[str, Any], name: str, otherwise: str | None) -> str | None:
        """A word of the model: from the table's own paths, else from `otherwise`, which is the action."""
        words = self.words.get(name)
        if words is None:
            return self.fixed.get(name)
        said = _word_at(document, words.paths) if words.paths else otherwise
        found = words.look_up(said) if said is not None else None
        return found if found is not None else self.fixed.get(name)

    def _number(self, document: Mapping[str, Any], name: str) -> int | None:
        for path in self.fields.get(name, ()):
            value = at(document, path)
            if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
                value = int(value)
            if type(value) is int and 0 <= value <= _INTEGER_MAX:
                return value
        return None


def _actor(document: Mapping[str, Any], table: Table, which: str) -> Actor | None:
    names = ("type", "id", "name", "email") if which == "behind" else _ACTOR
    found: dict[str, Any] = {name: table._text(document, f"{which}.{name}") for name in names}
    if which == "actor" and "actor.type" in table.words:
        found["type"] = table._word(document, "actor.type", found["type"])
    if not any(value for name, value in found.items() if name != "type"):
        return None
    return Actor(**found)


_ACTOR = ("type", "id", "name", "email", "session", "credential")


def _word_at(document: Mapping[str, Any], paths: Sequence[str]) -> str | None:
    """The text at the first path that has one; true and false count as words."""
    for path in paths:
        value = at(document, path)
        if isinstance(value, bool):
            return "true" if value else "false"
        if (found := text(value)) is not None:
            return found
    return None


def _fits(word: str, pattern: str) -> bool:
    """`x*`, `*x`, `*x*`, `*`; a star elsewhere stands for itself."""
    if pattern == "*":
        return True
    starts, ends = pattern.endswith("*"), pattern.startswith("*")
    if starts and ends:
        return pattern[1:-1] in word
    if starts:
        return word.startswith(pattern[:-1])
    return word.endswith(pattern[1:]) if ends else word == pattern
