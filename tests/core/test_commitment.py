"""Heads, digests and entries: one spelling, the exact bytes hashed, nothing absent mistaken for something."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.core.commitment import (
    HEAD_BYTES_MAX,
    NO_RAW,
    RECEIVED_US_MAX,
    SOURCE_MAX,
    Head,
    digest,
    digests,
    entries_of,
    entry_of,
    format_head,
    parse_head,
)
from graven.core.errors import BadInput

HEAD = b"graven/1 7 1753000000000000\n"
DIGESTS = st.binary(min_size=32, max_size=32).filter(lambda d: d != NO_RAW)


@pytest.mark.parametrize(
    ("source", "received_us", "line"),
    [
        (0, 0, b"graven/1 0 0\n"),
        (7, 1753000000000000, HEAD),
        (SOURCE_MAX, RECEIVED_US_MAX, b"graven/1 4294967295 9223372036854775807\n"),
    ],
)
def test_a_head_is_one_line(source: int, received_us: int, line: bytes) -> None:
    assert format_head(Head(source, received_us)) == line
    assert parse_head(line) == Head(source, received_us)
    assert len(line) <= HEAD_BYTES_MAX == 40


@settings(deadline=None)
@given(st.integers(0, SOURCE_MAX), st.integers(0, RECEIVED_US_MAX))
def test_every_head_reads_back(source: int, received_us: int) -> None:
    assert parse_head(format_head(Head(source, received_us))) == Head(source, received_us)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"graven/1\n",
        b"graven/1 7\n",
        b"graven/1 7 5",
        b"graven/1 7 5\n\n",
        b"graven/1 7 5\r\n",
        b"graven/1 7 5 \n",
        b" graven/1 7 5\n",
        b"graven/1  7 5\n",
        b"graven/1 7  5\n",
        b"graven/1\t7 5\n",
        b"graven/1 7 5\nx",
        b"graven/1 07 5\n",
        b"graven/1 7 05\n",
        b"graven/1 7 00\n",
        b"graven/1 +7 5\n",
        b"graven/1 -7 5\n",
        b"graven/1 7 -0\n",
        b"graven/1 7 1_0\n",
        b"graven/1 7 5.0\n",
        b"graven/1 7 0x5\n",
        "graven/1 ٧ 5\n".encode(),
        b"graven/2 7 5\n",
        b"Graven/1 7 5\n",
        b"graven/1 4294967296 5\n",
        b"graven/1 7 9223372036854775808\n",
        b"graven/1 99999999999 5\n",
        b"graven/1 7 99999999999999999999\n",
        b"graven/1 7 " + b"9" * 1_000_000 + b"\n",
    ],
)
def test_a_head_with_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        parse_head(data)


@settings(deadline=None)
@given(st.binary(max_size=45) | st.from_regex(rb"graven/1 [0-9]{1,11} [0-9]{1,20}\n?", fullmatch=True))
def test_what_is_read_is_what_would_be_written(data: bytes) -> None:
    try:
        head = parse_head(data)
    except BadInput:
        return
    assert format_head(head) == data


@pytest.mark.parametrize(("source", "received_us"), [(-1, 0), (SOURCE_MAX + 1, 0), (0, -1), (0, RECEIVED_US_MAX + 1)])
def test_a_head_out_of_bounds_cannot_be_made(source: int, received_us: int) -> None:
    with pytest.raises(BadInput):
        Head(source, received_us)


def test_the_exact_bytes_that_are_hashed() -> None:
    salt, other = bytes(range(32)), bytes(range(32, 64))
    event, raw = b'{"action":"GetObject"}', b"GET /customers.csv"
    d_event, d_raw = digest(salt, event), digest(other, raw)
    assert d_event == sha256(salt + event).digest()
    assert entry_of(HEAD, d_event, d_raw) == sha256(HEAD + d_event + d_raw).digest()
    assert entry_of(HEAD, d_event, NO_RAW) == sha256(HEAD + d_event + b"\x00" * 32).digest()


def test_the_commitment_never_changes() -> None:
    # Frozen: these bytes stand in logs that exist.
    d_event = digest(b"\x01" * 32, b'{"action":"x"}')
    d_raw = digest(b"\x02" * 32, b"raw")
    assert d_event.hex() == FROZEN["d_event"]
    assert d_raw.hex() == FROZEN["d_raw"]
    assert entry_of(HEAD, d_event, NO_RAW).hex() == FROZEN["entry without raw"]
    assert entry_of(HEAD, d_event, d_raw).hex() == FROZEN["entry with raw"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(max_size=99)), max_size=9))
def test_a_batch_of_digests_is_the_single_ones(pairs: list[tuple[bytes, bytes]]) -> None:
    salts, items = [salt for salt, _ in pairs], [data for _, data in pairs]
    assert digests(salts, items) == [digest(salt, data) for salt, data in pairs]
    for wrong in ([*salts, bytes(32)], [*salts[:-1], bytes(31)]):
        with pytest.raises(BadInput):
            digests(wrong, items)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, SOURCE_MAX), DIGESTS, DIGESTS | st.just(NO_RAW)), max_size=9))
def test_a_batch_of_entries_is_the_single_ones(rows: list[tuple[int, bytes, bytes]]) -> None:
    heads = [format_head(Head(source, 5)) for source, _, _ in rows]
    single = [entry_of(head, row[1], row[2]) for head, row in zip(heads, rows, strict=True)]
    assert entries_of(heads, [row[1] for row in rows], [row[2] for row in rows]) == single
    with pytest.raises(ValueError, match="zip"):
        entries_of([*heads, HEAD], [row[1] for row in rows], [row[2] for row in rows])


@settings(deadline=None)
@given(DIGESTS, DIGESTS, st.integers(0, 31), st.integers(0, 7))
def test_any_changed_bit_changes_the_entry(d_event: bytes, d_raw: bytes, byte: int, bit: int) -> None:
    def flipped(data: bytes) -> bytes:
        return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]

    entries = {
        entry_of(HEAD, d_event, d_raw),
        entry_of(b"graven/1 8 1753000000000000\n", d_event, d_raw),
        entry_of(HEAD, d_event, flipped(d_raw)),
        entry_of(HEAD, d_event, NO_RAW),
    }
    assert len(entries) == 4
    if flipped(d_event) != NO_RAW:
        assert entry_of(HEAD, flipped(d_event), d_raw) not in entries


@pytest.mark.parametrize("length", [0, 31, 33])
def test_salts_and_digests_have_32_bytes(length: int) -> None:
    with pytest.raises(BadInput):
        digest(bytes(length), b"event")
    for d_event, d_raw in ((b"\x01" * length, NO_RAW), (b"\x01" * 32, bytes(length))):
        with pytest.raises(BadInput):
            entry_of(HEAD, d_event, d_raw)


def test_an_entry_has_an_event_and_a_head() -> None:
    with pytest.raises(BadInput):
        entry_of(HEAD, NO_RAW, NO_RAW)
    with pytest.raises(BadInput):
        entry_of(HEAD[:-1], b"\x01" * 32, NO_RAW)


# Written by sha256sum, not by this program.
FROZEN = {
    "d_event": "07340c6da4b638ec32300c6b7c01b174346c4cc4cedde04ebca6b3e6e45e061a",
    "d_raw": "3f3f936c9c59877656e881528236594c7b67c0ae739db285dfac33e9d34e8730",
    "entry without raw": "d0d915242739ae5bfbe473d5f2f66f7fbf71090679580d96af2f59018c0f23b6",
    "entry with raw": "8e2021ab4aad12e0b8d3bcc9a2e10c98ace6834c81d71d6869b7b818d192b84f",
}
