"""A table in PostgreSQL whose rows are chained by a trigger; the attacker is its superuser.

The same table as in the benchmark. It is verified by a client that reads every row and computes the chain again.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg
from bench import postgres
from psycopg import sql

from tamper.model import Act, Observer, Said, Scene, System
from tamper.peers import ledger
from tamper.peers.ledger import Ledger


class Table:
    """One chained table. `base` is a superuser's connection, in autocommit."""

    def __init__(self, base: "psycopg.Connection[tuple[object, ...]]", name: str = "log") -> None:
        self._base, self.name = base, name
        if name == "log":
            base.execute(postgres.SCHEMA.encode())
        else:
            base.execute(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (LIKE log INCLUDING ALL)".encode())

    def append(self, texts: list[str]) -> None:
        for text in texts:
            self._base.execute("INSERT INTO log (event) VALUES (to_json(%s::text))", (text,))

    def read(self) -> list[str]:
        rows = self._base.execute(self._q("SELECT event #>> '{{}}' FROM {} ORDER BY seq")).fetchall()
        return [str(text) for (text,) in rows]

    def alter(self, position: int, text: str) -> None:
        change = (
            "UPDATE {0} SET event = to_json(%s::text) WHERE seq = (SELECT seq FROM {0} ORDER BY seq OFFSET %s LIMIT 1)"
        )
        with self._unguarded():
            self._base.execute(self._q(change), (text, position))

    def cut(self, count: int) -> None:
        with self._unguarded():
            self._base.execute(
                self._q("DELETE FROM {0} WHERE seq IN (SELECT seq FROM {0} ORDER BY seq DESC LIMIT %s)"), (count,)
            )  # fmt: skip

    def swap(self, a: int, b: int) -> None:
        texts = self.read()
        self.alter(a, texts[b])
        self.alter(b, texts[a])

    def forge(self, texts: list[str], *, own_key: bool = False) -> None:
        """Rows deleted and put again without triggers, the chain computed here: no key is needed."""
        with self._unguarded():
            self._base.execute(self._q("DELETE FROM {}"))
            last = b""
            for text in texts:
                row = self._base.execute("SELECT to_json(%s::text)::text", (text,)).fetchone()
                assert row is not None
                last = sha256(last + str(row[0]).encode()).digest()
                self._base.execute(self._q("INSERT INTO {} (event, hash) VALUES (%s::json, %s)"), (row[0], last))

    def wipe(self) -> None:
        with self._unguarded():
            self._base.execute(self._q("TRUNCATE {} RESTART IDENTITY"))

    def other(self) -> Ledger:
        return Table(self._base, "shown")

    def observers(self) -> list[Observer]:
        return [Observer("the chain computed again", self._verify)]

    def hashes(self) -> set[str]:
        rows = self._base.execute(self._q("SELECT encode(hash, 'hex') FROM {}")).fetchall()
        return {str(text) for (text,) in rows}

    def guesses(self, texts: list[str]) -> list[str]:
        row = self._base.execute("SELECT hash FROM log ORDER BY seq DESC OFFSET 1 LIMIT 1").fetchone()
        assert row is not None and isinstance(row[0], bytes)
        return [sha256(row[0] + json.dumps(text).encode()).hexdigest() for text in texts]

    def reads_as(self, role: str) -> str:
        """What a role that may only append is told when it reads."""
        self._base.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; GRANT INSERT ON log TO {role}".encode())
        self._base.execute(f"SET ROLE {role}".encode())
        try:
            self._base.execute("SELECT * FROM log")
        except psycopg.Error as error:
            return str(error)
        finally:
            self._base.execute("RESET ROLE")
            self._base.execute(f"REVOKE ALL ON log FROM {role}; DROP ROLE {role}".encode())
        return ""

    def _verify(self) -> Said:
        rows = self._base.execute(self._q("SELECT seq, event::text, hash FROM {} ORDER BY seq")).fetchall()
        last = b""
        for seq, text, kept in rows:
            last = sha256(last + str(text).encode()).digest()
            if kept != last:
                return Said(1, f"mismatch: the hash of row {seq} is not that of the chain", True)
        return Said(0, f"{len(rows)} rows, the chain holds", False)

    def _q(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(sql.Identifier(self.name))

    @contextmanager
    def _unguarded(self) -> Iterator[None]:
        """No trigger fires: what a superuser may say."""
        self._base.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            self._base.execute("SET session_replication_role = DEFAULT")


def _tenant(scene: Scene) -> None:
    table = scene.subject
    assert isinstance(table, Table)
    said = table.reads_as("producer")
    scene.observers.append(Observer("no effect", lambda: Said(1, said or "every row was read", bool(said))))


ACTS: dict[str, Act] = {"tenant": _tenant}
REASONS = {
    "reseal": "no key is in it: the row on re-hashing says it all",
    "signing_key": "no key is in it: the row on what a verifier has says it all",
}


def system(place: Path, stack: ExitStack) -> System:
    """The column; one server for all rows, stopped with `stack`."""
    running: list[postgres.Server] = []

    def server() -> postgres.Server:
        if not running:
            place.chmod(0o711)
            running.append(stack.enter_context(postgres.serve(place)))
        return running[0]

    @contextmanager
    def opened() -> Iterator[Ledger]:
        with psycopg.connect(server().dsn, autocommit=True) as base:
            base.execute("DROP TABLE IF EXISTS shown")
            table = Table(base)
            ledger.live(table)
            yield table

    return ledger.system(
        "PostgreSQL chain", opened, lambda: server().version, acts=ACTS, reasons=REASONS
    )  # fmt: skip
