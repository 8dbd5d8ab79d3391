"""One writer a log: an exclusive lock on `DIR/lock`, held as long as the process lives."""

import errno
import fcntl
import os
import time
from pathlib import Path

from graven.core.errors import BadInput, Broken

_POLL_S = 0.05


class Locked(Broken):
    """Another process holds the lock."""


class Lock:
    """The lock of one log directory. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, directory: Path, *, wait_s: float = 10.0) -> None:
        """Take the lock.

        Raises:
            Locked: another process still holds it after `wait_s`. BadInput: this user may not write the directory.
            Broken: its disk cannot be written.
        """
        path = directory / "lock"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.ENOSPC, errno.EIO):
                raise Broken(
                    "the disk of this log cannot be written, so the log can only be read",
                    place=f"{path}: {error.strerror}",
                    mend="make its file system writable, or free space on it",
                ) from None
            raise BadInput("this directory cannot be written", place=f"{path}: {error.strerror}") from None
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(self._fd)
                    raise Locked(
                        "another process is writing to this log",
                        place=str(path),
                        mend="stop it, or let it take the events: the commands find a running server by themselves",
                    ) from None
                time.sleep(_POLL_S)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
