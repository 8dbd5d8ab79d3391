"""What lies in a log's directory: every name is known, or is named as no part of the log.

Nothing here opens a file. `*.tmp` is what a crash may leave of a write that was never finished.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from graven.anchor.stored import FOLDER, StoredName, parse_name
from graven.core.tile import LEVEL_MAX, WIDTH, TilePath
from graven.journal.segment import SegmentFile, segment_name
from graven.log.handovers import FOLDER as HANDOVERS
from graven.log.history import PINNED, PREDECESSOR
from graven.log.verify.report import Findings
from graven.log.verify.tree import Level

_FOREIGN = "a file that is no part of the log"
_TEMPORARY = "an unfinished write, as a crash may leave it: {}"
_LEVEL = re.compile(r"0|[1-9][0-9]?", re.ASCII)
_FULL = re.compile(r"[0-9]{3}", re.ASCII)
_GROUP = re.compile(r"x[0-9]{3}", re.ASCII)
_PARTIAL = re.compile(r"[0-9]{3}\.p", re.ASCII)
_WIDTH = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_SEGMENT = re.compile(r"([0-9]{20})\.([0-9]{4,})\.seg", re.ASCII)
_SIZE = re.compile(r"[0-9]{20}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_GROUPS_MAX = 6
_INDEX_MAX = 1 << 56


@dataclass(slots=True)
class Journal:
    """The segments (newest generation of each start, with their sizes now) and the files in `torn/`."""

    segments: list[tuple[SegmentFile, int]] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.segments)


@dataclass(slots=True)
class History:
    """The log's own notes (path, size by its name), and the paths of those of the log it succeeds."""

    notes: list[tuple[str, int]] = field(default_factory=list)
    predecessors: list[str] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return max((size for _, size in self.notes), default=0)


def list_journal(directory: Path, findings: Findings) -> Journal:
    """Everything in `journal/`."""
    journal = Journal()
    newest: dict[int, tuple[SegmentFile, int]] = {}
    for entry in _entries(directory / "journal", "journal", findings):
        place = f"journal/{entry.name}"
        if entry.name == "torn" and entry.is_dir():
            for one in _entries(directory / "journal" / "torn", place, findings):
                if _regular_size(one) is None:
                    _foreign(one, f"{place}/{one.name}", findings)
                else:
                    journal.torn.append(one.name)
            journal.torn.sort()
            continue
        match = _SEGMENT.fullmatch(entry.name)
        size = _regular_size(entry)
        if match is None or segment_name(int(match[1]), int(match[2])) != entry.name or size is None:
            _foreign(entry, place, findings)
            continue
        found = SegmentFile(int(match[1]), int(match[2]), entry.path)
        before = newest.get(found.start)
        if before is not None:
            older = min(found, before[0])
            findings.note(f"an older generation of a segment still lies there: journal/{older.name}")
        if before is None or found > before[0]:
            newest[found.start] = found, size
    journal.segments = [newest[start] for start in sorted(newest)]
    return journal


def list_tree(directory: Path, published: int, findings: Findings) -> tuple[TilePath, ...]:
    """Every tile and bundle in `log/` that the tree of `published` entries does not ask for: partial ones, and those
    beyond. The others are missed where they are not."""
    extras: list[TilePath] = []
    for entry in _entries(directory / "log", "log", findings):
        if entry.name == "tile" and entry.is_dir():
            for level in _entries(directory / "log" / "tile", "log/tile", findings):
                place = f"log/tile/{level.name}"
                known = level.name == "entries" or (_LEVEL.fullmatch(level.name) and int(level.name) <= LEVEL_MAX)
                if not known or not level.is_dir():
                    _foreign(level, place, findings)
                    continue
                number: Level = "entries" if level.name == "entries" else int(level.name)
                count = published >> (0 if number == "entries" else 8 * number)
                extras += _list_tiles(level.path, place, number, count, 0, 0, findings)
        elif entry.name == HANDOVERS and entry.is_dir():
            _check_handovers(_entries(directory / "log" / HANDOVERS, f"log/{HANDOVERS}", findings), findings)
        elif entry.name != "checkpoint":
            _foreign(entry, f"log/{entry.name}", findings)
    return tuple(sorted(extras, key=lambda extra: (str(extra.level), extra.index, extra.width)))


