"""One attack on one system: everybody is asked before, the attack is made, everybody is asked again."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter, sleep
from typing import cast

from lab import AbsentError

from tamper.model import (
    ABSENT,
    CAUGHT,
    MISSED,
    NOT_ACTED,
    Attack,
    Catch,
    Observer,
    Outcome,
    Said,
    Scene,
    System,
)

VISITOR = "visitor: "
"""Begins the name of somebody who looks as another does, at what he alone is shown."""

PAUSE_S = 0.2
AFTER_S = 1.5
"""How much longer the patient look once somebody has noticed."""


def act_out(system: System, attack: Attack, ended: Callable[[Scene], None] = lambda scene: None) -> Outcome:
    """The verdict; `ended` sees the scene before it is put away.

    Raises WentWrongError: the row could not be acted out as it says.
    """
    if attack.key in system.reasons:
        return Outcome(NOT_ACTED, why=system.reasons[attack.key])
    try:
        with cast("AbstractContextManager[Scene]", system.stage(attack)) as scene:
            noisy = {observer.name for observer in scene.observers if observer.ask().alarm}
            system.acts[attack.key](scene)
            found = _look(
                [one for one in scene.observers if one.name.removeprefix(VISITOR) not in noisy], tuple(sorted(noisy))
            )
            ended(scene)
            return found
    except AbsentError as why:
        return Outcome(ABSENT, why=str(why))


def _look(observers: list[Observer], discounted: tuple[str, ...]) -> Outcome:
    """Ask everybody once, and those who are patient again, until somebody saw it or their time is over."""
    started = perf_counter()
    catches: list[Catch] = []
    for group in ([one for one in observers if not one.last], [one for one in observers if one.last]):
        _ask_all(group, started, catches)
    named = {catch.by for catch in catches}
    silent = tuple(one.name for one in observers if one.name not in named)
    return Outcome(CAUGHT if catches else MISSED, tuple(catches), "", silent, discounted)


def _ask_all(observers: list[Observer], started: float, catches: list[Catch]) -> None:
    waiting = list(observers)
    while waiting:
        for observer in list(waiting):
            said: Said = observer.ask()
            now_s = perf_counter() - started
            if said.alarm:
                catches.append(Catch(observer.name, round(now_s, 2), said.code, said.line))
            if said.alarm or now_s >= observer.patience_s:
                waiting.remove(observer)
        if catches and waiting:  # one more look for those who take their time, then it is enough
            waiting = [one for one in waiting if perf_counter() - started < min(one.patience_s, AFTER_S)]
        if waiting:
            sleep(PAUSE_S)
