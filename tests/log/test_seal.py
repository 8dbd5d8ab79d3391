"""Sections and blocks: sealed, opened, and committed to as the format says."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from graven.core.commitment import NO_RAW, Head, format_head
from graven.core.errors import Disproved
from graven.core.merkle import hash_leaf
from graven.journal import frame
from graven.journal.frame import EVENTS, HUSK_EVENTS, HUSK_RAWS, NO_ERASURE, RAWS, Section
from graven.log.block import Draft, build, decode_husk, encode_husk, open_block, runs_of
from graven.log.seal import DataKey, salts_of, seal, unseal

LOG_ID = b"l" * 16
CIPHERS = {bytes([n]) * 16: AESGCM(bytes([n]) * 32) for n in range(1, 5)}
KEYS = {
    ("default", EVENTS): DataKey(b"\x01" * 16, CIPHERS[b"\x01" * 16]),
    ("default", RAWS): DataKey(b"\x02" * 16, CIPHERS[b"\x02" * 16]),
    ("payroll", EVENTS): DataKey(b"\x03" * 16, CIPHERS[b"\x03" * 16]),
    ("payroll", RAWS): DataKey(b"\x04" * 16, CIPHERS[b"\x04" * 16]),
}


def test_salts_are_the_counter_mode_keystream() -> None:
    """NIST SP 800-38A says what CTR is; block 0 is AES of an all-zero counter, block 1 of the counter 1."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    seed = bytes(range(32))
    one = Cipher(algorithms.AES256(seed), modes.ECB()).encryptor()
    blocks = [one.update(counter.to_bytes(16, "big")) for counter in range(4)]
    assert salts_of(seed, 2) == [blocks[0] + blocks[1], blocks[2] + blocks[3]]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20), st.booleans())
def test_a_section_opens_to_what_was_sealed(items: list[bytes], seeded: bool) -> None:
    salts = [bytes([n]) * 32 for n in range(len(items))]
    heads = ((len(items), 5, 77),)
    sealed = seal(
        EVENTS, "default", None, items,
        salts=b"s" * 32 if seeded else salts, heads=heads, key=KEYS["default", EVENTS], log_id=LOG_ID,
    )  # fmt: skip
    clear = unseal(sealed, key=CIPHERS[b"\x01" * 16], log_id=LOG_ID)
    assert clear.items == items
    assert clear.heads == heads
    assert clear.salts == (salts_of(b"s" * 32, len(items)) if seeded else salts)
    for item in items:
        assert len(item) < 8 or item not in sealed.body


def test_a_section_is_bound_to_its_log_class_kind_and_positions() -> None:
    items = [b'{"action":"a"}'] * 2
    sealed = seal(EVENTS, "default", ((0, 2),), items, salts=b"s" * 32, heads=((2, 1, 1),), key=KEYS["default", EVENTS],
                  log_id=LOG_ID)  # fmt: skip
    cipher = CIPHERS[b"\x01" * 16]
    moved = [
        Section(RAWS, *_rest(sealed)),
        Section(EVENTS, "payroll", sealed.positions, *_rest(sealed)[2:]),
        Section(EVENTS, "default", ((1, 2),), *_rest(sealed)[2:]),
        Section(EVENTS, "default", sealed.positions, sealed.count, sealed.key_id, b"m" * 12, NO_ERASURE, sealed.body),
    ]
    for other in moved:
        with pytest.raises(Disproved):
            unseal(other, key=cipher, log_id=LOG_ID)
    with pytest.raises(Disproved):
        unseal(sealed, key=cipher, log_id=b"m" * 16)


