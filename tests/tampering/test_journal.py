"""Tampering with the journal: each way is caught, named by file and place, and told from mere loss."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.merkle import CompactRange, hash_leaves
from graven.journal import frame
from graven.journal.frame import EVENTS, NO_ERASURE
from graven.keys.keyring import Keyring
from graven.log.seal import DataKey, seal, unseal
from graven.log.verify.derive import derive
from tampering.frames import Frame, frames_of, write_frames
from tampering.logs import Tampered, flip, make_log

Tamper = Callable[[Tampered], str]
"""Does it; returns what the report must name."""


def seg(log: Tampered, number: int = 1) -> Path:
    return log.segments[number]


def block(log: Tampered, number: int = 3, segment: int = 1) -> Frame:
    found = frames_of(seg(log, segment))[number]
    assert found.header.kind == frame.BLOCK
    return found


def at(path: Path, offset: int) -> str:
    return f"journal/{path.name} at byte {offset}"


def flip_in_header_frame(log: Tampered) -> str:
    flip(seg(log), 130)
    return f"journal/{seg(log).name}"


def flip_in_frame_header(log: Tampered) -> str:
    one = block(log)
    flip(seg(log), one.offset + 10)
    return at(seg(log), one.offset)


def flip_a_length(log: Tampered) -> str:
    one = block(log)
    flip(seg(log), one.offset + 28, bit=7)
    return at(seg(log), one.offset)


def flip_in_directory(log: Tampered) -> str:
    one = block(log)
    flip(seg(log), one.offset + frame.HEADER_SIZE + 3)
    return at(seg(log), one.offset)


def flip_in_payload(log: Tampered) -> str:
    one = block(log)
    flip(seg(log), one.offset + len(one.data) // 2)
    return at(seg(log), one.offset)


def flip_in_digest(log: Tampered) -> str:
    one = block(log)
    flip(seg(log), one.offset + len(one.data) - 1)
    return at(seg(log), one.offset)


def flip_in_last_frame(log: Tampered) -> str:
    last = frames_of(log.segments[-1])[-1]
    flip(log.segments[-1], -40)
    return at(log.segments[-1], last.offset)


def flip_in_index(log: Tampered) -> str:
    index = frames_of(seg(log))[-1]
    flip(seg(log), index.offset + frame.HEADER_SIZE + 4)
    return at(seg(log), index.offset)


def drop_a_frame(log: Tampered) -> str:
    frames = frames_of(seg(log))
    write_frames(seg(log), [one.data for n, one in enumerate(frames) if n != 3])
    return at(seg(log), frames[3].offset)


def drop_some_bytes(log: Tampered) -> str:
    one, data = block(log), seg(log).read_bytes()
    seg(log).write_bytes(data[: one.offset + 200] + data[one.offset + 210 :])
    return at(seg(log), one.offset)


def insert_bytes_between_frames(log: Tampered) -> str:
    one, data = block(log), seg(log).read_bytes()
    seg(log).write_bytes(data[: one.offset] + b"GRVB" + bytes(100) + data[one.offset :])
    return at(seg(log), one.offset)


def insert_a_frame_again(log: Tampered) -> str:
    frames = [one.data for one in frames_of(seg(log))]
    write_frames(seg(log), [*frames[:5], frames[3], *frames[5:]])
    return at(seg(log), sum(map(len, frames[:5])))


def insert_an_old_frame_as_new(log: Tampered) -> str:
    frames = frames_of(seg(log))
    moved = frames[3].moved(frames[4].header.start)
    write_frames(seg(log), [*(one.data for one in frames[:4]), moved, *(one.data for one in frames[4:])])
    return at(seg(log), frames[4].offset)


def swap_two_frames(log: Tampered) -> str:
    frames = [one.data for one in frames_of(seg(log))]
    frames[3], frames[4] = frames[4], frames[3]
    write_frames(seg(log), frames)
    return f"journal/{seg(log).name}"


def swap_two_frames_with_their_numbers(log: Tampered) -> str:
    frames = frames_of(seg(log))
    a, b = frames[3], frames[4]
    swapped = [b.moved(a.header.start), a.moved(a.header.start + b.header.count)]
    write_frames(seg(log), [*(one.data for one in frames[:3]), *swapped, *(one.data for one in frames[5:])])
    return at(seg(log), a.offset)


def state_another_root(log: Tampered) -> str:
    frames = frames_of(seg(log))
    data = [one.data for one in frames]
    data[3] = frames[3].with_root(bytes(32))
    write_frames(seg(log), data)
    return at(seg(log), frames[3].offset)


def seal_another_text(log: Tampered) -> str:
    """An insider with the data keys changes one event, and makes the checksums fit."""
    frames = frames_of(seg(log))
    data = [one.data for one in frames]
    data[3] = frames[3].with_sections([reseal(log, frames[3].sections[0]), *frames[3].sections[1:]])
    write_frames(seg(log), data)
    return at(seg(log), frames[3].offset)


def seal_another_text_and_root(log: Tampered) -> str:
    """As before, and states the root that the changed event leads to in this frame."""
    frames = frames_of(seg(log))
    data = [one.data for one in frames]
    sections = [reseal(log, frames[3].sections[0]), *frames[3].sections[1:]]
    root = root_with(log, frames, 3, sections)
    data[3] = frames[3].with_sections(sections, root)
    write_frames(seg(log), data)
    return "log/tile/entries/"


def name_an_unknown_key(log: Tampered) -> str:
    frames = frames_of(seg(log))
    data = [one.data for one in frames]
    sections = frames[3].sections
    data[3] = frames[3].with_sections([replace(sections[0], key_id=bytes(16)), *sections[1:]])
    write_frames(seg(log), data)
    return f"journal/{seg(log).name}"


def pretend_an_erasure(log: Tampered) -> str:
    """A husk without any erasure event, its bytes made up."""
    frames = frames_of(seg(log))
    data = [one.data for one in frames]
    sections = frames[3].sections
    husk = replace(sections[0], kind=frame.HUSK_EVENTS, erasure=1, body=bytes(65) * sections[0].count)
    data[3] = frames[3].with_sections([husk, *sections[1:]])
    write_frames(seg(log), data)
    return at(seg(log), frames[3].offset)


def index_names_other_frames(log: Tampered) -> str:
    frames = frames_of(seg(log))
    index = frames[-1]
    pairs = [(one.header.start, one.offset) for one in frames if one.header.kind == frame.BLOCK]
    data = frame.encode_index(
        segment_start=int(seg(log).name[:20]), end=index.header.start, root=index.header.root,
        frames=pairs[:2] + pairs[3:], offset=index.offset,
    )  # fmt: skip
    write_frames(seg(log), [*(one.data for one in frames[:-1]), data], index=False)
    return at(seg(log), index.offset)


def index_states_another_root(log: Tampered) -> str:
    frames = frames_of(seg(log))
    index = frames[-1]
    pairs = [(one.header.start, one.offset) for one in frames if one.header.kind == frame.BLOCK]
    data = frame.encode_index(
        segment_start=int(seg(log).name[:20]), end=index.header.start, root=bytes(32), frames=pairs, offset=index.offset
    )
    write_frames(seg(log), [*(one.data for one in frames[:-1]), data], index=False)
    return at(seg(log), index.offset)


def bytes_behind_the_index(log: Tampered) -> str:
    size = seg(log).stat().st_size
    seg(log).write_bytes(seg(log).read_bytes() + b"more")
    return at(seg(log), size)


def a_header_within_a_segment(log: Tampered) -> str:
    frames = [one.data for one in frames_of(seg(log))]
    write_frames(seg(log), [*frames[:3], frames[0], *frames[3:]])
    return at(seg(log), sum(map(len, frames[:3])))


def header_states_another_tree(log: Tampered) -> str:
    frames = frames_of(seg(log))
    header = frame.decode_segment_header(frames[0].data, place="")
    other = frame.decode_segment_header(frames_of(seg(log, 2))[0].data, place="")
    forged = replace(header, hashes=other.hashes[:1] + header.hashes[1:])
    forged = replace(forged, root=CompactRange(forged.start, forged.hashes).root())
    write_frames(seg(log), [frame.encode_segment_header(forged), *(one.data for one in frames[1:])])
    return f"journal/{seg(log).name}"


def header_names_another_log(log: Tampered) -> str:
    frames = frames_of(seg(log))
    forged = replace(frame.decode_segment_header(frames[0].data, place=""), origin="example.com/other")
    write_frames(seg(log), [frame.encode_segment_header(forged), *(one.data for one in frames[1:])])
    return f"journal/{seg(log).name}"


def swap_two_segments(log: Tampered) -> str:
    a, b = seg(log, 1), seg(log, 2)
    data = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(data)
    return f"journal/{a.name}"


def a_segment_of_another_log(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=3_000)
    seg(log, 0).write_bytes(seg(other, 0).read_bytes())
    return f"journal/{seg(log, 0).name}"


def swap_names_of_segments(log: Tampered) -> str:
    a, b = seg(log, 1), seg(log, 2)
    a.rename(a.with_name("x"))
    b.rename(a)
    a.with_name("x").rename(b)
    return f"journal/{a.name}"


DISPROVED: list[Tamper] = [
    flip_in_header_frame, flip_in_frame_header, flip_a_length, flip_in_directory, flip_in_payload, flip_in_digest,
    flip_in_last_frame, flip_in_index, drop_a_frame, drop_some_bytes, insert_bytes_between_frames,
    insert_a_frame_again, insert_an_old_frame_as_new, swap_two_frames, swap_two_frames_with_their_numbers,
    state_another_root, seal_another_text, seal_another_text_and_root, name_an_unknown_key, pretend_an_erasure,
    index_names_other_frames, index_states_another_root, bytes_behind_the_index, a_header_within_a_segment,
    header_states_another_tree, header_names_another_log, swap_two_segments, a_segment_of_another_log,
    swap_names_of_segments,
]  # fmt: skip

NEEDS_KEYS = {seal_another_text, seal_another_text_and_root, name_an_unknown_key}
"""What only opening the seals shows: without the keyring the frame is still the one its checksums and root describe."""


@pytest.mark.parametrize("tamper", DISPROVED, ids=lambda tamper: tamper.__name__)
def test_is_disproved_and_named(log: Tampered, tamper: Tamper) -> None:
    named = tamper(log)
    report = log.judge()
    assert report.exit_code == 1
    assert any(named in problem.place for problem in report.problems), report.problems
    assert len(report.problems) <= 8, "one change is told in a few lines"


@pytest.mark.parametrize("tamper", [one for one in DISPROVED if one not in NEEDS_KEYS], ids=lambda t: t.__name__)
def test_is_disproved_without_keys(log: Tampered, tamper: Tamper) -> None:
    named = tamper(log)
    report = log.judge(keyless=True)
    assert report.exit_code == 1
    assert any(named in problem.place for problem in report.problems), report.problems


def cut_the_last_segment(log: Tampered) -> str:
    with log.segments[-1].open("r+b") as file:
        file.truncate(file.seek(0, 2) - 100)
    return f"journal/{log.segments[-1].name}"


def cut_the_last_frames(log: Tampered) -> str:
    path = log.segments[-1]
    write_frames(path, [one.data for one in frames_of(path)][:-1])
    return "log/checkpoint"


def cut_a_middle_segment(log: Tampered) -> str:
    one = block(log)
    with seg(log).open("r+b") as file:
        file.truncate(one.offset + 90)
    return f"journal/{seg(log).name}"


def take_the_index_away(log: Tampered) -> str:
    write_frames(seg(log), [one.data for one in frames_of(seg(log))][:-1])
    return f"journal/{seg(log).name}"


def remove_the_first_segment(log: Tampered) -> str:
    seg(log, 0).unlink()
    return f"journal/{seg(log, 0).name}"


def remove_a_segment(log: Tampered) -> str:
    seg(log, 1).unlink()
    return f"journal/{seg(log, 1).name}"


def remove_the_last_segment(log: Tampered) -> str:
    log.segments[-1].unlink()
    return "log/checkpoint"


def empty_a_segment(log: Tampered) -> str:
    seg(log).write_bytes(b"")
    return f"journal/{seg(log).name}"


def remove_the_journal(log: Tampered) -> str:
    for path in (log.directory / "journal").iterdir():
        path.unlink()
    (log.directory / "journal").rmdir()
    return "journal"


def empty_the_journal(log: Tampered) -> str:
    for path in (log.directory / "journal").iterdir():
        path.unlink()
    return "journal"


def put_a_strange_file(log: Tampered) -> str:
    (log.directory / "journal" / "notes.txt").write_text("hello")
    return "journal/notes.txt"


def misspell_a_segment(log: Tampered) -> str:
    seg(log).rename(seg(log).with_name("901.0.seg"))
    return "journal/901.0.seg"


def put_a_pipe(log: Tampered) -> str:
    os.mkfifo(log.directory / "journal" / "00000000000000009999.0000.seg")
    return "journal/00000000000000009999.0000.seg"


def put_a_directory(log: Tampered) -> str:
    (log.directory / "journal" / "00000000000000009999.0000.seg").mkdir()
    return "journal/00000000000000009999.0000.seg"


BROKEN: list[Tamper] = [
    cut_the_last_segment, cut_the_last_frames, cut_a_middle_segment, take_the_index_away, remove_the_first_segment,
    remove_a_segment, remove_the_last_segment, empty_a_segment, remove_the_journal, empty_the_journal,
    put_a_strange_file, misspell_a_segment, put_a_pipe, put_a_directory,
]  # fmt: skip


@pytest.mark.parametrize("keyless", [False, True], ids=["keys", "keyless"])
@pytest.mark.parametrize("tamper", BROKEN, ids=lambda tamper: tamper.__name__)
def test_is_broken_and_named(log: Tampered, tamper: Tamper, keyless: bool) -> None:
    named = tamper(log)
    report = log.judge(keyless=keyless)
    assert report.exit_code == 3, report.problems
    assert any(named in problem.place for problem in report.problems), report.problems


def test_a_sealed_lie_is_named_by_its_index(log: Tampered) -> None:
    seal_another_text(log)
    report = log.judge()
    first = block(log).header.start
    assert [(problem.first_index, problem.last_index) for problem in report.problems] == [(first, first)]
    assert report.events == 3_001


def test_the_events_of_a_damaged_frame_are_counted_out(log: Tampered) -> None:
    one = block(log).header
    flip_in_payload(log)
    report = log.judge()
    assert [(p.first_index, p.last_index) for p in report.problems] == [(one.start, one.end - 1)]
    assert (report.events, report.payloads) == (3_001 - one.count, f"{3_001 - one.count} of 3001")


def reseal(log: Tampered, section: frame.Section) -> frame.Section:
    """The section with one word of its first event changed, sealed with the log's own key."""
    start = int(seg(log).name[:20])
    key = Keyring.open(str(log.keyring)).data_key(section.key_id, start)
    assert key is not None
    cipher, log_id = AESGCM(key), frame.decode_segment_header(frames_of(seg(log))[0].data, place="").log_id
    clear = unseal(section, key=cipher, log_id=log_id)
    items = [clear.items[0].replace(b"user-", b"User-"), *clear.items[1:]]
    assert items[0] != clear.items[0] and section.kind == EVENTS and section.erasure == NO_ERASURE
    return seal(
        EVENTS, section.class_name, section.positions, items, salts=clear.salts, heads=clear.heads,
        key=DataKey(section.key_id, cipher), log_id=log_id,
    )  # fmt: skip


def root_with(log: Tampered, frames: list[Frame], number: int, sections: list[frame.Section]) -> bytes:
    """The root that `sections` lead to as the block of frame `number`."""
    header = frame.decode_segment_header(frames[0].data, place="")
    keys = Keyring.open(str(log.keyring)).segment_keys(header.start)
    ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
    tree = CompactRange(header.start, header.hashes)
    for one in frames[1:number]:
        found = derive(one.sections, one.header.count, ciphers, header.log_id, "")
        tree = tree.extend(hash_leaves(entry or b"" for entry in found.entries))[0]
    found = derive(sections, frames[number].header.count, ciphers, header.log_id, "")
    return tree.extend(hash_leaves(entry or b"" for entry in found.entries))[0].root()
