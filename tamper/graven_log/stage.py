"""A live log for each row, with all who look at it, and with those whom only some attacks concern."""

from collections.abc import Iterator
from contextlib import contextmanager

from graven.app import VERSION
from tamper import observers
from tamper.graven_log import ACTS, doors, faces, history, proofs, times
from tamper.house import build
from tamper.model import Attack, Scene, System
from tamper.world import World

STARTED_AGAIN = frozenset(
    {"flip", "rewrite", "truncate", "continue", "rollback", "unsealed", "reseal", "swap", "delete", "length"}
)
"""After these, the honest program is started over what is on the disk."""

NEWCOMER = frozenset({"verify", "who asks for a quorum", "next start", "monitoring", "the log's own events"})
"""Whom a newcomer can ask: nobody who kept anything."""


def system(world: World) -> System:
    @contextmanager
    def stage(attack: Attack) -> Iterator[Scene]:
        house = build(world, attack.key.replace("_", "-"))
        try:
            history.prepare(house, attack.key)
            scene = Scene(observers.everybody(house), house)
            if attack.key in faces.ACTS:
                scene.observers += faces.visitors(house)
            if attack.key in ("backdate", "forward"):
                scene.observers.append(times.reader(house))
            if attack.key == "late_stamp":
                scene.observers.append(times.late_reader(house))
            if attack.key == "other_text":
                scene.observers.append(proofs.producer(house))
            if attack.key in ("badge", "node_as_leaf"):
                scene.observers += proofs.evidence_readers(house)
            if attack.key == "silent":
                doors.heartbeat(house)
            if attack.key == "collusion":
                scene.observers = [one for one in scene.observers if one.name in NEWCOMER]
            if attack.key in STARTED_AGAIN:
                scene.observers.append(observers.next_start(house))
            yield scene
        finally:
            house.vacate()

    return System("Graven", stage, ACTS, {}, lambda: VERSION)