def _check_handovers(entries: list[os.DirEntry[str]], findings: Findings) -> None:
    """They are numbered from 1; what they say is read by `log/handovers.py`."""
    wanted = {str(number) for number in range(1, 1 + sum(not one.name.endswith(".tmp") for one in entries))}
    for entry in entries:
        if entry.name not in wanted or _regular_size(entry) is None:
            _foreign(entry, f"log/{HANDOVERS}/{entry.name}", findings)


def list_history(directory: Path, findings: Findings) -> History:
    """Every note in `checkpoints/`."""
    history = History()
    for day in _entries(directory / "checkpoints", "checkpoints", findings):
        place = f"checkpoints/{day.name}"
        if not (_DAY.fullmatch(day.name) or day.name in (PINNED, PREDECESSOR)) or not day.is_dir():
            _foreign(day, place, findings)
            continue
        for entry in _entries(directory / place, place, findings):
            path = f"{place}/{entry.name}"
            if not _SIZE.fullmatch(entry.name) or _regular_size(entry) is None:
                _foreign(entry, path, findings)
            elif day.name == PREDECESSOR:
                history.predecessors.append(path)
            else:
                history.notes.append((path, int(entry.name)))
    history.notes.sort()
    return history


def list_stored(directory: Path, findings: Findings) -> list[StoredName]:
    """Every anchor in `anchors/`, which may not be there at all."""
    found: list[StoredName] = []
    if not (directory / FOLDER).exists():
        return found
    for day in _entries(directory / FOLDER, FOLDER, findings):
        place = f"{FOLDER}/{day.name}"
        if not _DAY.fullmatch(day.name) or not day.is_dir():
            _foreign(day, place, findings)
            continue
        for entry in _entries(directory / place, place, findings):
            name = parse_name(f"{place}/{entry.name}")
            if name is None or _regular_size(entry) is None:
                _foreign(entry, f"{place}/{entry.name}", findings)
            else:
                found.append(name)
    return sorted(found)


def _list_tiles(
    folder: str, place: str, level: Level, count: int, prefix: int, depth: int, findings: Findings
) -> Iterator[TilePath]:
    """The files of one level under one group of digits; `count` hashes of it belong to the published tree."""
    full = count // WIDTH
    for entry in _entries(Path(folder), place, findings):
        name, path = entry.name, f"{place}/{entry.name}"
        if _FULL.fullmatch(name):
            index = prefix * 1000 + int(name)
            if entry.is_dir():
                _foreign(entry, path, findings)
            elif index >= full:
                yield TilePath(level, index, WIDTH)
        elif _GROUP.fullmatch(name) and (depth or name != "x000") and depth < _GROUPS_MAX and entry.is_dir():
            group = prefix * 1000 + int(name[1:])
            if group < _INDEX_MAX:
                yield from _list_tiles(entry.path, path, level, count, group, depth + 1, findings)
        elif _PARTIAL.fullmatch(name) and entry.is_dir():
            index = prefix * 1000 + int(name[:3])
            for part in _entries(Path(entry.path), path, findings):
                if _WIDTH.fullmatch(part.name) and int(part.name) < WIDTH and not part.is_dir():
                    if (index, int(part.name)) != (full, count % WIDTH):
                        yield TilePath(level, index, int(part.name))
                else:
                    _foreign(part, f"{path}/{part.name}", findings)
        else:
            _foreign(entry, path, findings)


def _entries(folder: Path, place: str, findings: Findings) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        findings.fail("a directory of the log is missing", place)
    except OSError as error:
        findings.fail(f"a directory of the log cannot be read: {error.strerror}", place)
    return []


def _foreign(entry: os.DirEntry[str], place: str, findings: Findings) -> None:
    if entry.name.endswith(".tmp"):
        findings.note(_TEMPORARY.format(place))
    else:
        findings.fail(_FOREIGN, place.encode("utf-8", "backslashreplace").decode())


def _regular_size(entry: os.DirEntry[str]) -> int | None:
    try:
        status = entry.stat()
    except OSError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None
