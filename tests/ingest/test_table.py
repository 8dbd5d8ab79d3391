"""A source type as a table: paths, words, targets, and what a record without an action gets."""

import json
from typing import Any

import pytest

from graven.event import decode_event, encode_event
from graven.ingest import Pipeline, Record, Unparsed
from graven.ingest.record import LIKELY, NO, SURE
from graven.ingest.table import FIELDS, WORD_FIELDS, Match, Table, TargetRule, Words

DOOR = Table(
    type="acme-door",
    match=Match(has=("evt", "who.badge"), equals={"kind": ("door", "gate")}, lacks=("test",), score=SURE),
    fields={
        "id": ("n",),
        "time": ("when", "ts"),
        "action": ("evt",),
        "actor.id": ("who.badge",),
        "actor.name": ("who.name",),
        "behind.id": ("host.badge",),
        "origin.device": ("reader",),
        "scope.region": ("site",),
        "reason": ("why",),
        "count": ("tries",),
        "bytes": ("size",),
        "class": ("class",),
        "correlation.trace_id": ("trace",),
    },
    fixed={"actor.type": "user", "behind.type": "user", "category": "permission"},
    words={
        "verb": Words({"open": "read", "forced*": "execute", "*alarm*": "other", "*": "update"}),
        "outcome": Words({"true": "success", "false": "denied"}, ["ok"]),
        "severity": Words({"9": "critical"}, ["level"]),
    },
    targets=(TargetRule("door", ("door",), ("door_name",)), TargetRule("key", ("id",), owner=("of",), each="keys")),
    taken=frozenset(("n", "evt", "when")),
)
FULL: dict[str, Any] = {
    "n": 7, "evt": "open", "when": "2026-03-02T08:14:31Z", "kind": "door", "who": {"badge": "b1", "name": "Mara"},
    "host": {"badge": "b2"}, "reader": "r9", "site": "eu", "why": "badge", "tries": "3", "size": 12, "ok": False,
    "level": 9, "door": "d4", "door_name": "Front", "keys": [{"id": "k1", "of": "Tom"}, {"id": None}, 5, {"id": "k2"}],
    "trace": "t", "class": "doors", "extra": 1,
}  # fmt: skip


def test_every_part_of_a_table() -> None:
    (event,) = DOOR.normalise(Record(b""), FULL)
    assert json.loads(encode_event(event)) == {
        "id": "7", "time": "2026-03-02T08:14:31Z", "action": "open", "verb": "read", "category": "permission",
        "actor": {"type": "user", "id": "b1", "name": "Mara", "on_behalf_of": {"type": "user", "id": "b2"}},
        "targets": [
            {"type": "door", "id": "d4", "name": "Front"}, {"type": "key", "id": "k1", "owner": "Tom"},
            {"type": "key", "id": "k2"},
        ],
        "outcome": "denied", "reason": "badge", "origin": {"device": "r9"}, "scope": {"region": "eu"},
        "severity": "critical", "count": 3, "bytes": 12, "correlation": {"trace_id": "t"}, "class": "doors",
        "data": {key: value for key, value in FULL.items() if key not in ("n", "evt", "when")},
    }  # fmt: skip
    decode_event(encode_event(event))


def test_an_empty_value_leaves_a_field_out() -> None:
    empty = {key: ("" if isinstance(value, str) else None) for key, value in FULL.items()} | {"evt": "shut"}
    (event,) = DOOR.normalise(Record(b""), empty)
    assert json.loads(encode_event(event)) == {
        "action": "shut", "verb": "update", "category": "permission",
        "data": {key: "" for key, value in FULL.items() if isinstance(value, str) and key not in ("n", "evt", "when")},
    }  # fmt: skip


@pytest.mark.parametrize("document", [{}, {"evt": ""}, {"evt": {"deep": 1}}, [], "text", None])
def test_a_record_without_an_action_is_refused(document: object) -> None:
    with pytest.raises(Unparsed):
        DOOR.normalise(Record(b""), document)


@pytest.mark.parametrize(
    ("change", "score"),
    [
        ({}, SURE),
        ({"kind": "gate"}, SURE),
        ({"kind": "window"}, NO),
        ({"evt": None}, NO),
        ({"who": {}}, NO),
        ({"test": True}, NO),
    ],
)
def test_when_a_document_matches(change: dict[str, object], score: int) -> None:
    assert DOOR.recognise(FULL | change) == score


def test_a_match_that_asks_nothing_matches_nothing() -> None:
    assert Match()(FULL) == NO
    assert Match(has=("evt",))(FULL) == LIKELY
    assert Match(has=("evt",))("text") == NO


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("OPEN", "read"), ("forced entry", "execute"), ("an alarm rang", "other"), ("anything", "update"), ("", "update")],
)
def test_words_are_looked_up(word: str, meaning: str) -> None:
    assert DOOR.words["verb"].look_up(word) == meaning
    assert Words({"a": "b"}).look_up("c") is None


def test_a_table_is_a_source_like_any_other() -> None:
    pipeline = Pipeline((DOOR,))
    (found,) = pipeline.run([Record(json.dumps(FULL).encode())])
    assert (found.type, found.id, found.class_, found.quarantined) == ("acme-door", "7", "doors", "")
    assert "acme-door" in pipeline.types


def test_what_a_mapping_may_name_is_in_the_model() -> None:
    event_fields = {name.partition(".")[0] for name in FIELDS} - {"behind"}
    assert event_fields | set(WORD_FIELDS) - {"actor.type"} <= {
        "id", "time", "action", "reason", "message", "class", "count", "bytes", "actor", "origin", "scope",
        "correlation", "verb", "category", "outcome", "severity",
    }  # fmt: skip
