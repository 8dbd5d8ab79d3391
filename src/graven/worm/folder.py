"""A directory as write-once store: NFS, an immutable mount, another disk.

    a name        a file of that path, written aside and linked into place: a name that is taken stays as it is
    a lock        mode 0444, the time of last access set to the end of the lock (which write-once NAS systems take for
                  the retention date), and the immutable attribute (chattr +i) where the system lets us

What that is worth depends on who could undo it: the owner of the directory can lift mode and dates, root the
attribute. The doctor says which of it holds. One version a name; ids are empty.

Bytes and names go through the seam to the disk. Modes, dates and the attribute do not: no crash makes or unmakes an
object by them, and what is there without its lock gets it when it is next looked at.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from graven.core.errors import BadInput, Broken
from graven.runtime.files import DIRECTORY_MODE, Files, LocalFiles, make_dir, make_dirs
from graven.worm.store import Lock, Part, Taken, Version

IMMUTABLE, READ_ONLY = "immutable", "read-only"

_GET_FLAGS, _SET_FLAGS, _IMMUTABLE_FLAG = 0x80086601, 0x40086602, 0x10
_PIECE_BYTES = 1 << 20


class FolderStore:
    """One directory, made if it is not there."""

    def __init__(self, url: str, files: Files | None = None) -> None:
        """Raises BadInput: no file:// URL of an absolute path, or the directory cannot be made."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
            raise BadInput("not the URL of a directory", place=url[:200], mend="file:///PATH")
        self.path = Path(path)
        self._files = files or LocalFiles()
        self._made: set[Path] = set()

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def check(self) -> None:
        """A directory refuses nothing by itself; what it is worth is the doctor's to say. It must be there to write."""
        self._make_folder(self.path)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise BadInput("the directory of the copy cannot be written", place=str(self.path))

    def put(self, name: str, data: bytes | Part, *, until_s: int, once: bool = True) -> None:
        path = self._path(name)
        if path.exists():  # a second version has no place here
            self._sync_name(path)
            raise Taken("a file of this name is there already", place=str(path))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            self._make_folder(path.parent)
            try:
                self._write(temporary, data, until_s)
                self._files.link(str(temporary), str(path))
            finally:
                with contextlib.suppress(FileNotFoundError):
                    self._files.remove(str(temporary))
            with contextlib.suppress(OSError):  # not every file system has it, and not everybody may
                set_immutable(path, on=True)
            self._files.sync_dir(str(path.parent))
        except FileExistsError:
            raise Taken("a file of this name is there already", place=str(path)) from None
        except OSError as error:
            raise Broken("the copy cannot be written", place=f"{path}: {error.strerror}") from None

    def read(self, version: Version, offset: int = 0, size: int | None = None) -> bytes:
        path = self._path(version.name)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:  # noqa: PTH123
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Broken("what should be a file is something else", place=str(path))
                file.seek(offset)
                return file.read(version.size - offset if size is None else min(size, max(0, version.size - offset)))
        except FileNotFoundError:
            raise Broken("an object of the copy is missing", place=str(path)) from None
        except OSError as error:
            raise Broken("the copy cannot be read", place=f"{path}: {error.strerror}") from None

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Version]:
        folder = prefix[: prefix.rfind("/") + 1]
        yield from self._walk(self.path / folder, folder, prefix, deep)

    def lock(self, version: Version) -> Lock | None:
        path = self._path(version.name)
        try:
            status = path.stat()
        except OSError as error:
            raise Broken("the copy cannot be read", place=f"{path}: {error.strerror}") from None
        if is_immutable(path):
            return Lock(IMMUTABLE, int(status.st_atime), firm=os.geteuid() != 0)
        return None if status.st_mode & 0o222 else Lock(READ_ONLY, int(status.st_atime), firm=False)

    def extend(self, version: Version, until_s: int) -> None:
        path = self._path(version.name)
        try:
            if is_immutable(path):
                set_immutable(path, on=False)
            os.utime(path, (until_s, path.stat().st_mtime))
            path.chmod(0o444)
            with contextlib.suppress(OSError):
                set_immutable(path, on=True)
            _sync_attributes(path)
        except OSError as error:
            raise Broken("a lock cannot be lengthened", place=f"{path}: {error.strerror}") from None

    def _walk(self, directory: Path, name: str, prefix: str, deep: bool) -> Iterator[Version]:
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda one: one.name + ("/" if one.is_dir(follow_symlinks=False) else ""))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise Broken("the copy cannot be read", place=f"{directory}: {error.strerror}") from None
        for entry in found:
            full = name + entry.name
            if entry.is_dir(follow_symlinks=False):
                if deep and (full + "/").startswith(prefix[: len(full) + 1]):
                    yield from self._walk(directory / entry.name, full + "/", prefix, deep)
            elif full.startswith(prefix) and not (entry.name.startswith(".") and entry.name.endswith(".tmp")):
                status = entry.stat(follow_symlinks=False)
                yield Version(full, "", status.st_size, status.st_mtime)

    def _write(self, path: Path, data: bytes | Part, until_s: int) -> None:
        """The file with its lock, durable: the lock is set before the sync that makes the file's size last."""
        with contextlib.suppress(FileNotFoundError):
            self._files.remove(str(path))
        file = self._files.create(str(path))
        try:
            if isinstance(data, bytes):
                file.write_at(0, data)
            else:
                self._copy(file.write_at, data)
            os.utime(path, (until_s, path.stat().st_mtime))
            path.chmod(0o444)
            file.sync()
        finally:
            file.close()

    @staticmethod
    def _copy(write_at: Callable[[int, bytes], None], part: Part) -> None:
        with part.path.open("rb") as source:
            source.seek(part.offset)
            at = 0
            while at < part.size:
                piece = source.read(min(_PIECE_BYTES, part.size - at))
                if not piece:
                    raise Broken("a file became shorter while it was copied", place=str(part.path))
                write_at(at, piece)
                at += len(piece)

    def _sync_name(self, path: Path) -> None:
        """What is there counts as copied from here on; whoever wrote it may not have come to syncing its name."""
        try:
            self._make_folder(path.parent)
            self._files.sync_dir(str(path.parent))
        except OSError as error:
            raise Broken("the copy cannot be synced", place=f"{path}: {error.strerror}") from None

    def _make_folder(self, folder: Path) -> None:
        if folder in self._made:
            return
        try:
            if folder == self.path:
                make_dirs(self._files, str(folder), DIRECTORY_MODE)
            else:
                self._make_folder(folder.parent)
                make_dir(self._files, str(folder))
        except OSError as error:
            what = "the directory of the copy cannot be made"
            raise BadInput(what, place=f"{folder}: {error.strerror}") from None
        self._made.add(folder)

    def _path(self, name: str) -> Path:
        if not name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
            raise BadInput("not a name of the copy", place=name[:200])
        return self.path / name


def is_immutable(path: Path) -> bool:
    """Whether the file has the immutable attribute."""
    try:
        return bool(_flags(path) & _IMMUTABLE_FLAG)
    except OSError:
        return False


def set_immutable(path: Path, *, on: bool) -> None:
    """Set or lift the immutable attribute. Raises OSError where the file system has none or this user may not."""
    flags = _flags(path)
    wanted = flags | _IMMUTABLE_FLAG if on else flags & ~_IMMUTABLE_FLAG
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", wanted))
    finally:
        os.close(fd)


def _sync_attributes(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _flags(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found: int = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("l", 0)))[0]
        return found
    except OverflowError:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY)) from None
    finally:
        os.close(fd)
