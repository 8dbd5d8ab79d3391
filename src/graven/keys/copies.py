"""The copies of a keyring: the primary directory and its replicas.

Writing goes to every copy and is durable in all of them before it returns; a copy that cannot be reached is Broken, for
a key that exists once is lost with one disk. Reading takes the first copy that is whole and notes when that was not the
primary. A directory counts as a copy only if its `keyring.json` is the same as the others': the empty mount point of a
disk that is away does not.

A file or directory that others may read or write is refused (BadInput): its keys must be taken as known to them.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from graven.core.errors import BadInput, Broken, Busy, GravenError
from graven.keys.rootkeys import KEYRING_FILE
from graven.runtime.files import Files, write_atomic

DATA_DIRECTORY = "data"

_NOTES_MAX = 100
_T = TypeVar("_T")
_log = logging.getLogger("graven.keys")


class Copies:
    """The directories of one keyring, the primary first. `notes` says what was found wrong and worked around."""

    __slots__ = ("_files", "also", "directories", "notes")

    def __init__(self, directories: Sequence[str], files: Files) -> None:
        self.directories = tuple(directories)
        self.notes: list[str] = []
        self.also: bytes | None = None
        """A `keyring.json` that a copy may hold in the place of the primary's: the one that is to be, or just was."""
        self._files = files

    def path(self, name: str) -> str:
        """Where the primary has the file `name`."""
        return f"{self.directories[0]}/{name}"

    def read(self, name: str, accept: Callable[[bytes, str], _T]) -> _T | None:
        """What `accept(data, path)` makes of the first copy it does not refuse; None if no copy has the file.

        Raises the first refusal if there is a file but no whole one; BadInput for a file others may read.
        """
        refused: GravenError | None = None
        for place, directory in enumerate(self.directories):
            path = f"{directory}/{name}"
            try:
                data = read_private(path)
            except Broken as error:
                refused = refused or error
                continue
            if data is None:
                continue
            try:
                value = accept(data, path)
            except GravenError as error:
                refused = refused or error
                continue
            if place:
                trouble = f"is refused: {refused.what}" if refused else "is not there"
                self.note(f"{self.path(name)} {trouble}; read from the replica {path}")
            return value
        if refused is not None:
            raise refused
        return None

    def read_all(self, name: str) -> list[tuple[str, bytes]]:
        """Every copy there is of a file: (path, bytes). Raises BadInput for a file others may read."""
        found = ((f"{directory}/{name}", read_private(f"{directory}/{name}")) for directory in self.directories)
        return [(path, data) for path, data in found if data is not None]

    def write(self, name: str, data: bytes, *, wipe: bool = False) -> None:
        """Put `data` under `name` in every copy, replicas first, each durable before the next.

        A crash leaves a prefix of the copies changed, each of them wholly; the primary is the last. Raises Broken.
        """
        self.require()
        for directory in reversed(self.directories):
            self.replace(f"{directory}/{name}", data, wipe=wipe)

    def replace(self, path: str, data: bytes, *, wipe: bool) -> None:
        """Write one copy of a file, durably. With `wipe`, then put zeros over the bytes it had before, if any, as far
        as the file system allows; the new file lasts before the old bytes go, so a crash never leaves neither.
        """
        with broken_if_unreachable(str(Path(path).parent)):
            old = self._files.open(path) if wipe and Path(path).exists() else None
            size_bytes = Path(path).stat().st_size if old is not None else 0
            write_atomic(self._files, path, data)
            if old is not None:
                with contextlib.suppress(OSError):  # the name is gone already; a disk that copies on write keeps more
                    old.write_at(0, bytes(size_bytes))
                    old.sync()
                old.close()

    def remove(self, name: str) -> None:
        """Take a file out of every copy that has it, replicas first: its bytes are overwritten, then the name goes,
        durably. A crash leaves a suffix of the copies with it. Raises Busy, Broken.
        """
        self.require()
        for directory in reversed(self.directories):
            path = f"{directory}/{name}"
            if Path(path).exists():
                self.replace(path, b"", wipe=True)
                with broken_if_unreachable(directory):
                    self._files.remove(path)
                    self._files.sync_dir(directory)

    def require(self) -> None:
        """Check that every copy is there and of this keyring. Raises Busy if one is away, Broken for a wrong one."""
        expected: bytes | None = None
        for directory in self.directories:
            path = f"{directory}/{KEYRING_FILE}"
            data = read_private(path)
            if data is None:
                raise Busy(
                    "a copy of the keyring cannot be reached, and keys are only made or marked in all of them",
                    retry_after_s=30,
                    place=path,
                    mend="bring the directory back (or mount it); or take it out of [keys] replicas, or make it anew",
                )
            if expected is not None and data != expected and data != self.also:
                raise Broken(
                    "this replica is not a copy of the keyring",
                    place=path,
                    mend=f"compare it with {self.path(KEYRING_FILE)}; take the wrong one out of [keys] replicas",
                )
            expected = data

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the keyring against other processes for a moment: an advisory lock on its primary directory."""
        with broken_if_unreachable(self.directories[0]):
            fd = os.open(self.directories[0], os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def note(self, text: str) -> None:
        """Keep a note, once, and log it."""
        if text not in self.notes and len(self.notes) < _NOTES_MAX:
            self.notes.append(text)
            _log.warning("%s", text)


def read_private(path: str) -> bytes | None:
    """The bytes of a key file; None if there is none (or a directory on its way is not there).

    Raises BadInput if the group or others may read or write it, Broken if it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise BadInput(
            "this user may not read the key file", place=path, mend="run as the user the keyring belongs to"
        ) from error
    except OSError as error:
        raise Broken(f"the key file cannot be read: {error.strerror}", place=path) from error
    if stat.S_IMODE(mode) & 0o077:
        raise BadInput(
            f"the key file is open to others (mode {stat.S_IMODE(mode):04o})",
            place=path,
            mend=f"chmod 600 {path}; if others could read it, make new keys",
        )
    return data


