"""PyPI `auditchain` in its strongest form: every record signed (Ed25519), a signed checkpoint kept elsewhere.

The signing key is on the host, as it must be to sign. Verified by its own command, `auditchain verify`, with the public
key; and by whoever kept a checkpoint, with that.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tamper import calls
from tamper.model import Act, Observer, Said, Scene, System
from tamper.peers import ledger, own_env
from tamper.peers.ledger import Ledger

SCRIPT = "drive_auditchain.py"
TABLE = "audit_records"


class Store:
    """An SQLite store of it. `keys` holds the signing key; `outside` what others have."""

    def __init__(self, place: Path, name: str = "audit") -> None:
        self.place, self.path = place, place / f"{name}.sqlite"
        self.key, self.public = place / "signing.key", place / "signing.pub"
        self.checkpoint = place / "kept.checkpoint"

    def append(self, texts: list[str]) -> None:
        own_env.drive(SCRIPT, "append", self.path, self.key, given=texts)

    def read(self) -> list[str]:
        found = own_env.drive(SCRIPT, "read", self.path, self.key)
        assert isinstance(found, list)
        return [str(one) for one in found]

    def alter(self, position: int, text: str) -> None:
        self._sql(f"UPDATE {TABLE} SET subject = ? WHERE seq = ?", text, position)

    def cut(self, count: int) -> None:
        self._sql(f"DELETE FROM {TABLE} WHERE seq > (SELECT max(seq) FROM {TABLE}) - ?", count)

    def swap(self, a: int, b: int) -> None:
        for old, new in ((a, -1), (b, a), (-1, b)):
            self._sql(f"UPDATE {TABLE} SET seq = ? WHERE seq = ?", new, old)

    def forge(self, texts: list[str], *, own_key: bool = False) -> None:
        """Everything anew by its own API; `own_key`: by a key that is not the log's."""
        key = self.key
        if own_key:
            key = self.place / f"own-{self.path.stem}.key"
            if not key.exists():
                self._command("keygen", "--private-out", key, "--public-out", key.with_suffix(".pub"))
        own_env.drive(SCRIPT, "forge", self.path, key, given=texts)

    def strip(self) -> None:
        """The signatures taken off, the chain as it is."""
        self._sql(f"UPDATE {TABLE} SET signature = '', signer_id = ''")

    def wipe(self) -> None:
        self.forge([])

    def other(self) -> Ledger:
        return Store(self.place, "shown")

    def observers(self) -> list[Observer]:
        found = [Observer("auditchain verify", lambda: self._ask("verify", self.path, "--signer", f"s0={self.public}"))]
        words = ["verify", self.path, "--checkpoint", self.checkpoint, "--public-key", self.public]
        return [*found, Observer("holder of a checkpoint", lambda: self._ask(*words))]

    def hashes(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as base:
            return {str(text) for (text,) in base.execute(f"SELECT hash FROM {TABLE}")}

    def guesses(self, texts: list[str]) -> list[str]:
        found = own_env.drive(SCRIPT, "guess", self.path, self.key, given=texts)
        assert isinstance(found, list)
        return [str(one) for one in found]

    def set_up(self) -> None:
        self._command("keygen", "--private-out", self.key, "--public-out", self.public)

    def keep(self) -> None:
        """Somebody outside takes a signed checkpoint home."""
        self._command("checkpoint", self.path, "--output", self.checkpoint, "--signing-key", self.key)

    def prove(self) -> Path:
        """A proof of one record, by its own command."""
        path = self.place / "proof.json"
        self._command("proof", self.path, "--seq", "30", "--output", path)
        return path

    def check_proof(self, proof: Path) -> Said:
        kept = self.place / "now.checkpoint"
        if not kept.exists():
            self._command("checkpoint", self.path, "--output", kept, "--signing-key", self.key)
        return self._ask("verify-proof", proof, "--checkpoint", kept, "--public-key", self.public)

    def _sql(self, text: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as base, base:
            base.execute(text, values)

    def _ask(self, *words: object) -> Said:
        return calls.call([own_env.python(), "-m", "auditchain", *words])

    def _command(self, *words: object) -> None:
        calls.must([own_env.python(), "-m", "auditchain", *words])


def _of(scene: Scene) -> Store:
    assert isinstance(scene.subject, Store)
    return scene.subject


def _unsealed(scene: Scene) -> None:
    _of(scene).strip()


def _node_as_leaf(scene: Scene) -> None:
    """The lowest hash dropped, the place halved."""
    store = _of(scene)
    proof = store.prove()
    scene.observers.append(Observer("auditchain verify-proof", lambda: store.check_proof(proof)))
    document = json.loads(proof.read_text())
    for name in ("path", "hashes", "proof", "siblings"):
        if isinstance(document.get(name), list):
            del document[name][0]
    document["seq"] = int(document["seq"]) // 2
    proof.write_text(json.dumps(document))


ACTS: dict[str, Act] = {"unsealed": _unsealed, "node_as_leaf": _node_as_leaf}


def system() -> System:
    @contextmanager
    def opened() -> Iterator[Ledger]:
        own_env.python()
        place = Path(tempfile.mkdtemp(prefix="graven-auditchain-", dir="/var/tmp"))
        try:
            store = Store(place)
            store.set_up()
            ledger.live(store)
            store.keep()
            store.append([ledger.record(500 + number) for number in range(5)])
            yield store
        finally:
            shutil.rmtree(place)

    return ledger.system("auditchain", opened, lambda: own_env.version("auditchain"), acts=ACTS)
