"""Following files: through rotation by renaming, copytruncate, truncation, compression and restarts.

Every line is given out once. What makes that true:

- A file is followed by its open descriptor, so renaming or removing it loses nothing; it is let go of once it has no
  name any more and was read to its end.
- A file that appears and begins with the very bytes another one was read of is a copy of it. While the original grows,
  the copy waits; once the original was truncated or is gone, the copy is read from where the original was left.
- A compressed file is compared by what is in it, once it is whole.
- After a restart a file that was being followed is looked for under its own name and beside it: by device and inode, or
  as a copy, compressed or not.

Not possible: bytes that copytruncate drops between its copying and its truncating, and a file that was rotated away and
removed while the agent was down. The second is said by an event, as is every truncation.
"""

import glob
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, BinaryIO

from graven.agent import lines
from graven.agent.followed import (
    Followed,
    Print,
    Truncated,
    is_whole,
    matches,
    open_file,
    print_of,
)
from graven.agent.framing import make_framer
from graven.agent.notices import FILE_TRUNCATED, FILE_UNREAD, notice
from graven.agent.source import Taken

SCAN_S = 1.0
FILES_MAX = 4_096
BESIDE_MAX = 500
PAST_MAX = 64
COMPARED_BYTES = 1_024

_LOGGER = logging.getLogger("graven.agent")


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What to follow. `paths` and `exclude` are glob patterns; `start` "end" passes over what was there at first."""

    name: str
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    type: str = ""
    multiline: str = ""
    start: str = "beginning"
    around: Mapping[str, str] | None = None


class FileSource:
    """The files of one set of patterns. `places` are those of the spool, all of them."""

    def __init__(
        self,
        settings: FileSettings,
        places: Mapping[str, Any],
        *,
        now_s: Callable[[], float] = time.monotonic,
        scan_s: float = SCAN_S,
    ) -> None:
        self.name = settings.name
        self._settings, self._now_s, self._scan_s = settings, now_s, scan_s
        self._prefix = f"file:{settings.name}:"
        self._files: dict[tuple[int, int], Followed] = {}
        self._copies: dict[tuple[int, int], tuple[str, BinaryIO, bool, str]] = {}  # path, file, zipped, original's key
        self._past: deque[tuple[str, Print]] = deque()
        self._notices: list[Taken] = []
        self._scanned_s = -scan_s
        self._turn = 0
        self._is_new = not any(key.startswith(self._prefix) for key in places)
        for key, place in places.items():
            if key.startswith(self._prefix):
                self._restore(key, place)

    def take(self, bytes_max: int) -> list[Taken]:
        now_s = self._now_s()
        if now_s - self._scanned_s >= self._scan_s:
            self._scanned_s = now_s
            self._scan()
        taken, self._notices = self._notices, []
        files = list(self._files.values())
        self._turn += 1
        for number in range(len(files)):
            if bytes_max <= 0:
                break
            found = self._read(files[(number + self._turn) % len(files)])
            if found is not None:
                bytes_max -= found.size_bytes
                taken.append(found)
        return taken + self._notices_now()

    def close(self) -> None:
        for followed in self._files.values():
            followed.close()
        for _, file, _, _ in self._copies.values():
            file.close()
        self._files.clear()
        self._copies.clear()

    def _notices_now(self) -> list[Taken]:
        notices, self._notices = self._notices, []
        return notices

    def _read(self, followed: Followed) -> Taken | None:
        """What one file has to give: records, and how its place moves."""
        try:
            if not followed.zipped and followed.size() < followed.offset:
                raise Truncated
            records, around = lines.take_lines(followed, now_s=self._now_s())
        except Truncated:
            self._truncated(followed)
            return None
        except (OSError, EOFError) as error:
            _LOGGER.warning("%s cannot be read: %s", followed.path, error)
            return None
        if followed.is_gone and not records and lines.is_at_end(followed, self._now_s()):
            return self._let_go(followed)
        if not records and not followed.has_news:
            return None
        around = {**self._around(followed), **around}
        return Taken(self._settings.type, around, records, {followed.key: followed.place()})

    def _around(self, followed: Followed) -> dict[str, str]:
        return {"file.path": followed.path, **(self._settings.around or {})}

    def _scan(self) -> None:
        found: dict[tuple[int, int], str] = {}
        for pattern in self._settings.paths:
            for path in sorted(glob.glob(pattern, recursive=True)):
                if any(fnmatch(path, excluded) for excluded in self._settings.exclude):
                    continue
                try:
                    about = os.stat(path)
                except OSError:
                    continue
                found.setdefault((about.st_dev, about.st_ino), path)
        for followed in list(self._files.values()):
            self._note_move(followed)
            if not followed.is_intact():  # before anything is compared with it
                self._truncated(followed)
        for identity, path in found.items():
            if identity not in self._files and identity not in self._copies:
                self._discover(path)
        for identity, (path, file, zipped, key) in list(self._copies.items()):
            original = next((followed for followed in self._files.values() if followed.key == key), None)
            if original is None:
                self._release_copy(identity, None)
            elif os.fstat(file.fileno()).st_nlink == 0:
                self._copies.pop(identity)[1].close()
            elif not zipped and not _is_copy(path, file, original):
                del self._copies[identity]
                self._follow(path, file, zipped, offset=0)
        self._is_new = False

    def _note_move(self, followed: Followed) -> None:
        try:
            about = os.stat(followed.path)
            moved = (about.st_dev, about.st_ino) != followed.identity
        except OSError:
            moved = True
        followed.moved = moved

    def _discover(self, path: str) -> None:
        """A file that is not followed yet: new, a copy of one that is, or a copy of one that was."""
        if len(self._files) >= FILES_MAX:
            _LOGGER.error("more than %d files match; %s is not read", FILES_MAX, path)
            return
        try:
            file, zipped = open_file(path)
        except OSError:
            return
        about = os.fstat(file.fileno())
        identity = about.st_dev, about.st_ino
        if zipped and not is_whole(file):
            file.close()  # still being written
            return
        for original in self._files.values():
            if _is_copy(path, file, original):
                self._copies[identity] = path, file, zipped, original.key
                return
        for _, print_ in reversed(self._past):
            if matches(file, print_):
                self._follow(path, file, zipped, offset=print_.offset)
                return
        self._follow(path, file, zipped, offset=_last_line_end(file) if self._starts_at_end else 0)

    @property
    def _starts_at_end(self) -> bool:
        return self._is_new and self._settings.start == "end"

    def _follow(
        self, path: str, file: BinaryIO, zipped: bool, *, offset: int, key: str = "", skip: Sequence[str] = ()
    ) -> Followed:
        about = os.fstat(file.fileno())
        key = key or f"{self._prefix}{os.urandom(6).hex()}"
        followed = Followed(key, path, file, about.st_dev, about.st_ino, zipped, grown_s=self._now_s())
        followed.resume(offset)
        followed.framer = make_framer(self._settings.multiline, at=offset, skip=skip)
        self._files[followed.identity] = followed
        return followed

    def _truncated(self, followed: Followed) -> None:
        """The file was cut, or replaced in place. Copies of it are read on; the file itself begins again."""
        if followed.framer is not None and (records := followed.framer.flush()):
            self._notices.append(Taken(self._settings.type, self._around(followed), records))
            followed.framer.safe = followed.offset
        print_, path, size = followed.print(), followed.path, followed.size()
        self._remember(followed.key + "~" + os.urandom(3).hex(), print_)
        self._find_copies(followed, print_)
        followed.start_over()
        followed.framer = make_framer(self._settings.multiline, at=0)
        followed.grown_s = self._now_s()
        data = {"path": path, "read_bytes": print_.offset, "size_bytes": size}
        self._notices.append(notice(FILE_TRUNCATED, f"{path} was truncated", data, {followed.key: followed.place()}))

    def _find_copies(self, followed: Followed, print_: Print) -> None:
        waiting = [identity for identity, copy in self._copies.items() if copy[3] == followed.key]
        for identity in waiting:
            self._release_copy(identity, print_)
        if not waiting and (found := self._search(followed.path, print_)) is not None:
            self._follow(found[0], found[1], found[2], offset=print_.offset)

    def _release_copy(self, identity: tuple[int, int], print_: Print | None) -> None:
        """The original of a copy was cut or is gone: read the copy from where the original was left."""
        path, file, zipped, _ = self._copies.pop(identity)
        prints = [print_] if print_ is not None else [known for _, known in reversed(self._past)]
        offset = next((known.offset for known in prints if not known.offset or matches(file, known)), None)
        if offset is None:  # an older copy: all of it was read from the original
            try:
                offset = file.seek(0, os.SEEK_END)
            except (OSError, EOFError):
                file.close()
                return
        followed = self._follow(path, file, zipped, offset=offset)
        self._notices.append(Taken(places={followed.key: followed.place()}))

    def _let_go(self, followed: Followed) -> Taken:
        print_ = followed.print()
        del self._files[followed.identity]
        followed.close()
        places = {followed.key: None} | self._remember(followed.key, print_)
        return Taken(places=places)

    def _remember(self, key: str, print_: Print) -> dict[str, Any]:
        """Keep the fingerprint of a file that is no more, for copies of it that may turn up."""
        if not print_.head_bytes:
            return {}
        self._past.append((key, print_))
        places: dict[str, Any] = {key: {"past": True, **print_.to_place()}}
        while len(self._past) > PAST_MAX:
            places[self._past.popleft()[0]] = None
        self._notices.append(Taken(places=places))
        return places

    def _restore(self, key: str, place: Mapping[str, Any]) -> None:
        """Find again what a place was of."""
        print_ = print_of(dict(place))
        if place.get("past"):
            self._past.append((key, print_))
            return
        path = str(place["path"])
        found = self._search(path, print_, identity=(place["device"], place["inode"]))
        if found is not None:
            followed = self._follow(path, found[1], found[2], offset=print_.offset, key=key, skip=place.get("skip", ()))
            self._note_move(followed)
            return
        if place.get("moved"):  # rotated away before, and removed since
            self._notices.append(Taken(places=self._remember(key, print_)))
            return
        self._past.append((key, print_))
        data = {"path": path, "read_bytes": print_.offset}
        message = f"{path} is not there any more; what followed may not have been read"
        past = {"past": True, **print_.to_place()}
        self._notices.append(notice(FILE_UNREAD, message, data, {key: past}))

    def _search(
        self, path: str, print_: Print, *, identity: tuple[int, int] | None = None
    ) -> tuple[str, BinaryIO, bool] | None:
        """The file of this fingerprint: the same inode if it can be, else a copy. It may be under a new name."""
        copy: tuple[str, BinaryIO, bool] | None = None
        for candidate in (path, *_beside(path)):
            try:
                file, zipped = open_file(candidate)
            except OSError:
                continue
            about = os.fstat(file.fileno())
            own = about.st_dev, about.st_ino
            known = matches(file, print_) if print_.head_bytes else own == identity
            if known and own not in self._files and own == identity:
                if copy is not None:
                    copy[1].close()
                return candidate, file, zipped
            if known and own not in self._files and copy is None and own not in self._copies:
                copy = candidate, file, zipped
            else:
                file.close()
        return copy


def _beside(path: str) -> list[str]:
    """Files whose names begin as this one's does, newest first: what rotation makes of it."""
    folder, name = os.path.split(path)
    stem = _stem(name)
    found: list[tuple[float, str]] = []
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.startswith(stem) and entry.name != name and entry.is_file():
                    found.append((-entry.stat().st_mtime, entry.path))
    except OSError:
        return []
    return [path for _, path in sorted(found)[:BESIDE_MAX]]


