"""syslog-ng with secure logging (`$(slog)`); the attacker is root on the host, with the key that is there now.

`slogkey` makes a master key and the host's first key, which is kept elsewhere; each record is encrypted under a key of
its own, and the key before is gone. Verified by `slogverify` with the first key.
"""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab import AbsentError

from tamper import calls
from tamper.graven_log.doors import TEXT
from tamper.judge import VISITOR
from tamper.model import Act, Attack, Observer, Said, Scene, System
from tamper.peers import files, ledger
from tamper.peers.ledger import LATER, OTHER, RECORDS, WORD
from tamper.peers.syslog_store import Syslog


def _of(scene: Scene) -> Syslog:
    assert isinstance(scene.subject, Syslog)
    return scene.subject


def _visit(scene: Scene, store: Path) -> None:
    syslog = _of(scene)
    scene.observers.append(Observer(VISITOR + "slogverify", lambda: syslog.verify(store)))


def _nothing(scene: Scene) -> None:
    _of(scene).send([ledger.record(900 + number) for number in range(5)])


def _flip(scene: Scene) -> None:
    lines = _of(scene).lines()
    lines[30] = lines[30][:40] + ("A" if lines[30][40] != "A" else "B") + lines[30][41:]
    _of(scene).put(lines)


def _rewrite(scene: Scene) -> None:
    """Another record, sealed under the key the host has now, in the place of an old one: the old keys are gone."""
    syslog = _of(scene)
    forged = syslog.place / "forged.d"
    syslog.encrypt(syslog.store / "host.key", [ledger.record(30).replace(WORD, OTHER)], forged)
    lines = syslog.lines()
    lines[30] = (forged / "out").read_text().splitlines()[0]
    syslog.put(lines)


def _truncate(scene: Scene) -> None:
    _of(scene).put(_of(scene).lines()[:-LATER])


def _continue(scene: Scene) -> None:
    syslog = _of(scene)
    syslog.stop()
    _truncate(scene)
    syslog.start()
    syslog.send([ledger.record(700 + number) for number in range(LATER)])


def _rollback(scene: Scene) -> None:
    """Log, MAC and host key as they were."""
    syslog = _of(scene)
    syslog.stop()
    shutil.rmtree(syslog.store)
    shutil.copytree(syslog.place / "snapshot", syslog.store)


def _unsealed(scene: Scene) -> None:
    syslog = _of(scene)
    syslog.put([f"{ledger.record(number)}" for number in range(syslog.count())])


def _reseal(scene: Scene) -> None:
    """Everything anew, changed, from a new host key of the attacker's."""
    syslog = _of(scene)
    syslog.stop()
    texts = [ledger.record(number) for number in range(syslog.count())]
    syslog.make_keys(syslog.place / "own.key")
    forged = syslog.seal_alone(syslog.place / "own.key", texts, "forged.d")
    for name in ("out", "mac"):
        shutil.copy(forged / name, syslog.store / name)


def _swap(scene: Scene) -> None:
    lines = _of(scene).lines()
    lines[20], lines[30] = lines[30], lines[20]
    _of(scene).put(lines)


def _delete(scene: Scene) -> None:
    syslog = _of(scene)
    syslog.stop()
    for name in ("out", "mac"):
        (syslog.store / name).unlink()
    syslog.start()
    syslog.send([ledger.record(700)])


def _older(scene: Scene) -> None:
    """A visitor is shown an older log with its MAC, as if there were no more."""
    _visit(scene, _of(scene).place / "snapshot")


def _verifying(scene: Scene) -> None:
    """The key that verifies is the key that seals: a whole log of one's own from it."""
    syslog = _of(scene)
    texts = [ledger.record(number) for number in range(RECORDS)]
    _visit(scene, syslog.seal_alone(syslog.place / "k0", texts, "forged.d"))


def _hide(scene: Scene) -> None:
    lines = _of(scene).lines()
    _of(scene).put(lines[:20] + lines[25:])


def _dated(when: str) -> Act:
    return lambda scene: _none(_of(scene).send([f'{{"time":"{when}","action":"contract.sign"}}']))


def _none(_: object) -> None:
    """For acts that end in an expression."""


def _injection(scene: Scene) -> None:
    stored = _of(scene).send([TEXT])
    calls.until("all lines of it", lambda: _of(scene).count() >= RECORDS + LATER + len(TEXT.splitlines()), 10)
    stored = max(stored, len(TEXT.splitlines()))
    scene.observers.append(Observer("no effect", lambda: Said(0, f"{stored} records of one message", stored == 1)))


def _crash(scene: Scene) -> None:
    syslog = _of(scene)
    before = syslog.count()
    syslog.send([ledger.record(800 + number) for number in range(10)])
    syslog.stop(signal.SIGKILL)
    syslog.start()
    kept = syslog.count() - before
    scene.observers.append(Observer("no effect", lambda: Said(0, f"{kept} of 10 records are there", kept >= 10)))


def _other_text(scene: Scene) -> None:
    _of(scene).send([ledger.record(600).replace(WORD, OTHER)])


def _lie(scene: Scene) -> None:
    _of(scene).send(['{"action":"goods.receive","message":"all of it"}'])


def _quiet(scene: Scene) -> None:
    """Nothing more is sent."""


ACTS: dict[str, Act] = {
    "nothing": _nothing, "flip": _flip, "rewrite": _rewrite, "truncate": _truncate, "continue": _continue,
    "rollback": _rollback, "unsealed": _unsealed, "reseal": _reseal, "swap": _swap, "delete": _delete,
    "faces": _older, "backdate": _dated("2026-01-01T00:00:00Z"), "forward": _dated("2036-01-01T00:00:00Z"),
    "clock": _dated("2026-01-01T01:00:00Z"), "verifying_key": _verifying, "hide": _hide, "other_text": _other_text,
    "injection": _injection, "silent": _quiet, "crash": _crash, "lie": _lie, "unsent": _quiet,
    "no_receipt": _other_text,
}  # fmt: skip

REASONS = ledger.REASONS | {
    "signing_key": "the key on the host seals only what comes next; the row on what a verifier has says the rest",
    "guess": "records are encrypted and no hashes of them are shown",
    "length": "the row on one changed record says it all",
}


def system(place: Path, stack: ExitStack) -> System:
    @contextmanager
    def stage(attack: Attack) -> Iterator[Scene]:
        syslog = Syslog(Path(tempfile.mkdtemp(dir=place)))
        syslog.set_up()
        try:
            syslog.start()
            syslog.send([ledger.record(number) for number in range(RECORDS)])
            syslog.stop()
            shutil.copytree(syslog.store, syslog.place / "snapshot")
            syslog.start()
            syslog.send([ledger.record(100 + number) for number in range(LATER)])
            yield Scene(syslog.observers(), syslog)
        finally:
            syslog.stop(signal.SIGKILL)

    reasons = {key: why for key, why in REASONS.items() if key not in ACTS}
    return System("syslog-ng, slog", stage, ACTS, reasons, _version)


def _version() -> str:
    root = files.find("syslog-ng", Path("/usr/sbin/syslog-ng"), files.SYSLOG_NG / "usr/sbin/syslog-ng").parents[2]
    env = {"LD_LIBRARY_PATH": str(root / "usr/lib/syslog-ng")}
    text = calls.call([root / "usr/sbin/syslog-ng", "--version"], env=env).text
    found = [line.split("(")[-1].rstrip(")") for line in text.splitlines() if line.startswith("syslog-ng")]
    if not found:
        raise AbsentError("syslog-ng does not start")
    return found[0].split()[-1]
