"""What is sent: the caller's bytes, each event with an id, checked before it leaves."""

import gzip
import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.client.outgoing import OneEvent, body_of, compressed, prepare, with_ids
from graven.core.errors import BadInput
from graven.event import MAX_EVENT_BYTES, Actor, Event, Refusal, decode_event, duplicate_keys, split_body

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def test_bytes_with_an_id_are_sent_as_they_are() -> None:
    data = b'{ "action" :\t"login", "id":"x-1",  "data": {"n": 1.50} }'
    assert with_ids([data]) == [data]
    assert prepare(b" \n" + data + b"\r\n") == (data, "x-1")


@pytest.mark.parametrize("data", [b'{"action":"a"}', b'{  "action":"a" }', b'{\n"action":"a"\n}'])
def test_bytes_without_an_id_get_a_random_one_in_front(data: bytes) -> None:
    (first,), (second,) = with_ids([data]), with_ids([data])
    assert first != second
    assert first.endswith(data[1:]) and first.startswith(b'{"id":"')
    id_ = decode_event(first).id
    assert id_ is not None and uuid.UUID(id_).version == 4
    assert duplicate_keys(first) == []


@pytest.mark.parametrize("data", [b'{"id":null,"action":"a"}', b'{"action":"a","\\u0069d":null}'])
def test_a_null_id_in_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="the id is null"):
        prepare(data)


@pytest.mark.parametrize("fields", [{"action": "a"}, {"action": "a", "id": None}, {"id": None, "action": "a"}])
def test_a_mapping_without_an_id_gets_one(fields: dict[str, object]) -> None:
    data, id_ = prepare(fields)
    assert json.loads(data) == {"id": id_, "action": "a"}
    assert "id" not in fields or fields["id"] is None, "the caller's mapping is left alone"


def test_mappings_and_events_are_encoded() -> None:
    time = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    fields = {"id": "x", "time": time, "action": "login", "actor": {"id": "alice"}}
    event = Event(id="x", time=time, action="login", actor=Actor(id="alice"))
    for one in (fields, event):
        assert decode_event(prepare(one)[0]) == event
    assert prepare(Event(action="a"))[1] != prepare(Event(action="a"))[1]


def test_one_several_or_a_body() -> None:
    one = b'{"id":"1","action":"a"}'
    assert with_ids(one) == [one]
    assert with_ids({"id": "1", "action": "a"}) == [one]
    several: list[OneEvent] = [one, {"id": "2", "action": "b"}]
    assert with_ids(iter(several)) == [one, b'{"id":"2","action":"b"}']
    assert with_ids(b"[" + one + b"," + one + b"]") == [one, one]
    assert with_ids(one + b"\n\n" + one + b"\n") == [one, one]


def test_every_bad_event_is_named() -> None:
    with pytest.raises(Refusal) as refused:
        with_ids([{"action": "a"}, {}, {"action": "a", "nonsense": 1}, b"[]", b'{"action":', {"action": object()}])
    assert [fault["position"] for fault in refused.value.errors] == [1, 2, 3, 4, 5]
    assert refused.value.errors[1]["path"] == "$.nonsense"
    assert all(fault["what"] and fault["mend"] for fault in refused.value.errors)


def test_at_most_a_hundred_are_named() -> None:
    with pytest.raises(Refusal) as refused:
        with_ids([{}] * 1000)
    assert len(refused.value.errors) == 100


@pytest.mark.parametrize("nothing", [[], b"", b"\n\n", b"[]"])
def test_nothing_is_refused(nothing: bytes | list[OneEvent]) -> None:
    with pytest.raises(Refusal, match="no event"):
        with_ids(nothing)


@pytest.mark.parametrize("wrong", ['{"action":"a"}', 7, None, bytearray(b'{"action":"a"}')])
def test_what_is_no_event_is_refused(wrong: object) -> None:
    with pytest.raises(BadInput):
        with_ids(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        with_ids([wrong])  # type: ignore[list-item]


def test_an_event_that_the_id_makes_too_long_is_refused_here() -> None:
    frame = b'{"action":"a","message":"%s"}'
    full = frame % (b"x" * (MAX_EVENT_BYTES - len(frame) + 2))
    assert len(full) == MAX_EVENT_BYTES and decode_event(full)
    with pytest.raises(BadInput, match="are the most"):
        prepare(full)


def test_deep_and_odd_mappings_are_refused() -> None:
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(3000):
        inner["x"] = inner = {}
    for fields in ({"action": "a", "data": deep}, {"action": "a", "time": datetime(2026, 1, 1)}, {"action": "\ud800"}):
        with pytest.raises(BadInput):
            prepare(fields)


@given(st.lists(st.fixed_dictionaries({"action": st.text(min_size=1), "data": json_values}), min_size=1, max_size=5))
def test_a_body_holds_exactly_the_events(found: list[dict[str, object]]) -> None:
    lines = with_ids(found)
    spread = [json.dumps(json.loads(line), indent=1).encode() for line in lines]
    for events in (lines, spread, [lines[0], *spread[1:]]):
        body, content_type = body_of(events)
        assert split_body(body, content_type) == events
        assert split_body(body) == events, "the kept body says by itself what it is"
        assert gzip.decompress(compressed(body)) == body
        assert compressed(body) == compressed(body)
