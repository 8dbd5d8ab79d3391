"""Records through the pipeline: order, quarantine, limits, identity of what is sent twice."""

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.event import DEPTH_MAX, KEYS_MAX, MAX_EVENT_BYTES, QUARANTINE_ACTION, Event, decode_event
from graven.ingest import AROUND_MAX, Normalised, Pipeline, Record, Unparsed
from graven.ingest.normalize import cloudtrail
from graven.ingest.record import Document

PIPELINE = Pipeline()
TRAIL: dict[str, Any] = {
    "eventVersion": "1.10",
    "eventID": "11111111-2222-4333-8444-555555555555",
    "eventTime": "2026-03-02T08:14:31Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "awsRegion": "eu-central-1",
    "recipientAccountId": "111122223333",
    "requestID": "R1",
    "sourceIPAddress": "203.0.113.7",
    "userAgent": "aws-cli/2.15",
    "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mara", "userName": "mara"},
    "requestParameters": {"bucketName": "backups", "key": "customers.csv"},
}


def one(record: Record, pipeline: Pipeline = PIPELINE) -> Normalised:
    (found,) = pipeline.run([record])
    return found


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def test_an_event_says_what_made_it() -> None:
    found = one(Record(raw(TRAIL)))
    event = decode_event(found.event)
    assert (found.type, found.raw, found.id, found.quarantined) == ("aws-cloudtrail", raw(TRAIL), TRAIL["eventID"], "")
    assert event.labels == {"graven.type": "aws-cloudtrail", "graven.parser": f"aws-cloudtrail/{cloudtrail.VERSION}"}
    assert (event.action, event.verb, event.outcome) == ("s3:GetObject", "read", "success")


def test_a_bad_record_harms_no_other() -> None:
    records = [Record(raw(TRAIL)), Record(b'{"eventName":'), Record(b"\xff\0"), Record(b""), Record(raw(TRAIL))]
    found = PIPELINE.run(records)
    assert [bool(each.quarantined) for each in found] == [False, True, True, True, False]
    for record, each in zip(records[1:4], found[1:4], strict=True):
        event = decode_event(each.event)
        assert (event.action, event.reason, each.raw) == (QUARANTINE_ACTION, each.quarantined, record.raw)
        assert event.data["sha256"] == hashlib.sha256(record.raw).hexdigest()
        assert event.labels == {"graven.type": "unknown"}


def test_a_record_that_is_too_long_is_kept_by_its_beginning() -> None:
    long = raw(TRAIL | {"requestParameters": {"x": "y" * MAX_EVENT_BYTES}})
    found = one(Record(long, type="aws-cloudtrail", around={"file.path": "/var/log/x"}))
    event = decode_event(found.event)
    assert found.raw == long[: 64 << 10]
    assert (event.data["size_bytes"], event.data["sha256"]) == (len(long), hashlib.sha256(long).hexdigest())
    assert event.labels == {"graven.type": "aws-cloudtrail", "file.path": "/var/log/x"}


def test_a_container_may_be_longer_than_a_record() -> None:
    many = [TRAIL | {"eventID": f"id-{number}"} for number in range(3000)]
    body = raw({"Records": many})
    assert len(body) > MAX_EVENT_BYTES
    found = PIPELINE.run([Record(body)])
    assert [each.id for each in found] == [f"id-{number}" for number in range(3000)]
    assert found[7].raw == raw(many[7])


def test_a_container_in_a_container_is_not_taken_apart_again() -> None:
    inner = raw({"Records": [TRAIL]})
    found = one(Record(b'{"Records":[' + inner + b"]}"))
    assert found.quarantined and found.raw == inner


def test_a_type_that_is_stated_is_not_guessed_and_one_that_is_unknown_is_said() -> None:
    assert one(Record(raw({"eventName": "X"}), type="aws-cloudtrail")).type == "aws-cloudtrail"
    found = one(Record(raw(TRAIL), type="aws-cloudtrial"))
    assert found.type == "unknown" and "not known" in found.quarantined


