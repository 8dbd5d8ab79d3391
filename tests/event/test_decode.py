"""One event: its limits, counted exactly and at no cost; its duplicate keys."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.event import DEPTH_MAX, KEYS_MAX, MAX_EVENT_BYTES, decode_event, duplicate_keys, parse_body

TRICKY = ['"', "\\", "\\\\", '\\"', "{", "}", "[", "]", ":", '":{', '\\":[', "\n", "é", "\u2028", "x"]
tricky_text = st.lists(st.sampled_from(TRICKY), max_size=8).map("".join)


def nested(depth: int, kinds: str, text: str) -> bytes:
    """An event whose deepest level is `depth`; `kinds` picks object or array for each level below the event."""
    inner: Any = text
    for level in range(depth - 1):
        inner = {text: inner, text + "2": text} if kinds[level % len(kinds)] == "o" else [text, inner, text]
    return json.dumps({"action": text or "x", "data": inner}, ensure_ascii=len(text) % 2 == 0).encode()


@given(depth=st.integers(DEPTH_MAX - 4, DEPTH_MAX + 4), kinds=st.text("oa", min_size=1, max_size=6), text=tricky_text)
def test_depth_is_counted_exactly_whatever_strings_hold(depth: int, kinds: str, text: str) -> None:
    slice_ = nested(depth, kinds, text)
    if depth <= DEPTH_MAX:
        decode_event(slice_)
        assert parse_body(slice_, "application/json").slices == [slice_]
    else:
        with pytest.raises(BadInput, match="deeper than 64 levels"):
            decode_event(slice_)
        with pytest.raises(BadInput, match="deeper than 64 levels"):
            parse_body(slice_, "application/json")


def test_brackets_in_strings_are_not_levels() -> None:
    for text in ("[" * 5000, "{[" * 3000, '"[' * 1000, "\\[" * 1000, "]" * 80 + "[" * 80):
        event = decode_event(json.dumps({"action": "x", "message": text, "data": [[text], {text: text}]}).encode())
        assert event.message == text


def test_many_brackets_side_by_side_are_not_levels() -> None:
    decode_event(json.dumps({"action": "x", "data": [[{}] for _ in range(5000)]}).encode())


def test_depth_hidden_behind_a_duplicate_key_counts() -> None:
    deep = b"[" * 70 + b"]" * 70
    with pytest.raises(BadInput, match="deeper than 64 levels"):
        decode_event(b'{"action":"x","data":%s,"data":null}' % deep)
    with pytest.raises(BadInput, match="deeper than 64 levels"):
        parse_body(b'{"action":"x","data":%s,"data":null}\n{"action":"y"}' % deep)


@pytest.mark.parametrize("depth", [300, 999, 1000, 1001, 5000, 200_000])
def test_a_very_deep_document_is_bad_input(depth: int) -> None:
    for deep in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        slice_ = b'{"action":"x","data":' + deep + b"}"
        with pytest.raises(BadInput) as caught:
            decode_event(slice_)
        assert caught.value.place == "$"
        assert "deeper" in caught.value.what or len(slice_) > MAX_EVENT_BYTES


def test_a_long_chain_of_delegation_is_bad_input() -> None:
    chain = b'{"on_behalf_of":' * 63 + b"null" + b"}" * 63
    assert decode_event(b'{"action":"x","actor":' + chain + b"}").actor is not None
    chain = b'{"on_behalf_of":' * 64 + b"null" + b"}" * 64
    with pytest.raises(BadInput, match="deeper than 64 levels"):
        decode_event(b'{"action":"x","actor":' + chain + b"}")


@pytest.mark.parametrize("noise", ["", ":", '"', "\\", '\\":'])
@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
def test_keys_are_counted_exactly(noise: str, extra: int, fits: bool) -> None:
    data = {f"k{noise}{i}": noise for i in range(KEYS_MAX - 2 + extra)}  # `action` and `data` are keys too
    slice_ = json.dumps({"action": "x", "data": data}, separators=(",", ":")).encode()
    if fits:
        decode_event(slice_)
        assert parse_body(slice_).slices == [slice_]
    else:
        for read in (decode_event, parse_body):
            with pytest.raises(BadInput, match="10001 keys; 10000"):
                read(slice_)


def test_the_shortest_keys_count_and_so_do_duplicates() -> None:
    pairs = b",".join([b'"":0'] * (KEYS_MAX - 1))
    with pytest.raises(BadInput, match="10001 keys"):
        decode_event(b'{"action":"x","data":{%s}}' % pairs)
    decode_event(b'{"action":"x","data":{%s}}' % pairs[5:])


@pytest.mark.parametrize("read", [decode_event, parse_body])
def test_one_mebibyte_is_the_most(read: Any) -> None:
    frame = b'{"action":"x","message":""}'
    largest = frame.replace(b'""', b'"' + b"m" * (MAX_EVENT_BYTES - len(frame)) + b'"')
    assert len(largest) == MAX_EVENT_BYTES
    read(largest)
    with pytest.raises(BadInput, match="1048577 bytes; 1048576"):
        read(largest.replace(b"mm", b"mmm", 1))


@pytest.mark.parametrize(
    ("id_", "fits"), [("i" * 256, True), ("i" * 257, False), ("é" * 128, True), ("é" * 129, False)]
)
def test_an_id_is_measured_in_bytes(id_: str, fits: bool) -> None:
    for ascii_ in (True, False):
        slice_ = json.dumps({"action": "x", "id": id_}, ensure_ascii=ascii_).encode()
        if fits:
            assert decode_event(slice_).id == id_
            assert parse_body(slice_).ids == [id_]
        else:
            for read in (decode_event, parse_body):
                with pytest.raises(BadInput, match="longer than 256"):
                    read(slice_)


@pytest.mark.parametrize(
    "number", ["9" * 30, "-" + "9" * 4000, "1" + "0" * 4299, "1e308", "-1e-400", "0." + "1" * 9000, "-0", "-0.0", "1E5"]
)
def test_large_numbers_in_data_are_taken(number: str) -> None:
    decode_event(b'{"action":"x","data":{"n":%s},"changes":[{"old":%s}]}' % (number.encode(), number.encode()))


@pytest.mark.parametrize(
    "number", ["9" * 4301, "-" + "9" * 500_000, "1e309", "9" * 400 + ".0", "1e99999999999999999999"]
)
def test_larger_numbers_are_refused(number: str) -> None:
    with pytest.raises(BadInput, match="out of range"):
        decode_event(b'{"action":"x","data":%s}' % number.encode())


@pytest.mark.parametrize("number", ["01", "1.", ".5", "+1", "0x1", "1e", "--1", "1_000"])
def test_what_is_no_json_number_is_refused(number: str) -> None:
    with pytest.raises(BadInput, match="malformed"):
        decode_event(b'{"action":"x","data":%s}' % number.encode())


def test_control_characters_survive_as_escapes_and_not_bare() -> None:
    event = decode_event(b'{"action":"a\\u0000\\u001b[31m\\u202e"}')
    assert event.action == "a\x00\x1b[31m\u202e"
    with pytest.raises(BadInput, match="malformed"):
        decode_event(b'{"action":"a\x1b"}')


def test_the_last_duplicate_counts() -> None:
    assert decode_event(b'{"action":"a","class":"x","action":"b","\\u0063lass":"y"}').class_ == "y"


@pytest.mark.parametrize(
    ("slice_", "paths"),
    [
        (b'{"action":"x"}', []),
        (b'{"a":1,"b":2,"a":3,"a":4}', ["$.a"]),
        (b'{"a":1,"\\u0061":2}', ["$.a"]),
        (b'{"z":1,"b":{"x":[0,{"y":1,"y":2}]},"z":3}', ["$.z", "$.b.x[1].y"]),
        (b'{"a":{"k":1,"k":2},"a":{"k":3}}', ["$.a", "$.a.k"]),
        (b'{"p":{"a":1,"a":1},"q":{"b":1,"b":1}}', ["$.p.a", "$.q.b"]),
        (b'{"a b":1,"a b":{}}', ['$["a b"]']),
        (b'{"a":[[{"b":1,"b":1}],{"c":2,"c":3}]}', ["$.a[0][0].b", "$.a[1].c"]),
        (b'{"n":1e999,"n":' + b"9" * 5000 + b"}", ["$.n"]),
    ],
)
def test_duplicate_keys_are_named(slice_: bytes, paths: list[str]) -> None:
    assert duplicate_keys(slice_) == paths


def test_duplicate_keys_are_bounded() -> None:
    many = b",".join(b'"k%d":0,"k%d":1' % (i, i) for i in range(500))
    assert len(duplicate_keys(b'{"%s":{%s}}' % (b"p" * 500_000, many))) == 100
    assert sum(map(len, duplicate_keys(b'{"%s":{%s}}' % (b"p" * 500_000, many)))) < 20_000


@pytest.mark.parametrize("slice_", [b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 100_000, b'{"a":1}x'])
def test_duplicate_keys_of_what_is_no_document(slice_: bytes) -> None:
    with pytest.raises(BadInput, match="not a JSON document"):
        duplicate_keys(slice_)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | tricky_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky_text, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_taken_as_data_and_has_no_duplicates(value: Any) -> None:
    slice_ = json.dumps({"action": "x", "data": value}).encode()
    assert decode_event(slice_).data == value
    assert duplicate_keys(slice_) == []


def test_no_limit_rests_on_the_interpreters_own() -> None:
    """The deepest permitted event is read with little stack left, so that every reader can read it anywhere."""
    slice_ = nested(DEPTH_MAX, "oa", "x")

    def descend(levels: int) -> Any:
        return descend(levels - 1) if levels else decode_event(slice_)

    assert descend(sys.getrecursionlimit() // 2).action == "x"
