"""Times: entries dated back and forward, a clock that runs wrong, an old checkpoint stamped late."""

import json

from lab import AbsentError

from graven.app import Log
from graven.config import load_config
from graven.log.types import Batch
from graven.runtime.clock import US_PER_S
from tamper import calls, forge
from tamper.house import House
from tamper.model import Act, Observer, Said, Scene

WEEK_S = 7 * 86_400
BEHIND_S = 3_600


def reader(house: House) -> Observer:
    """Somebody who is given an entry's evidence and asks when it was sequenced, by whose word."""
    house.notes["index"] = 30

    def ask() -> Said:
        if house.world.authority is None:
            return Said(0, "no time authority here", False)
        path = house.outside / "evidence.json"
        path.unlink(missing_ok=True)
        house.run("prove", house.notes["index"], "--dir", house.directory, "-o", path)
        words = ["check", path, "--policy", house.policy, "--tsa-root", house.world.authority.ca_file]
        said = house.ask(*words)
        caution = next((line.strip() for line in said.text.splitlines() if line.strip().startswith("caution")), "")
        return Said(said.code, caution or said.text, said.alarm or bool(caution))

    return Observer("reader of the bracket", ask, 4.0)


def late_reader(house: House) -> Observer:
    """Whether a late stamp moved the time after which an entry is said to have been sequenced: it must not."""

    def ask() -> Said:
        if "lower" not in house.notes:
            return Said(0, "nothing yet", False)
        before, now = house.notes["lower"], lower_bound(house, int(str(house.notes["index"])))
        same = before == now
        return Said(0, f"the lower bound {'stands' if same else 'MOVED'}: after {now}, before it was {before}", same)

    return Observer("no effect", ask)


def lower_bound(house: House, index: int) -> str:
    """The latest time that stands in the log before an entry, as `show` has it."""
    shown = json.loads(house.run("show", index, "--dir", house.directory, "--json").splitlines()[0])
    return max((str(one["time"]) for one in shown["bracket"]["after"]), default="nothing")


def _of(scene: Scene) -> House:
    assert isinstance(scene.subject, House)
    return scene.subject


def _dated(house: House, by_s: int) -> None:
    """Append an event whose head states another time: the log's program, told what time it is."""
    house.stop()
    config = load_config(house.directory / "graven.toml")
    received_us = forge.now_us() + by_s * US_PER_S
    with Log.open(house.directory, config) as log:
        source = log.registers.source("app")
        committed = log.commit(Batch([b'{"action":"contract.sign"}'], [None], source.number, received_us))
        log.publish()
    house.notes["index"] = committed.first_index
    house.start()
    for _ in range(2):  # life goes on, and anchors with it
        house.append(3)
    if house.world.authority is not None:
        house.ask("anchor", "stamp", "--dir", house.directory)
    house.append(3)


def _clock(scene: Scene) -> None:
    house = _of(scene)
    house.stop()
    behind = f"import time\n_true, _ns = time.time, time.time_ns\ntime.time = lambda: _true() - {BEHIND_S}\n"
    behind += f"time.time_ns = lambda: _ns() - {BEHIND_S} * 10**9"
    house.start(code=behind)
    for _ in range(2):
        house.append(3)


def _late_stamp(scene: Scene) -> None:
    house = _of(scene)
    authority = house.world.authority
    if authority is None:
        raise AbsentError(house.world.absent["time authority"])
    old = house.outside / "kept.checkpoint"
    answer = house.append(3)
    index = int(str(answer["first_index"]))
    house.append(3)
    house.notes["index"] = index
    lower = lower_bound(house, index)
    query, token = house.outside / "late.tsq", house.outside / "late.tsr"
    calls.must(["openssl", "ts", "-query", "-data", old, "-sha256", "-cert", "-out", query])
    token.write_bytes(authority.stamp(query.read_bytes()))
    house.run("anchor", "import", token, "--checkpoint", old, "--dir", house.directory)
    house.append(3)
    house.notes["lower"] = lower


ACTS: dict[str, Act] = {
    "backdate": lambda scene: _dated(_of(scene), -WEEK_S),
    "forward": lambda scene: _dated(_of(scene), WEEK_S),
    "clock": _clock,
    "late_stamp": _late_stamp,
}
