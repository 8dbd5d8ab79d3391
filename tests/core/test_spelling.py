"""Base64 and decimal numbers: one spelling each."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.core.spelling import MAX_NUMBER, check_number, decode_base64, decode_hash, encode_base64, parse_decimal


@given(st.binary(max_size=200))
def test_base64_round_trips_in_the_standard_alphabet(data: bytes) -> None:
    assert encode_base64(data) == base64.b64encode(data).decode()
    assert decode_base64(encode_base64(data)) == data


@given(st.text(alphabet="AQgw+/=-_ \n", max_size=8))
def test_a_text_that_decodes_is_the_one_spelling_of_its_bytes(text: str) -> None:
    try:
        data = decode_base64(text)
    except BadInput:
        with pytest.raises((ValueError, AssertionError)):
            assert base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    else:
        assert encode_base64(data) == text


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "AAA==",
        "AA==AA==",
        "AAAA=",
        "=AAA",
        "-_-_",
        "AA A",
        "AAAA\n",
        " AAAA",
        "AA==\n",
        "ＡＡＡＡ",
    ],
)
def test_other_spellings_of_base64_are_refused(text: str) -> None:
    for ignore in (False, True):
        with pytest.raises(BadInput):
            decode_base64(text, ignore_unused_bits=ignore)


def test_unused_bits_are_refused_unless_they_are_ignored() -> None:
    assert decode_base64("x6gw") == b"\xc7\xa8\x30"
    with pytest.raises(BadInput, match="unused bits"):
        decode_base64("x6gx6gx=")
    assert decode_base64("x6gx6gx=", ignore_unused_bits=True) == decode_base64("x6gx6gw=")


@pytest.mark.parametrize("count", [0, 1, 31, 33, 64])
def test_a_hash_has_32_bytes(count: int) -> None:
    assert decode_hash(encode_base64(bytes(32))) == bytes(32)
    with pytest.raises(BadInput):
        decode_hash(encode_base64(bytes(count)))


@given(st.integers(0, MAX_NUMBER))
def test_decimals_round_trip(number: int) -> None:
    assert parse_decimal(str(number)) == check_number(number, place="") == number


@pytest.mark.parametrize(
    "text",
    ["", "00", "01", "+1", "-1", "1_0", " 1", "1 ", "1\n", "1.0", "1e3", "٣", "²", str(2**63), "9" * 20, "9" * 5000],
)
def test_other_spellings_of_numbers_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_decimal(text)


@pytest.mark.parametrize("number", [-1, 2**63, 2**64])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    with pytest.raises(BadInput, match=r"somewhere"):
        check_number(number, place="somewhere")
