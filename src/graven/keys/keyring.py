"""The keyring: where the log's keys live, in a directory of its own beside the data, and in its replicas.

    keyring.json          the origin, the key-encryption key (plain, or sealed by a passphrase), the window key
    log.ed25519, log.mldsa44, receipt.ed25519      the signing keys (plain or sealed), read only by the signers
    data/<segment start, 20 digits>.<n>.json       the wrapped data keys of a segment; n counts the files of one start
    highest-checkpoint    the newest checkpoint ever signed; the signer's business
    rotation.json, next.ed25519, next.mldsa44      a change of the signing keys (rotation.py)
    rewrap.json           a re-wrapping that is under way (pending.py)

Invariants: a data key is durable in every copy before `new_data_keys` returns, so before anything is sealed under it.
A destroyed key is gone from every copy when `destroy` returns. A damaged file is refused or read from a replica, and
never yields another key. Nothing is created implicitly: `create` and `replicate` make directories, `open` never does.

Losing every copy of the keyring loses the events, not the proofs.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from graven.core.errors import BadInput, Broken
from graven.core.spelling import check_number
from graven.keys.copies import Copies, install, require_private_directory
from graven.keys.datafiles import DataFiles, Stamp, stamp_of
from graven.keys.datakey import KINDS, DataKey, Kind, make_data_key
from graven.keys.opening import open_pending, open_root
from graven.keys.passphrase import SCRYPT_N, Passphrase
from graven.keys.pending import REWRAP_FILE, Pending
from graven.keys.replicas import replica_gaps, replicate, size_of
from graven.keys.rootkeys import (
    HIGHEST_FILE,
    KEY_FILES,
    KEYRING_FILE,
    RECEIPT_FILE,
    ROTATION_FILE,
    SIGNER_FILE,
    SIGNING_FILES,
    RootKeys,
    SigningKey,
    format_root_keys,
    format_signing_file,
    load_signing_key,
    make_root_keys,
    nothing_signed,
    parse_signing_file,
)
from graven.keys.token_uri import NO_ACCESS, Access
from graven.runtime.files import Files, LocalFiles

_CLASS = re.compile(r"[a-z0-9-]{1,32}")

_T = TypeVar("_T")


class Keyring:
    """An open keyring. Threads may share it; across processes, changes made by one are seen by the others at once."""

    def __init__(
        self,
        copies: Copies,
        data: DataFiles,
        origin: str,
        kek: bytes,
        window_key: bytes,
        passphrase: Passphrase | None,
        pending: Pending | None = None,
        access: Access = NO_ACCESS,
    ) -> None:
        """Use `create` or `open`."""
        self.access = access
        """How this host gets at keys in a token."""
        self.pending = pending
        """A re-wrapping that is under way (`rewrap.py`)."""
        self.origin = origin
        self.window_key = window_key
        self._kek = kek
        self._copies, self._data = copies, data
        self._passphrase = passphrase

    @classmethod
    def create(
        cls,
        directory: str,
        *,
        origin: str,
        passphrase: Passphrase | None = None,
        replicas: Sequence[str] = (),
        files: Files | None = None,
        scrypt_n: int = SCRYPT_N,
        log_ed25519: str | None = None,
        access: Access = NO_ACCESS,
    ) -> "Keyring":
        """Make a new keyring with new random keys, durable in `directory` and in every replica, and open it.

        `log_ed25519` is the line of a key in a token, which is the log's Ed25519 key then; `access` as in `open`. None
        of the directories may exist. Raises BadInput if one does, Broken if a disk fails.
        """
        files = LocalFiles() if files is None else files
        contents = format_root_keys(make_root_keys(origin, log_ed25519=log_ed25519), passphrase, scrypt_n=scrypt_n)
        contents[HIGHEST_FILE] = nothing_signed(origin)
        for place in _directories(directory, replicas):
            install(files, place, contents)
        return cls.open(directory, passphrase=passphrase, replicas=replicas, files=files, access=access)

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        passphrase: Passphrase | None = None,
        replicas: Sequence[str] = (),
        files: Files | None = None,
        access: Access = NO_ACCESS,
    ) -> "Keyring":
        """Open a keyring for reading, and for writing once something is written. `access`: how this host gets at keys
        in a token, before what the keyring says.

        A replica that is away is no error here, only when a key is made, marked or destroyed. Raises BadInput if there
        is no keyring, others may read it, or the passphrase is missing or wrong; Broken if it is damaged.
        """
        directories = _directories(directory, replicas)
        for place in directories:
            require_private_directory(place)
        copies = Copies(directories, LocalFiles() if files is None else files)
        opened, pending = open_root(copies, passphrase)
        if opened is None:
            raise BadInput(
                "there is no keyring here",
                place=directories[0],
                mend="give its place in [keys] dir; `graven init` makes one, `graven keys restore` brings one back",
            )
        origin, kek, window_key, sealed = opened
        if passphrase is not None and not sealed:
            copies.note(f"{copies.path(KEYRING_FILE)} is not sealed: the passphrase given was not needed")
        pending, next_kek = open_pending(copies, pending, origin, kek)
        data = DataFiles(copies, kek, next_kek)
        return cls(copies, data, origin, kek, window_key, passphrase if sealed else None, pending, access)

    @property
    def directory(self) -> str:
        return self._copies.directories[0]

    @property
    def replicas(self) -> tuple[str, ...]:
        return self._copies.directories[1:]

    @property
    def next_kek(self) -> bytes | None:
        """The key-encryption key that files of data keys are being wrapped under."""
        return self._data.next_kek

    @property
    def sealed(self) -> bool:
        """Whether a passphrase was needed to open it."""
        return self._passphrase is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found wrong in one copy and read from another, one line each."""
        return tuple(self._copies.notes)

    def note(self, text: str) -> None:
        """Add to `notes`."""
        self._copies.note(text)

    def new_data_keys(self, segment_start: int, classes: Sequence[str]) -> dict[tuple[str, Kind], tuple[bytes, bytes]]:
        """New random keys for a segment: (class, kind) -> (16-byte id, 32-byte key), durable in every copy.

        To be called before the segment's file is made. Raises BadInput for a class name outside `[a-z0-9-]{1,32}` or
        given twice; Broken if a copy cannot be reached or written.
        """
        if not classes or len(set(classes)) != len(classes) or not all(map(_CLASS.fullmatch, classes)):
            raise BadInput("class names have 1 to 32 of the characters a-z, 0-9 and -, each name once")
        check_number(segment_start, place="segment start")
        keys = [make_data_key(name, kind) for name in classes for kind in KINDS]
        with self._copies.locked():
            self._data.add(segment_start, keys)
        return {(key.class_name, key.kind): (key.id, key.key) for key in keys}

    def data_key(self, key_id: bytes, segment_start: int | None = None) -> bytes | None:
        """The 32-byte key with this id, or None if it was destroyed or never was in this keyring.

        `segment_start` says which segment it was made for and makes this cheap: one `stat` when cached. Without it
        every file is read. Raises Broken if the file that may hold it is damaged in every copy.
        """
        found = self.find_data_key(key_id, segment_start)
        return None if found is None else found.key

    def find_data_key(self, key_id: bytes, segment_start: int | None = None) -> DataKey | None:
        """As `data_key`, with what the key is for."""
        starts = self.segment_starts() if segment_start is None else [segment_start]
        for start in starts:
            for keys in self._data.segment(start):
                if key_id in keys:
                    return keys[key_id]
        return None

    def has(self, key_id: bytes, segment_start: int | None = None) -> bool:
        """Whether the key is there; raises as `data_key`."""
        return self.find_data_key(key_id, segment_start) is not None

    def segment_keys(self, segment_start: int) -> dict[bytes, bytes]:
        """Every key of a segment that is there: id -> 32-byte key. Raises as `data_key`."""
        return {key.id: key.key for keys in self._data.segment(segment_start) for key in keys.values()}

    def destroy(self, key_id: bytes, segment_start: int | None = None) -> bool:
        """Take a data key out of every copy for good; False if none had it.

        Each file is replaced by one without the key, then its old bytes are overwritten as far as the file system
        allows. Replicas come first, so after a crash or an error `has` still answers True until all is done, and the
        call can be made again. Copies out of our reach (snapshots, kits) keep what they hold. Raises Broken if a copy
        cannot be reached.
        """
        starts = self.segment_starts() if segment_start is None else [segment_start]
        with self._copies.locked():
            self._copies.require()
            return self._data.destroy(key_id, starts)

    def segment_starts(self) -> list[int]:
        """The starts of all segments that ever had keys here, ascending."""
        return self._data.starts()

    def data_files(self) -> Iterator[tuple[str, bytes]]:
        """Every file of data keys, (name, bytes), each checked: for a recovery kit. Raises Broken if one is damaged."""
        return self._data.contents()

    def signing_key(self, file: str) -> str:
        """The text (`PRIVATE+KEY+…`) of one of SIGNING_FILES. Raises BadInput or Broken if it does not open."""
        if self.pending is not None and file in self.pending.files:
            place = self._copies.path(REWRAP_FILE)
            return parse_signing_file(self.pending.files[file], file, self.origin, self._passphrase, place=place)
        text = self._copies.read(
            file, lambda data, path: parse_signing_file(data, file, self.origin, self._passphrase, place=path)
        )
        if text is None and file != RECEIPT_FILE and self.signs_elsewhere:
            raise BadInput(
                "the signing keys are with the signer, not in the keyring", place=self.directory,
                mend="[keys] signer names its socket; `graven signer` has the commands",
            )  # fmt: skip
        if text is None:
            raise Broken(
                "a signing key is not there",
                place=self._copies.path(file),
                mend="bring it back from a replica or a recovery kit; without it this log can be read, not continued",
            )
        return text

    @property
    def signs_elsewhere(self) -> bool:
        """Whether the signing keys are with a signer process, not here (`split.py`)."""
        return _has(self.directory, SIGNER_FILE)

    def load_key(self, file: str) -> SigningKey:
        """The key of a signing file, ready for use. Raises as `signing_key`."""
        place = f"{self.directory}/{file}"
        return load_signing_key(self.signing_key(file), file, self.origin, place=place, access=self.access)

    def seal_signing_file(self, file: str, text: str) -> bytes:
        """The bytes of a signing file that holds the line `text`, sealed as this keyring is."""
        return format_signing_file(text, file, self.origin, self._passphrase)

    def read_file(self, name: str, accept: Callable[[bytes, str], _T]) -> _T | None:
        """What `accept(data, path)` makes of a file of the keyring; None if no copy has it. Raises as `accept`."""
        return self._copies.read(name, accept)

    def wrap_data(self, kek: bytes) -> int:
        """Wrap every file of data keys under `kek`, durably in every copy; how many there are. Raises Busy, Broken."""
        return self._data.wrap(kek)

    def forget_pending(self, keyring_file: bytes) -> None:
        """Nothing is under way any more; copies may hold this `keyring.json`."""
        self.pending, self._copies.also = None, keyring_file

    def write_file(self, name: str, data: bytes, *, wipe: bool = False, also: bytes | None = None) -> None:
        """Put a file into every copy, durably, the primary last; `wipe`: over the old bytes. `also`: a `keyring.json`
        that copies may hold already. Raises Busy, Broken.
        """
        self._copies.also = also or self._copies.also
        self._copies.write(name, data, wipe=wipe)

    def remove_file(self, name: str) -> None:
        """Take a file out of every copy, its bytes overwritten first. Raises Busy, Broken."""
        self._copies.remove(name)

    def root_keys(self) -> RootKeys:
        """All keys but the data keys, in clear: for a recovery kit. Keys that are to come are among them."""
        needed = {RECEIPT_FILE} if self.signs_elsewhere else set(SIGNING_FILES)
        if not self._data.listed():
            needed.discard(RECEIPT_FILE)  # a signer's own keyring has none, and no data key
        there = {file for file in KEY_FILES if size_of(self._copies.path(file))}
        signing = {file: self.signing_key(file) for file in KEY_FILES if file in needed | there}
        return RootKeys(self.origin, self._kek, self.window_key, signing)

    def marks(self) -> list[tuple[str, bytes]]:
        """The `highest-checkpoint` files there are, (path, bytes), unchecked."""
        return self._copies.read_all(HIGHEST_FILE)

    def rotation_stamp(self) -> Stamp | None:
        """Changes when the primary's `rotation.json` was replaced."""
        return stamp_of(self._copies.path(ROTATION_FILE))

    def mark_stamp(self) -> Stamp | None:
        """Changes when the primary's `highest-checkpoint` was replaced."""
        return stamp_of(self._copies.path(HIGHEST_FILE))

    def require_copies(self) -> None:
        """Check that every copy is there. Raises Busy or Broken, before anything is written."""
        self._copies.require()

    def write_mark(self, data: bytes) -> None:
        """Replace `highest-checkpoint`, durably, in every copy. Raises Broken."""
        self._copies.write(HIGHEST_FILE, data)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the keyring against other processes for a moment, as every change of it does."""
        return self._copies.locked()

    def replica_gaps(self) -> dict[str, int]:
        """replica -> how many files of data keys it lacks, or holds otherwise than the primary; only those with any."""
        return replica_gaps(self._copies, self._data)

    def replicate(self, directory: str, *, files: Files | None = None) -> int:
        """Make `directory` a replica, or bring it up to date; the number of files written, durably.

        Every file of the primary that is whole and differs is copied, so a key destroyed here is destroyed there. Name
        it in [keys] replicas from then on. Raises BadInput if the directory is something else, Broken if a disk fails.
        """
        files = LocalFiles() if files is None else files
        directory = directory.rstrip("/")
        with self._copies.locked():
            return replicate(self._copies, self._data, directory, files)


def _directories(directory: str, replicas: Sequence[str]) -> tuple[str, ...]:
    directories = tuple(place.rstrip("/") or "/" for place in (directory, *replicas))
    if len({Path(place).absolute() for place in directories}) != len(directories):
        raise BadInput("a keyring and its replicas are in different directories", place=", ".join(directories))
    return directories


def _has(directory: str, name: str) -> bool:
    return Path(directory, name).exists()
