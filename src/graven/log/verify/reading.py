"""Reading files that anyone may have put there: bounded, and never waiting for a pipe."""

import os

from graven.core.errors import Broken, Disproved

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def read_bounded(path: str, size_max: int) -> bytes | None:
    """The bytes of a file; None if there is none.

    Raises:
        Broken: it is there and cannot be read. Disproved: it is longer than `size_max` bytes.
    """
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Broken(f"a file cannot be read: {error.strerror}", place=path) from None
    try:
        data = os.read(fd, size_max + 1)
        while 0 < len(data) <= size_max and (more := os.read(fd, size_max + 1 - len(data))):
            data += more
    except OSError as error:
        raise Broken(f"a file cannot be read: {error.strerror}", place=path) from None
    finally:
        os.close(fd)
    if len(data) > size_max:
        raise Disproved(f"a file is longer than {size_max} bytes", place=path)
    return data
