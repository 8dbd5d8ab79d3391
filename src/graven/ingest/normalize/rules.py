"""Messages of a host's programs, as tables: rules that read what a line says, and the event of the first that fits.

A `Rule` is a pattern whose named groups are fields of the event:

    user → actor.name      uid → actor.id       credential → actor.credential     session → actor.session
    ip → origin.ip         device → origin.device       reason → reason
    target_user, target_group, target_host, target_file → a target of that type
    word → the action alone      all other groups → data

Rules count in their order. Which of them can fit at all is known from a message's first word, so most are never tried.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from graven.event.model import Actor, Category, Event, Origin, Outcome, Target, Verb
from graven.ingest.normalize.host_line import HostLine, known_texts, message_of, targets_of, unrepeated

__all__ = ["Rule", "Rules", "first_words"]

_TARGETS = ("user", "group", "host", "file")
_SPECIAL = frozenset(
    ("user", "uid", "credential", "session", "ip", "device", "reason", "word", *(f"target_{kind}" for kind in _TARGETS))
)
_META = frozenset(".^$*+?{}[]|()\\")
_REPEATS = frozenset("*+?{")
_GROUP = re.compile(r"\((?:\?:|\?P<\w+>)([^()\[\]{}.*+?^$\\]*)\)(\??)")
_STARTS_MAX = 32

_Words = tuple[str, tuple[int, ...]]
"""A text, as `%` takes it where groups go into it; and the groups."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One message a program writes. `action` and `reason` may name groups in braces."""

    pattern: "re.Pattern[str]"
    action: str
    verb: Verb
    category: Category
    outcome: Outcome | None = None
    reason: str = ""


class Rules:
    """A program's messages, in the order in which they count."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        plans = [(_Plan(rule), first_words(rule.pattern)) for rule in rules]
        words = {word for _, starts in plans for word in starts or ()}
        self._by_word = {
            word: tuple(plan for plan, starts in plans if starts is None or word in starts) for word in words
        }
        self._otherwise = tuple(plan for plan, starts in plans if starts is None)

    def event(self, line: HostLine, message: str | None = None) -> Event | None:
        """The event of the first rule whose pattern the message begins with; None if there is none.

        `message`: what the rules read, where it is not all of what the line says.
        """
        said, count = unrepeated(line.message if message is None else message)
        for plan in self._by_word.get(said.partition(" ")[0], self._otherwise):
            if found := plan.match(said):
                return plan.event(found, line, count)
        return None


class _Plan:
    """A rule, and where its groups go."""

    __slots__ = ("_action", "_category", "_credential", "_data", "_device", "_ip", "_outcome", "_reason",
                 "_said_reason", "_session", "_targets", "_uid", "_user", "_verb", "match")  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        at = {name: number - 1 for name, number in rule.pattern.groupindex.items()}
        self.match = rule.pattern.match
        self._action, self._reason = _words(rule.action, at), _words(rule.reason, at)
        self._verb, self._category, self._outcome = rule.verb, rule.category, rule.outcome
        self._user, self._uid = at.get("user", -1), at.get("uid", -1)
        self._credential, self._session = at.get("credential", -1), at.get("session", -1)
        self._ip, self._device, self._said_reason = at.get("ip", -1), at.get("device", -1), at.get("reason", -1)
        self._targets = tuple((kind, at[f"target_{kind}"]) for kind in _TARGETS if f"target_{kind}" in at)
        self._data = tuple((name, number) for name, number in at.items() if name not in _SPECIAL)

    def event(self, found: "re.Match[str]", line: HostLine, count: int | None) -> Event:
        given = found.groups()
        known = known_texts(given)
        known.append(None)  # -1: a group that the rule does not have
        user, uid = known[self._user], known[self._uid]
        credential, session = known[self._credential], known[self._session]
        ip, device = known[self._ip], known[self._device]
        if ip is None and device is not None and (":" in device or device.replace(".", "").isdigit()):
            ip, device = device, None
        targets = None
        if self._targets:
            targets = [Target(type=kind, name=name) for kind, at in self._targets if (name := known[at]) is not None]
        return Event(
            id=line.id,
            time=line.time,
            action=_filled(self._action, given),
            verb=self._verb,
            category=self._category,
            outcome=self._outcome,
            actor=Actor(type="user", id=uid, name=user, session=session, credential=credential)
            if user or uid or credential or session
            else None,
            targets=targets or targets_of(line),
            origin=Origin(ip=ip, device=device) if ip or device else None,
            reason=known[self._said_reason] or _filled(self._reason, given) or None,
            message=message_of(line),
            count=count,
            labels=line.labels or None,
            data={name: value for name, at in self._data if (value := known[at]) is not None} or None,
        )


def first_words(pattern: "re.Pattern[str]") -> frozenset[str] | None:
    """The words with which everything that `pattern` matches begins, up to the first space; None where it may be any.

    Reads literal text, and groups of literal alternatives, at the start of the pattern.
    """
    if pattern.flags & (re.IGNORECASE | re.VERBOSE) or any(_top_level_bars(pattern.pattern)):
        return None
    starts = [""]
    text, at = pattern.pattern, 0
    while at < len(text):
        if group := _GROUP.match(text, at):
            after = text[group.end() : group.end() + 1]
            if after in _REPEATS and after:
                break
            more = [*group[1].split("|"), *([""] if group[2] else [])]
            starts = [start + one for start in starts for one in more]
            at = group.end()
            if len(starts) > _STARTS_MAX:
                return None
            continue
        char, width = text[at], 1
        if char == "\\" and at + 1 < len(text) and not text[at + 1].isalnum():
            char, width = text[at + 1], 2
        elif char in _META:
            break
        if text[at + width : at + width + 1] in _REPEATS and at + width < len(text):
            break
        starts = [start + char for start in starts]
        at += width
    if any(" " not in start for start in starts):
        return None
    return frozenset(start.partition(" ")[0] for start in starts)


def _words(template: str, at: Mapping[str, int]) -> _Words:
    """A group that the rule does not have is empty."""
    texts, groups = [""], list[int]()
    for piece, name, _, _ in Formatter().parse(template):
        texts[-1] += piece
        if name is not None and name in at:
            texts.append("")
            groups.append(at[name])
    return "%s".join([text.replace("%", "%%") for text in texts]) if groups else texts[0], tuple(groups)


def _filled(words: _Words, given: Sequence[str | None]) -> str:
    """A group that did not take part is empty."""
    text, groups = words
    return text % tuple([given[at] or "" for at in groups]) if groups else text


def _top_level_bars(pattern: str) -> Iterator[int]:
    """Where `|` stands outside every group and set."""
    depth, in_set, at = 0, False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_set:
            in_set = char != "]"
        elif char == "[":
            in_set = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "|" and depth == 0:
            yield at
        at += 1
