"""Replicas of a keyring: whole copies on other disks, made once and kept up to date by every write since.

Files of data keys go over only if they are whole, and what the primary no longer has goes from the replica, too: a key
that was destroyed here is destroyed there.
"""

from collections.abc import Iterator
from pathlib import Path

from graven.core.errors import BadInput, Broken
from graven.keys.copies import Copies, install, read_private
from graven.keys.datafiles import DataFiles, stamp_of
from graven.keys.pending import REWRAP_FILE
from graven.keys.rootkeys import HIGHEST_FILE, KEY_FILES, KEYRING_FILE, ROTATION_FILE, SIGNER_FILE
from graven.runtime.files import Files


def replica_gaps(copies: Copies, data: DataFiles) -> dict[str, int]:
    """replica -> how many files of data keys it lacks, or holds otherwise than the primary; only those with any."""
    primary, *replicas = copies.directories
    gaps: dict[str, int] = {}
    names = data.names()
    for replica in replicas:
        missing = sum(size_of(f"{primary}/{name}") != size_of(f"{replica}/{name}") for name in names)
        if missing:
            gaps[replica] = missing
    return gaps


def replicate(copies: Copies, data: DataFiles, directory: str, files: Files) -> int:
    """Make `directory` a replica, or bring it up to date; the number of files written, durably.

    The caller holds the keyring's lock. Raises BadInput if the directory is something else, Broken if a disk fails.
    """
    Copies(copies.directories[:1], files).require()
    contents = dict(_whole_files(copies, data))
    if not Path(directory).exists():
        install(files, directory, contents)
        return len(contents)
    if read_private(f"{directory}/{KEYRING_FILE}") != contents[KEYRING_FILE]:
        raise BadInput("this directory is there and is no replica of this keyring", place=directory)
    stale = [name for name, data in contents.items() if read_private(f"{directory}/{name}") != data]
    replica = Copies([directory], files)
    for name in stale:
        replica.write(name, contents[name], wipe=True)
    over = {REWRAP_FILE, HIGHEST_FILE, ROTATION_FILE, *KEY_FILES} - contents.keys()  # of changes that are done
    for name in sorted(over):
        replica.remove(name)
    return len(stale)


def size_of(path: str) -> int | None:
    """The length of a file in bytes; None where there is none."""
    stamp = stamp_of(path)
    return None if stamp is None else stamp[2]


def _whole_files(copies: Copies, data_files: DataFiles) -> Iterator[tuple[str, bytes]]:
    """The primary's files, (name, bytes); those of data keys only if they are whole."""
    for name in (KEYRING_FILE, HIGHEST_FILE, ROTATION_FILE, REWRAP_FILE, SIGNER_FILE, *KEY_FILES):
        if (data := read_private(copies.path(name))) is not None:
            yield name, data
    for name in data_files.names():
        path = copies.path(name)
        if (data := read_private(path)) is not None:
            try:
                data_files.decode(data, path)
            except Broken as error:
                copies.note(f"{path} is not copied: {error.what}")
                continue
            yield name, data
