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

import contextlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from graven.core.errors import BadInput, Broken
from graven.core.spelling import check_number
from graven.keys.copies import DATA_DIRECTORY, Copies, install, read_private, require_private_directory
from graven.keys.datakey import KINDS, DataKey, Kind, decode_data_keys, encode_data_keys, make_data_key
from graven.keys.passphrase import SCRYPT_N, Passphrase
from graven.keys.pending import REWRAP_FILE, Pending, parse_pending
from graven.keys.rootkeys import (
    HIGHEST_FILE,
    KEY_FILES,
    KEYRING_FILE,
    RECEIPT_FILE,
    ROTATION_FILE,
    SIGNER_FILE,
    SIGNING_FILES,
    RootKeys,
    format_root_keys,
    format_signing_file,
    make_root_keys,
    nothing_signed,
    parse_keyring_file,
    parse_signing_file,
)
from graven.runtime.files import Files, LocalFiles

SEGMENT_DIGITS = 20
DATA_FILE = re.compile(rf"{DATA_DIRECTORY}/([0-9]{{{SEGMENT_DIGITS}}})\.(0|[1-9][0-9]{{0,8}})\.json", re.ASCII)
SEGMENTS_CACHED_MAX = 1024  # about 1 KiB each with one class

_CLASS = re.compile(r"[a-z0-9-]{1,32}")

_Stamp = tuple[int, int, int]
_T = TypeVar("_T")


