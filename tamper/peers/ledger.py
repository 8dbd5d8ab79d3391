"""Attacks on a chain of records, for systems whose records lie in a table: the same acts for each of them.

A system says how records are appended, read and verified, and how its store is written anew with everything recomputed:
which is what its own keys and hashes let root on the host do.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tamper.graven_log.doors import TEXT
from tamper.judge import VISITOR
from tamper.model import Act, Attack, Observer, Said, Scene, System

RECORDS = 60
LATER = 10
WORD, OTHER = "payment.approve", "payment.refused"
GUESSES = 2_000


class Ledger(Protocol):
    """One store of records, in order. A record is its text."""

    def append(self, texts: list[str]) -> None:
        """As a program does it, through the system's own door."""

    def read(self) -> list[str]:
        """Every record's text."""

    def alter(self, position: int, text: str) -> None:
        """Root writes other bytes where a record lies; nothing else is touched."""

    def cut(self, count: int) -> None:
        """Root removes the newest records; nothing else is touched."""

    def swap(self, a: int, b: int) -> None:
        """Root lets two records change places as they are."""

    def forge(self, texts: list[str], *, own_key: bool = False) -> None:
        """Root writes the whole store anew: every hash, and every signature by the system's keys or by his own."""

    def wipe(self) -> None:
        """Root makes it empty, as when it was new."""

    def other(self) -> "Ledger":
        """A second store under the same keys."""

    def observers(self) -> list[Observer]:
        """Who verifies, by the system's own means."""

    def hashes(self) -> set[str]:
        """What is there to see of the records without the records: hex."""

    def guesses(self, texts: list[str]) -> list[str]:
        """The hash that each text would have as the newest record, in hex, from what is published."""


def record(number: int) -> str:
    return f'{{"id":"{number}","action":"{WORD}","message":"{os.urandom(20).hex()}"}}'


def live(ledger: Ledger) -> None:
    """Records; whoever keeps something outside takes it; more records."""
    ledger.append([record(number) for number in range(RECORDS)])


def _of(scene: Scene) -> Ledger:
    return scene.subject  # type: ignore[return-value]


def _nothing(scene: Scene) -> None:
    _of(scene).append([record(1_000 + number) for number in range(5)])


def _flip(scene: Scene) -> None:
    ledger = _of(scene)
    ledger.alter(30, ledger.read()[30].replace(WORD, OTHER))


def _changed(ledger: Ledger) -> list[str]:
    texts = ledger.read()
    texts[30] = texts[30].replace(WORD, OTHER)
    return texts


def _rewrite(scene: Scene) -> None:
    _of(scene).forge(_changed(_of(scene)))


def _truncate(scene: Scene) -> None:
    _of(scene).cut(LATER)


def _continue(scene: Scene) -> None:
    _of(scene).cut(LATER)
    _of(scene).append([record(2_000 + number) for number in range(LATER)])


def _rollback(scene: Scene) -> None:
    _of(scene).forge(_of(scene).read()[:-LATER])


def _reseal(scene: Scene) -> None:
    _of(scene).forge(_changed(_of(scene)), own_key=True)


def _swap(scene: Scene) -> None:
    _of(scene).swap(20, 30)


def _delete(scene: Scene) -> None:
    _of(scene).wipe()


def _hide(scene: Scene) -> None:
    texts = _of(scene).read()
    _of(scene).forge(texts[:20] + texts[25:])


def _faces(scene: Scene) -> None:
    """A second store, one record changed, shown to a visitor who verifies it by the same means."""
    second = _of(scene).other()
    second.forge(_changed(_of(scene)))
    _visit(scene, second)


def _visit(scene: Scene, second: Ledger) -> None:
    """A visitor is shown `second`; the others go on looking at the true one."""
    for one in second.observers():
        scene.observers.append(Observer(VISITOR + one.name, one.ask))


def _own_history(scene: Scene) -> None:
    """A history made up, sealed with stolen keys."""
    second = _of(scene).other()
    second.forge([record(number) for number in range(RECORDS)])
    _visit(scene, second)


