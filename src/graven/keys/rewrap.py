"""A new key-encryption key for a keyring, and perhaps a new passphrase: every data key wrapped anew, nothing else.

    rewrap.json "wrapping": a new key, wrapped under the old one → each file of data keys under the new key
    → rewrap.json "commit": keyring.json and the signing files anew, under the passphrase there is to be
    → these files in their places, the old bytes overwritten, keyring.json last → rewrap.json removed

Each write is durable in every copy before the next. Until "commit" the keyring opens by the old passphrase, from then
on by the new; it opens, and may be used, after a crash between any two writes. `rewrap` called again goes on.

What this does not reach: recovery kits and copies of the keyring made before open what they opened.
"""

from graven.core.errors import BadInput
from graven.keys.keyring import Keyring
from graven.keys.passphrase import SCRYPT_N, Passphrase
from graven.keys.pending import REWRAP_FILE, Pending, begin_wrapping, format_pending
from graven.keys.rootkeys import KEYRING_FILE, RootKeys, format_root_keys


def rewrap(keyring: Keyring, passphrase: Passphrase | None, *, scrypt_n: int = SCRYPT_N) -> int:
    """Wrap everything anew, sealed under `passphrase` (None: not sealed); how many files of data keys there are.

    The caller holds the log's lock. `keyring` is of no use afterwards: open it anew. Raises Busy, Broken.
    """
    with keyring.locked():
        pending = keyring.pending
        if pending is not None and pending.step == "commit":  # of a call that was cut off; its passphrase counts
            _copy_out(keyring, pending)
            raise BadInput(
                "a re-wrapping that was cut off is finished now", mend="call this again for another, if you want one"
            )
        kek = keyring.next_kek
        if pending is None or kek is None:
            pending, kek = begin_wrapping(keyring.origin, keyring.root_keys().kek)
            keyring.write_file(REWRAP_FILE, format_pending(pending))
        count = keyring.wrap_data(kek)
        root = keyring.root_keys()
        files = format_root_keys(RootKeys(root.origin, kek, root.window, root.signing), passphrase, scrypt_n=scrypt_n)
        commit = Pending(keyring.origin, "commit", None, files)
        keyring.write_file(REWRAP_FILE, format_pending(commit), wipe=True)
        _copy_out(keyring, commit)
        return count


def finish_rewrap(keyring: Keyring) -> None:
    """Put the files of a re-wrapping that was cut off after its commit in their places. Raises Busy, Broken."""
    if keyring.pending is not None and keyring.pending.step == "commit":
        with keyring.locked():
            _copy_out(keyring, keyring.pending)


def require_no_rewrap(keyring: Keyring) -> None:
    """Raises BadInput while a re-wrapping waits to be gone on with."""
    if keyring.pending is not None:
        raise BadInput(
            "a re-wrapping of this keyring was cut off", place=keyring.directory, mend="graven keys rewrap --dir DIR"
        )


def _copy_out(keyring: Keyring, commit: Pending) -> None:
    for name in sorted(commit.files, key=lambda name: name == KEYRING_FILE):
        keyring.write_file(name, commit.files[name], wipe=True, also=commit.files[KEYRING_FILE])
    keyring.forget_pending(commit.files[KEYRING_FILE])
    keyring.remove_file(REWRAP_FILE)
