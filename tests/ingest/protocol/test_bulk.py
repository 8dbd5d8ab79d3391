"""The bodies of `_bulk`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.bulk import Operation, read_bulk
from graven.ingest.protocol.delivery import RECORDS_MAX, TooMany


def test_operations_and_their_documents() -> None:
    body = (
        b'{"index":{"_index":"a","_id":"7"}}\n{"x":1}\n\n{"create":{}}\r\n{"x":2}\r\n'
        b'{"delete":{"_index":"a","_id":"9"}}\n{"update":{"_id":"9"}}\n{"doc":{}}\n{"create":{"_id":5}}\n{"x":3}'
    )
    bulk = read_bulk(body, {}, index="path")
    assert bulk.operations == [
        Operation("index", "a", "7", 0),
        Operation("create", "path", "", 1),
        Operation("delete", "a", "9", None, "this log only appends"),
        Operation("update", "path", "9", None, "this log only appends"),
        Operation("create", "path", "5", 2),
    ]
    assert [(one.raw, one.id) for one in bulk.delivery.records] == [
        (b'{"x":1}', "7"),
        (b'{"x":2}', ""),
        (b'{"x":3}', "5"),
    ]
    assert bulk.delivery.records[0].around == {"bulk.index": "a"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (b'{"index":{}}\nnot json\n{"index":{}}\n{"x":1}\n', ["the line behind the action is no JSON object", ""]),
        (b'{"x":1}\n{"index":{}}\n{"x":2}', ["an action was expected: index or create", ""]),
        (b'{"index":{}}', ["the line behind the action is no JSON object"]),
        (b'{"index":{}}\n\n{"index":{}}\n{"x":2}', ["the line behind the action is no JSON object", ""]),
    ],
)
def test_what_cannot_be_read_costs_no_other(body: bytes, faults: list[str]) -> None:
    assert [record.fault for record in read_bulk(body, {}).delivery.records] == faults


def test_the_sender_s_id_tells_a_repeat() -> None:
    assert read_bulk(b'{"index":{"_id":"i"}}\n{"x":1}', {}).delivery.keys == ["i"]


def test_only_documents_with_a_time_can_be_repeats() -> None:
    body = b'{"index":{}}\n{"@timestamp":"2026-01-01T00:00:00Z"}\n{"index":{}}\n{"x":1}'
    keys = read_bulk(body, {}).delivery.keys
    assert keys[0] and not keys[1]
    assert read_bulk(body, {}).delivery.keys == keys


def test_very_many_are_refused() -> None:
    with pytest.raises(TooMany):
        read_bulk(b'{"index":{}}\n{}\n' * (RECORDS_MAX + 1), {})
    with pytest.raises(TooMany):
        read_bulk(b'{"delete":{}}\n' * (RECORDS_MAX * 2), {})


_LINES = st.sampled_from(
    [b'{"index":{}}', b'{"create":{"_id":1}}', b'{"delete":{}}', b"{}", b"", b'{"a":', b"\xff", b"[" * 99]
)


@given(st.lists(_LINES | st.binary(max_size=8), max_size=20))
def test_anything_is_read_without_an_error(lines: list[bytes]) -> None:
    bulk = read_bulk(b"\n".join(lines), {})
    named = [one.record for one in bulk.operations if one.record is not None]
    assert named == list(range(len(bulk.delivery.records))) and len(bulk.delivery.keys) == len(named)
