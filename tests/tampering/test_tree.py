"""Tampering with tiles and bundles: each way is caught, with and without keys, and named by file, byte and index."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from graven.journal.mark import SYNCED, Mark, encode_mark
from tampering.logs import Tampered, flip, make_log

Tamper = Callable[[Tampered], str]


def tile(log: Tampered, name: str) -> Path:
    return log.directory / "log" / "tile" / name


def flip_in_a_bundle(log: Tampered) -> str:
    flip(tile(log, "entries/004"), 34 * 10 + 5)
    return "log/tile/entries/004 at byte 340"


def flip_a_length_in_a_bundle(log: Tampered) -> str:
    flip(tile(log, "entries/004"), 34 * 10 + 1)
    return "log/tile/entries/004 at byte 340"


def flip_in_the_last_bundle(log: Tampered) -> str:
    flip(tile(log, "entries/011.p/185"), -1)
    return "log/tile/entries/011.p/185 at byte 6256"


def flip_in_a_tile(log: Tampered) -> str:
    flip(tile(log, "0/004"), 32 * 10 + 5)
    return "log/tile/0/004 at byte 320"


def flip_in_the_last_tile(log: Tampered) -> str:
    flip(tile(log, "0/011.p/185"), -1)
    return "log/tile/0/011.p/185 at byte 5888"


def flip_in_a_higher_tile(log: Tampered) -> str:
    flip(tile(log, "1/000.p/11"), 33)
    return "log/tile/1/000.p/11 at byte 32"


def flip_in_a_leftover_tile(log: Tampered) -> str:
    flip(tile(log, "1/000.p/7"), 33)
    return "log/tile/1/000.p/7 at byte 32"


def write_a_wrong_leftover_tile(log: Tampered) -> str:
    tile(log, "0/004.p").mkdir()
    tile(log, "0/004.p/3").write_bytes(b"\x01" * 96)
    return "log/tile/0/004.p/3 at byte 0"


def swap_two_bundles(log: Tampered) -> str:
    a, b = tile(log, "entries/004"), tile(log, "entries/005")
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    return "log/tile/entries/004 at byte 0"


def swap_two_tiles(log: Tampered) -> str:
    a, b = tile(log, "0/004"), tile(log, "0/005")
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    return "log/tile/0/004 at byte 0"


def swap_two_entries(log: Tampered) -> str:
    path = tile(log, "entries/004")
    data = path.read_bytes()
    path.write_bytes(data[34:68] + data[:34] + data[68:])
    return "log/tile/entries/004 at byte 0"


def drop_an_entry(log: Tampered) -> str:
    path = tile(log, "entries/004")
    path.write_bytes(path.read_bytes()[34:])
    return "log/tile/entries/004"


def drop_a_hash(log: Tampered) -> str:
    path = tile(log, "0/004")
    path.write_bytes(path.read_bytes()[:-32])
    return "log/tile/0/004"


def truncate_a_bundle(log: Tampered) -> str:
    path = tile(log, "entries/004")
    path.write_bytes(path.read_bytes()[:100])
    return "log/tile/entries/004"


def lengthen_a_tile(log: Tampered) -> str:
    path = tile(log, "0/004")
    path.write_bytes(path.read_bytes() + bytes(32))
    return "log/tile/0/004"


def lengthen_without_end(log: Tampered) -> str:
    with tile(log, "0/004").open("r+b") as file:
        file.truncate(1 << 40)
    return "log/tile/0/004"


def a_tree_of_another_log(log: Tampered) -> str:
    other = make_log(log.directory.with_name("other"), events=3_000)
    for path in sorted((other.directory / "log").rglob("*")):
        if path.is_file() and path.name != "checkpoint":
            (log.directory / "log" / path.relative_to(other.directory / "log")).write_bytes(path.read_bytes())
    return "log/tile/0/000 at byte 0"


DISPROVED: list[Tamper] = [
    flip_in_a_bundle, flip_a_length_in_a_bundle, flip_in_the_last_bundle, flip_in_a_tile, flip_in_the_last_tile,
    flip_in_a_higher_tile, flip_in_a_leftover_tile, write_a_wrong_leftover_tile, swap_two_bundles, swap_two_tiles,
    swap_two_entries, drop_an_entry, drop_a_hash, truncate_a_bundle, lengthen_a_tile, lengthen_without_end,
    a_tree_of_another_log,
]  # fmt: skip


@pytest.mark.parametrize("tamper", DISPROVED, ids=lambda tamper: tamper.__name__)
def test_is_disproved_and_named(log: Tampered, tamper: Tamper) -> None:
    named = tamper(log)
    report = log.judge()
    assert report.exit_code == 1
    assert any(named in problem.place for problem in report.problems), report.problems
    assert report.events == 3_001, "the journal itself is whole"


@pytest.mark.parametrize("tamper", DISPROVED, ids=lambda tamper: tamper.__name__)
def test_is_disproved_without_keys(log: Tampered, tamper: Tamper) -> None:
    """Without keys entries come from the bundles: a damaged one shows as the frame whose root it does not lead to."""
    named = tamper(log)
    report = log.judge(keyless=True)
    assert report.exit_code == 1
    places = [problem.place for problem in report.problems]
    if tamper is a_tree_of_another_log:
        assert sum(place.startswith("journal/") for place in places) >= 4, "it fits no frame of any segment"
    elif "entries" not in named:
        assert any(named in place for place in places), places
    else:
        assert any("log/tile/entries/" in place or "log/tile/0/" in place for place in places), places


def remove_a_bundle(log: Tampered) -> str:
    tile(log, "entries/004").unlink()
    return "log/tile/entries/004"


def remove_a_tile(log: Tampered) -> str:
    tile(log, "0/004").unlink()
    return "log/tile/0/004"


def remove_the_last_tile(log: Tampered) -> str:
    tile(log, "0/011.p/185").unlink()
    return "log/tile/0/011.p/185"


def remove_a_higher_tile(log: Tampered) -> str:
    tile(log, "1/000.p/11").unlink()
    return "log/tile/1/000.p/11"


def empty_a_tile(log: Tampered) -> str:
    tile(log, "0/004").write_bytes(b"")
    return "log/tile/0/004"


def remove_every_tile(log: Tampered) -> str:
    for path in sorted((log.directory / "log" / "tile").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return "log/tile/0/000"


def a_tile_is_a_directory(log: Tampered) -> str:
    tile(log, "0/004").unlink()
    tile(log, "0/004").mkdir()
    return "log/tile/0/004"


def a_tile_is_a_pipe(log: Tampered) -> str:
    tile(log, "0/004").unlink()
    os.mkfifo(tile(log, "0/004"))
    return "log/tile/0/004"


def a_tile_beyond_the_journal(log: Tampered) -> str:
    tile(log, "0/012").write_bytes(bytes(8192))
    return "log/tile/0/012"


def a_strange_file(log: Tampered) -> str:
    tile(log, "0/4").write_bytes(bytes(8192))
    return "log/tile/0/4"


def a_strange_level(log: Tampered) -> str:
    tile(log, "64").mkdir()
    return "log/tile/64"


def a_strange_directory(log: Tampered) -> str:
    tile(log, "0/x000").mkdir()
    return "log/tile/0/x000"


def a_strange_width(log: Tampered) -> str:
    tile(log, "0/011.p/256").write_bytes(bytes(8192))
    return "log/tile/0/011.p/256"


def a_strange_neighbour(log: Tampered) -> str:
    (log.directory / "log" / "index.html").write_text("hello")
    return "log/index.html"


def remove_the_tree(log: Tampered) -> str:
    remove_every_tile(log)
    (log.directory / "log" / "checkpoint").unlink()
    (log.directory / "log" / "tile").rmdir()
    (log.directory / "log").rmdir()
    return "log"


BROKEN: list[Tamper] = [
    remove_a_bundle, remove_a_tile, remove_the_last_tile, remove_a_higher_tile, empty_a_tile, remove_every_tile,
    a_tile_is_a_directory, a_tile_is_a_pipe, a_tile_beyond_the_journal, a_strange_file, a_strange_level,
    a_strange_directory, a_strange_width, a_strange_neighbour, remove_the_tree,
]  # fmt: skip


@pytest.mark.parametrize("keyless", [False, True], ids=["keys", "keyless"])
@pytest.mark.parametrize("tamper", BROKEN, ids=lambda tamper: tamper.__name__)
def test_is_broken_and_named(log: Tampered, tamper: Tamper, keyless: bool) -> None:
    named = tamper(log)
    report = log.judge(keyless=keyless)
    assert report.exit_code == 3, report.problems
    if keyless and tamper is remove_every_tile:
        named = "log/tile/entries/000"
    assert any(named in problem.place for problem in report.problems), report.problems


def test_a_flip_is_named_by_its_index(log: Tampered) -> None:
    flip_in_a_bundle(log)
    assert [(p.first_index, p.last_index) for p in log.judge().problems] == [(1034, 1034)]


def test_a_right_leftover_tile_is_fine(log: Tampered) -> None:
    tile(log, "0/004.p").mkdir()
    tile(log, "0/004.p/3").write_bytes(tile(log, "0/004").read_bytes()[:96])
    tile(log, "0/011.p/2").write_bytes(tile(log, "0/011.p/185").read_bytes()[:64])
    report = log.judge()
    assert (report.exit_code, report.problems) == (0, ())


@pytest.mark.parametrize("empty", [False, True])
def test_tiles_past_the_synced_cursor_may_be_lost_with_the_power(log: Tampered, empty: bool) -> None:
    (log.directory / "state" / "synced").write_bytes(encode_mark(SYNCED, Mark(1501, bytes(32))))
    for name in ("entries/006", "0/006", "0/011.p/185", "entries/011.p/185", "1/000.p/11"):
        tile(log, name).write_bytes(b"") if empty else tile(log, name).unlink()
    report = log.judge()
    assert (report.exit_code, report.events) == (0, 3_001)
    assert any("the next start writes them again" in note and note.startswith("5 files") for note in report.notes)


def test_tiles_past_the_synced_cursor_may_be_half_written(log: Tampered) -> None:
    (log.directory / "state" / "synced").write_bytes(encode_mark(SYNCED, Mark(1501, bytes(32))))
    changes: dict[str, Callable[[bytes], bytes]] = {
        "0/006": lambda data: bytes(len(data)),
        "0/007": lambda data: data[:4096] + bytes(4096),
        "entries/008": lambda data: bytes(4096) + data[4096:],
        "entries/009": lambda data: data[:4096],
    }
    for name, change in changes.items():
        tile(log, name).write_bytes(change(tile(log, name).read_bytes()))
    report = log.judge()
    assert (report.exit_code, report.problems) == (0, ())
    assert any(note.startswith("4 files of the tree") for note in report.notes)
    (log.directory / "state" / "synced").unlink()
    report = log.judge()
    assert report.exit_code == 1, "what was surely on disk is not half written"
    assert len(report.problems) == 4


def test_a_tile_below_the_synced_cursor_may_not(log: Tampered) -> None:
    (log.directory / "state" / "synced").write_bytes(encode_mark(SYNCED, Mark(1501, bytes(32))))
    remove_a_tile(log)
    report = log.judge()
    assert (report.exit_code, [p.place for p in report.problems]) == (3, ["log/tile/0/004"])


def test_a_wrong_tile_past_the_synced_cursor_is_disproved(log: Tampered) -> None:
    (log.directory / "state" / "synced").write_bytes(encode_mark(SYNCED, Mark(1501, bytes(32))))
    flip(tile(log, "0/009"), 0)
    assert log.judge().exit_code == 1
