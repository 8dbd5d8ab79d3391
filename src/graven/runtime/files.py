"""The seam to the disk: every write that anybody relies on goes through `Files`.

The journal, the published tree and the keyring write through it, so that a test can record each step, cut the record
at any place, and start again from what a crash there would have left. Reads need no seam: they use `os` and `pathlib`.

What a crash leaves behind, which every caller has to plan for:

- bytes written and not synced may be there, in part, in any order, or not at all; a file may have its new length and
  zeros inside it;
- a file created, renamed or removed may be so or not until its directory is synced;
- after `sync` (file) and `sync_dir` (its directory) returned, both the bytes and the name last.

A failed write or sync raises `OSError` and must not be tried again on the same file: after an error the page cache no
longer says what the disk holds. What this module does not do: buffering, retries, locking.

Past it go: locks and sockets, which a crash ends; what is taken away and was nobody's (unfinished copies, tiles that
became full, empty directories); modes and dates; the witness's database, whose writes are SQLite's; and output that is
no file. A test holds the list of these places.
"""

# ruff: noqa: PTH102, PTH104, PTH108, PTH112, PTH120
# Descriptors and plain text paths, as the system calls have them.

import contextlib
import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Protocol

from graven.core.errors import BadInput

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
READ_BYTES_MAX = 256 << 20
_sync_bytes = getattr(os, "fdatasync", os.fsync)  # macOS has fsync only


class File(Protocol):
    """An open file that is written at given offsets. It follows the file, not the name: a rename does not move it."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset` bytes, or raise OSError with some prefix of it written."""

    def truncate(self, size: int) -> None:
        """Cut or extend (with zeros) to `size` bytes."""

    def sync(self) -> None:
        """Return when all bytes written so far, and the length, are durable. The name is not: see `Files.sync_dir`."""

    def close(self) -> None:
        """Let go of the file; nothing is made durable by closing. Closing twice does nothing."""


class Files(Protocol):
    """A file system. Paths are text; a relative one starts at the working directory. Every method may raise OSError."""

    def create(self, path: str) -> File:
        """Make an empty file, mode 0600; FileExistsError if the name is taken. The name lasts after `sync_dir`."""

    def open(self, path: str) -> File:
        """Open a file that exists for writing; nothing is cut."""

    def rename(self, source: str, target: str) -> None:
        """Move a name over another at one stroke: a crash leaves the old or the new, durable after `sync_dir`."""

    def link(self, source: str, target: str) -> None:
        """Give a file one more name; FileExistsError if that is taken. It lasts after `sync_dir`."""

    def remove(self, path: str) -> None:
        """Take a name away; it may come back with a crash until `sync_dir`."""

    def mkdir(self, path: str, mode: int = DIRECTORY_MODE) -> None:
        """Make one directory; FileExistsError if the name is taken. It lasts after `sync_dir` of its parent."""

    def sync_dir(self, path: str) -> None:
        """Return when the names in this directory (not below it, not the bytes of its files) are durable."""

    def sync_all(self, path: str) -> None:
        """Return when everything written so far in the file system that holds `path` is durable: files and names."""


class LocalFile:
    """A file of this machine, by its descriptor, which it owns."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            if written == 0:
                raise OSError(errno.EIO, "the file system took no more bytes and gave no reason")
            offset += written
            rest = rest[written:]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        _sync_bytes(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LocalFiles:
    """The file systems of this machine."""

    __slots__ = ()

    def create(self, path: str) -> LocalFile:
        return LocalFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))

    def open(self, path: str) -> LocalFile:
        return LocalFile(os.open(path, os.O_RDWR))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str, mode: int = DIRECTORY_MODE) -> None:
        os.mkdir(path, mode)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_all(self, path: str) -> None:
        if _syncfs is None:
            os.sync()
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            if _syncfs(fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)
        finally:
            os.close(fd)


def read_file(path: Path, *, max_bytes: int = READ_BYTES_MAX) -> bytes:
    """The bytes of a file that somebody named, or of standard input for `-`. Raises BadInput: it cannot be read, or is
    larger.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}", place=str(path)) from None
    if len(data) > max_bytes:
        raise BadInput(f"the file has more than {max_bytes} bytes", place=str(path))
    return data


def write_atomic(files: Files, path: str, data: bytes, *, sync: bool = True) -> None:
    """Put `data` under the name `path`, whole or not at all: write `path.tmp`, sync it, rename it, sync the directory.

    A crash leaves the old file or the new one, perhaps with a `path.tmp` beside it, which the next call replaces. After
    the return the new file lasts. With `sync=False` nothing is synced: a crash may leave the old file, the new one,
    or (on some file systems) an empty one, so only what can be derived again may be written so. One writer a path.
    Raises OSError with the old file still in place, unless it was the last step, `sync_dir`, that failed.
    """
    temporary = path + ".tmp"
    try:
        file = files.create(temporary)
    except FileExistsError:
        files.remove(temporary)
        file = files.create(temporary)
    try:
        file.write_at(0, data)
        if sync:
            file.sync()
    except OSError:
        with contextlib.suppress(OSError):  # what matters is the first error
            file.close()
            files.remove(temporary)
        raise
    file.close()
    files.rename(temporary, path)
    if sync:
        files.sync_dir(os.path.dirname(path) or ".")


def make_dir(files: Files, path: str, mode: int = DIRECTORY_MODE) -> None:
    """A directory at `path`, there already or made now, whose name lasts. Its parent must be there.

    One that is there may be what a killed process made and did not sync, so its parent is synced in either case, unless
    it is where a disk is mounted, or its parent is a directory that this user may not read or that cannot be synced.
    Raises OSError.
    """
    was_there = os.path.isdir(path)
    if was_there and os.path.ismount(path):
        return
    if not was_there:
        with contextlib.suppress(FileExistsError):  # somebody else's at the same moment
            files.mkdir(path, mode)
    try:
        files.sync_dir(os.path.dirname(path) or ".")
    except OSError as error:
        if not was_there or error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL):
            raise


def make_dirs(files: Files, path: str, mode: int = 0o777) -> None:
    """The directory `path` and those above it, where they are missing: all names last.

    They are made from above, each durable before the next, so only the lowest that is there can be what a killed
    process did not sync. `mode`: of `path` itself, less the umask, as those above it have it. Raises OSError.
    """
    path = path.rstrip("/") or "/"
    if not os.path.isdir(path):
        make_dirs(files, os.path.dirname(path) or ".")
    make_dir(files, path, mode)


def _find_syncfs() -> "ctypes._NamedFuncPointer | None":
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int]
    function.restype = ctypes.c_int
    return function


_syncfs = _find_syncfs()
