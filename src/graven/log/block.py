"""A block: the events of one commit, as commitments and sealed sections; and back.

`build` is the way in (events → digests → entries → leaves → sections), `open_block` the way back. Both are pure but
for the random seeds and nonces that `build` draws.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby, pairwise

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.commitment import NO_RAW, Head, format_head, parse_head
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaves
from graven.journal.frame import EVENTS, HUSK_EVENTS, HUSK_RAWS, LOST, RAWS, Runs, Section
from graven.log.seal import DataKey, Heads, salts_of, seal, unseal, zstd

SectionKeys = Mapping[tuple[str, int], DataKey]
"""The data key of each (class, EVENTS | RAWS) of one segment."""

FindKey = Callable[[bytes], AESGCM | None]
"""The cipher of a key id, or None where the keyring does not hold it."""


@dataclass(slots=True)
class Draft:
    """Events that will stand at consecutive indexes. `heads` are runs over all of them; the rest is one a event.

    `classes` is one name when all events share it. `raws` is None when no event has a raw.
    """

    events: list[bytes]
    heads: Heads
    classes: str | list[str]
    raws: list[bytes | None] | None


@dataclass(frozen=True, slots=True)
class Built:
    """A block ready to be framed, with the salts that open its events. `raw_salts` is None when there are no raws."""

    sections: list[Section]
    entries: list[bytes]
    leaves: list[bytes]
    salts: list[bytes]
    digests: list[bytes]
    raw_salts: list[bytes | None] | None


@dataclass(slots=True)
class Opened:
    """A block's slots, in index order. A slot whose key is gone has None for what cannot be known."""

    entries: list[bytes | None]
    sources: list[int | None]
    unreadable: list[Section]


def build(draft: Draft, keys: SectionKeys, log_id: bytes, compressor: zstd.ZstdCompressor | None = None) -> Built:
    """Commit to every event and seal them by class and kind. Costs about 4 µs an event of 500 bytes."""
    count = len(draft.events)
    sections: list[Section] = []
    sha = sha256
    if isinstance(draft.classes, str):
        drawn, salts = _draw_salts(count)
        sections.append(
            seal(
                EVENTS, draft.classes, None, draft.events,
                salts=drawn, heads=draft.heads, key=keys[draft.classes, EVENTS], log_id=log_id, compressor=compressor,
            )
        )  # fmt: skip
    else:
        salts = [b""] * count
        for class_name in dict.fromkeys(draft.classes):
            chosen = [p for p, name in enumerate(draft.classes) if name == class_name]
            drawn, some = _draw_salts(len(chosen))
            for position, salt in zip(chosen, some, strict=True):
                salts[position] = salt
            sections.append(
                seal(
                    EVENTS, class_name, runs_of(chosen, count), [draft.events[p] for p in chosen],
                    salts=drawn, heads=_heads_at(draft.heads, chosen), key=keys[class_name, EVENTS], log_id=log_id,
                    compressor=compressor,
                )
            )  # fmt: skip
    digests = [sha(salt + event).digest() for salt, event in zip(salts, draft.events, strict=True)]
    raw_salts: list[bytes | None] | None = None
    if draft.raws is None:
        bodies = [digest + NO_RAW for digest in digests]
    else:
        raw_salts, raw_sections = _seal_raws(draft, keys, log_id, compressor)
        sections += raw_sections
        bodies = [
            digest + (NO_RAW if raw is None or salt is None else sha(salt + raw).digest())
            for digest, salt, raw in zip(digests, raw_salts, draft.raws, strict=True)
        ]
    entries: list[bytes] = []
    at = 0
    for length, source, received_us in draft.heads:
        entries += _entries(Head(source, received_us), bodies[at : at + length])
        at += length
    return Built(sections, entries, hash_leaves(entries), salts, digests, raw_salts)


def open_block(sections: Sequence[Section], count: int, find: FindKey, log_id: bytes, place: str) -> Opened:
    """The entries of a block, re-derived from its sealed sections and husks.

    Raises:
        Disproved: a section does not open or parse, or a husk is malformed.
    """
    sha = sha256
    if len(sections) == 1 and sections[0].kind == EVENTS and (key := find(sections[0].key_id)) is not None:
        clear = unseal(sections[0], key=key, log_id=log_id, place=place)
        entries: list[bytes | None] = []
        sources: list[int | None] = []
        at = 0
        for length, source, received_us in clear.heads:
            bodies = [
                sha(salt + event).digest() + NO_RAW
                for salt, event in zip(clear.salts[at : at + length], clear.items[at : at + length], strict=True)
            ]
            entries += _entries(Head(source, received_us), bodies)
            sources += [source] * length
            at += length
        return Opened(entries, sources, [])
    return _open_mixed(sections, count, find, log_id, place)


def heads_of(heads: Heads) -> list[Head]:
    """One head an event."""
    return [Head(source, received_us) for length, source, received_us in heads for _ in range(length)]


def runs_of(positions: Sequence[int], count: int) -> Runs | None:
    """Ascending positions as runs; None when they are the whole block."""
    if len(positions) == count:
        return None
    runs: list[tuple[int, int]] = []
    for _, group in groupby(enumerate(positions), lambda pair: pair[1] - pair[0]):
        run = [position for _, position in group]
        runs.append((run[0], len(run)))
    return tuple(runs)