class Keyring:
    """An open keyring. Threads may share it; across processes, changes made by one are seen by the others at once."""

    def __init__(
        self,
        copies: Copies,
        origin: str,
        kek: bytes,
        window_key: bytes,
        passphrase: Passphrase | None,
        pending: Pending | None = None,
    ) -> None:
        """Use `create` or `open`."""
        self.next_kek = pending.next_kek(kek) if pending is not None and pending.step == "wrapping" else None
        self.pending = pending
        """A re-wrapping that is under way (`rewrap.py`)."""
        self.origin = origin
        self.window_key = window_key
        self._kek = kek
        self._copies = copies
        self._passphrase = passphrase
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[_Stamp, dict[bytes, DataKey]]] = OrderedDict()

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
    ) -> "Keyring":
        """Make a new keyring with new random keys, durable in `directory` and in every replica, and open it.

        None of the directories may exist. Raises BadInput if one does, Broken if a disk fails.
        """
        files = LocalFiles() if files is None else files
        contents = format_root_keys(make_root_keys(origin), passphrase, scrypt_n=scrypt_n)
        contents[HIGHEST_FILE] = nothing_signed(origin)
        for place in _directories(directory, replicas):
            install(files, place, contents)
        return cls.open(directory, passphrase=passphrase, replicas=replicas, files=files)

    @classmethod
    def open(
        cls,
        directory: str,
        *,
        passphrase: Passphrase | None = None,
        replicas: Sequence[str] = (),
        files: Files | None = None,
    ) -> "Keyring":
        """Open a keyring for reading, and for writing once something is written.

        A replica that is away is no error here, only when a key is made, marked or destroyed. Raises BadInput if there
        is no keyring, others may read it, or the passphrase is missing or wrong; Broken if it is damaged.
        """
        directories = _directories(directory, replicas)
        for place in directories:
            require_private_directory(place)
        copies = Copies(directories, LocalFiles() if files is None else files)
        pending = copies.read(REWRAP_FILE, lambda data, path: parse_pending(data, place=path) if data else None)
        if pending is not None and not _has(directory, REWRAP_FILE) and _has(directory, KEYRING_FILE):
            pending = pending if pending.step == "wrapping" else None  # a replica's, older than the primary
        opened: tuple[str, bytes, bytes, bool] | None
        if pending is not None and pending.step == "commit":
            copies.also = pending.files[KEYRING_FILE]
            opened = parse_keyring_file(copies.also, passphrase, place=f"{directory}/{REWRAP_FILE}")
        else:
            opened = copies.read(KEYRING_FILE, lambda data, path: parse_keyring_file(data, passphrase, place=path))
        if opened is None:
            raise BadInput(
                "there is no keyring here",
                place=directories[0],
                mend="give its place in [keys] dir; `graven init` makes one, `graven keys restore` brings one back",
            )
        origin, kek, window_key, sealed = opened
        if passphrase is not None and not sealed:
            copies.note(f"{copies.path(KEYRING_FILE)} is not sealed: the passphrase given was not needed")
        if pending is not None and pending.origin != origin:
            raise Broken("a re-wrapping of another keyring lies here", place=f"{directory}/{REWRAP_FILE}")
        try:
            return cls(copies, origin, kek, window_key, passphrase if sealed else None, pending)
        except Broken as error:
            if _has(directory, REWRAP_FILE):
                raise
            copies.note(f"a replica has a {REWRAP_FILE} of before: {error.what}")
            return cls(copies, origin, kek, window_key, passphrase if sealed else None)

    @property
    def directory(self) -> str:
        return self._copies.directories[0]

    @property
    def replicas(self) -> tuple[str, ...]:
        return self._copies.directories[1:]

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
            n = len(self._data_files(segment_start))
            self._copies.write(_data_file(segment_start, n), encode_data_keys(keys, self.next_kek or self._kek))
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
            for keys in self._segment_keys(start):
                if key_id in keys:
                    return keys[key_id]
        return None

    def has(self, key_id: bytes, segment_start: int | None = None) -> bool:
        """Whether the key is there; raises as `data_key`."""
        return self.find_data_key(key_id, segment_start) is not None

    def segment_keys(self, segment_start: int) -> dict[bytes, bytes]:
        """Every key of a segment that is there: id -> 32-byte key. Raises as `data_key`."""
        return {key.id: key.key for keys in self._segment_keys(segment_start) for key in keys.values()}

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
            return any(self._destroy_in(name, key_id) for start in starts for name in self._data_files(start))

    def segment_starts(self) -> list[int]:
        """The starts of all segments that ever had keys here, ascending."""
        return sorted({start for start, _ in self._listed()})

    def data_files(self) -> Iterator[tuple[str, bytes]]:
        """Every file of data keys, (name, bytes), each checked: for a recovery kit. Raises Broken if one is damaged."""
        for start, n in sorted(self._listed()):
            name = _data_file(start, n)
            data = self._copies.read(name, self._accept_data)
            if data is not None:
                yield name, data

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

    def seal_signing_file(self, file: str, text: str) -> bytes:
        """The bytes of a signing file that holds the line `text`, sealed as this keyring is."""
        return format_signing_file(text, file, self.origin, self._passphrase)

    def read_file(self, name: str, accept: Callable[[bytes, str], _T]) -> _T | None:
        """What `accept(data, path)` makes of a file of the keyring; None if no copy has it. Raises as `accept`."""
        return self._copies.read(name, accept)

    def wrap_data(self, kek: bytes) -> int:
        """Wrap every file of data keys under `kek`, durably in every copy; how many there are. Raises Busy, Broken."""
        listed = sorted(self._listed())
        for start, n in listed:
            name = _data_file(start, n)
            keys = self._copies.read(name, self._decode) or ()
            self._copies.write(name, encode_data_keys(keys, kek), wipe=True)
        return len(listed)

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
        if not self._listed():
            needed.discard(RECEIPT_FILE)  # a signer's own keyring has none, and no data key
        there = {file for file in KEY_FILES if _size(self._copies.path(file))}
        signing = {file: self.signing_key(file) for file in KEY_FILES if file in needed | there}
        return RootKeys(self.origin, self._kek, self.window_key, signing)

    def marks(self) -> list[tuple[str, bytes]]:
        """The `highest-checkpoint` files there are, (path, bytes), unchecked."""
        return self._copies.read_all(HIGHEST_FILE)

    def rotation_stamp(self) -> _Stamp | None:
        """Changes when the primary's `rotation.json` was replaced."""
        return _stamp(self._copies.path(ROTATION_FILE))

    def mark_stamp(self) -> _Stamp | None:
        """Changes when the primary's `highest-checkpoint` was replaced."""
        return _stamp(self._copies.path(HIGHEST_FILE))

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
        gaps: dict[str, int] = {}
        names = [_data_file(*listed) for listed in self._listed()]
        for replica in self.replicas:
            sizes = [_size(f"{directory}/{name}") for name in names for directory in (self.directory, replica)]
            missing = sum(ours != theirs for ours, theirs in zip(sizes[::2], sizes[1::2], strict=True))
            if missing:
                gaps[replica] = missing
        return gaps

    def replicate(self, directory: str, *, files: Files | None = None) -> int:
        """Make `directory` a replica, or bring it up to date; the number of files written, durably.

        Every file of the primary that is whole and differs is copied, so a key destroyed here is destroyed there. Name
        it in [keys] replicas from then on. Raises BadInput if the directory is something else, Broken if a disk fails.
        """
        files = LocalFiles() if files is None else files
        directory = directory.rstrip("/")
        with self._copies.locked():
            Copies([self.directory], files).require()
            contents = dict(self._whole_files())
            if not Path(directory).exists():
                install(files, directory, contents)
                return len(contents)
            if read_private(f"{directory}/{KEYRING_FILE}") != contents[KEYRING_FILE]:
                raise BadInput("this directory is there and is no replica of this keyring", place=directory)
            stale = [name for name, data in contents.items() if read_private(f"{directory}/{name}") != data]
            copies = Copies([directory], files)
            for name in stale:
                copies.write(name, contents[name], wipe=True)
            over = {REWRAP_FILE, HIGHEST_FILE, ROTATION_FILE, *KEY_FILES} - contents.keys()  # of changes that are done
            for name in sorted(over):
                copies.remove(name)
            return len(stale)

    def _whole_files(self) -> Iterator[tuple[str, bytes]]:
        """The primary's files, (name, bytes); those of data keys only if they are whole."""
        for name in (KEYRING_FILE, HIGHEST_FILE, ROTATION_FILE, REWRAP_FILE, SIGNER_FILE, *KEY_FILES):
            if (data := read_private(self._copies.path(name))) is not None:
                yield name, data
        for start, n in self._listed():
            path = self._copies.path(_data_file(start, n))
            if (data := read_private(path)) is not None:
                try:
                    self._decode(data, path)
                except Broken as error:
                    self.note(f"{path} is not copied: {error.what}")
                    continue
                yield _data_file(start, n), data

    def _segment_keys(self, segment_start: int) -> Iterator[dict[bytes, DataKey]]:
        n = 0
        while (keys := self._cached(_data_file(segment_start, n))) is not None:
            yield keys
            n += 1

    def _cached(self, name: str) -> dict[bytes, DataKey] | None:
        """The keys of one file. The cache holds while the primary's file is the same one, so a destroyed key goes."""
        stamp = _stamp(self._copies.path(name))
        if stamp is not None:
            with self._lock:
                held = self._cache.get(name)
                if held is not None and held[0] == stamp:
                    self._cache.move_to_end(name)
                    return held[1]
        decoded = self._copies.read(name, self._decode)
        if decoded is None:
            return None
        keys = {key.id: key for key in decoded}
        if stamp is not None:
            with self._lock:
                self._cache[name] = (stamp, keys)
                self._cache.move_to_end(name)
                if len(self._cache) > SEGMENTS_CACHED_MAX:
                    self._cache.popitem(last=False)
        return keys

    def _decode(self, data: bytes, path: str) -> tuple[DataKey, ...]:
        if self.next_kek is not None:  # wrapped under this one already, or not yet
            with contextlib.suppress(Broken):
                return decode_data_keys(data, self.next_kek, place=path)
        return decode_data_keys(data, self._kek, place=path)

    def _accept_data(self, data: bytes, path: str) -> bytes:
        self._decode(data, path)
        return data

    def _data_files(self, segment_start: int) -> list[str]:
        names: list[str] = []
        while self._copies.read_all(name := _data_file(segment_start, len(names))):
            names.append(name)
        return names

    def _listed(self) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for directory in self._copies.directories:
            path = Path(directory, DATA_DIRECTORY)
            if path.is_dir():
                matches = (DATA_FILE.fullmatch(f"{DATA_DIRECTORY}/{entry.name}") for entry in path.iterdir())
                found.update((int(match[1]), int(match[2])) for match in matches if match)
        return found

    def _destroy_in(self, name: str, key_id: bytes) -> bool:
        good = self._copies.read(name, self._decode) or ()
        target = encode_data_keys([key for key in good if key.id != key_id], self.next_kek or self._kek)
        found = False
        for path, data in reversed(self._copies.read_all(name)):
            try:
                held = any(key.id == key_id for key in self._decode(data, path))
            except Broken:
                self._copies.replace(
                    path, target, wipe=True
                )  # damaged: it may hold the key, so a good copy replaces it
                continue
            if held:
                self._copies.replace(path, target, wipe=True)
                found = True
        return found


def _directories(directory: str, replicas: Sequence[str]) -> tuple[str, ...]:
    directories = tuple(place.rstrip("/") or "/" for place in (directory, *replicas))
    if len({Path(place).absolute() for place in directories}) != len(directories):
        raise BadInput("a keyring and its replicas are in different directories", place=", ".join(directories))
    return directories


def _data_file(segment_start: int, n: int) -> str:
    return f"{DATA_DIRECTORY}/{segment_start:0{SEGMENT_DIGITS}d}.{n}.json"


def _has(directory: str, name: str) -> bool:
    return Path(directory, name).exists()


def _size(path: str) -> int | None:
    stamp = _stamp(path)
    return None if stamp is None else stamp[2]


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116  (on the way of every frame read; Path.stat takes four times as long)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
