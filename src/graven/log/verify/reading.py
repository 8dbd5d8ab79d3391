"""Reading files that anyone may have put there: bounded, and never waiting for a pipe."""

import os
from hashlib import file_digest
from stat import S_ISREG

from graven.core.errors import Broken, Disproved

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def read_bounded(path: str, size_max: int) -> bytes | None:
    """The bytes of a file; None if there is none.

    Raises:
        Broken: it is there and cannot be read, or is no file. Disproved: it is longer than `size_max` bytes.
    """
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Broken(f"a file cannot be read: {error.strerror}", place=path) from None
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode):
            raise Broken("what should be a file is something else", place=path)
        if status.st_size > size_max:
            raise Disproved(f"a file is longer than {size_max} bytes", place=path)
        data = os.read(fd, status.st_size)
        while len(data) < status.st_size and (more := os.read(fd, status.st_size - len(data))):
            data += more
    except OSError as error:
        raise Broken(f"a file cannot be read: {error.strerror}", place=path) from None
    finally:
        os.close(fd)
    return data


def read_sha256(path: str) -> str | None:
    """SHA-256 (hex) of a file of any length; None if there is none. Raises Broken as `read_bounded`."""
    try:
        with open(os.open(path, _FLAGS), "rb") as file:  # noqa: PTH123 - a descriptor
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Broken("what should be a file is something else", place=path)
            return file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Broken(f"a file cannot be read: {error.strerror}", place=path) from None


def is_blank(data: bytes | None) -> bool:
    """Whether there is nothing but zeros, as a power cut leaves bytes that were never written."""
    return not data or (data[:32].count(0) == min(len(data), 32) and data.count(0) == len(data))
