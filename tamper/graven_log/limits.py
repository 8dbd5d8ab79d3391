"""Limits: what no log of any kind can see by itself. Each is argued in docs/threat-model.md."""

import sqlite3

from graven.witness.store import STORE_FILE
from tamper import forge
from tamper.graven_log import proofs
from tamper.house import House
from tamper.model import Act, Scene, WentWrongError

FORGED_AT = 30


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _nothing(scene: Scene) -> None:
    """No attack at all: whoever raises an alarm now cries wolf."""
    _of(scene).append()


def _lie(scene: Scene) -> None:
    """The goods never arrived."""
    _of(scene).append_bytes(b'{"action":"goods.receive","outcome":"success","message":"all of it"}\n')


def _unsent(scene: Scene) -> None:
    """Something is done, and no record of it is sent; the other records come as always."""
    _of(scene).append(2)


def _collusion(scene: Scene) -> None:
    house = _of(scene)
    size = house.size
    house.stop()
    forge.blindfold(house)
    forge.rewrite(house, FORGED_AT, b"payment.approve", b"payment.refused")
    for witness in house.witnesses:
        with sqlite3.connect(witness.directory / STORE_FILE) as base:
            base.execute("DELETE FROM cosigned WHERE origin = ?", (f"example.com/{house.root.name}",))
        base.close()
    house.start()
    house.append_bytes(b'{"action":"door.open"}\n', keep=False)
    if house.size < size:
        raise WentWrongError("the forged log is smaller than the true one")


ACTS: dict[str, Act] = {
    "nothing": _nothing,
    "lie": _lie,
    "unsent": _unsent,
    "no_receipt": proofs.no_receipt,
    "collusion": _collusion,
}
