"""journald with sealing (Forward Secure Sealing), in a mount namespace of its own; the attacker is root.

`journalctl --setup-keys` makes the sealing state on the host and the verification key, which is kept elsewhere;
verified by `journalctl --verify --verify-key`. A forger uses systemd itself: `journalctl -o export`, edited, written
into a new file by `systemd-journal-remote`.
"""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab import AbsentError

from tamper import calls
from tamper.graven_log.doors import TEXT
from tamper.judge import VISITOR
from tamper.model import Act, Attack, Observer, Said, Scene, System
from tamper.peers import ledger
from tamper.peers.journal import INTERVAL_S, JOURNALD, SETTLE_S, Journal
from tamper.peers.ledger import LATER, OTHER, RECORDS, WORD

_ANY = re.compile(WORD)


def _of(scene: Scene) -> Journal:
    assert isinstance(scene.subject, Journal)
    return scene.subject


def _stopped(act: Act) -> Act:
    def stopped(scene: Scene) -> None:
        _of(scene).stop()
        act(scene)
        _of(scene).start()
        time.sleep(SETTLE_S)

    return stopped


def _nothing(scene: Scene) -> None:
    _of(scene).send([ledger.record(900 + number) for number in range(5)])


def _flip(scene: Scene) -> None:
    path = _of(scene).folder / "system.journal"
    data = path.read_bytes()
    at = data.index(f'"id":"30","action":"{WORD}'.encode()) + 20
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))


def _cut(scene: Scene) -> None:
    journal = _of(scene)
    count = len(journal.read())
    journal.forge(drop=(count - LATER, count))


def _continue(scene: Scene) -> None:
    _stopped(_cut)(scene)
    _of(scene).send([ledger.record(700 + number) for number in range(LATER)])


def _rollback(scene: Scene) -> None:
    """Files and sealing state as they were."""
    journal = _of(scene)
    shutil.rmtree(journal.folder)
    shutil.copytree(journal.place / "snapshot", journal.folder)


def _delete(scene: Scene) -> None:
    for path in _of(scene).folder.glob("*.journal*"):
        path.unlink()


def _shown(scene: Scene, *, seal: bool) -> None:
    """A forged file, shown to a visitor who verifies it with the key."""
    journal = _of(scene)
    shown = journal.place / "shown.journal"
    journal.forge(_ANY, seal=seal, to=shown)
    scene.observers.append(Observer(VISITOR + "journalctl --verify", lambda: journal.verify(file=shown)))


def _at(by_s: int) -> Act:
    return lambda scene: _of(scene).forge(extra=str(int((time.time() + by_s) * 1e6)))


def _injection(scene: Scene) -> None:
    journal = _of(scene)
    before = len(journal.read())
    journal.send([TEXT])
    texts = journal.read()
    good = len(texts) == before + 1 and texts[-1] == TEXT
    words = f"{len(texts) - before} record of one message"
    scene.observers.append(Observer("no effect", lambda: Said(0, words, good)))


def _crash(scene: Scene) -> None:
    journal = _of(scene)
    texts = [ledger.record(800 + number) for number in range(10)]
    journal.send(texts)
    journal.stop(signal.SIGKILL)
    journal.start()
    kept = len(set(texts) & set(journal.read()))
    scene.observers.append(Observer("no effect", lambda: Said(0, f"{kept} of 10 records are there", kept == 10)))


def _other_text(scene: Scene) -> None:
    _of(scene).send([ledger.record(600).replace(WORD, OTHER)])


def _lie(scene: Scene) -> None:
    _of(scene).send(['{"action":"goods.receive","message":"all of it"}'])


def _quiet(scene: Scene) -> None:
    """Nothing more is sent."""


ACTS: dict[str, Act] = {
    "nothing": _nothing, "flip": _flip, "rewrite": _stopped(lambda scene: _of(scene).forge(_ANY)),
    "truncate": _stopped(_cut), "continue": _continue, "rollback": _stopped(_rollback),
    "unsealed": _stopped(lambda scene: _of(scene).forge()),
    "reseal": _stopped(lambda scene: _of(scene).forge(_ANY, seal=True)), "delete": _stopped(_delete),
    "faces": lambda scene: _shown(scene, seal=False), "signing_key": lambda scene: _shown(scene, seal=True),
    "backdate": _stopped(_at(-7 * 86_400)), "forward": _stopped(_at(7 * 86_400)),
    "hide": _stopped(lambda scene: _of(scene).forge(drop=(20, 25))), "other_text": _other_text,
    "injection": _injection, "silent": _quiet, "crash": _crash, "lie": _lie, "unsent": _quiet,
    "no_receipt": _other_text,
}  # fmt: skip

REASONS = ledger.REASONS | {
    "swap": "its files are known by what is in them, not by their names",
    "clock": "it takes the host's clock, which cannot be changed for it alone",
    "verifying_key": "the key to verify makes every sealing key, but it takes a sealer of one's own to use it so",
    "guess": "no hashes of single records are shown to anybody",
    "length": "the row on one changed record says it all",
}


def system(place: Path, stack: ExitStack) -> System:
    @contextmanager
    def stage(attack: Attack) -> Iterator[Scene]:
        if os.geteuid() != 0:
            raise AbsentError("a journald of its own takes root")
        journal = Journal(Path(tempfile.mkdtemp(dir=place)))
        try:
            journal.start()
            journal.send([ledger.record(number) for number in range(RECORDS)])
            time.sleep(2 * INTERVAL_S)
            if attack.key == "rollback":
                journal.stop()
                shutil.copytree(journal.folder, journal.place / "snapshot")
                journal.start()
                journal.send([ledger.record(100 + number) for number in range(LATER)])
                time.sleep(2 * INTERVAL_S)
            yield Scene(journal.observers(), journal)
        finally:
            journal.stop()

    reasons = {key: why for key, why in REASONS.items() if key not in ACTS}
    return System("journald, sealed", stage, ACTS, reasons, _version)


def _version() -> str:
    if not JOURNALD.exists() or shutil.which("journalctl") is None or shutil.which("unshare") is None:
        raise AbsentError("systemd-journald and journalctl are not installed")
    if os.geteuid() != 0:
        raise AbsentError("a journald of its own takes root")
    return calls.must(["journalctl", "--version"]).split()[1]
