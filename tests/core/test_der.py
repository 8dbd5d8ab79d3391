"""DER is read in its one spelling, or refused; nothing that comes in can do more than that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core import der
from graven.core.der import Reader
from graven.core.errors import BadInput


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 2**63, 2**128 - 1])
def test_numbers_come_back(value: int) -> None:
    element = der.read_whole(der.encode_integer(value), der.INTEGER, "a number")
    assert der.read_integer(element, "a number") == value


@given(st.integers(min_value=0, max_value=2**500))
def test_any_number_comes_back(value: int) -> None:
    assert der.read_integer(der.read_whole(der.encode_integer(value), der.INTEGER, "n"), "n") == value


@given(st.lists(st.integers(min_value=0, max_value=2**64), min_size=1, max_size=20), st.integers(0, 39))
def test_any_identifier_comes_back(arcs: list[int], second: int) -> None:
    dotted = ".".join(map(str, (1, second, *arcs)))
    assert der.read_oid(der.read_whole(der.encode_oid(dotted), der.OID, "an oid"), "an oid") == dotted


@pytest.mark.parametrize("dotted", ["", "1", "3.1", "1.40", "1.2.x", "1..2", "1.2.-3", "1.2." + ".".join("1" * 40)])
def test_what_is_no_identifier_is_not_written(dotted: str) -> None:
    with pytest.raises(BadInput):
        der.encode_oid(dotted)


@pytest.mark.parametrize(
    "text",
    [
        "", "30", "3080", "30800000", "308101", "30810500", "3082000100", "308500000000", "1f0100", "3003020101ff",
        "3005020101", "30ff", "02020001", "0202ff80", "0200", "0602", "06028001", "060181", "0600", "0101", "3001",
    ],
)  # fmt: skip
def test_other_spellings_are_refused(text: str) -> None:
    data = bytes.fromhex(text)
    with pytest.raises(BadInput):
        element = der.read_whole(data, data[0] if data else der.SEQUENCE, "it")
        if element.tag == der.INTEGER:
            der.read_integer(element, "it")
        elif element.tag == der.OID:
            der.read_oid(element, "it")
        else:
            for _ in Reader(element.content, "it").every():
                pass


@pytest.mark.parametrize("byte", [1, 0x7F, 0xFE])
def test_truth_has_two_spellings(byte: int) -> None:
    with pytest.raises(BadInput):
        der.read_boolean(der.Element(der.BOOLEAN, bytes([byte]), b""), "it")


@pytest.mark.parametrize(
    "tag, text, expected",
    [
        (der.UTC_TIME, "700101000000Z", (0, 1_000_000)),
        (der.UTC_TIME, "491231235959Z", (2_524_607_999_000_000, 1_000_000)),
        (der.UTC_TIME, "500101000000Z", (-631_152_000_000_000, 1_000_000)),
        (der.GENERALIZED_TIME, "20260102030405Z", (1_767_323_045_000_000, 1_000_000)),
        (der.GENERALIZED_TIME, "20260102030405.5Z", (1_767_323_045_500_000, 100_000)),
        (der.GENERALIZED_TIME, "20260102030405.000001Z", (1_767_323_045_000_001, 1)),
        (der.GENERALIZED_TIME, "20260102030405.0000019Z", (1_767_323_045_000_001, 1)),
    ],
)
def test_times(tag: int, text: str, expected: tuple[int, int]) -> None:
    assert der.read_time(der.Element(tag, text.encode(), b""), "it") == expected


@pytest.mark.parametrize(
    "tag, text",
    [
        (der.UTC_TIME, "7001010000Z"), (der.UTC_TIME, "700101000000+0100"), (der.UTC_TIME, "701301000000Z"),
        (der.GENERALIZED_TIME, "20260102030405"), (der.GENERALIZED_TIME, "20260102030405.Z"),
        (der.GENERALIZED_TIME, "20260102030405.50Z"), (der.GENERALIZED_TIME, "20260230030405Z"),
        (der.GENERALIZED_TIME, "202601020304Z"), (der.GENERALIZED_TIME, "20260102030460Z"),
        (der.GENERALIZED_TIME, "00000102030405Z"), (der.OCTET_STRING, "20260102030405Z"),
    ],
)  # fmt: skip
def test_times_that_are_none(tag: int, text: str) -> None:
    with pytest.raises(BadInput):
        der.read_time(der.Element(tag, text.encode(), b""), "it")


@pytest.mark.parametrize(
    "text, expected",
    [("00", []), ("0780", [0]), ("0560", [1, 2]), ("0006", [5, 6]), ("070080", [8])],
)
def test_flags(text: str, expected: list[int]) -> None:
    found = der.read_flags(der.Element(der.BIT_STRING, bytes.fromhex(text), b""), "it")
    assert sorted(found) == expected


@pytest.mark.parametrize("text", ["", "01", "08ff", "0781", "00" * 20])
def test_flags_that_are_none(text: str) -> None:
    with pytest.raises(BadInput):
        der.read_flags(der.Element(der.BIT_STRING, bytes.fromhex(text), b""), "it")


def test_bounds() -> None:
    with pytest.raises(BadInput, match="more than"):
        der.read_whole(der.encode(der.OCTET_STRING, bytes(1 << 16)), der.OCTET_STRING, "it")
    many = der.encode(der.SEQUENCE, b"\x05\x00" * 257)
    with pytest.raises(BadInput, match="members"):
        list(Reader(der.read_whole(many, der.SEQUENCE, "it").content, "it").every())
    with pytest.raises(BadInput):
        der.read_integer(der.Element(der.INTEGER, b"\x01" * 65, b""), "it")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        element = der.read_whole(data, data[0] if data else 0x30, "it")
    except BadInput:
        return
    assert element.raw == data == der.encode(element.tag, element.content)
