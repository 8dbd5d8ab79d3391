"""The HTTP Event Collector's bodies."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.delivery import RECORDS_MAX, Delivery, TooMany
from graven.ingest.protocol.hec import read_events, read_lines
from graven.ingest.record import Record


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":{"a":1}}{"event":"two"}{"event":[3]}',
        b'{"event":{"a":1}}\n{"event":"two"}\r\n\n {"event":[3]}\n',
        b' {"event" : {"a":1}}   {"event":"two"} {"event":[3]}',
        b'{\n "event": {"a":1}\n}\n{\n "event": "two"\n}{"event":[3]}',
    ],
)
def test_envelopes_follow_each_other_in_any_way(body: bytes) -> None:
    assert [record.raw for record in read_events(body, {}).records] == [b'{"a":1}', b"two", b"[3]"]


def test_what_surrounds_an_event_is_said_of_it() -> None:
    body = json.dumps(
        {"event": "x", "time": 1426279439.123, "host": "h", "source": "s", "sourcetype": "t", "index": "i",
         "fields": {"k": "v", "n": 7}}
    ).encode()  # fmt: skip
    (record,) = read_events(body, {"hec.index": "main"}).records
    assert record.around == {
        "hec.index": "i", "hec.host": "h", "hec.source": "s", "hec.sourcetype": "t",
        "time": "2015-03-13T20:43:59.123000Z",
        "hec.fields.k": "v", "hec.fields.n": "7",
    }  # fmt: skip


@pytest.mark.parametrize("time", ['"1426279439.123"', "1426279439123", "1426279439.123"])
def test_times_are_numbers_or_their_digits(time: str) -> None:
    (record,) = read_events(b'{"event":"x","time":' + time.encode() + b"}", {}).records
    assert record.around["time"] == "2015-03-13T20:43:59.123000Z"


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (b'{"event":"a"}\n{"event":}\n{"event":"b"}', ["", "from here on the body is not JSON"]),
        (b'{"event":"a"}{"evnt":1}', ["", "the envelope has no field `event`"]),
        (b'{"event":"a","host":5}\n{"event":"b"}', ["the event is not of the collector's shape", ""]),
        (b'{"event":""}{"event":null}{"event":"b"}', ["the field `event` is blank"] * 2 + [""]),
        (b"[1,2", ["from here on the body is not JSON"]),
        (b'{"event":"a"}\xff', ["the body is not UTF-8 and its events do not stand on lines of their own"]),
    ],
)
def test_what_cannot_be_read_is_kept_and_costs_no_other(body: bytes, faults: list[str]) -> None:
    assert [record.fault for record in read_events(body, {}).records] == faults


def test_braces_inside_a_string_are_no_border() -> None:
    body = b'{"event":{"m":"a}{b"}}{"event":"c}{d"}'
    assert [record.raw for record in read_events(body, {}).records] == [b'{"m":"a}{b"}', b"c}{d"]


def test_a_repeat_is_only_known_by_a_time() -> None:
    body = b'{"event":"a","time":1700000000.5}{"event":"a"}{"event":"a","time":1700000000.5}'
    first, second = read_events(body, {}).keys, read_events(body, {}).keys
    assert first == second
    assert first[1] == "" and "" not in (first[0], first[2]) and first[0] != first[2]
    assert read_events(body + b" ", {}).keys == first
    assert read_events(body + b'{"event":"b"}', {}).keys[0] != first[0]


def test_raw_lines() -> None:
    assert [record.raw for record in read_lines(b"a\r\n\n b\nc", {}).records] == [b"a", b" b", b"c"]


@pytest.mark.parametrize("body", [b'{"event":1}' * (RECORDS_MAX + 1), b'{"event":1}\n' * (RECORDS_MAX + 1)])
def test_a_body_of_very_many_events_is_refused(body: bytes) -> None:
    with pytest.raises(TooMany):
        read_events(body, {})
    with pytest.raises(TooMany):
        read_lines(b"a\n" * (RECORDS_MAX + 1), {})


def test_deep_documents_are_a_fault_and_nothing_worse() -> None:
    deep = b'{"event":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    delivery = read_events(b'{"event":"a"}\n' + deep + b'\n{"event":"b"}', {})
    assert [bool(record.fault) for record in delivery.records][:2] == [False, True]


_PIECES = st.sampled_from(
    [b"{", b"}", b'"event"', b":", b'"', b",", b"\n", b" ", b"1", b"[", b"]", b"\\", b"\xff", b"\0"]
)


@given(st.lists(_PIECES | st.binary(max_size=6), max_size=30))
def test_anything_is_read_without_an_error(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    delivery = read_events(body, {})
    assert len(delivery.keys) == len(delivery.records)
    assert bool(delivery.records) == bool(body.strip(b" \t\r\n"))


def test_keys_are_made_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def keys() -> list[str]:
        asked.append(1)
        return ["k"]

    delivery = Delivery([Record(b"x")], keys)
    assert asked == []
    assert delivery.keys == delivery.keys == ["k"] and asked == [1]
    assert Delivery([]).keys == ()


def test_lines_with_a_broken_one_among_them_are_read_one_by_one() -> None:
    good = b'{"event":{"action":"a"},"host":"h"}'
    for between in (b"\n\n", b"\r\n", b" \n\t\n"):
        found = read_events(good + between + good + b" ", {}).records
        assert [(one.raw, one.around) for one in found] == [(b'{"action":"a"}', {"hec.host": "h"})] * 2
    bad = read_events(good + b'\n{"event":7,"time":[]}\n' + good, {}).records
    assert [bool(one.fault) for one in bad] == [False, True, False]