def decode_husk(section: Section, place: str) -> list[tuple[bytes, bytes, bytes]]:
    """(head, d_event, d_raw) of each slot of a husk of events; (b"", b"", d_raw) of a husk of raws.

    Raises:
        Disproved: it does not parse to its last byte.
    """
    slots: list[tuple[bytes, bytes, bytes]] = []
    body, at = section.body, 0
    for _ in range(section.count):
        if section.kind == HUSK_RAWS:
            slots.append((b"", b"", body[at : at + 32]))
            at += 32
        else:
            size = body[at] if at < len(body) else 0
            head = body[at + 1 : at + 1 + size]
            try:
                parse_head(head)
            except BadInput as error:
                raise Disproved(f"a husk does not parse: {error.what}", place=place) from None
            at += 1 + size
            slots.append((head, body[at : at + 32], body[at + 32 : at + 64]))
            at += 64
    if at != len(body):
        raise Disproved("a husk does not parse", place=place)
    return slots


def lost_entries(section: Section) -> list[bytes]:
    """The entries of lost slots, in index order."""
    return [section.body[at : at + 32] for at in range(0, len(section.body), 32)]


def encode_husk(kind: int, slots: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """The clear body of a husk; the inverse of `decode_husk`."""
    if kind == HUSK_RAWS:
        return b"".join(raw_digest for _, _, raw_digest in slots)
    return b"".join(bytes((len(head),)) + head + event + raw for head, event, raw in slots)


def _entries(head: Head, bodies: Sequence[bytes]) -> list[bytes]:
    """The entry of each `d_event ‖ d_raw` under one head. A copy of a begun hash costs less than beginning one."""
    begin = sha256(format_head(head)).copy
    digests = []
    for body in bodies:
        one = begin()
        one.update(body)
        digests.append(one.digest())
    return digests


def _open_mixed(sections: Sequence[Section], count: int, find: FindKey, log_id: bytes, place: str) -> Opened:
    heads: list[bytes | None] = [None] * count
    digests: list[bytes | None] = [None] * count
    raw_digests: list[bytes | None] = [NO_RAW] * count
    stated: dict[int, bytes] = {}  # what a husk of events says of its raws
    lost: dict[int, bytes] = {}
    unreadable: list[Section] = []
    for section in sections:
        where = section.indexes()
        if section.kind == LOST:
            lost |= zip(where, lost_entries(section), strict=True)
            continue
        if section.kind in (HUSK_EVENTS, HUSK_RAWS):
            for position, (head, event, raw) in zip(where, decode_husk(section, place), strict=True):
                raw_digests[position] = raw
                if section.kind == HUSK_EVENTS:
                    heads[position], digests[position], stated[position] = head, event, raw
            continue
        key = find(section.key_id)
        if key is None:
            unreadable.append(section)
            if section.kind == RAWS:
                for position in where:
                    raw_digests[position] = None
            continue
        clear = unseal(section, key=key, log_id=log_id, place=place)
        found = [sha256(salt + item).digest() for salt, item in zip(clear.salts, clear.items, strict=True)]
        if section.kind == RAWS:
            for position, digest in zip(where, found, strict=True):
                raw_digests[position] = digest
        else:
            for position, digest, one in zip(where, found, heads_of(clear.heads), strict=True):
                heads[position], digests[position] = format_head(one), digest
    if any(raw_digests[position] != raw for position, raw in stated.items()):
        raise Disproved("a husk of events and another section state different raws", place=place)
    entries = [
        lost.get(position) if head is None or digest is None or raw is None else sha256(head + digest + raw).digest()
        for position, (head, digest, raw) in enumerate(zip(heads, digests, raw_digests, strict=True))
    ]
    return Opened(entries, [None if head is None else parse_head(head).source for head in heads], unreadable)


def _seal_raws(
    draft: Draft, keys: SectionKeys, log_id: bytes, compressor: zstd.ZstdCompressor | None
) -> tuple[list[bytes | None], list[Section]]:
    assert draft.raws is not None
    count = len(draft.raws)
    salts: list[bytes | None] = [None] * count
    sections = []
    names = [draft.classes] * count if isinstance(draft.classes, str) else draft.classes
    for class_name in dict.fromkeys(names):
        chosen = [p for p, raw in enumerate(draft.raws) if raw is not None and names[p] == class_name]
        if not chosen:
            continue
        drawn, some = _draw_salts(len(chosen))
        for position, salt in zip(chosen, some, strict=True):
            salts[position] = salt
        sections.append(
            seal(
                RAWS, class_name, runs_of(chosen, count), [draft.raws[p] or b"" for p in chosen],
                salts=drawn, heads=(), key=keys[class_name, RAWS], log_id=log_id, compressor=compressor,
            )
        )  # fmt: skip
    return salts, sections


def _draw_salts(count: int) -> tuple[bytes | list[bytes], list[bytes]]:
    """What a section keeps, and the salts that follow from it: a seed, or for one item its salt, in as many bytes."""
    drawn = os.urandom(32)
    if count == 1:
        return [drawn], [drawn]
    return drawn, salts_of(drawn, count)


def _heads_at(heads: Heads, positions: Sequence[int]) -> Heads:
    """The head runs of the chosen ascending positions only."""
    bounds = [0]
    for length, _, _ in heads:
        bounds.append(bounds[-1] + length)
    chosen: list[tuple[int, int, int]] = []
    at = 0
    for (first, end), (_, source, received_us) in zip(pairwise(bounds), heads, strict=True):
        begin = at
        while at < len(positions) and first <= positions[at] < end:
            at += 1
        if at > begin:
            chosen.append((at - begin, source, received_us))
    return tuple(chosen)
