"""Protocol Buffers' wire format."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.ingest.protocol import loki, otlp, protobuf
from graven.ingest.protocol.delivery import Delivery, TooMany
from graven.ingest.protocol.protobuf import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Walk,
    fields,
    text_of,
    write_text,
    write_varint,
)


def test_the_documented_examples() -> None:
    assert list(fields(bytes.fromhex("089601"), Walk())) == [(1, VARINT, 150)]
    assert list(fields(bytes.fromhex("120774657374696e67"), Walk())) == [(2, LENGTH, b"testing")]
    assert list(fields(bytes.fromhex("1a03089601"), Walk())) == [(3, LENGTH, bytes.fromhex("089601"))]
    assert list(fields(b"\x0d\x01\x00\x00\x00\x11" + b"\x02" + b"\0" * 7, Walk())) == [(1, FIXED32, 1), (2, FIXED64, 2)]


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
        list(fields(message, Walk()))


@given(st.integers(1, 2**29 - 1), st.integers(1, 2**64 - 1), st.text(min_size=1, max_size=300))
def test_what_is_written_reads_the_same(field: int, value: int, text: str) -> None:
    written = write_varint(field, value) + write_text(field, text)
    assert list(fields(written, Walk())) == [(field, VARINT, value), (field, LENGTH, text.encode())]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        for _, kind, value in fields(message, Walk()):
            assert isinstance(value, bytes) == (kind == LENGTH)
            text_of(value)
    except BadInput:
        pass


@pytest.mark.parametrize("read", [otlp.read_protobuf, loki.read_protobuf])
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 5])
def test_the_fields_of_a_request_are_bounded_wherever_they_stand(
    read: Callable[[bytes, Mapping[str, str]], Delivery], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of such a request becomes a faulty record: it is refused as a whole."""
    monkeypatch.setattr(protobuf, "FIELDS_MAX", 1_000)
    within = (1, 2, 2, 5, 5) if read is otlp.read_protobuf else (1, 2, 3, 9, 9)
    for count, refused in ((900, False), (1_100, True)):
        message = b"\x0a\x00" * count
        for field in reversed(within[:depth]):
            message = write_text(field, message)
        if refused and not (read is loki.read_protobuf and depth > 3):  # deeper, nobody looks
            with pytest.raises(TooMany):
                read(message, {})
        else:
            read(message, {})
