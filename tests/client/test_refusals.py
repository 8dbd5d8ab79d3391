"""Every way a server can refuse becomes one of the three branches, with its words made safe."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.client.refusals import error_of
from graven.client.transport import NoAnswer, Reply
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.event import Refusal


def refusal(status: int, retry_after: str = "", *, of_events: bool = False, **row: object) -> GravenError:
    return error_of(Reply(status, json.dumps({"error": row}).encode(), retry_after), "POST x", of_events=of_events)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, BadInput), (308, BadInput), (400, BadInput), (401, BadInput), (403, BadInput), (404, BadInput),
        (405, BadInput), (408, NoAnswer), (409, BadInput),
        (413, BadInput), (415, BadInput), (418, BadInput), (422, BadInput), (429, Busy), (500, Broken), (502, NoAnswer),
        (503, Busy), (504, NoAnswer), (507, Broken), (204, Broken), (100, Broken),
    ],
)  # fmt: skip
def test_the_branch_follows_the_status(status: int, kind: type[GravenError]) -> None:
    assert type(refusal(status, what="w")) is kind
    assert type(error_of(Reply(status, b"<html>", ""), "POST x")) is kind


def test_the_servers_words_are_kept() -> None:
    error = refusal(403, what="the token lacks a scope", place="token app", mend="ask for ingest")
    assert (error.what, error.place, error.mend) == (
        "the token lacks a scope",
        "POST x: token app",
        "ask for ingest",
    )


def test_without_words_there_is_still_a_place_and_a_mend() -> None:
    error = error_of(Reply(401, b"", ""), "POST x")
    assert "401" in error.what and error.place == "POST x" and "token" in error.mend


@pytest.mark.parametrize(
    ("header", "said", "seconds"),
    [
        ("7", 3, 7), ("", 3, 3), ("", None, 1), ("", -3, 1), ("", "9", 1), ("x", 4, 4), ("9" * 99, 1, 999_999_999),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 2, 2), ("-5", 2, 2), ("²", 2, 2),
    ],
)  # fmt: skip
def test_retry_after(header: str, said: object, seconds: int) -> None:
    for status in (429, 503):
        error = refusal(status, header, what="full", retry_after_s=said)
        assert isinstance(error, Busy) and error.retry_after_s == seconds


def test_what_is_not_there_yet_may_be_asked_for_again() -> None:
    error = refusal(409, "2", what="not published yet")
    assert isinstance(error, Busy) and error.retry_after_s == 2


def test_bad_events_are_named() -> None:
    faults = [{"position": 3, "path": "$.verb", "what": "unknown", "mend": "read"}, "nonsense", {"position": "x"}]
    error = refusal(400, of_events=True, what="w", errors=faults)
    assert isinstance(error, Refusal)
    assert error.errors == [faults[0], {"position": None, "path": "", "what": "", "mend": ""}]
    error = refusal(400, of_events=True, what="class not allowed", place="event 3 at $.class")
    assert isinstance(error, Refusal) and error.place == "POST x: event 3 at $.class"
    assert not isinstance(refusal(400, what="w", errors=faults), Refusal), "only where events were sent"


def test_a_refusal_that_is_not_gravens_is_not_about_the_events() -> None:
    assert type(error_of(Reply(400, b"bad request", ""), "POST x", of_events=True)) is BadInput
    assert type(error_of(Reply(413, b"too large", ""), "POST x", of_events=True)) is Refusal


def test_the_servers_own_store_may_be_disproved() -> None:
    error = refusal(500, kind="disproved", what="a frame does not verify", expected="a", found="b", place="seg")
    assert isinstance(error, Disproved) and (error.expected, error.found) == ("a", "b")


def test_words_are_safe_to_show_and_bounded() -> None:
    error = refusal(500, what="\x1b[2Jall is well\u202e", mend="y" * 10**5)
    assert "\x1b" not in str(error) and "\u202e" not in str(error) and len(str(error)) < 5000


@given(st.integers(100, 599), st.binary() | st.from_regex(rb'\{"error":.{0,30}\}', fullmatch=True), st.text(max_size=5))
def test_nothing_a_server_says_breaks_the_reading(status: int, data: bytes, retry_after: str) -> None:
    for of_events in (False, True):
        assert isinstance(error_of(Reply(status, data, retry_after), "GET x", of_events=of_events), GravenError)
