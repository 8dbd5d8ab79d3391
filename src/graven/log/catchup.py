"""Bringing derived state up to the journal's end at a start: the registers and the idempotency window.

Both are functions of the journal. A snapshot with a cursor spares reading it all; a cursor whose root is not the
journal's at that size is thrown away, and the state is rebuilt from the events themselves.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import GravenError
from graven.core.merkle import EMPTY_ROOT, compact_range_at
from graven.journal.frame import EVENTS
from graven.log.acts import SELF_CLASS, SELF_SOURCE
from graven.log.block import heads_of
from graven.log.reader import JournalReader
from graven.log.registers import Registers
from graven.log.seal import unseal
from graven.log.tail import Tail
from graven.log.window import CANDIDATES_MAX, Window

HEARD_ENTRIES_MAX = 10_000
"""How far back heads are read for when each source was last heard, where no snapshot says it."""

FindKey = Callable[[bytes, int | None], AESGCM | None]


class _Id(msgspec.Struct):
    id: str | None = None


_decode_id = msgspec.json.Decoder(_Id).decode


def load_registers(
    path: Path, key: bytes, *, reader: JournalReader, find_key: FindKey, log_id: bytes, tail: Tail | None, size: int
) -> Registers:
    """The registers as of `size`: the snapshot if its cursor is on this journal, then every later act of Graven's, and
    when each source was heard.

    `tail` None means the caller only reads, and believes a sealed snapshot's cursor.
    """
    registers = Registers()
    found = Registers.load(path, key)
    if found is not None and found[1].size <= size:
        mark = found[1]
        if tail is None or _root_at(tail, mark.size) == mark.root:
            registers = found[0]
    for index, event in self_events(reader, find_key, log_id, registers.size, size):
        registers.apply(index, event)
    for source, received_us in _heard(reader, find_key, log_id, max(registers.size, size - HEARD_ENTRIES_MAX), size):
        registers.hear(source, received_us)
    registers.size = size
    return registers


def self_events(
    reader: JournalReader, find_key: FindKey, log_id: bytes, start: int, size: int
) -> list[tuple[int, bytes]]:
    """(index, event) of every readable event of source 0 in [start, size). Other classes stay sealed."""
    out: list[tuple[int, bytes]] = []
    for place in reader.places(start, size) if start < size else ():
        for section in reader.sections(place):
            if section.kind != EVENTS or section.class_name != SELF_CLASS:
                continue
            key = find_key(section.key_id, place.segment.start)
            if key is None:
                continue
            clear = unseal(section, key=key, log_id=log_id, place=str(place))
            for position, event, head in zip(section.indexes(), clear.items, heads_of(clear.heads), strict=True):
                index = place.header.start + position
                if index >= start and head.source == SELF_SOURCE:
                    out.append((index, event))
    return out


def _heard(reader: JournalReader, find_key: FindKey, log_id: bytes, start: int, size: int) -> Iterator[tuple[int, int]]:
    """(source, when received) of the runs of events in [start, size), in order within a section."""
    for place in reader.places(start, size) if start < size else ():
        for section in reader.sections(place):
            key = find_key(section.key_id, place.segment.start) if section.kind == EVENTS else None
            if key is not None:
                clear = unseal(section, key=key, log_id=log_id, place=str(place))
                for _, source, received_us in clear.heads:
                    yield source, received_us


def load_window(window: Window, *, reader: JournalReader, size: int, ids_max: int, now_us: int) -> None:
    """Fill the window from its files, then with what the journal has beyond them."""
    start = window.load(size, now_us)
    if not start:
        window.start_over()
        start = max(0, size - ids_max)
    oldest_us = now_us - window.window_us
    marks, indexes = list[int](), list[int]()
    seen: Counter[int] = Counter()
    for record in reader.records(start, size) if start < size else ():
        if record.event is None or record.head is None or record.head.received_us < oldest_us:
            continue
        event_id = _decode_id(record.event).id
        if event_id is not None:
            (mark,) = window.fingerprints(record.head.source, [event_id])
            seen[mark] += 1
            if seen[mark] <= CANDIDATES_MAX:
                marks.append(mark)
                indexes.append(record.index)
    window.add(marks, indexes, now_us, size=size)
    window.flush()


def _root_at(tail: Tail, size: int) -> bytes | None:
    """The root of the tree of `size` entries; None if the tiles below the edge do not say."""
    try:
        return compact_range_at(tail.nodes(tail.size), size).root() if size else EMPTY_ROOT
    except (GravenError, OSError):
        return None
