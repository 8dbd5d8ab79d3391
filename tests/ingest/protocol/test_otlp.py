"""OTLP logs."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import RECORDS_MAX, TooMany
from graven.ingest.protocol.otlp import format_answer, format_status, read_json, read_protobuf
from ingest.protocol.wire import fixed64, number, part

NS = 1_700_000_000_123_456_789


def pair(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return part(1, key), part(2, value)


def request(*records: bytes) -> bytes:
    resource = part(1, part(1, *pair(b"service.name", part(1, b"shop"))))
    scope = part(1, part(1, b"scope-a"))
    return part(1, resource, part(2, scope, *[part(2, record) for record in records]))


RICH = b"".join(
    [
        fixed64(1, NS), fixed64(11, NS + 5), number(2, 17), part(3, b"Error"),
        part(5, part(6, part(1, *pair(b"a", part(1, b"x"))), part(1, *pair(b"n", number(3, -7))),
                     part(1, *pair(b"d", b"\x21" + struct.pack("<d", 1.5))), part(1, *pair(b"t", number(2, 1))),
                     part(1, *pair(b"l", part(5, part(1, part(1, b"p")), part(1, number(3, 2))))),
                     part(1, *pair(b"b", part(7, b"\x00\xff"))))),
        part(6, *pair(b"user.id", part(1, b"u-1"))), part(6, *pair(b"count", number(3, 3))),
        part(9, bytes(range(16))), part(10, bytes(range(8))), part(12, b"user.login"),
    ]
)  # fmt: skip
AS_JSON: dict[str, Any] = {
    "timeUnixNano": str(NS), "observedTimeUnixNano": NS + 5, "severityNumber": 17, "severityText": "Error",
    "body": {"kvlistValue": {"values": [
        {"key": "a", "value": {"stringValue": "x"}}, {"key": "n", "value": {"intValue": "-7"}},
        {"key": "d", "value": {"doubleValue": 1.5}}, {"key": "t", "value": {"boolValue": True}},
        {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "p"}, {"intValue": 2}]}}},
        {"key": "b", "value": {"bytesValue": "AP8="}}]}},
    "attributes": [{"key": "user.id", "value": {"stringValue": "u-1"}}, {"key": "count", "value": {"intValue": "3"}}],
    "traceId": bytes(range(16)).hex().upper(), "spanId": bytes(range(8)).hex(), "eventName": "user.login",
}  # fmt: skip


def as_json(*records: Any) -> bytes:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scopes = [{"scope": {"name": "scope-a"}, "logRecords": list(records)}]
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}).encode()


def test_both_encodings_say_the_same() -> None:
    (one,), (other,) = read_protobuf(request(RICH), {}).records, read_json(as_json(AS_JSON), {}).records
    assert one == other
    assert json.loads(one.raw) == {"a": "x", "n": -7, "d": 1.5, "t": True, "l": ["p", 2], "b": "AP8="}
    assert one.around == {
        "time": "2023-11-14T22:13:20.123456789Z", "otel.event_name": "user.login", "otel.severity": "Error",
        "otel.trace_id": bytes(range(16)).hex(), "otel.span_id": bytes(range(8)).hex(), "otel.scope": "scope-a",
        "otel.attribute.user.id": "u-1", "otel.attribute.count": "3", "otel.resource.service.name": "shop",
    }  # fmt: skip
    assert one.otherwise == "otel"


def test_a_text_body_is_the_record_itself() -> None:
    (record,) = read_protobuf(request(part(5, part(1, b"sshd[1]: hello"))), {}).records
    assert record.raw == b"sshd[1]: hello"


def test_without_a_body_the_attributes_are_the_record() -> None:
    (record,) = read_protobuf(request(part(12, b"x.y") + part(6, *pair(b"k", part(1, b"v")))), {}).records
    assert json.loads(record.raw) == {"event_name": "x.y", "attributes": {"k": "v"}}


def test_a_repeat_is_known_by_the_whole_record_and_its_time() -> None:
    timed, untimed = fixed64(1, NS) + part(5, part(1, b"m")), part(5, part(1, b"m"))
    first = read_protobuf(request(timed, untimed, timed), {}).keys
    assert read_protobuf(request(timed, untimed, timed), {}).keys == first
    assert first[1] == "" and first[2] == first[0] + "#2"
    assert read_protobuf(request(timed + number(2, 9)), {}).keys[0] != first[0]


def test_a_bad_record_costs_no_other() -> None:
    good = part(5, part(1, b"m"))
    deep = part(1, b"x")
    for _ in range(200):
        deep = part(5, part(1, deep))
    delivery = read_protobuf(request(good, b"\x2a\x7f", part(5, deep), good), {})
    assert [bool(record.fault) for record in delivery.records] == [False, True, True, False]
    nested: Any = {"stringValue": "x"}
    for _ in range(200):
        nested = {"arrayValue": {"values": [nested]}}
    delivery = read_json(as_json({"body": {"stringValue": "m"}}, 5, {"body": nested}, {"timeUnixNano": "9" * 30}), {})
    assert [bool(record.fault) for record in delivery.records] == [False, True, True, True]


@pytest.mark.parametrize("body", [b"", b"[]", b"nope", b'{"resourceLogs":5}', b'{"a":' * 9_999, b"\xff"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read_json(body, {})


def test_very_many_records_are_refused() -> None:
    with pytest.raises(TooMany):
        read_protobuf(part(1, part(2, part(2, b"") * (RECORDS_MAX + 1))), {})


def test_answers() -> None:
    assert (format_answer(as_json=True), format_answer(as_json=False)) == (b"{}", b"")
    assert format_answer(as_json=False, message="m") == part(1, part(2, b"m"))
    assert json.loads(format_answer(as_json=True, message="m")) == {"partialSuccess": {"errorMessage": "m"}}
    assert format_status(8, "full", as_json=False) == number(1, 8) + part(2, b"full")
    assert json.loads(format_status(8, "full", as_json=True)) == {"code": 8, "message": "full"}


@given(st.binary(max_size=100))
def test_any_record_is_kept(record: bytes) -> None:
    delivery = read_protobuf(request(record), {})
    assert len(delivery.records) == len(delivery.keys) == 1


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["key", "value", "values", "stringValue", "intValue", "arrayValue", "kvlistValue", "doubleValue"]
        ),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(_ANY, _ANY, _ANY)
def test_any_json_is_read_or_kept(body: Any, attributes: Any, time: Any) -> None:
    record = {"body": body, "attributes": attributes, "timeUnixNano": time, "traceId": body, "severityNumber": time}
    assert len(read_json(as_json(record), {}).records) == 1
