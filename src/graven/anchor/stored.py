"""Anchors as files beside the log: `DIR/anchors/<day>/<size>.<seconds>.<hash>`, one anchored checkpoint each.

    day      UTC, YYYY-MM-DD, of the time the anchor states
    size     of the tree, 20 digits
    seconds  the time stated, since the Unix epoch, 12 digits
    hash     the first 16 hex digits of the file's SHA-256

The content is `graven-anchor/v1` (`core/anchored.py`), without hashes: complete, so that it can be copied, served and
verified alone. A file is durable before the log speaks of it, never changed, never removed. The names say what is in
it, and a reader that finds they do not calls it damaged.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from graven.core.anchored import MAX_ANCHOR_BYTES, Anchored, format_anchor, parse_anchor
from graven.core.errors import BadInput, Disproved
from graven.runtime.files import Files, make_dir, write_atomic

FOLDER = "anchors"
SECONDS_MAX = 253_402_300_799

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_NAME = re.compile(r"([0-9]{20})\.([0-9]{12})\.([0-9a-f]{16})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class StoredName:
    """What a file's name says. `path` is relative to the log's directory."""

    time_s: int
    size: int
    digest: str
    path: str


def name_anchor(data: bytes, *, size: int, time_s: int) -> StoredName:
    """Where an anchor of these bytes belongs."""
    time_s = min(max(time_s, 0), SECONDS_MAX)
    day = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
    digest = sha256(data).hexdigest()[:16]
    return StoredName(time_s, size, digest, f"{FOLDER}/{day}/{size:020d}.{time_s:012d}.{digest}")


def parse_name(path: str) -> StoredName | None:
    """What `anchors/<day>/<name>` says; None when it is no such name, or the day is not that of the time."""
    parts = path.split("/")
    found = _NAME.fullmatch(parts[2]) if len(parts) == 3 and parts[0] == FOLDER and _DAY.fullmatch(parts[1]) else None
    if found is None or int(found[2]) > SECONDS_MAX:
        return None
    if datetime.fromtimestamp(int(found[2]), UTC).strftime("%Y-%m-%d") != parts[1]:
        return None
    return StoredName(int(found[2]), int(found[1]), found[3], path)


def keep_anchor(files: Files, directory: Path, anchored: Anchored, *, time_s: int) -> StoredName:
    """Write an anchor, durably. Writing one again changes nothing. Raises OSError."""
    data = format_anchor(anchored)
    name = name_anchor(data, size=anchored.head.size, time_s=time_s)
    path = directory / name.path
    for folder in (path.parent.parent, path.parent):
        make_dir(files, str(folder))
    if path.exists():
        files.sync_dir(str(path.parent))  # whoever wrote it may not have come to that
    else:
        write_atomic(files, str(path), data)
    return name


def list_anchors(directory: Path) -> list[StoredName]:
    """Every anchor by its name, the earliest stated time first. Names that are none are passed over."""
    return sorted(_list(directory))


def read_anchor(directory: Path, name: StoredName) -> Anchored:
    """The anchor in a file. Raises OSError, BadInput; Disproved when it is not what its name says."""
    with (directory / name.path).open("rb") as file:
        data = file.read(MAX_ANCHOR_BYTES + 1)
    found = sha256(data).hexdigest()[:16]
    if found != name.digest:
        raise Disproved("an anchor whose bytes were changed", expected=name.digest, found=found, place=name.path)
    anchored = parse_anchor(data)
    if anchored.head.size != name.size or anchored.hashes:
        raise Disproved("an anchor that is not what its name says", place=name.path)
    return anchored


def newest_stamp(directory: Path) -> bytes | None:
    """The file of the time stamp with the latest stated time; None where there is none. Raises OSError."""
    folder = directory / FOLDER
    for day in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else ():
        if day.is_dir() and _DAY.fullmatch(day.name):
            names = (parse_name(f"{FOLDER}/{day.name}/{path.name}") for path in day.iterdir())
            for name in sorted((name for name in names if name is not None), reverse=True):
                with contextlib.suppress(BadInput, Disproved):
                    if (anchored := read_anchor(directory, name)).token is not None:
                        return format_anchor(anchored)
    return None


def _list(directory: Path) -> Iterator[StoredName]:
    folder = directory / FOLDER
    for day in sorted(folder.iterdir()) if folder.is_dir() else ():
        if day.is_dir() and _DAY.fullmatch(day.name):
            for path in day.iterdir():
                name = parse_name(f"{FOLDER}/{day.name}/{path.name}")
                if name is not None:
                    yield name
