"""Ranges: every head opened, none left out, and no way to make a source's events fewer or more."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from core.ledger import Ledger
from core.signers import LOG, LOG_KEYS, LOG_PQ, STRANGER, sign_checkpoint
from graven.core import range as ranges
from graven.core.disclosed import Disclosed, Withheld
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.evidence import Anchor
from graven.core.note import format_vkey
from graven.core.range import Closed, Opened, OpenedRange, format_range, parse_range, verify_opened_range
from graven.keys.signature import verify_signature

LEDGER = Ledger()
for number in range(21):
    LEDGER.seal(b'{"action":"n\xc3\xa9 %d"}' % number, b"raw" if number % 5 == 0 else None, source=number % 3)
START, END = 3, 17


def row(index: int, *, bodies: bool = False) -> Opened:
    slot = LEDGER.slots[index]
    raw = None if slot.raw is None else Disclosed(slot.raw, slot.raw_salt) if bodies else Withheld(slot.d_raw)
    event = Disclosed(slot.event, slot.event_salt) if bodies else Withheld(slot.d_event)
    return Opened(slot.head, event, raw)


def proof(start: int, end: int) -> tuple[bytes, ...]:
    return tuple(oracle.range_proof(start, end, LEDGER.leaves))


def made(start: int = START, end: int = END, source: int | None = 1) -> OpenedRange:
    entries = tuple(
        row(index, bodies=LEDGER.slots[index].head.startswith(b"graven/1 1 ")) for index in range(start, end)
    )
    vkeys = (format_vkey(LOG.key), format_vkey(LOG_PQ.key))
    return OpenedRange(start, entries, source, proof(start, end), LEDGER.checkpoint(), vkeys)


def check(one: OpenedRange) -> ranges.VerifiedRange:
    return verify_opened_range(parse_range(format_range(one)), LOG_KEYS, verify_signature)


GOOD = made()
DATA = format_range(GOOD)


def test_exactly_so_many() -> None:
    found = check(GOOD)
    assert (found.start, found.end, found.closed) == (START, END, ())
    assert found.of(1) == (5, 5) and found.of(9) == (0, 0)
    assert sum(found.counts.values()) == END - START
    assert set(found.disclosed) == {4, 7, 10, 13, 16} and found.disclosed[4] == LEDGER.slots[4].event


@given(st.integers(0, 20), st.integers(1, 21))
def test_every_range(start: int, length: int) -> None:
    end = min(start + length, 21)
    assert check(made(start, end)).end == end


def test_the_document_has_one_entry_a_line() -> None:
    lines = DATA.decode().splitlines()
    assert lines[6].startswith('    {"head": "graven/1 0 1700000000000000\\n", "event": {"digest": "')
    assert len([line for line in lines if line.startswith("    {")]) == END - START
    assert json.loads(DATA)["end"] == END
    assert parse_range(json.dumps(json.loads(DATA)).encode()) == GOOD


def swapped(one: OpenedRange) -> OpenedRange:
    entries = list(one.entries)
    entries[2], entries[3] = entries[3], entries[2]
    return replace(one, entries=tuple(entries))


@pytest.mark.parametrize(
    "lie",
    [
        lambda one: replace(one, entries=one.entries[:-1]),
        lambda one: replace(one, entries=one.entries[1:]),
        lambda one: replace(one, entries=one.entries[:-1], proof=proof(START, END - 1)[:-1]),
        lambda one: replace(one, entries=(*one.entries, one.entries[-1])),
        lambda one: replace(one, entries=(*one.entries[:4], *one.entries[5:])),
        lambda one: replace(one, start=START + 1),
        lambda one: replace(one, proof=(*one.proof, one.proof[0])),
        lambda one: replace(one, proof=()),
        lambda one: replace(one, entries=(replace(row(3), head=b"graven/1 2 1700000000000000\n"), *one.entries[1:])),
        lambda one: replace(one, entries=(Closed(bytes(32)), *one.entries[1:])),
        lambda one: replace(one, checkpoint=sign_checkpoint(21, LEDGER.root, (STRANGER,))),
        lambda one: replace(one, checkpoint=sign_checkpoint(16, LEDGER.root)),
        lambda one: replace(one, checkpoint=sign_checkpoint(21, LEDGER.root, (LOG,))),
        swapped,
    ],
)
def test_a_range_that_leaves_out_or_changes_anything(lie: Callable[[OpenedRange], OpenedRange]) -> None:
    with pytest.raises(Disproved):
        check(lie(GOOD))


def test_an_unopened_entry_is_counted_as_perhaps() -> None:
    """Who cannot open an entry cannot say that it was another source's."""
    hidden = replace(GOOD, entries=(GOOD.entries[0], Closed(GOOD.entries[1].entry), *GOOD.entries[2:]))
    found = check(hidden)
    assert found.closed == (START + 1,) and found.of(1) == (4, 5)


def test_trust_is_the_readers() -> None:
    with pytest.raises(Disproved):
        verify_opened_range(GOOD, [STRANGER.key], verify_signature)
    with pytest.raises(Disproved):  # its own vkeys can only make it fail
        check(replace(GOOD, checkpoint=sign_checkpoint(21, LEDGER.root, (LOG,))))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "graven-range/v2"}, {"end": END + 1}, {"start": -1}, {"start": "3"}, {"source": 2**32}, {"more": 1},
        {"entries": []}, {"entries": {}}, {"proof": ["AAAA"]}, {"proof": ["A" * 43 + "="] * 185}, {"vkeys": ["x"]},
        {"entries": [{"head": "x", "event": {"digest": "x"}, "raw": None}]},
        {"entries": [{"entry": "AAAA"}]}, {"entries": [{"entry": None, "head": ""}]}, {"anchors": [1]},
    ],
)  # fmt: skip
def test_what_is_no_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        parse_range(json.dumps(json.loads(DATA) | change).encode())


def test_bounds() -> None:
    with pytest.raises(BadInput, match="more than"):
        parse_range(b" " * (ranges.MAX_RANGE_BYTES + 1))
    with pytest.raises(BadInput, match="a range of"):
        replace(GOOD, entries=(GOOD.entries[0],) * (ranges.MAX_RANGE_ENTRIES + 1))


@given(st.binary(max_size=80), st.integers(0, len(DATA) - 1))
@settings(max_examples=300)
def test_noise(noise: bytes, at: int) -> None:
    for data in (noise, DATA[:at] + noise + DATA[at + len(noise) :]):
        try:
            found = verify_opened_range(parse_range(data), LOG_KEYS, verify_signature)
        except GravenError:
            continue
        assert found.of(1) in ((5, 5), (4, 5))


hashes = st.binary(min_size=32, max_size=32).filter(any)
events = st.builds(Withheld, hashes) | st.builds(Disclosed, st.text(max_size=9).map(str.encode), hashes)
entries = st.builds(Closed, hashes) | st.builds(Opened, st.just(b"graven/1 7 9\n"), events, st.none() | events)


@given(st.builds(
    OpenedRange, st.integers(0, 2**62), st.lists(entries, min_size=1, max_size=5).map(tuple),
    st.none() | st.integers(0, 2**32 - 1), st.lists(hashes, max_size=4).map(tuple), st.just(LEDGER.checkpoint()),
    st.just(()), st.lists(st.builds(Anchor, st.text(max_size=5), st.binary(max_size=5)), max_size=2).map(tuple),
))  # fmt: skip
def test_ranges_round_trip(one: OpenedRange) -> None:
    assert parse_range(format_range(one)) == one
