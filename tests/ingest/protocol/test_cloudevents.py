"""CloudEvents, in their three modes, and as events of the model."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.event import decode_event
from graven.ingest import Pipeline
from graven.ingest.protocol.cloudevents import BATCH, STRUCTURED, mode_of, read_binary, read_structured

ONE = {
    "specversion": "1.0", "id": "A-1", "source": "/shop", "type": "com.example.order.deleted", "subject": "order/7",
    "time": "2026-03-02T08:14:31Z", "datacontenttype": "application/json", "data": {"reason": "test"},
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "authid": "u-1", "authtype": "app_user",
}  # fmt: skip
HEADERS = [
    (b"ce-specversion", b"1.0"), (b"ce-id", b"A-1"), (b"ce-source", b"/shop"),
    (b"ce-type", b"com.example.order.deleted"), (b"ce-subject", b"order%2F7%20%E2%82%AC"),
    (b"ce-time", b"2026-03-02T08:14:31Z"), (b"content-type", b"application/json"),
]  # fmt: skip


def test_modes() -> None:
    assert mode_of(STRUCTURED + "; charset=utf-8", []) == "structured"
    assert mode_of(BATCH, []) == "batch"
    assert mode_of("application/json", HEADERS) == "binary"
    assert mode_of("application/json", []) == ""


def test_a_structured_event_in_the_model() -> None:
    raw = json.dumps(ONE).encode()
    (one,) = Pipeline().run(read_structured(b" " + raw + b"\n", {}, batch=False).records)
    event = decode_event(one.event)
    assert (one.raw, one.type, one.id) == (raw, "cloudevents", "/shop#A-1")
    assert (event.action, event.verb, event.outcome) == ("com.example.order.deleted", "delete", None)
    assert event.targets is not None and event.targets[0].id == "order/7"
    assert event.actor is not None and (event.actor.id, event.actor.type) == ("u-1", "user")
    assert event.correlation is not None and event.correlation.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert event.data == {"reason": "test"} and event.time is not None and event.time.second == 31


def test_a_binary_event_in_the_model() -> None:
    (one,) = Pipeline().run(read_binary(b'{"reason":"test"}', HEADERS, {}).records)
    event = decode_event(one.event)
    assert (one.raw, one.id, event.action) == (b'{"reason":"test"}', "/shop#A-1", "com.example.order.deleted")
    assert event.targets is not None and event.targets[0].id == "order/7 €"
    assert event.data == {"reason": "test"}


def test_binary_data_that_is_known_better_is_read_as_what_it_is() -> None:
    trail = {
        "eventVersion": "1.08", "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "eventID": "e-1",
        "eventTime": "2026-03-02T08:14:31Z", "awsRegion": "eu-central-1", "userIdentity": {"type": "IAMUser"},
    }  # fmt: skip
    (one,) = Pipeline().run(read_binary(json.dumps(trail).encode(), HEADERS, {}).records)
    assert (one.type, one.id) == ("aws-cloudtrail", "e-1")


def test_a_batch_and_its_bad_members() -> None:
    batch = json.dumps([ONE, {"id": "x"}, 5, {**ONE, "specversion": "0.3"}, {**ONE, "id": "A-2"}]).encode()
    records = read_structured(batch, {}, batch=True).records
    assert [bool(one.fault) for one in records] == [False, True, True, True, False]
    assert [one.id for one in records] == ["/shop#A-1", "", "", "", "/shop#A-2"]
    with pytest.raises(BadInput):
        read_structured(b"{}", {}, batch=True)


def test_binary_without_its_attributes_is_kept_as_a_fault() -> None:
    (record,) = read_binary(b"x", HEADERS[:2], {}).records
    assert record.fault and record.raw == b"x"


@given(st.binary(max_size=60), st.booleans())
def test_anything_is_read_or_refused(body: bytes, batch: bool) -> None:
    try:
        assert all(one.fault for one in read_structured(body, {}, batch=batch).records)
    except BadInput:
        assert batch


@given(
    st.lists(st.tuples(st.sampled_from([b"ce-id", b"ce-type", b"ce-source", b"ce-specversion", b"ce-x"]), st.binary()))
)
def test_any_headers_are_read(headers: list[tuple[bytes, bytes]]) -> None:
    assert len(Pipeline().run(read_binary(b"{}", headers, {}).records)) == 1
