"""Baseline: SQLite with a hash chain, as many programs keep their audit log.

The same typed decode as the floor, then each row holds SHA-256(hash of the row before ‖ event). One transaction a
batch, in WAL mode with `synchronous=FULL`: a commit is synced before it is answered.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time

from msgspec.json import Decoder

from bench.rounds import Turn
from graven.event import Event

_SCHEMA = "CREATE TABLE log (seq INTEGER PRIMARY KEY, event BLOB NOT NULL, hash BLOB NOT NULL) STRICT"


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over `batches` (NDJSON), until `seconds` are over or the batches are; `place` is a directory."""
    decode = Decoder(Event).decode
    path = place / "log.sqlite"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(_SCHEMA)
            last = bytes(32)
            done = 0

            def rows(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
                nonlocal last
                for line in lines:
                    decode(line)
                    last = sha256(last + line).digest()
                    yield line, last

            cpu_s, started = process_time(), perf_counter()
            for batch in batches:
                lines = batch.splitlines()
                db.execute("BEGIN")
                db.executemany("INSERT INTO log (event, hash) VALUES (?, ?)", rows(lines))
                db.execute("COMMIT")
                done += len(lines)
                if perf_counter() - started >= seconds:
                    break
            return Turn(done, perf_counter() - started, process_time() - cpu_s)
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
