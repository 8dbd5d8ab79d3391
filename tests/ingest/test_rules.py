"""Rules that are not tried could not have matched; what a rule makes of a message."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.event.model import Actor, Origin, Target
from graven.ingest.normalize import accounts, cron, pam, sshd, su, sudo
from graven.ingest.normalize.host_line import HostLine
from graven.ingest.normalize.rules import Rule, Rules, first_words

TABLES = {module.TYPE: module._RULES for module in (accounts, cron, pam, sshd, su, sudo)}
EVERY = [rule for table in TABLES.values() for rule in table.rules]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("Accepted x", {"Accepted"}),
        (r"\(to (?P<a>b)", {"(to"}),
        ("(?:error: )?Unable to", {"error:", "Unable"}),
        ("(?P<word>Invalid|Illegal) user", {"Invalid", "Illegal"}),
        ("(?:a|b)c d", {"ac", "bc"}),
        ("(?:fatal: )?(?:x y|z) w", {"fatal:", "x", "z"}),
        (r"lock\(x\) y", {"lock(x)"}),
        # may be any word
        ("Accepted", None),
        (r"\S+ x", None),
        ("Accepte?d x", None),
        ("Accepted x|Failed y", None),
        ("(?:a b)* c", None),
        ("(?:a b){2} c", None),
        ("(?:(?:a) b)? c", None),
        ("[a-z] b", None),
        (".* b", None),
        ("", None),
        (r"\d x", None),
    ],
)
def test_the_words_a_pattern_begins_with(pattern: str, words: set[str] | None) -> None:
    assert first_words(re.compile(pattern)) == (None if words is None else frozenset(words))


def test_a_pattern_without_regard_to_case_begins_with_any_word() -> None:
    assert first_words(re.compile("accepted x", re.IGNORECASE)) is None
    assert first_words(re.compile("a b  # c", re.VERBOSE)) is None


FITS = {rule.pattern: st.from_regex(re.compile(rf"\A(?:{rule.pattern.pattern})", rule.pattern.flags)) for rule in EVERY}


@settings(max_examples=50)
@given(st.data(), st.sampled_from(EVERY), st.sampled_from(sorted(TABLES)))
def test_the_first_rule_that_matches_counts_whatever_the_words(data: st.DataObject, rule: Rule, type_: str) -> None:
    message = data.draw(FITS[rule.pattern])
    words = first_words(rule.pattern)
    assert words is None or message.partition(" ")[0] in words
    message = message.strip()
    table = TABLES[type_]
    wanted = next((rule for rule in table.rules if rule.pattern.match(message)), None)
    event = table.event(HostLine("p", message))
    assert (event is None) == (wanted is None)
    if event is not None and wanted is not None:
        assert event == Rules(wanted).event(HostLine("p", message))


def test_groups_are_fields() -> None:
    rules = Rules(
        Rule(
            re.compile(r"did (?P<word>\w+) (?P<user>\S+) (?P<uid>\S+) (?P<target_group>\S+) (?P<ip>\S+) (?P<x>\S+)"),
            "did {word}", "grant", "permission", "success", "because {x}{y}",
        )
    )  # fmt: skip
    event = rules.event(HostLine("p", "message repeated 3 times: [ did it ann 7 wheel 192.0.2.1 z]", "web1"))
    assert event is not None
    assert (event.action, event.verb, event.category, event.outcome) == ("did it", "grant", "permission", "success")
    assert (event.reason, event.count, event.data) == ("because z", 3, {"x": "z"})
    assert event.actor == Actor(type="user", name="ann", id="7")
    assert event.targets == [Target(type="group", name="wheel")]
    assert event.origin == Origin(ip="192.0.2.1")
    nobody = rules.event(HostLine("p", "did it - (null) ? n/a -", "web1"))
    assert nobody is not None
    assert (nobody.actor, nobody.origin, nobody.data, nobody.reason) == (None, None, None, "because -")
    assert nobody.targets == [Target(type="host", name="web1")]
    assert rules.event(HostLine("p", "did nothing")) is None


def test_a_device_that_is_an_address_is_one() -> None:
    rules = Rules(Rule(re.compile(r"from (?P<device>\S+)"), "from", "other", "network"))
    for said, origin in (("web1", Origin(device="web1")), ("2001:db8::1", Origin(ip="2001:db8::1")), ("-", None)):
        event = rules.event(HostLine("p", f"from {said}"))
        assert event is not None and event.origin == origin


def test_a_percent_sign_is_one() -> None:
    rules = Rules(Rule(re.compile(r"at (?P<word>\S+)"), "{word} at 100% %s", "other", "system", reason="50% {none}"))
    event = rules.event(HostLine("p", "at it"))
    assert event is not None and (event.action, event.reason) == ("it at 100% %s", "50% ")
