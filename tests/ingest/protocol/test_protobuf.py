"""Protocol Buffers' wire format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.protocol.protobuf import FIXED32, FIXED64, LENGTH, VARINT, fields, text_of, write_text, write_varint


def test_the_documented_examples() -> None:
    assert list(fields(bytes.fromhex("089601"))) == [(1, VARINT, 150)]
    assert list(fields(bytes.fromhex("120774657374696e67"))) == [(2, LENGTH, b"testing")]
    assert list(fields(bytes.fromhex("1a03089601"))) == [(3, LENGTH, bytes.fromhex("089601"))]
    assert list(fields(b"\x0d\x01\x00\x00\x00\x11" + b"\x02" + b"\0" * 7)) == [(1, FIXED32, 1), (2, FIXED64, 2)]


@pytest.mark.parametrize(
    "message",
    [
        b"\x08",
        b"\x08\x80",
        b"\x08" + b"\xff" * 10 + b"\x01",
        b"\x12\x05ab",
        b"\x12",
        b"\x11abc",
        b"\x0b",
        b"\x00\x01",
        b"\x0e",
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(BadInput, match="no protobuf message"):
        list(fields(message))


@given(st.integers(1, 2**29 - 1), st.integers(1, 2**64 - 1), st.text(min_size=1, max_size=300))
def test_what_is_written_reads_the_same(field: int, value: int, text: str) -> None:
    written = write_varint(field, value) + write_text(field, text)
    assert list(fields(written)) == [(field, VARINT, value), (field, LENGTH, text.encode())]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        for _, kind, value in fields(message):
            assert isinstance(value, bytes) == (kind == LENGTH)
            text_of(value)
    except BadInput:
        pass