def test_an_event_of_the_model_passes_verbatim() -> None:
    event = b'{ "action" : "a", "id":"7", "class":"personal" }'
    found = one(Record(event + b"\n"))
    assert (found.event, found.raw, found.id, found.type, found.class_) == (event, None, "7", "graven", "personal")
    assert one(Record(b'{"action":"a","whoops":1}', type="graven")).quarantined
    assert one(Record(b'{"action":"graven.quarantined"}')).quarantined  # nobody may say that in our name


def test_ids_that_the_sender_gives_stand_in_for_missing_ones() -> None:
    nameless = {key: value for key, value in TRAIL.items() if key != "eventID"}
    assert one(Record(raw(nameless), id="agent-1/77")).id == "agent-1/77"
    assert one(Record(raw(TRAIL), id="agent-1/77")).id == TRAIL["eventID"]
    both = PIPELINE.run([Record(raw([nameless, nameless]), id="f")])
    assert [each.id for each in both] == ["f/0", "f/1"]
    assert len(one(Record(raw(TRAIL | {"eventID": "é" * 200}))).id or "") == len("sha256:") + 64


def test_how_a_record_came_does_not_change_an_event_with_an_id() -> None:
    first = one(Record(raw(TRAIL), around={"file.path": "/a", "time": "2026-01-01T00:00:00Z", "loki.label.job": "j"}))
    again = one(Record(raw(TRAIL), around={"file.path": "/b", "loki.label.job": "j"}))
    assert first.event == again.event
    assert (decode_event(first.event).labels or {})["loki.label.job"] == "j"


def test_surroundings_are_bounded_and_give_the_time_where_there_is_none() -> None:
    timeless = {key: value for key, value in TRAIL.items() if key not in ("eventTime", "eventID")}
    around = {"time": "2026-03-02T08:00:00Z", "long": "x" * 5000} | {f"k{n}": "v" for n in range(500)}
    event = decode_event(one(Record(raw(timeless), around=around)).event)
    assert event.time is not None and event.time.hour == 8
    assert event.labels is not None and len(event.labels) == AROUND_MAX + 2
    assert len(event.labels["long"]) == 1024


