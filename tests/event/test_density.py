"""What is nothing but brackets, and what only looks like it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.event import density, parse_body
from graven.event.density import CONTAINER_BYTES_MIN, CONTAINERS_FREE, is_too_dense

VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('a{[]}"\\\n\u1234')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('{["\\x')), inner),
)


def containers(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(containers, value))
    return 1 + sum(map(containers, value.values())) if isinstance(value, dict) else 0


@given(VALUES)
def test_it_counts_what_a_reader_would_make(value: Any) -> None:
    """With no allowance, JSON is too dense exactly if it holds more than its size allows."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        body = text.encode()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(density, "CONTAINERS_FREE", 0)
            assert is_too_dense(body) == (containers(value) > len(body) // CONTAINER_BYTES_MIN)


def test_so_many_are_free() -> None:
    assert not is_too_dense(b"[" + b"{}," * (CONTAINERS_FREE - 1) + b"0]")
    assert is_too_dense(b"[" + b"{}," * (2 * CONTAINERS_FREE) + b"0]")


def test_what_stands_in_strings_does_not_count() -> None:
    message = '{"message":"' + "[a] {b} " * 400_000 + '"}'
    assert not is_too_dense(message.encode())
    assert not is_too_dense(json.dumps({"message": message}).encode())


@pytest.mark.parametrize("piece", [b'"\\"', b'\\"', b'["', b"\\[", b'"[\\'])
def test_strings_that_never_end_take_no_long_time(piece: bytes) -> None:
    """The whole test has a time that a square of the length would not keep."""
    is_too_dense(b"[" * 600_000 + piece * 1_000_000)


def test_events_that_say_nothing_but_an_action_are_taken() -> None:
    body = b"[" + b",".join([b'{"action":"a"}'] * 200_000) + b"]"
    assert len(parse_body(body).slices) == 200_000


@pytest.mark.parametrize("on_invalid", ["refuse", "quarantine"])
@pytest.mark.parametrize("piece", [b"{},", b"[],"])
def test_a_body_of_brackets_is_refused(piece: bytes, on_invalid: str) -> None:
    body = b"[" + piece * 300_000 + b'{"action":"a"}]'
    with pytest.raises(BadInput, match="too many objects and lists"):
        parse_body(body, on_invalid=on_invalid)
