"""The event model: its fields, its closed words, its published schema and page."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graven.event import (
    CATEGORIES,
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
    decode_event,
    encode_event,
    json_schema,
)

DOCS = Path(__file__).parents[2] / "docs"
STRUCTS: list[type[msgspec.Struct]] = [Event, Actor, Target, Change, Origin, Scope, Correlation]

FIELDS = {
    "Event": "id time actor action verb category targets changes outcome reason origin scope severity message count "
    "bytes correlation class labels data redacted derived_from",
    "Actor": "type id name email session credential on_behalf_of",
    "Target": "type id name owner scope",
    "Change": "path old new",
    "Origin": "ip user_agent device",
    "Scope": "tenant account project region",
    "Correlation": "request_id trace_id session_id",
}

FULL: dict[str, Any] = {
    "id": "e-1",
    "time": "2026-03-02T08:14:31.204Z",
    "actor": {
        "type": "tool",
        "id": "t",
        "name": "shell",
        "email": "a@example.com",
        "session": "s",
        "credential": "c",
        "on_behalf_of": {"type": "agent", "id": "a", "on_behalf_of": {"type": "user", "id": "u"}},
    },
    "action": "s3:GetObject",
    "verb": "read",
    "category": "data",
    "targets": [{"type": "file", "id": "x", "name": "n", "owner": "o", "scope": {"account": "9"}}],
    "changes": [{"path": "p", "old": {"a": [1, None]}, "new": 2.5}],
    "outcome": "success",
    "reason": "r",
    "origin": {"ip": "203.0.113.7", "user_agent": "ua", "device": "d"},
    "scope": {"tenant": "t", "account": "a", "project": "p", "region": "r"},
    "severity": "low",
    "message": "m",
    "count": 0,
    "bytes": 2**63 - 1,
    "correlation": {"request_id": "r", "trace_id": "t", "session_id": "s"},
    "class": "personal",
    "labels": {"team": "sales", "": ""},
    "data": [{"free": True}, None, "x"],
    "redacted": ["$.data.password"],
    "derived_from": [0, 7],
}


@pytest.mark.parametrize("struct", STRUCTS)
def test_the_fields_are_these_and_no_others(struct: type[msgspec.Struct]) -> None:
    assert list(struct.__struct_encode_fields__) == FIELDS[struct.__name__].split()


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_structure_is_closed_and_untracked(struct: type[msgspec.Struct]) -> None:
    config = struct.__struct_config__
    assert config.forbid_unknown_fields
    assert config.gc is False
    assert config.omit_defaults


def test_every_field_together() -> None:
    event = decode_event(json.dumps(FULL).encode())
    assert set(FULL) == set(FIELDS["Event"].split())
    assert msgspec.to_builtins(event) == {**FULL, "time": "2026-03-02T08:14:31.204000Z"}
    assert event.class_ == "personal"
    assert event.actor is not None and event.actor.on_behalf_of is not None
    assert event.actor.on_behalf_of.on_behalf_of == Actor(type="user", id="u")


def test_only_action_is_required() -> None:
    assert decode_event(b'{"action":"x"}') == Event(action="x")


@pytest.mark.parametrize("name", [name for name in FULL if name != "action"])
def test_null_is_the_same_as_absent(name: str) -> None:
    assert decode_event(json.dumps({"action": "x", name: None}).encode()) == Event(action="x")


def test_the_closed_words() -> None:
    verbs = "create read update delete grant revoke login logout execute export configure other"
    categories = "authentication permission configuration data execution network admin system other"
    assert " ".join(VERBS) == verbs
    assert " ".join(CATEGORIES) == categories
    assert OUTCOMES == ("success", "failure", "denied", "unknown")
    assert SEVERITIES == ("informational", "low", "medium", "high", "critical")


@pytest.mark.parametrize(
    ("field", "words"),
    [("verb", VERBS), ("category", CATEGORIES), ("outcome", OUTCOMES), ("severity", SEVERITIES)],
)
def test_each_word_is_taken(field: str, words: tuple[str, ...]) -> None:
    for word in words:
        event = decode_event(json.dumps({"action": "x", field: word}).encode())
        assert getattr(event, field) == word


def test_encoding_leaves_absent_fields_out() -> None:
    assert encode_event(Event(action="x", class_="c", count=0)) == b'{"action":"x","count":0,"class":"c"}'


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-03-02T08:14:31Z", 0),
        ("2026-03-02T08:14:31+00:00", 0),
        ("2026-03-02T08:14:31.2Z", 200_000),
        ("2026-03-02T08:14:31.123456789Z", 123_457),
    ],
)
def test_times_that_are_utc(text: str, microsecond: int) -> None:
    event = decode_event(json.dumps({"action": "x", "time": text}).encode())
    assert event.time is not None
    assert (event.time.second, event.time.microsecond) == (31, microsecond)
    assert str(event.time.tzinfo) == "UTC"


def test_the_published_schema_is_this_model() -> None:
    """Regenerate with: python -m graven.event > docs/event.schema.json."""
    assert json.loads((DOCS / "event.schema.json").read_text()) == json_schema()


def test_the_schema_is_closed_too() -> None:
    definitions = json_schema()["$defs"]
    assert {name: list(definitions[name]["properties"]) for name in definitions} == {
        name: fields.split() for name, fields in FIELDS.items()
    }
    assert all(definition["additionalProperties"] is False for definition in definitions.values())
    assert definitions["Event"]["required"] == ["action"]
    assert all(not definitions[name]["required"] for name in definitions if name != "Event")


def test_the_page_explains_every_field_and_word() -> None:
    page = (DOCS / "event-model.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    listed = set(re.findall(r"`([^`]+)`", rows))
    holders = {
        "Event": "",
        "Actor": "actor.",
        "Target": "targets[].",
        "Change": "changes[].",
        "Origin": "origin.",
        "Scope": "scope.",
        "Correlation": "correlation.",
    }
    for name, fields in FIELDS.items():
        missing = [holders[name] + field for field in fields.split() if holders[name] + field not in listed]
        assert not missing
    for word in (*VERBS, *CATEGORIES, *OUTCOMES, *SEVERITIES):
        assert f"`{word}`" in page


def test_the_events_on_the_page_are_events() -> None:
    blocks = re.findall(r"```json\n(.*?)\n```", (DOCS / "event-model.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        decode_event(block.encode())