def _verifying(scene: Scene) -> None:
    """A history made up with what a verifier is given: no secret of the system."""
    second = _of(scene).other()
    second.forge([record(number) for number in range(RECORDS)], own_key=True)
    _visit(scene, second)


def _dated(when: str) -> Act:
    def act(scene: Scene) -> None:
        _of(scene).append([f'{{"time":"{when}","action":"contract.sign"}}'])

    return act


def _other_text(scene: Scene) -> None:
    """The program that takes records in changes a word before it stores them."""
    texts = [record(3_000 + number) for number in range(5)]
    _of(scene).append([text.replace(WORD, OTHER) for text in texts])


def _guess(scene: Scene) -> None:
    ledger = _of(scene)
    form = '{{"action":"salary.set","message":"{}"}}'
    secret = int.from_bytes(os.urandom(2), "big") % GUESSES
    ledger.append([form.format(secret)])
    seen = ledger.hashes()
    hashes = ledger.guesses([form.format(value) for value in range(GUESSES)])
    found = [value for value, hashed in enumerate(hashes) if hashed in seen]
    words = f"{GUESSES} values tried: {len(found)} match" + (", the right one" if found == [secret] else "")
    scene.observers.append(Observer("no effect", lambda: Said(0, words, not found)))


def _injection(scene: Scene) -> None:
    ledger = _of(scene)
    before = len(ledger.read())
    ledger.append([TEXT])
    texts = ledger.read()
    whole = len(texts) == before + 1 and texts[-1] == TEXT
    words = f"{len(texts) - before} record of one message, read back {'whole' if whole else 'changed'}"
    scene.observers.append(Observer("no effect", lambda: Said(0, words, whole)))


def _quiet(scene: Scene) -> None:
    """Nothing more is sent."""


def _lie(scene: Scene) -> None:
    _of(scene).append(['{"action":"goods.receive","message":"all of it"}'])


ACTS: dict[str, Act] = {
    "nothing": _nothing, "flip": _flip, "rewrite": _rewrite, "truncate": _truncate, "continue": _continue,
    "rollback": _rollback, "reseal": _reseal, "swap": _swap, "delete": _delete, "faces": _faces,
    "backdate": _dated("2026-01-01T00:00:00Z"), "forward": _dated("2036-01-01T00:00:00Z"),
    "clock": _dated("2026-01-01T01:00:00Z"), "signing_key": _own_history, "verifying_key": _verifying,
    "hide": _hide, "other_text": _other_text, "guess": _guess, "injection": _injection, "silent": _quiet,
    "lie": _lie, "unsent": _quiet, "no_receipt": _other_text,
}  # fmt: skip

REASONS = {
    "unsealed": "there is no state without a seal beside the sealed one to exchange it for",
    "bucket": "it has no copy of its own elsewhere",
    "late_stamp": "it takes no time stamps",
    "node_as_leaf": "it has no proofs of single records",
    "tenant": "it has no doors with tokens",
    "id_first": "records are not known by ids of their producers",
    "crash": "its own storage engine's matter, which it does not add to",
    "length": "its own storage engine's matter, which it does not add to",
    "badge": "there is one verifier, and no second of other origin to disagree",
    "collusion": "it has no witnesses",
}


def system(
    name: str,
    opened: Callable[[], AbstractContextManager[Ledger]],
    version: Callable[[], str],
    *,
    acts: dict[str, Act] | None = None,
    reasons: dict[str, str] | None = None,
) -> System:
    """A column. `opened` gives a store that has lived: records, what others keep of it, more records."""

    @contextmanager
    def stage(attack: Attack) -> Iterator[Scene]:
        with opened() as ledger:
            yield Scene(ledger.observers(), ledger)

    every = ACTS | (acts or {})
    why = {key: text for key, text in (REASONS | (reasons or {})).items() if key not in (acts or {})}
    return System(name, stage, every, why, version)