def _is_copy(path: str, file: BinaryIO, original: Followed) -> bool:
    """Whether `file` stands beside a file that is followed and begins as it does: one holds the beginning of the other,
    as far as the shorter goes."""
    if original.path == path or not _may_be_of(path, original.path):
        return False
    try:
        if matches(file, original.print()):
            return True
        size = min(file.seek(0, os.SEEK_END), original.file.seek(0, os.SEEK_END))
        if not size:
            return False
        for at in {0, max(0, size - COMPARED_BYTES)}:
            file.seek(at)
            original.file.seek(at)
            count = min(size, COMPARED_BYTES)
            if file.read(count) != original.file.read(count):
                return False
    except (OSError, EOFError):
        return False
    return True


def _may_be_of(path: str, original: str) -> bool:
    """Whether a name is one that rotation makes of another: in the same folder, beginning with its stem."""
    folder, name = os.path.split(original)
    return os.path.dirname(path) == folder and os.path.basename(path).startswith(_stem(name))


def _stem(name: str) -> str:
    return name.split(".")[0] or name


def _last_line_end(file: BinaryIO) -> int:
    """The offset behind the last whole line."""
    try:
        size = file.seek(0, os.SEEK_END)
        at = max(0, size - (1 << 20))
        file.seek(at)
        return at + file.read(size - at).rfind(b"\n") + 1
    except (OSError, EOFError):
        return 0
