"""The body of an import, read to by anybody: parts or a refusal."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.history import decode_parts, encode_parts, records_of_part

VALUES = st.recursive(
    st.none() | st.integers(-5, 1 << 70) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.integers(0, 3), inner, max_size=3),
    max_leaves=20,
)


def packed(value: object) -> bytes:
    """As MessagePack, where that can be."""
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, ValueError):
        return b""


@given(st.one_of(st.binary(max_size=200), st.lists(st.lists(VALUES, max_size=9), max_size=3).map(packed)))
def test_any_bytes_are_parts_or_refused(data: bytes) -> None:
    try:
        parts = decode_parts(data)
    except BadInput:
        return
    assert decode_parts(encode_parts(parts)) == parts
    assert all(len(records_of_part(part)) == len(part.records) for part in parts)
