"""Loki's push."""

import contextlib
import json

import pytest
from cramjam import snappy
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import RECORDS_MAX, TooMany
from graven.ingest.protocol.loki import parse_labels, read_json, read_protobuf
from graven.ingest.protocol.snappy import unpack_snappy
from ingest.protocol.wire import number, part

NS = 1_700_000_000_123_456_789
JSON = json.dumps(
    {"streams": [{"stream": {"job": "a", "host": "b"}, "values": [[str(NS), "one"], [str(NS), "two", {"user": "u"}]]}]}
).encode()


def entry(line: bytes, ns: int = NS, *meta: tuple[bytes, bytes]) -> bytes:
    stamp = part(1, number(1, ns // 10**9), number(2, ns % 10**9))
    return part(2, stamp, part(2, line), *[part(3, part(1, name), part(2, value)) for name, value in meta])


PROTOBUF = part(1, part(1, b'{job="a", host="b"}'), entry(b"one"), entry(b"two", NS, (b"user", b"u")))


def test_both_encodings_say_the_same() -> None:
    from_json, from_protobuf = read_json(JSON, {}), read_protobuf(PROTOBUF, {})
    assert [record.raw for record in from_json.records] == [b"one", b"two"]
    assert from_json.records[1].around == {
        "loki.job": "a", "loki.host": "b", "time": "2023-11-14T22:13:20.123456789Z", "loki.user": "u",
    }  # fmt: skip
    assert (from_protobuf.records, from_protobuf.keys) == (from_json.records, from_json.keys)
    assert len(set(from_json.keys)) == 2 and all(from_json.keys)


def test_the_same_line_twice_in_one_push_is_two() -> None:
    once, again = read_protobuf(part(1, entry(b"x"), entry(b"x")), {}).keys
    assert once != again
    assert read_protobuf(part(1, entry(b"x")), {}).keys == [once]
    assert read_protobuf(part(1, part(1, b'{a="b"}'), entry(b"x")), {}).keys != [once]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{a="b",c="d"}', {"a": "b", "c": "d"}),
        (r'{a="say \"x\" \\ \n é"}', {"a": 'say "x" \\ \n é'}),
        ('{a="}{,="}', {"a": "}{,="}),
        ("{}", {}),
        ("", {}),
        ('{a="b"', {"_": '{a="b"'}),
        ("{a=b}", {"_": "{a=b}"}),
    ],
)
def test_labels(text: str, labels: dict[str, str]) -> None:
    assert parse_labels(text) == labels


def test_a_bad_entry_costs_no_other() -> None:
    body = b'{"streams":[{"stream":{},"values":[["1700000000000000000","a"],["x"],{"q":1},["1","b",{"k":"v"}]]}]}'
    assert [bool(record.fault) for record in read_json(body, {}).records] == [False, True, True, False]
    broken = part(1, entry(b"a"), part(2, b"\x12\x09"), entry(b"b"))
    assert [bool(record.fault) for record in read_protobuf(broken, {}).records] == [False, True, False]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"streams":5}', b'{"streams":[{"values":7}]}', b"[" * 10_000, b"\xff"])
def test_what_is_no_push_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read_json(body, {})


def test_very_many_entries_are_refused() -> None:
    with pytest.raises(TooMany):
        read_protobuf(part(1, part(2, b"") * (RECORDS_MAX + 1)), {})
    with pytest.raises(TooMany):
        read_json(b'{"streams":[{"values":[' + b'["1","a"],' * RECORDS_MAX + b'["1","a"]]}]}', {})


def test_snappy_is_bounded_before_it_is_unpacked() -> None:
    clear = b"x" * 1_000_000
    block = bytes(snappy.compress_raw(clear))
    assert unpack_snappy(block, bytes_max=len(clear)) == clear
    assert unpack_snappy(block, bytes_max=len(clear) - 1) is None
    assert unpack_snappy(b"\xff\xff\xff\xff\x0f", bytes_max=1 << 20) is None


@given(st.binary(max_size=40))
def test_any_block_is_unpacked_or_refused(block: bytes) -> None:
    try:
        clear = unpack_snappy(block, bytes_max=1 << 16)
    except BadInput:
        return
    assert clear is None or len(clear) <= 1 << 16


@given(st.binary(max_size=80))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    try:
        delivery = read_protobuf(part(1, message), {})
    except BadInput:
        return
    assert len(delivery.keys) == len(delivery.records)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=4), max_leaves=10))
def test_any_values_are_read_or_refused(values: object) -> None:
    with contextlib.suppress(BadInput):
        read_json(json.dumps({"streams": [{"stream": {}, "values": values}]}).encode(), {})
