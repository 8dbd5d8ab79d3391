"""JSON documents read strictly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def parse(data: bytes) -> object:
    return parse_document(data, max_bytes=200_000, what="a test")


@given(VALUES)
def test_documents_are_read_as_they_were_written(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'{"a":1,"a":1}', "same key twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "same key twice"),
        (b"[1.5]", "whole number"),
        (b"[1e3]", "whole number"),
        (b"[NaN]", "whole number"),
        (b"[-Infinity]", "whole number"),
        (b"[" + b"9" * 5000 + b"]", "whole number"),
        (b"[1", "not JSON"),
        (b"", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'["\xff"]', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * 200_001, "more than 200000 bytes"),
    ],
)
def test_what_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        parse(data)


def test_values_are_of_their_kind_or_refused_with_the_place() -> None:
    assert as_object({"a": 1, "b": 2}, "x", keys=("a",), more=("b",)) == {"a": 1, "b": 2}
    assert as_object({"a": 1, "c": 2}, "x", keys=("a",), more=None)["c"] == 2
    assert as_list([1], "x", count_max=1) == [1]
    assert as_number(0, "x") == 0
    assert as_text("é", "x") == "é"
    with pytest.raises(BadInput, match=r"without b \(x\)"):
        as_object({"a": 1}, "x", keys=("a", "b"))
    with pytest.raises(BadInput, match=r"does not belong here \(x\.'c'\)"):
        as_object({"a": 1, "c": 2}, "x", keys=("a",))
    with pytest.raises(BadInput, match="not an object"):
        as_object([], "x", keys=())
    for value in ([1, 2], (1,), "a"):
        with pytest.raises(BadInput, match="not a list"):
            as_list(value, "x", count_max=1)
    for number in (True, -1, 2**63, "1", None, 1.0):
        with pytest.raises(BadInput, match="whole number"):
            as_number(number, "x")
    for text in (b"a", None, "\ud800"):
        with pytest.raises(BadInput, match="string"):
            as_text(text, "x")
