"""Opening a keyring's root: `keyring.json`, or what stands in its place while a re-wrapping is under way."""

from pathlib import Path

from graven.core.errors import Broken
from graven.keys.copies import Copies
from graven.keys.passphrase import Passphrase
from graven.keys.pending import REWRAP_FILE, Pending, parse_pending
from graven.keys.rootkeys import KEYRING_FILE, parse_keyring_file

Root = tuple[str, bytes, bytes, bool]
"""Origin, key-encryption key, window key, whether a passphrase was needed."""


def open_root(copies: Copies, passphrase: Passphrase | None) -> tuple[Root | None, Pending | None]:
    """The root of the keyring, None where there is none; and the re-wrapping that is under way.

    Raises BadInput for a passphrase that is missing or wrong, Broken for damage.
    """
    primary = copies.directories[0]
    pending = copies.read(REWRAP_FILE, lambda data, path: parse_pending(data, place=path) if data else None)
    if pending is not None and not _has(primary, REWRAP_FILE) and _has(primary, KEYRING_FILE):
        pending = pending if pending.step == "wrapping" else None  # a replica's, older than the primary
    if pending is not None and pending.step == "commit":
        copies.also = pending.files[KEYRING_FILE]
        return parse_keyring_file(copies.also, passphrase, place=f"{primary}/{REWRAP_FILE}"), pending
    return copies.read(KEYRING_FILE, lambda data, path: parse_keyring_file(data, passphrase, place=path)), pending


def open_pending(
    copies: Copies, pending: Pending | None, origin: str, kek: bytes
) -> tuple[Pending | None, bytes | None]:
    """The re-wrapping of this keyring, and the key-encryption key it leads to. Raises Broken: it is of another one."""
    primary = copies.directories[0]
    if pending is None:
        return None, None
    if pending.origin != origin:
        raise Broken("a re-wrapping of another keyring lies here", place=f"{primary}/{REWRAP_FILE}")
    try:
        return pending, pending.next_kek(kek) if pending.step == "wrapping" else None
    except Broken as error:
        if _has(primary, REWRAP_FILE):
            raise
        copies.note(f"a replica has a {REWRAP_FILE} of before: {error.what}")
        return None, None


def _has(directory: str, name: str) -> bool:
    return Path(directory, name).exists()
