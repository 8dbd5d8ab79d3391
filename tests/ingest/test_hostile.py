"""Records made to deceive: to look like another event, another source, or a second event; or to cost too much."""

import json
from typing import Any

import pytest

from graven.event import MAX_EVENT_BYTES, decode_event
from graven.ingest import Normalised, Pipeline, Record, split_records
from graven.ingest.normalize import cloudtrail

PIPELINE = Pipeline()
TRAIL: dict[str, Any] = {
    "eventID": "e", "eventTime": "2026-03-02T08:14:31Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject",
    "userIdentity": {"type": "IAMUser", "userName": "mara"},
}  # fmt: skip


def run(document: object, **fields: Any) -> list[Normalised]:
    return PIPELINE.run([Record(json.dumps(document).encode(), **fields)])


@pytest.mark.parametrize(
    "evil", ["a\nb", 'a\r\n{"action":"x"}', "\x1b[2J", "\u202egnp.exe", "\x00", "=cmd()", "\ud83d"]
)
def test_text_in_a_field_makes_no_second_event(evil: str) -> None:
    """Half of a surrogate pair is no text: such a record is kept as it came, unread."""
    raw = json.dumps(TRAIL | {"userAgent": evil, "errorMessage": evil}).encode()
    body = raw + b"\n" + raw
    found = PIPELINE.run(split_records(body))
    assert len(found) == 2 and found[0].raw == raw
    assert b"\n" not in found[0].event and b"\x1b" not in found[0].event
    decode_event(found[0].event)
    assert bool(found[0].quarantined) == (evil == "\ud83d")


def test_a_record_cannot_say_what_graven_says_of_it() -> None:
    lie = {"graven.type": "okta", "graven.parser": "okta/9", "mine": "kept"}
    (found,) = run(TRAIL | {"labels": lie}, around=lie)
    labels = decode_event(found.event).labels
    assert labels == {"graven.type": "aws-cloudtrail", "graven.parser": "aws-cloudtrail/1", "mine": "kept"}


def test_a_stated_type_keeps_a_record_from_passing_for_another() -> None:
    """An application's log says what its users write; where the type is stated, their text chooses no parser."""
    native = b'{"action":"graven.token.created","actor":{"id":"root"}}'
    (found,) = PIPELINE.run([Record(native, type="json")])
    event = decode_event(found.event)
    assert (found.type, found.raw) == ("json", native)
    assert (event.labels or {})["graven.type"] == "json"


def test_an_envelope_does_not_hide_what_it_holds() -> None:
    wrapped = {"detail-type": "x", "source": "y", "detail": TRAIL, "userIdentity": {"userName": "somebody else"}}
    (found,) = run(wrapped)
    event = decode_event(found.event)
    assert event.actor is not None and event.actor.name == "mara"
    assert json.loads(found.raw or b"") == wrapped


def test_a_notification_of_a_bucket_is_no_cloudtrail() -> None:
    notice = {
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-03-02T08:14:31Z",
        "eventName": "ObjectCreated:Put", "userIdentity": {"principalId": "A1"}, "s3": {"bucket": {"name": "b"}},
    }  # fmt: skip
    (found,) = run({"Records": [notice]})
    assert found.type == "json" and decode_event(found.event).action == "ObjectCreated:Put"


def test_envelopes_in_envelopes_end() -> None:
    document: object = TRAIL
    for _ in range(30):
        document = {"log": json.dumps(document)}
        if len(json.dumps(document)) > MAX_EVENT_BYTES:
            break
    assert len(run(document)) == 1


def test_the_last_of_two_keys_counts_and_the_raw_shows_both() -> None:
    raw = json.dumps(TRAIL).encode()[:-1] + b',"eventName":"DeleteObject"}'
    (found,) = PIPELINE.run([Record(raw)])
    assert decode_event(found.event).action == "s3:DeleteObject" and found.raw == raw


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b'{"Records":[' * 50_000,
        b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Records":[' + b"{}," * 20_000 + b"{}]}",
        b"9" * 900_000,
        b'"' + b"\\u0000" * 150_000,
        b'{"eventName":"' + b"A" * 900_000 + b'","eventSource":"s","eventTime":"","userIdentity":{}}',
        b'{"action":"' + b"Aa" * 400_000 + b'","org":"o","created_at":1,"actor":"a"}',
        b'{"event_type_id":' + b"9" * 4000 + b',"user_id":1}',
        b"a | bEvent | " + b"| " * 400_000,
        b"\xff" * 900_000,
    ],
)
def test_large_and_deep_is_no_harm(body: bytes) -> None:
    """Each takes well under a second; one whose cost grew faster than its size would not end within the test's time."""
    found = PIPELINE.run(split_records(body))
    assert found
    for one in found[:50]:
        decode_event(one.event)
        assert len(one.raw or b"") <= MAX_EVENT_BYTES


def test_words_that_a_sender_chooses_fill_no_cache() -> None:
    """Caches hold what real producers say over and over; a million long names must not stay in memory."""
    long = "x" * 5000
    document = TRAIL | {"eventName": f"Get{long}", "eventSource": f"{long}.amazonaws.com",
                        "requestParameters": {f"{long}Id": "1", "aSet": {"items": [{f"{long}Id": "1"}]}}}  # fmt: skip
    before = cloudtrail._classify.cache_info().currsize, cloudtrail._target_type.cache_info().currsize
    (found,) = run(document)
    event = decode_event(found.event)
    assert event.verb == "read" and event.targets is None and len(event.action) <= 4200
    after = cloudtrail._classify.cache_info().currsize, cloudtrail._target_type.cache_info().currsize
    assert after[0] == before[0] and after[1] <= before[1] + 1
