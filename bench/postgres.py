"""Baseline: PostgreSQL with a hash chain kept by a trigger.

A server of our own, in a temporary directory, on a free loopback port, under the account `postgres` when we are root
(it refuses to run as root), guarded by a random password. Durable as delivered: fsync and synchronous commit stay on.
Batches go in by COPY, the fastest door there is, one transaction a batch; the server checks that each row is JSON.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psycopg
from lab import AbsentError
from lab.ports import free_port

from bench.rounds import Turn

ACCOUNT = "postgres"
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}  # generous; whatever touches durability is left alone
WAIT_SECONDS_MAX = 60
AUTH = "scram-sha-256"

SCHEMA = """
DROP TABLE IF EXISTS log;
CREATE TABLE log (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event json NOT NULL, hash bytea NOT NULL);
CREATE OR REPLACE FUNCTION one_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE log IN SHARE ROW EXCLUSIVE MODE; -- a chain has one end: writers queue, readers do not
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last bytea;
BEGIN
    SELECT hash INTO last FROM log ORDER BY seq DESC LIMIT 1;
    NEW.hash := sha256(coalesce(last, ''::bytea) || convert_to(NEW.event::text, 'UTF8'));
    RETURN NEW;
END $$;
CREATE TRIGGER one_writer BEFORE INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION one_writer();
CREATE TRIGGER chain BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION chain();
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    version: str  # as in "15.14"
    dsn: str

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """Into a new table `log`, until `seconds` are over or the batches (NDJSON) are."""
        del place  # the server keeps its files in its own directory
        with psycopg.connect(self.dsn) as db:
            db.execute(SCHEMA)
            db.commit()
            done = 0
            started = perf_counter()
            for batch in batches:
                lines = batch.decode().splitlines()
                with db.cursor().copy("COPY log (event) FROM STDIN") as copy:
                    for line in lines:
                        copy.write_row((line,))
                db.commit()
                done += len(lines)
                if perf_counter() - started >= seconds:
                    break
            return Turn(done, perf_counter() - started)


@contextmanager
def serve(place: Path) -> Iterator[Server]:
    """A server with its files under `place`, stopped at the end. Raises AbsentError."""
    programs = _find_programs()
    account = ACCOUNT if os.geteuid() == 0 else None
    data = place / "postgres"
    data.mkdir(mode=0o700)
    password = secrets.token_hex(16)
    secret = data / "password"
    secret.write_text(password)
    cluster = data / "cluster"
    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={data}"
    options += "".join(f" -c {name}={value}" for name, value in SETTINGS.items())
    try:
        if account is not None:
            try:
                shutil.chown(data, account, account)
                shutil.chown(secret, account, account)
            except LookupError:
                raise AbsentError(f"it refuses to run as root, and there is no account {account!r}") from None
        _call(account, data, programs / "initdb", "-D", cluster, "-U", ACCOUNT, "-A", AUTH, f"--pwfile={secret}")
        control = (programs / "pg_ctl", "-D", cluster, "-w", "-t", WAIT_SECONDS_MAX)
        try:
            _call(account, data, *control, "-l", data / "server.log", "-o", options, "start")
            dsn = f"host=127.0.0.1 port={port} user={ACCOUNT} password={password} dbname=postgres"
            with psycopg.connect(dsn) as db:
                version = db.info.parameter_status("server_version") or "?"
            yield Server(version.split()[0], dsn)
        finally:
            with suppress(AbsentError):  # it may never have started
                _call(account, data, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data)


def _find_programs() -> Path:
    """The directory of `initdb` and `pg_ctl`: version 15 where there are several, else the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    found.sort(key=lambda path: path.parts[-3] == "15")
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise AbsentError("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    return Path(on_path).resolve().parent


def _call(account: str | None, cwd: Path, *command: object) -> None:
    # Not into pipes: the server would inherit them and keep them open.
    with (cwd / "calls.log").open("a+") as log:
        words = [str(word) for word in command]
        got = subprocess.run(
            words, user=account, group=account, extra_groups=None if account is None else [],
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
        )  # fmt: skip
        if got.returncode != 0:
            log.seek(0)
            raise AbsentError(f"{Path(words[0]).name} failed: {' '.join(log.read().split())[-200:]}")
