"""Files that people name on the command line: read whole and bounded, written private and at one stroke."""

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from graven.core.errors import BadInput
from graven.core.x509 import MAX_PEM_BYTES, Certificate, parse_certificates
from graven.runtime.files import READ_BYTES_MAX as READ_BYTES_MAX
from graven.runtime.files import Files, LocalFiles
from graven.runtime.files import read_file as read_file


def read_time_roots(paths: Sequence[Path]) -> tuple[Certificate, ...]:
    """The certificates in these files. Raises BadInput with the file."""
    found: list[Certificate] = []
    for path in paths:
        try:
            found += parse_certificates(read_file(path, max_bytes=MAX_PEM_BYTES))
        except BadInput as error:
            error.place = error.place or str(path)
            raise
    return tuple(found)


def write_private(path: Path, data: bytes, *, replace: bool = True, files: Files | None = None) -> None:
    """Put `data` at `path`, mode 0600, durable, whole or not at all. With `replace` off, an existing file is refused.

    What is there and is no file (a pipe, a terminal) is written to as it is. Raises BadInput when it cannot be written.
    """
    files = files or LocalFiles()
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.write(data)
            return
        if not replace and path.is_symlink() | path.exists():
            raise FileExistsError(17, "a file is there already")
        if path.is_symlink():
            path = path.resolve()
        temporary = str(path.with_name(f".{path.name}.{secrets.token_hex(4)}"))
        file = files.create(temporary)
        try:
            file.write_at(0, data)
            file.sync()
            if replace:
                files.rename(temporary, str(path))
            else:
                files.link(temporary, str(path))  # unlike a rename, this never takes the place of a file
        finally:
            file.close()
            with contextlib.suppress(OSError):  # renamed, or for others to tidy up
                files.remove(temporary)
        with contextlib.suppress(PermissionError):  # a directory that may be written and not read
            files.sync_dir(str(path.parent))
    except OSError as error:
        raise BadInput(f"the file cannot be written: {error.strerror}", place=str(path)) from None
