"""Bodies and files taken apart: every record is a verbatim slice, whatever it was wrapped in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.split import split_records, unpack

A, B = b'{"a":1}', b'{ "b" : [1, 2] }'


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (b"", []),
        (b" \r\n\n", []),
        (A, [A]),
        (b"\xef\xbb\xbf" + A, [A]),
        (A + b"\n\n  " + B + b"\r\n", [A, B]),
        (b"[" + A + b", " + B + b"]", [A, B]),
        (b"[]", []),
        (b'{"Records":[' + A + b"," + B + b"]}", [A, B]),
        (b'{"Records":[]}', []),
        (b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + A + b"]}", [A]),
        (b'{\n "records": [\n' + A + b"]}\n", [A]),
        (b'{\n "a": 1\n}', [b'{\n "a": 1\n}']),
        (b"one line\nanother\n", [b"one line", b"another"]),
        (b'{"broken\n' + A, [b'{"broken', A]),
        (b'["a","b"]', [b'["a","b"]']),
        (b'{"value":[1,2]}', [b'{"value":[1,2]}']),
        (b'{"data":[],"x":1}', [b'{"data":[],"x":1}']),
        (b'{"eventType":"hook","data":{"events":[' + A + b"," + B + b"]}}", [A, B]),
        (b'{"data":{"events":5}}', [b'{"data":{"events":5}}']),
        (b'{"results":[' + A + b'],"totalCount":1}', [A]),
    ],
)
def test_the_pieces_of_a_body(body: bytes, pieces: list[bytes]) -> None:
    assert [record.raw for record in split_records(body)] == pieces


def test_type_and_surroundings_go_to_every_record() -> None:
    records = split_records(A + b"\n" + B, "okta", {"file.path": "/x"})
    assert [(one.type, one.around) for one in records] == [("okta", {"file.path": "/x"})] * 2


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), max_size=5))
def test_a_list_is_the_same_list_however_it_comes(rows: list[dict[str, object]]) -> None:
    texts = [json.dumps(row).encode() for row in rows]
    listed = b"[" + b",".join(texts) + b"]"
    assert unpack(listed) == texts
    assert unpack(b'{"Records":' + listed + b"}") == texts
    assert [one.raw for one in split_records(b'{"nextToken":null,"items": ' + listed + b"}")] == texts


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(body: bytes) -> None:
    for record in split_records(body):
        assert record.raw in body
        assert record.raw.strip(b" \t\r\n") == record.raw