@pytest.mark.parametrize(
    "parameters",
    [
        json.loads("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)),
        {f"k{n}": n for n in range(KEYS_MAX)},
    ],
)
def test_what_does_not_fit_under_data_stays_in_the_raw(parameters: object) -> None:
    document = TRAIL | {"requestParameters": parameters}
    event = decode_event(one(Record(raw(document))).event)
    assert event.data is None
    assert (event.labels or {})["graven.data"] == "in the raw record only"
    assert event.id == TRAIL["eventID"]


@pytest.mark.parametrize(
    "wrapped",
    [
        {"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "detail": TRAIL},
        {"EventId": "x", "CloudTrailEvent": json.dumps(TRAIL)},
        {"message": {"data": base64.b64encode(raw(TRAIL)).decode(), "messageId": "1"}, "subscription": "s"},
        {"log": json.dumps(TRAIL), "stream": "stdout"},
        {"log": json.dumps({"detail-type": "x", "source": "y", "detail": TRAIL})},
    ],
)
def test_an_envelope_is_opened_and_kept_as_raw(wrapped: dict[str, Any]) -> None:
    found = one(Record(raw(wrapped)))
    assert (found.id, found.raw) == (TRAIL["eventID"], raw(wrapped))


class Failing:
    TYPE, VERSION = "failing", 1

    def recognise(self, document: Document) -> int:
        return 3

    def normalise(self, record: Record, document: Document) -> list[Event]:
        if record.raw == b"none":
            return []
        if record.raw == b"refuse":
            raise Unparsed("the line says nothing", mend="say something")
        raise ZeroDivisionError


def test_a_parser_that_fails_costs_nothing_but_a_quarantined_event() -> None:
    pipeline = Pipeline([Failing()])
    found = pipeline.run([Record(b"x"), Record(b"refuse"), Record(b"none")])
    assert [each.quarantined for each in found] == [
        "the parser failed: ZeroDivisionError", "the line says nothing", "the record holds no event",
    ]  # fmt: skip


class Masking:
    """Takes one word out of event and raw."""

    def apply(self, event: Event, raw: bytes) -> tuple[Event, bytes]:
        if event.reason is None or "hunter2" not in event.reason:
            return event, raw
        event.reason, event.redacted = event.reason.replace("hunter2", "*"), ["$.reason"]
        return Event(**{name: getattr(event, name) for name in event.__struct_fields__}), self.apply_raw(raw)

    def apply_raw(self, raw: bytes) -> bytes:
        return raw.replace(b"hunter2", b"*") if b"hunter2" in raw else raw


def test_redaction_reaches_event_and_raw_and_what_is_quarantined() -> None:
    pipeline = Pipeline(redactor=Masking())
    secret = one(Record(raw(TRAIL | {"errorCode": "Oops", "errorMessage": "hunter2"})), pipeline)
    assert secret.redacted and b"hunter2" not in secret.event + (secret.raw or b"")
    assert decode_event(secret.event).redacted == ["$.reason"]
    plain = one(Record(raw(TRAIL)), pipeline)
    assert not plain.redacted
    broken = one(Record(b'{"x":"hunter2 says nothing"}'), pipeline)
    assert broken.redacted and broken.raw == b'{"x":"* says nothing"}'
    native = one(Record(b'{"action":"a","reason":"hunter2"}'), pipeline)
    assert native.redacted and b"hunter2" not in native.event
    verbatim = one(Record(b'{ "action":"a"}'), pipeline)
    assert not verbatim.redacted and verbatim.event == b'{ "action":"a"}'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_events_that_fit_the_model(data: bytes) -> None:
    for each in PIPELINE.run([Record(data), Record(data, type="aws-cloudtrail")]):
        decode_event(each.event)


@given(st.dictionaries(st.sampled_from([*TRAIL, "errorCode", "resources", "responseElements"]), JSON_VALUES))
def test_any_values_in_known_fields_give_one_event_that_fits_the_model(fields: dict[str, Any]) -> None:
    data = json.dumps(TRAIL | fields).encode()
    if "NaN" in data.decode() or "Infinity" in data.decode():
        return
    found = one(Record(data, type="aws-cloudtrail"))
    event = decode_event(found.event)
    assert found.raw == data
    assert not found.quarantined or event.action == QUARANTINE_ACTION
    assert one(Record(data, type="aws-cloudtrail")).event == found.event


def test_every_event_says_which_record_it_was_made_of() -> None:
    records = [Record(b'{"action":"a"}'), Record(b"?"), Record(b'[{"action":"b"},{"action":"c"}]')]
    assert [one.position for one in Pipeline().run(records)] == [0, 1, 2, 2]


def test_what_a_door_could_not_take_out_is_kept_with_its_words() -> None:
    record = Record(b'{"action":"a"}', fault="the envelope is broken", size_bytes=9_999_999, sha256="ab" * 32)
    (one,) = Pipeline().run([record])
    event = decode_event(one.event)
    assert (one.quarantined, one.raw) == ("the envelope is broken", record.raw)
    assert isinstance(event.data, dict)
    assert (event.reason, event.data["size_bytes"], event.data["sha256"]) == (record.fault, 9_999_999, "ab" * 32)
    assert event.data["kept_bytes"] == len(record.raw)


def test_a_type_to_fall_back_on_is_only_that() -> None:
    pipeline = Pipeline()
    assert pipeline.run([Record(b'{"x":1}', otherwise="aws-cloudtrail")])[0].quarantined != (
        pipeline.run([Record(b'{"x":1}')])[0].quarantined
    )
    assert pipeline.run([Record(b'{"action":"a"}', otherwise="aws-cloudtrail")])[0].type == "graven"
