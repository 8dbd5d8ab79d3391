"""The journal's seam to the disk, under the name the journal and the rooms above it use.

It is defined in `runtime.files`, one floor below, because the keyring writes through it too and the keyring and the
journal never import each other.
"""

from graven.runtime.files import (
    DIRECTORY_MODE,
    FILE_MODE,
    File,
    Files,
    LocalFile,
    LocalFiles,
    make_dir,
    make_dirs,
    write_atomic,
)

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "File",
    "Files",
    "LocalFile",
    "LocalFiles",
    "make_dir",
    "make_dirs",
    "write_atomic",
]