def test_a_body_that_lies_about_its_size_is_refused() -> None:
    """A whole tag proves nothing: whoever holds the key can write anything."""
    from graven.log.seal import zstd

    key = KEYS["default", EVENTS]
    bomb = zstd.compress(bytes(1 << 22))
    for clear in (
        b"\x01" + bytes(32) + (4).to_bytes(4, "big") + bomb,
        b"\x01" + bytes(32) + (1 << 31).to_bytes(4, "big") + bomb,
        b"\x03" + bytes(32) + (1 << 22).to_bytes(4, "big") + bomb,
        b"\x02" + bytes(31),
        b"",
    ):
        label = frame.section_label(EVENTS, "default", None, 1, key.key_id, b"n" * 12)
        body = key.cipher.encrypt(b"n" * 12, clear, frame.associated_data(LOG_ID, label))
        with pytest.raises(Disproved):
            unseal(Section(EVENTS, "default", None, 1, key.key_id, b"n" * 12, NO_ERASURE, body), key=key.cipher,
                   log_id=LOG_ID)  # fmt: skip


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    count = draw(st.integers(1, 12))
    raws = draw(st.lists(st.none() | st.binary(max_size=9), min_size=count, max_size=count))
    classes = draw(st.lists(st.sampled_from(["default", "payroll"]), min_size=count, max_size=count))
    cut = draw(st.integers(0, count))
    heads = tuple((n, source, 10 + n) for n, source in ((cut, 1), (count - cut, 2)) if n)
    events = [b'{"action":"%d"}' % n for n in range(count)]
    one = draw(st.booleans())
    return Draft(events, heads, "default" if one else classes, raws if draw(st.booleans()) else None)


@given(drafts())
def test_a_block_opens_to_the_entries_it_was_built_from(draft: Draft) -> None:
    built = build(draft, KEYS, LOG_ID)
    count = len(draft.events)
    expected = []
    heads = [Head(source, us) for n, source, us in draft.heads for _ in range(n)]
    for n, event in enumerate(draft.events):
        raw, raw_salt = (draft.raws or [None] * count)[n], (built.raw_salts or [None] * count)[n]
        d_raw = NO_RAW if raw is None or raw_salt is None else sha256(raw_salt + raw).digest()
        expected.append(sha256(format_head(heads[n]) + sha256(built.salts[n] + event).digest() + d_raw).digest())
    assert built.entries == expected
    assert built.leaves == [hash_leaf(entry) for entry in expected]
    opened = open_block(built.sections, count, CIPHERS.get, LOG_ID, "")
    assert opened.entries == expected
    assert opened.sources == [head.source for head in heads]
    everything = [salt for salt in [*built.salts, *(built.raw_salts or ())] if salt is not None]
    assert len(set(everything)) == len(everything)


def test_without_its_key_a_class_is_unreadable_and_the_rest_reads() -> None:
    draft = Draft([b"{}"] * 4, ((4, 1, 1),), ["default", "payroll", "default", "payroll"], None)
    built = build(draft, KEYS, LOG_ID)
    opened = open_block(built.sections, 4, {k: v for k, v in CIPHERS.items() if k[0] != 3}.get, LOG_ID, "")
    assert opened.entries == [built.entries[0], None, built.entries[2], None]
    assert [section.class_name for section in opened.unreadable] == ["payroll"]


def test_a_husk_stands_for_what_was_erased() -> None:
    draft = Draft([b"{}"] * 3, ((3, 9, 1),), ["default", "payroll", "default"], [None, b"raw", None])
    built = build(draft, KEYS, LOG_ID)
    assert built.raw_salts is not None and built.raw_salts[1] is not None
    slot = (b"graven/1 9 1\n", built.digests[1], sha256(built.raw_salts[1] + b"raw").digest())
    for kinds in ((HUSK_EVENTS,), (HUSK_EVENTS, HUSK_RAWS)):
        husks = [
            Section(kind, "payroll", ((1, 1),), 1, bytes(16), bytes(12), 44, encode_husk(kind, [slot]))
            for kind in kinds
        ]
        assert decode_husk(husks[0], "") == [slot]
        opened = open_block([built.sections[0], *husks], 3, CIPHERS.get, LOG_ID, "")
        assert opened.entries == built.entries
        assert opened.sources == [9, 9, 9]


def test_runs() -> None:
    assert runs_of([0, 1, 2], 3) is None
    assert runs_of([0, 2, 3, 7], 9) == ((0, 1), (2, 2), (7, 1))


def _rest(section: Section) -> tuple[str, frame.Runs | None, int, bytes, bytes, int, bytes]:
    return (
        section.class_name, section.positions, section.count, section.key_id, section.nonce, section.erasure,
        section.body,
    )  # fmt: skip
