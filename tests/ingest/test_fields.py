"""Fields of documents of any shape: a wrong type is an absent field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.fields import TEXT_MAX, at, first, items, loose, rest, text, without_port

DOCUMENT: dict[str, Any] = {"a": {"b.c": 1, "b": {"c": 2}, "list": [{"x": "y"}, "z"]}, "n": 5, "empty": " "}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n", 5),
        ("a.b.c", 1),  # a key that holds the dot comes before the path
        ("a.list.0.x", "y"),
        ("a.list.1", "z"),
        ("a.list.2", None),
        ("a.list.x", None),
        ("a.list.-1", None),
        ("n.x", None),
        ("missing", None),
        ("", DOCUMENT),
    ],
)
def test_paths(path: str, value: object) -> None:
    assert at(DOCUMENT, path) == value


@pytest.mark.parametrize(
    ("value", "found"),
    [("a", "a"), (" a ", " a "), ("", None), (" \t", None), (5, "5"), (0, "0"), (True, None), (1.5, None), ([], None),
     (None, None), ({}, None), (10**50, None), ("x" * (TEXT_MAX + 9), "x" * TEXT_MAX)],
)  # fmt: skip
def test_texts(value: object, found: str | None) -> None:
    assert text(value) == found


def test_the_first_text_counts() -> None:
    assert first(DOCUMENT, "missing", "empty", "a", "n", "a.list.1") == "5"
    assert first(DOCUMENT, "a") is None


def test_lists_are_bounded_and_hold_objects_only() -> None:
    assert items([{"a": 1}, 5, None, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    assert items({"a": 1}) == [{"a": 1}]
    assert items("text") == []
    assert len(items([{}] * 5000)) == 100


def test_keys_of_any_spelling_are_one() -> None:
    assert loose({"eventTime": 1, "event_time": 2, "Event-Time": 3, "other": 4}) == {"eventtime": 1, "other": 4}


def test_the_rest_leaves_out_what_was_taken_and_what_is_null() -> None:
    assert rest({"a": 1, "b": None, "c": 2}, {"a"}) == {"c": 2}
    assert rest({"a": 1}, {"a"}) is None


@pytest.mark.parametrize(
    ("address", "host"),
    [("192.0.2.1:35194", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]:443", "2001:db8::1"),
     ("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("AWS Internal", "AWS Internal"), ("[", "["),
     ("host:80", "host:80"), (None, None)],
)  # fmt: skip
def test_addresses_lose_their_ports(address: str | None, host: str | None) -> None:
    assert without_port(address) == host


JSON = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(JSON, st.text(max_size=12))
def test_any_path_in_any_document(document: object, path: str) -> None:
    at(document, path)
    first(document, path)
