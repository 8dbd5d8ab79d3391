"""Deriving a block again: the same entries as sealing gave, whatever the classes, raws, heads and husks."""

import os
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.core.commitment import NO_RAW, Head, format_head
from graven.core.errors import Disproved
from graven.core.merkle import hash_leaves
from graven.journal.frame import EVENTS, HUSK_EVENTS, HUSK_RAWS, RAWS, Section
from graven.log.acts import SELF_CLASS
from graven.log.block import Built, Draft, build, encode_husk
from graven.log.seal import DataKey, seal
from graven.log.verify.derive import derive

LOG_ID = os.urandom(16)
CLASSES = ("default", "staff", SELF_CLASS)
KEYS = {(name, kind): DataKey(os.urandom(16), AESGCM(os.urandom(32))) for name in CLASSES for kind in (EVENTS, RAWS)}
CIPHERS = {key.key_id: key.cipher for key in KEYS.values()}


def draft(count: int, heads: list[tuple[int, int, int]], classes: str | list[str], raws: bool) -> Draft:
    events = [b'{"action":"a","n":%d}' % number for number in range(count)]
    odd: list[bytes | None] = [b"raw %d" % n if n % 2 else None for n in range(count)]
    return Draft(events, tuple(heads), classes, odd if raws else None)


@st.composite
def drafts(choose: st.DrawFn) -> Draft:
    count = choose(st.integers(1, 12))
    cuts = sorted(choose(st.sets(st.integers(1, count - 1), max_size=3))) if count > 1 else []
    times = st.integers(0, 2**63 - 1)
    heads = [(b - a, choose(st.integers(0, 3)), choose(times)) for a, b in pairwise([0, *cuts, count])]
    one = choose(st.sampled_from(CLASSES))
    many = choose(st.lists(st.sampled_from(CLASSES), min_size=count, max_size=count))
    return draft(count, heads, one if choose(st.booleans()) else many, choose(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(drafts())
def test_entries_and_leaves_are_those_of_the_writer(one: Draft) -> None:
    built = build(one, KEYS, LOG_ID)
    found = derive(built.sections, len(one.events), CIPHERS, LOG_ID, "here")
    assert (found.entries, found.leaves, found.opened) == (built.entries, built.leaves, len(one.events))
    assert (found.husks, found.unreadable) == ([], [])
    sources = [source for length, source, _ in one.heads for _ in range(length)]
    classes = [one.classes] * len(one.events) if isinstance(one.classes, str) else one.classes
    own = [(n, e) for n, e in enumerate(one.events) if sources[n] == 0 and classes[n] == SELF_CLASS]
    assert sorted(found.own) == own


@settings(max_examples=60, deadline=None)
@given(drafts(), st.data())
def test_without_a_key_its_slots_are_not_known_and_the_others_are(one: Draft, data: st.DataObject) -> None:
    built = build(one, KEYS, LOG_ID)
    gone = data.draw(st.sampled_from(built.sections))
    ciphers = {key_id: cipher for key_id, cipher in CIPHERS.items() if key_id != gone.key_id}
    found = derive(built.sections, len(one.events), ciphers, LOG_ID, "here")
    lost = set(gone.indexes())
    assert found.entries == [None if n in lost else entry for n, entry in enumerate(built.entries)]
    assert found.leaves is None
    assert found.unreadable == [gone]
    assert found.opened == len(one.events) - len(lost)


@settings(max_examples=60, deadline=None)
@given(drafts(), st.data())
def test_a_husk_in_place_of_a_section_gives_the_same_entries(one: Draft, data: st.DataObject) -> None:
    built = build(one, KEYS, LOG_ID)
    old = data.draw(st.sampled_from(built.sections))
    sections = [husk_of(one, built, section) if section is old else section for section in built.sections]
    found = derive(sections, len(one.events), CIPHERS, LOG_ID, "here")
    assert (found.entries, found.leaves) == (built.entries, hash_leaves(built.entries))
    assert [section.key_id for section in found.husks] == [old.key_id]
    assert found.opened == len(one.events) - (old.count if old.kind == EVENTS else 0)
    keyless = derive(sections, len(one.events), {}, LOG_ID, "here")
    covered = set(old.indexes()) if old.kind == EVENTS else set()
    assert keyless.entries == [entry if n in covered else None for n, entry in enumerate(built.entries)]


def husk_of(one: Draft, built: Built, section: Section) -> Section:
    heads = [format_head(Head(source, at)) for length, source, at in one.heads for _ in range(length)]
    kind = HUSK_EVENTS if section.kind == EVENTS else HUSK_RAWS
    slots = [(heads[n], built.digests[n], raw_digest(one, built, n)) for n in section.indexes()]
    return replace(section, kind=kind, erasure=7, body=encode_husk(kind, slots))


def raw_digest(one: Draft, built: Built, n: int) -> bytes:
    raw = one.raws[n] if one.raws else None
    salt = built.raw_salts[n] if built.raw_salts else None
    return NO_RAW if raw is None or salt is None else sha256(salt + raw).digest()


def simple() -> tuple[Draft, Built]:
    one = draft(4, [(4, 1, 5)], "default", raws=True)
    return one, build(one, KEYS, LOG_ID)


@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_section_is_disproved(number: int) -> None:
    _, built = simple()
    for at in (0, 20, -1):
        body = bytearray(built.sections[number].body)
        body[at] ^= 1
        sections = list(built.sections)
        sections[number] = replace(sections[number], body=bytes(body))
        with pytest.raises(Disproved, match="does not open"):
            derive(sections, 4, CIPHERS, LOG_ID, "here")


def test_a_section_of_another_log_is_disproved() -> None:
    _, built = simple()
    with pytest.raises(Disproved, match="does not open"):
        derive(built.sections, 4, CIPHERS, bytes(16), "here")


def test_a_husk_that_contradicts_a_raw_is_disproved() -> None:
    one, built = simple()
    husk = husk_of(one, built, built.sections[0])
    slots = [(format_head(Head(1, 5)), built.digests[n], b"\x01" * 32) for n in range(4)]
    husk = replace(husk, body=encode_husk(HUSK_EVENTS, slots))
    with pytest.raises(Disproved, match="another raw"):
        derive([husk, *built.sections[1:]], 4, CIPHERS, LOG_ID, "here")


@pytest.mark.parametrize("head", [b"", b"graven/1 01 5\n", b"graven/1 1 5", b"graven/2 1 5\n", b"x" * 255])
def test_a_husk_with_another_spelling_of_a_head_is_disproved(head: bytes) -> None:
    one, built = simple()
    slots = [(head, built.digests[n], raw_digest(one, built, n)) for n in range(4)]
    husk = replace(husk_of(one, built, built.sections[0]), body=encode_husk(HUSK_EVENTS, slots))
    with pytest.raises(Disproved):
        derive([husk, *built.sections[1:]], 4, CIPHERS, LOG_ID, "here")


def test_a_husk_of_another_length_is_disproved() -> None:
    one, built = simple()
    husk = husk_of(one, built, built.sections[0])
    for body in (husk.body[:-1], husk.body + b"x", b""):
        with pytest.raises(Disproved):
            derive([replace(husk, body=body), *built.sections[1:]], 4, CIPHERS, LOG_ID, "here")


def test_a_head_beyond_the_format_is_disproved() -> None:
    key = KEYS["default", EVENTS]
    section = seal(EVENTS, "default", None, [b"{}"], salts=bytes(32), heads=((1, 1, 2**63),), key=key, log_id=LOG_ID)
    with pytest.raises(Disproved):
        derive([section], 1, CIPHERS, LOG_ID, "here")