def require_private_directory(directory: str) -> None:
    """Raises BadInput if the group or others may change the directory; nothing if it is not there."""
    try:
        mode = stat.S_IMODE(Path(directory).stat().st_mode)
    except OSError:
        return
    if mode & 0o022:
        raise BadInput(
            f"the keyring can be changed by others (mode {mode:04o})", place=directory, mend=f"chmod 700 {directory}"
        )


def install(files: Files, directory: str, contents: dict[str, bytes]) -> None:
    """Make a keyring directory from its files, under a name that ends in `.new`, and give it its own at the end.

    After the return all of it is durable. A crash before leaves at most that other directory, which holds keys and can
    be removed; the call is made again. Raises BadInput if the directory exists, Broken if the disk fails.
    """
    if Path(directory).exists():
        raise BadInput(
            "there is a directory or file already, and a keyring is never written over",
            place=directory,
            mend="choose another place, or remove it yourself if you are sure",
        )
    building = f"{directory}.{secrets.token_hex(4)}.new"  # nobody else's name: what is there is never removed
    with broken_if_unreachable(directory):
        try:
            files.mkdir(building, 0o700)
            files.mkdir(f"{building}/{DATA_DIRECTORY}", 0o700)
            for name, data in contents.items():
                write_atomic(files, f"{building}/{name}", data, sync=False)
            files.sync_all(building)
            files.rename(building, directory)
        except OSError:
            shutil.rmtree(building, ignore_errors=True)
            raise
        files.sync_dir(str(Path(directory).parent))


@contextlib.contextmanager
def broken_if_unreachable(directory: str) -> Iterator[None]:
    """Turn an OSError into Broken, naming the directory."""
    try:
        yield
    except OSError as error:
        raise Broken(
            f"the keyring cannot be written: {error.strerror or type(error).__name__}",
            place=directory,
            mend="check that the disk is there, not full and not read-only; then start again",
        ) from error
