"""PyPI `signledger` with SQLite and Ed25519 signatures on every entry.

Verified by its own `verify_integrity`, and by checking every signature with the public key, as its README shows.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tamper.model import Act, Observer, Said, Scene, System
from tamper.peers import ledger, own_env
from tamper.peers.ledger import Ledger

SCRIPT = "drive_signledger.py"
TABLE = "ledger_entries"


class Store:
    """An SQLite store of it, and the key it signs with."""

    def __init__(self, place: Path, name: str = "audit") -> None:
        self.place, self.path, self.key = place, place / f"{name}.db", place / "signing.pem"

    def append(self, texts: list[str]) -> None:
        own_env.drive(SCRIPT, "append", self.path, self.key, given=texts)

    def read(self) -> list[str]:
        found = own_env.drive(SCRIPT, "read", self.path, self.key)
        assert isinstance(found, list)
        return [str(one) for one in found]

    def alter(self, position: int, text: str) -> None:
        self._sql(f"UPDATE {TABLE} SET data = ? WHERE id = ?", json.dumps({"record": text}), self._ids()[position])

    def cut(self, count: int) -> None:
        for one in self._ids()[-count:]:
            self._sql(f"DELETE FROM {TABLE} WHERE id = ?", one)

    def swap(self, a: int, b: int) -> None:
        texts = self.read()
        self.alter(a, texts[b])
        self.alter(b, texts[a])

    def forge(self, texts: list[str], *, own_key: bool = False) -> None:
        key = self.place / "own.pem" if own_key else self.key
        own_env.drive(SCRIPT, "forge", self.path, key, given=texts)

    def wipe(self) -> None:
        self.forge([])

    def strip(self) -> None:
        self._sql(f"UPDATE {TABLE} SET signature = NULL")

    def other(self) -> Ledger:
        return Store(self.place, "shown")

    def observers(self) -> list[Observer]:
        return [
            Observer("verify_integrity", lambda: self.ask("verify")),
            Observer("each signature checked", lambda: self.ask("signatures")),
        ]

    def hashes(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as base:
            return {str(text) for (text,) in base.execute(f"SELECT hash FROM {TABLE}")}

    def guesses(self, texts: list[str]) -> list[str]:
        found = own_env.drive(SCRIPT, "guess", self.path, self.key, given=texts)
        assert isinstance(found, list)
        return [str(one) for one in found]

    def ask(self, verb: str) -> Said:
        return own_env.say(SCRIPT, verb, self.path, self.key)

    def _ids(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as base:
            return [str(one) for (one,) in base.execute(f"SELECT id FROM {TABLE} ORDER BY timestamp ASC")]

    def _sql(self, text: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as base, base:
            base.execute(text, values)


def _of(scene: Scene) -> Store:
    assert isinstance(scene.subject, Store)
    return scene.subject


def _unsealed(scene: Scene) -> None:
    _of(scene).strip()


def _node_as_leaf(scene: Scene) -> None:
    store = _of(scene)
    scene.observers.append(Observer("MerkleTree.verify_proof", lambda: store.ask("node")))


ACTS: dict[str, Act] = {"unsealed": _unsealed, "node_as_leaf": _node_as_leaf}


def system() -> System:
    @contextmanager
    def opened() -> Iterator[Ledger]:
        own_env.python()
        place = Path(tempfile.mkdtemp(prefix="graven-signledger-", dir="/var/tmp"))
        try:
            store = Store(place)
            ledger.live(store)
            yield store
        finally:
            shutil.rmtree(place)

    return ledger.system("signledger", opened, lambda: own_env.version("signledger"), acts=ACTS)
