"""History: rewritten, cut, rolled back, sealed anew. The attacker has root on the host and every key there."""

from contextlib import ExitStack

from graven.demo import forgery
from tamper import forge, impostor
from tamper.house import House, copy_host, restore_host
from tamper.model import Act, Scene, WentWrongError


def prepare(house: House, key: str) -> None:
    """What must have happened before somebody can attack: a snapshot, then life goes on."""
    if key == "rollback":
        house.stop()
        copy_host(house, house.root / "snapshot")
        house.start()
        house.append()


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _flip(scene: Scene) -> None:
    forgery.flip_byte(_of(scene).directory, 30)


def _rewrite(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    forge.blindfold(house)
    forge.rewrite(house, 30, b"payment.approve", b"payment.refused")
    forge.show(house)
    statuses = forge.ask_witnesses(house, house.shown)
    house.notes["remark"] = f"the witnesses answered {', '.join(map(str, statuses))}"


def _truncate(scene: Scene) -> None:
    house = _of(scene)
    size = house.size
    house.stop()
    forge.blindfold(house)
    left = forge.cut_back(house, size - 10)
    if not 0 < left < size:
        raise WentWrongError(f"nothing was cut: {size} and {left}")
    forge.settle_tiles(house)
    stack = ExitStack()
    stack.enter_context(impostor.showing(house.directory / "log", house.port, size=left))
    house.notes["open"] = stack


def _continue(scene: Scene) -> None:
    house = _of(scene)
    size = house.size
    house.stop()
    forge.blindfold(house)
    forge.cut_back(house, size - 10)
    forge.show(house)
    while house.size <= size:
        house.append_bytes(b'{"action":"door.open"}\n' * 10, keep=False)
    statuses = forge.ask_witnesses(house, house.shown)
    house.notes["remark"] = f"the witnesses answered {', '.join(map(str, statuses))}"


def _rollback(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    restore_host(house, house.root / "snapshot")
    house.start(expect=False)


def _reseal(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    forge.blindfold(house)
    forgery.sign_with_another_key(house.directory, now_us=forge.now_us())
    forge.show(house)


ACTS: dict[str, Act] = {
    "flip": _flip, "rewrite": _rewrite, "truncate": _truncate, "continue": _continue, "rollback": _rollback,
    "reseal": _reseal,
}  # fmt: skip
