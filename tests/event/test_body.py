"""From a body to the exact bytes of its events; what is refused, and what is quarantined instead."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.event import (
    FAULTS_MAX,
    MAX_EVENT_BYTES,
    QUARANTINE_ACTION,
    Fault,
    Parsed,
    Refusal,
    decode_event,
    parse_body,
    quarantine,
    split_body,
)

A, B, C = b'{"action":"a"}', b'{ "action" : "b", "id":"2" }', b'{"class":"c","action":"\\u0063","data":[1.0, 1e2]}'
JSON, NDJSON = "application/json", "application/x-ndjson"


def faults_of(body: bytes, content_type: str = "") -> list[Fault]:
    with pytest.raises(Refusal) as caught:
        parse_body(body, content_type)
    return caught.value.errors


def reasons(parsed: Parsed) -> list[str | None]:
    """Of each event: why it was quarantined, or None."""
    assert parsed.raws is not None
    return [
        decode_event(piece).reason if raw is not None else None
        for piece, raw in zip(parsed.slices, parsed.raws, strict=True)
    ]


# shapes


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[%s,%s,%s]" % (A, B, C), JSON),
        (b" [ %s\n,\t%s ,\r\n %s ]\n" % (A, B, C), "application/json; charset=utf-8"),
        (b"[%s,%s,%s]" % (A, B, C), ""),
        (b"\n\n [%s,%s,%s]" % (A, B, C), "text/plain"),
        (b"\n".join([A, B, C]), NDJSON),
        (b"\n".join([A, B, C]) + b"\n", "application/jsonl"),
        (b"\r\n".join([A, B, C]) + b"\r\n", "Application/NDJSON; x=y"),
        (b"\n \n" + b"\n\n\n".join([A, b"\t" + B + b"  ", C]) + b"\n\n", "application/x-jsonlines"),
        (b"\n".join([A, B, C]), ""),
        (b"\n".join([A, B, C]), "application/x-www-form-urlencoded"),
    ],
)
def test_three_shapes_and_the_exact_bytes(body: bytes, content_type: str) -> None:
    parsed = parse_body(body, content_type)
    assert parsed == Parsed([A, B, C], [None, "2", None], [None, None, "c"])
    assert parsed.raws is None
    assert parsed.quarantined == []
    assert split_body(body, content_type) == [A, B, C]


@pytest.mark.parametrize("content_type", [JSON, "", "text/json"])
def test_one_object_may_take_many_lines(content_type: str) -> None:
    pretty = b'{\n  "action": "a",\n  "data": {}\n}'
    assert parse_body(b"\n" + pretty + b"\n", content_type).slices == [pretty]
    ends_in_a_brace = b'{"data":{}\n,"action":"a"}'
    assert parse_body(ends_in_a_brace, content_type).slices == [ends_in_a_brace]
    flush_left = b'{"targets":[\n{},\n{}],\n"action":"a"}'
    assert parse_body(flush_left, content_type).slices == [flush_left]


def test_ndjson_declared_as_json_is_refused_with_the_mend() -> None:
    (fault,) = faults_of(A + b"\n" + B, JSON)
    assert fault["position"] == 0
    assert "trailing characters" in fault["what"]
    assert "application/x-ndjson" in fault["mend"]


@pytest.mark.parametrize("content_type", [JSON, NDJSON, ""])
@pytest.mark.parametrize("body", [b"", b" ", b"\n\r\n\t"])
@pytest.mark.parametrize("on_invalid", ["refuse", "quarantine"])
def test_an_empty_body_is_bad_input(body: bytes, content_type: str, on_invalid: str) -> None:
    with pytest.raises(Refusal, match="holds no event"):
        parse_body(body, content_type, on_invalid=on_invalid)
    with pytest.raises(Refusal, match="holds no event"):
        split_body(body, content_type)


def test_an_empty_array_is_bad_input() -> None:
    assert faults_of(b" [ ] ") == [
        {"position": None, "path": "body", "what": "the body holds no event", "mend": "send at least one JSON object"}
    ]


@pytest.mark.parametrize("content_type", [JSON, NDJSON, ""])
@pytest.mark.parametrize("body", [A, b"[" + A + b"]", b"[\n" + A + b",\n" + B + b"\n]", b'{\n"action":"a"\n}'])
def test_a_byte_order_mark_is_refused(body: bytes, content_type: str) -> None:
    fault, *others = faults_of(b"\xef\xbb\xbf" + body, content_type)
    assert not others or content_type == NDJSON
    assert "byte order mark" in fault["what"]
    assert fault["mend"] == "send UTF-8 without a byte order mark"


def test_on_invalid_is_one_of_two_words() -> None:
    with pytest.raises(BadInput, match="on_invalid"):
        parse_body(A, on_invalid="ignore")


# verbatim


space = st.text(" \t\r\n", max_size=3).map(str.encode)
blank = st.text(" \t\r", max_size=3).map(str.encode)


@st.composite
def slices(draw: st.DrawFn) -> list[bytes]:
    """Events spelt in many ways, without line breaks."""
    found: list[bytes] = []
    for text in draw(st.lists(st.text(max_size=12), min_size=1, max_size=6)):
        event: dict[str, Any] = {"action": text or "x", "data": {text: [text, len(text)]}}
        ascii_ = draw(st.booleans())
        comma, colon = draw(st.sampled_from([", ", ",", " ,\t"])), draw(st.sampled_from([": ", ":", " : "]))
        found.append(json.dumps(event, ensure_ascii=ascii_, separators=(comma, colon)).encode())
    return found


@given(slices(), st.data())
def test_bytes_in_are_bytes_out(events: list[bytes], data: st.DataObject) -> None:
    array = b"[" + b",".join(data.draw(space) + e + data.draw(space) for e in events) + b"]"
    lines = b"\n".join(data.draw(blank) + e + data.draw(blank) for e in events)
    for body, content_type in ((array, JSON), (array, ""), (lines, NDJSON), (lines, "")):
        assert parse_body(body, content_type).slices == events
        assert parse_body(body, content_type, on_invalid="quarantine").slices == events
        assert split_body(body, content_type) == events


def test_the_slices_do_not_hold_the_body() -> None:
    """Each is its own bytes object, so that one waiting event does not keep a whole request in memory."""
    body = b"[" + b",".join([A] * 3) + b"]"
    assert all(type(piece) is bytes and len(piece) == len(A) for piece in parse_body(body).slices)


def test_real_records_as_data(shared: Path) -> None:
    records: list[bytes] = []
    for file in sorted((shared / "samples" / "aws-cloudtrail-stratus").glob("*.json")):
        found = json.loads(file.read_text())
        for record in found if isinstance(found, list) else found.get("Records", [found]):
            records.append(json.dumps({"action": record.get("eventName", "x"), "data": record}).encode())
    assert len(records) > 100
    assert parse_body(b"\n".join(records), NDJSON).slices == records
    assert parse_body(b"[" + b",".join(records) + b"]", JSON).slices == records


# refused


def test_each_bad_event_is_named_at_its_position() -> None:
    events = [A, b'{"action":""}', B, b'{"action":"x","actor":{"foo":1}}', b"17", C, b'{"acton":"x"}']
    expected = [(1, "$.action"), (3, "$.actor.foo"), (4, "$"), (6, "$.acton")]
    for body, content_type in (
        (b"[" + b",".join(events) + b"]", JSON),
        (b"\n".join(events), NDJSON),
        (b"\n\n".join(events) + b"\n", ""),  # blank lines do not count
    ):
        faults = faults_of(body, content_type)
        assert [(fault["position"], fault["path"]) for fault in faults] == expected
        assert all(fault["what"] and fault["mend"] for fault in faults)
        assert all(list(fault) == ["position", "path", "what", "mend"] for fault in faults)


def test_a_refusal_says_the_first_fault_and_how_many() -> None:
    with pytest.raises(Refusal) as caught:
        parse_body(b"[%s,{},{}]" % A)
    assert caught.value.what == "a required field is missing; 2 events are bad"
    assert caught.value.place == "event 1 at $.action"
    assert caught.value.mend == "say what was done, in the source's own words"
    assert caught.value.exit_code == 2


def test_a_refusal_is_capped() -> None:
    faults = faults_of(b"\n".join([A] + [b"{}"] * 5000))
    assert [fault["position"] for fault in faults] == list(range(1, FAULTS_MAX + 1))
    with pytest.raises(Refusal, match="100 or more events are bad"):
        parse_body(b"\n".join([b"{}"] * 100))


@pytest.mark.parametrize("broken", [b"[%s,]", b"[%s", b"[%s}", b"[%s %s]" % (A, A), b"[%s] x", b"[%s][%s]" % (A, A)])
def test_an_array_that_is_none_is_one_fault_of_the_body(broken: bytes) -> None:
    body = broken.replace(b"%s", A)
    (fault,) = faults_of(b"  " + body, JSON)
    assert (fault["position"], fault["path"]) == (None, "body")
    assert "JSON" in fault["what"]


def test_the_offset_in_a_broken_array_is_one_in_the_body() -> None:
    body = b"\n\n [%s,%s,]" % (A, A)
    (fault,) = faults_of(body, JSON)
    assert f"(byte {body.index(b']')})" in fault["what"] or f"(byte {body.index(b',]')})" in fault["what"]


def test_limits_hold_in_a_batch() -> None:
    deep = b'{"action":"x","data":' + b"[" * 64 + b"]" * 64 + b"}"
    long = b'{"action":"' + b"x" * MAX_EVENT_BYTES + b'"}'
    keys = json.dumps({"action": "x", "data": dict.fromkeys(map(str, range(10_000)), 0)}).encode()
    zone = b'{"action":"x","time":"2026-03-02T08:00:00+01:00"}'
    id_ = b'{"action":"x","id":"%s"}' % ("é" * 129).encode()
    faults = faults_of(b"\n".join([A, deep, long, keys, zone, id_, B]))
    assert [fault["position"] for fault in faults] == [1, 2, 3, 4, 5]
    assert [fault["path"] for fault in faults] == ["$", "$", "$", "$.time", "$.id"]
    for bad in (deep, long, keys, zone, id_):  # each alone stops the quick first pass too
        assert len(faults_of(b"\n".join([A, bad, B]))) == 1


def test_a_deep_document_is_bad_input_in_every_shape() -> None:
    deep = b'{"action":"x","data":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for body, content_type in ((deep, JSON), (deep, NDJSON), (b"[" + deep + b"]", JSON), (b"[" * 100_000, "")):
        (fault,) = faults_of(body, content_type)
        assert "deeper than 64 levels" in fault["what"]


def test_bytes_that_are_not_utf_8_are_found_where_they_are() -> None:
    bad = b'{"action":"x","data":"\xff"}'
    for body, content_type in ((b"\n".join([A, bad]), NDJSON), (b"[%s,%s]" % (A, bad), JSON)):
        (fault,) = faults_of(body, content_type)
        assert (fault["position"], fault["path"]) == (1, "$")
        assert fault["what"] == "the event is not valid UTF-8 (byte 22)"
        with pytest.raises(Refusal, match="not valid UTF-8"):
            split_body(body, content_type)


def test_utf_8_across_the_blocks_of_the_check() -> None:
    for lead in range(70):
        line = b'{"action":"%s"}' % ("x" * lead + "é漢😀" * 20_000).encode()
        assert split_body(line) == [line]
        with pytest.raises(Refusal, match="not valid UTF-8"):
            split_body(line[:-3] + line[-2:])


def test_splitting_alone_checks_the_ends() -> None:
    with pytest.raises(Refusal, match="not valid UTF-8"):
        split_body(A + b"\n\xc3")
    with pytest.raises(Refusal) as caught:
        split_body(b"\n".join([A, b"17", b'{"open', b"[]"]), NDJSON)
    assert [fault["position"] for fault in caught.value.errors] == [1, 2, 3]
    with pytest.raises(Refusal, match="malformed"):
        split_body(b"[%s,]" % A, JSON)


# quarantined


def test_a_bad_line_hurts_no_other() -> None:
    bad = [b'{"action":"\xff"}', b"{", b'{"action":"x","foo":1}', b"not json", b'{"action":"a"}{"action":"b"}']
    events = [A, *bad, B, C]
    for content_type in (NDJSON, ""):
        parsed = parse_body(b"\r\n".join(events), content_type, on_invalid="quarantine")
        assert parsed.quarantined == [1, 2, 3, 4, 5]
        assert [parsed.slices[at] for at in (0, 6, 7)] == [A, B, C]
        assert parsed.raws == [None, *bad, None, None]
        assert parsed.ids == [None] * 6 + ["2", None]
        assert parsed.classes == [None] * 7 + ["c"]
        assert all(reason for reason in reasons(parsed)[1:6])


@pytest.mark.parametrize(
    "first", [b"garbage", b'{"action":"x"', b'{"action":"x",}', b'\xef\xbb\xbf{"action":"x"}', b"\xff\xfe"]
)
def test_a_bad_first_line_hurts_no_other_even_when_sniffed(first: bytes) -> None:
    parsed = parse_body(first + b"\n" + A + b"\n" + B, on_invalid="quarantine")
    assert parsed.raws == [first, None, None]
    assert parsed.slices[1:] == [A, B]


def test_a_bad_element_of_a_sound_array() -> None:
    parsed = parse_body(b"[%s, 17 ,%s,null]" % (A, B), JSON, on_invalid="quarantine")
    assert parsed.raws == [None, b"17", None, b"null"]
    assert reasons(parsed) == [None, "expected object, got int", None, "expected object, got null"]


@pytest.mark.parametrize("body", [b"[%s,]" % A, b"[" * 9000, b'[{"a":"\x01"}]', b'{"action":"a"\n', b"\xef\xbb\xbf[]"])
def test_a_json_body_that_cannot_be_taken_apart_is_one_record(body: bytes) -> None:
    parsed = parse_body(body, JSON, on_invalid="quarantine")
    assert len(parsed.slices) == 1
    assert parsed.raws == [body.strip()] or parsed.raws == [body]
    assert parsed.quarantined == [0]


def test_what_a_quarantined_event_says() -> None:
    raw = b'{"action":"x","acter":{"password":"hunter2"}}'
    parsed = parse_body(A + b"\n" + raw, on_invalid="quarantine")
    event = decode_event(parsed.slices[1])
    assert (event.action, event.category, event.outcome) == (QUARANTINE_ACTION, "other", "unknown")
    assert event.reason == "the field is unknown"
    assert event.data == {
        "position": 1,
        "path": "$.acter",
        "mend": "did you mean `actor`?",
        "size_bytes": len(raw),
        "kept_bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert (event.id, event.class_, event.time) == (None, None, None)
    assert b"hunter2" not in parsed.slices[1]


def test_a_very_long_record_is_kept_in_part() -> None:
    raw = random.Random(1).randbytes(MAX_EVENT_BYTES + 1).replace(b"\n", b"-")
    parsed = parse_body(A + b"\n" + raw + b"\n" + B, NDJSON, on_invalid="quarantine")
    assert parsed.raws is not None
    kept = parsed.raws[1]
    assert kept == raw.strip(b" \t\r\n")[:65_536]
    data = decode_event(parsed.slices[1]).data
    assert data["kept_bytes"] == 65_536
    assert data["size_bytes"] == len(raw.strip(b" \t\r\n"))
    assert data["sha256"] == hashlib.sha256(raw.strip(b" \t\r\n")).hexdigest()


def test_a_record_of_just_one_mebibyte_is_kept_whole() -> None:
    fault: Fault = {"position": 0, "path": "$", "what": "w", "mend": "m"}
    assert quarantine(b"x" * MAX_EVENT_BYTES, position=0, fault=fault)[1] == b"x" * MAX_EVENT_BYTES
    assert len(quarantine(b"x" * (MAX_EVENT_BYTES + 1), position=0, fault=fault)[1]) == 65_536


def test_a_sound_body_is_not_changed_by_quarantine() -> None:
    body = b"\n".join([A, B, C])
    assert parse_body(body, on_invalid="quarantine") == parse_body(body)


# anything at all

BASE = b"\n".join(
    [A, B, C, json.dumps({"action": "x", "time": "2026-03-02T08:14:31Z", "labels": {"é": "\\"}}).encode()]
)
content_types = st.sampled_from([JSON, NDJSON, "", "text/plain"])


def bounded(body: bytes, content_type: str) -> None:
    """Whatever comes, the answer is events or a Refusal; with quarantine nothing is lost; sizes stay in proportion."""
    try:
        parsed = parse_body(body, content_type)
    except Refusal as refused:
        assert 1 <= len(refused.errors) <= FAULTS_MAX
        assert all(len(json.dumps(fault)) < 6000 for fault in refused.errors)
        assert str(refused).isprintable()
    else:
        assert parsed.raws is None
        assert all(piece in body for piece in parsed.slices)
        assert split_body(body, content_type) == parsed.slices
    try:
        parsed = parse_body(body, content_type, on_invalid="quarantine")
    except Refusal as refused:
        assert refused.errors[0]["what"] == "the body holds no event"
    else:
        assert len(parsed.slices) == len(parsed.ids) == len(parsed.classes) >= 1
        for at, piece in enumerate(parsed.slices):
            event = decode_event(piece)
            raw = parsed.raws[at] if parsed.raws is not None else None
            assert (event.action == QUARANTINE_ACTION) == (raw is not None)
            assert (raw if raw is not None else piece) in body


@given(st.binary(max_size=300), content_types)
@example(b"[", "")
@example(b"{\n{", "")
@example(b'"', JSON)
def test_arbitrary_bytes(body: bytes, content_type: str) -> None:
    bounded(body, content_type)


@given(st.text(alphabet='{}[]":,\\u0d8\n \ufeffaction', max_size=60), content_types)
def test_arbitrary_text_of_json_marks(body: str, content_type: str) -> None:
    bounded(body.encode(), content_type)


@given(
    st.lists(st.tuples(st.integers(0, len(BASE)), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4),
    content_types,
    st.booleans(),
)
def test_mutated_events(cuts: list[tuple[int, int, bytes]], content_type: str, array: bool) -> None:
    body = b"[" + BASE.replace(b"\n", b",") + b"]" if array else BASE
    for at, length, put in cuts:
        body = body[:at] + put + body[at + length :]
    bounded(body, content_type)
