"""Lines of no known type are events; what is no text, or claims to be something and is not, is in quarantine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.event import QUARANTINE_ACTION, decode_event
from graven.ingest import Pipeline, Record
from graven.ingest.normalize import plain

PIPELINE = Pipeline()
AROUND = {"loki.label.job": "web", "time": "2026-03-02T08:14:31.204000001Z"}


def test_a_line_is_the_message_of_an_event() -> None:
    (found,) = PIPELINE.run([Record(b"  the cache is warm again\r", around=AROUND)])
    event = decode_event(found.event)
    assert (found.type, found.quarantined, found.id) == ("plain", "", None)
    assert found.raw == b"  the cache is warm again\r"
    assert (event.action, event.verb, event.category) == ("log.line", "other", "other")
    assert event.message == "the cache is warm again"
    assert event.labels == {"graven.type": "plain", "graven.parser": f"plain/{plain.VERSION}", **AROUND}
    assert event.time is not None and event.time.isoformat() == "2026-03-02T08:14:31.204000+00:00"
    assert (event.outcome, event.severity, event.data, event.actor) == (None, None, None, None)


def test_anything_that_knows_more_comes_first() -> None:
    lines = [
        b"Mar  2 08:14:31 web1 sshd[3]: Accepted password for a from 192.0.2.1 port 2 ssh2",
        b"x",
        b'{"action":"a"}',
    ]
    assert [one.type for one in PIPELINE.run([Record(line) for line in lines])] == ["sshd", "plain", "graven"]
    (falls_back,) = PIPELINE.run([Record(b"x", otherwise="syslog")])
    assert falls_back.type == "syslog"


@pytest.mark.parametrize(
    "raw",
    [b"", b" \t ", b"a\0b", b"\x1f\x8b\x08\x00", b"\x07", b'{"a":', b"{not json}", b'{"foo":1}', b"[1,2]", b'["a"]'],
)
def test_what_is_no_text_or_no_json_is_in_quarantine(raw: bytes) -> None:
    (found,) = PIPELINE.run([Record(raw)])
    assert found.quarantined and found.raw == raw
    assert decode_event(found.event).action == QUARANTINE_ACTION


def test_other_encodings_and_colours_are_text() -> None:
    (latin, colour) = PIPELINE.run([Record("café".encode("latin-1")), Record(b"\x1b[31mred\x1b[0m\tfast")])
    assert decode_event(latin.event).message == "caf\\xe9"
    assert decode_event(colour.event).message == "\x1b[31mred\x1b[0m\tfast"


def test_a_type_that_is_stated_is_never_taken_for_a_line() -> None:
    (found,) = PIPELINE.run([Record(b"x", "aws-cloudtrail")])
    assert found.quarantined and found.type == "aws-cloudtrail"
    (stated,) = PIPELINE.run([Record(b'{"a":1}', "plain")])
    assert decode_event(stated.event).message == '{"a":1}'


@given(st.one_of(st.text(), st.binary(), st.text(alphabet="\x1b\t\r\n\u202e=+@-<>|{[\"'", max_size=40)))
def test_any_bytes_give_one_event_that_keeps_them(drawn: str | bytes) -> None:
    raw = drawn.encode("utf-8", "surrogatepass") if isinstance(drawn, str) else drawn
    for type_ in ("", "plain"):
        (found,) = PIPELINE.run([Record(raw, type_, AROUND)])
        event = decode_event(found.event)
        assert found.raw == raw and "parser failed" not in found.quarantined
        assert event.action == QUARANTINE_ACTION if found.quarantined else event.action
        assert b"\n" not in found.event


def test_a_long_line_is_cut_in_the_message_alone() -> None:
    raw = b"x" * 100_000
    (found,) = PIPELINE.run([Record(raw)])
    assert found.raw == raw and decode_event(found.event).message == "x" * 4096
