"""What a witness remembers, in SQLite: the keys of the logs it knows, and the newest cosigned checkpoint of each.

    log_key(origin, vkey)                        a log has one key or more
    cosigned(origin, hash, size, root, time_s, note)   one row a log; `note` carries the log's lines and the witness's
    identity(vkey)                               the witness's own keys: what one has signed, no other database knows

Write-ahead log with `synchronous = FULL`: when a commit returns, the row survives a loss of power. (In SQLite's older
rollback mode FULL does not sync the directory after a commit, so the last commit may come undone.) Check and write are
one IMMEDIATE transaction, so they are atomic between processes, too.

A full disk is no harm: what did not fit is rolled back, Busy says so, and there may be space later. Any other error of
the disk is never tried again: it raises Broken, and whoever serves must stop, for what the disk holds is no longer
known. The next opening writes what stands in the write-ahead log to the database and syncs that, so it goes on from
what it reads, whatever a sync that failed before left only in memory.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from graven.core.checkpoint import LOG_KEY_TYPES, Checkpoint, check_origin
from graven.core.errors import BadInput, Broken, Busy
from graven.core.note import Key, format_vkey, parse_vkey
from graven.runtime.files import Files

STORE_FILE = "witness.db"
LOCK_WAIT_S = 5.0

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE log_key (origin TEXT NOT NULL, vkey TEXT NOT NULL PRIMARY KEY) STRICT",
    "CREATE TABLE cosigned (origin TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,"
    " root BLOB NOT NULL, time_s INTEGER NOT NULL, note BLOB NOT NULL) STRICT",
    "CREATE TABLE identity (vkey TEXT NOT NULL PRIMARY KEY) STRICT",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The newest cosigned checkpoint of a log, when it was cosigned, and its note with the cosignatures."""

    checkpoint: Checkpoint
    time_s: int
    note: bytes


class Store:
    """The database of one witness. One thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Raises BadInput when `directory` holds no witness, Broken when the database cannot be used."""
        path = directory / STORE_FILE
        self._place = str(path)
        if not path.is_file():
            raise BadInput("there is no witness here", place=self._place, mend="graven witness init DIR --name N")
        with self._mapped():
            self._base = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
            try:
                self._set_up()
            except BaseException:
                self._base.close()
                raise

    def close(self) -> None:
        """Let go of the database. Nothing is made durable by closing."""
        self._base.close()

    def check_identity(self, keys: Sequence[Key]) -> None:
        """Return when this database was made for the witness with `keys`. Raises Broken."""
        with self._mapped():
            known = {vkey for (vkey,) in self._base.execute("SELECT vkey FROM identity")}
        if known != set(map(format_vkey, keys)):
            raise Broken(
                "this database is another witness's",
                place=self._place,
                mend="bring keys and database together again; if the database is lost, make a new witness",
            )

    def add_key(self, key: Key) -> bool:
        """Know a log by one of its keys, whose name is the origin; False if it was known.

        Raises BadInput for a key that is not a log's, or that shares its id with another.
        """
        check_origin(key.name)
        if key.type not in LOG_KEY_TYPES:
            raise BadInput(
                f"a key of type 0x{key.type:02x}, which is not a log's",
                place=key.name,
                mend="what `graven vkey --all` prints: type 0x01 (Ed25519) or 0x06 (ML-DSA-44)",
            )
        with self.transaction():
            known = self.keys_of(key.name)
            if any(one.id == key.id and one != key for one in known):
                raise BadInput("another key of this log has the same key id", place=key.name)
            if key not in known:
                self._base.execute("INSERT INTO log_key VALUES (?, ?)", (key.name, format_vkey(key)))
            return key not in known

    def keys_of(self, origin: str) -> tuple[Key, ...]:
        """The keys of a log; none if it is not known."""
        with self._mapped():
            rows = self._base.execute("SELECT vkey FROM log_key WHERE origin = ? ORDER BY rowid", (origin,))
            return tuple(parse_vkey(vkey) for (vkey,) in rows)

    def origins(self) -> list[str]:
        """Every log that is known, in order of name."""
        with self._mapped():
            return [origin for (origin,) in self._base.execute("SELECT DISTINCT origin FROM log_key ORDER BY origin")]

    def latest(self, origin: str) -> Cosigned | None:
        """The newest checkpoint of `origin` that was cosigned."""
        with self._mapped():
            query = "SELECT size, root, time_s, note FROM cosigned WHERE origin = ?"
            row = self._base.execute(query, (origin,)).fetchone()
        return None if row is None else Cosigned(Checkpoint(origin, row[0], row[1]), row[2], row[3])

    def note_by_hash(self, origin_hash: str) -> bytes | None:
        """The note of the newest cosigned checkpoint, by the lower-case hex SHA-256 of its origin."""
        with self._mapped():
            row = self._base.execute("SELECT note FROM cosigned WHERE hash = ?", (origin_hash,)).fetchone()
        return None if row is None else bytes(row[0])

    def save(self, new: Cosigned) -> None:
        """Put `new` in the place of its log's row; durable once the transaction around it has ended."""
        head = new.checkpoint
        digest = sha256(head.origin.encode()).hexdigest()
        values = (head.origin, digest, head.size, head.root, new.time_s, new.note)
        with self._mapped():
            self._base.execute("INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?, ?, ?)", values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one at a time, durable after the block. Raises Busy when another process holds it too long or
        the disk is full, Broken when the disk fails.
        """
        with self._mapped():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # what matters is the first error
                    if self._base.in_transaction:
                        self._base.execute("ROLLBACK")
                raise

    def _set_up(self) -> None:
        (mode,) = self._base.execute("PRAGMA journal_mode = WAL").fetchone()
        self._base.execute("PRAGMA synchronous = FULL")
        with suppress(Busy), self._mapped():  # without space, it stays where it is
            self._base.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if mode != "wal" or version != _VERSION:
            raise Broken(
                f"the database of this witness has version {version} and mode {mode}",
                place=self._place,
                mend=f"version {_VERSION} on a local file system is needed",
            )

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extended codes add
            if code == sqlite3.SQLITE_FULL:
                raise Busy(
                    "no space is left for the database of this witness, so nothing is cosigned", place=self._place,
                    mend="free space on its file system",
                ) from error  # fmt: skip
            if code == sqlite3.SQLITE_BUSY:
                raise Busy("another process holds the database of this witness", place=self._place) from error
            raise Broken(f"the database of this witness failed: {error}", place=self._place) from error


def make_store(files: Files, directory: Path, keys: Sequence[Key]) -> None:
    """Write an empty database for the witness with `keys`, mode 0600. Raises OSError."""
    path = directory / STORE_FILE
    files.create(str(path)).close()
    base = sqlite3.connect(path, isolation_level=None)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute("BEGIN")
        for statement in _SCHEMA:
            base.execute(statement)
        base.executemany("INSERT INTO identity VALUES (?)", [(format_vkey(key),) for key in keys])
        base.execute("COMMIT")
    finally:
        base.close()
    files.sync_dir(str(directory))
