"""Whether an honest log comes out of a disaster unconvicted, and goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import AbsentError

from tamper import observers
from tamper.house import House, build, make_roomy
from tamper.model import Said, WentWrongError
from tamper.report import Disaster
from tamper.world import World


@dataclass(frozen=True, slots=True)
class Story:
    """A disaster. `act` makes it and its remedy, and tells what it saw; it ends with a log that runs."""

    key: str
    title: str
    steps: str
    remedy: str
    act: Callable[[House, Disaster], None]
    own_witnesses: bool = False
    small_disk: bool = False


def act_out(world: World, story: Story) -> Disaster:
    """Make it, then ask everybody. What went wrong is in `faults`."""
    found = Disaster(story.key, story.title, story.steps, story.remedy)
    house: House | None = None
    try:
        house = build(world, story.key, own_witnesses=story.own_witnesses, small_disk=story.small_disk)
        story.act(house, found)
        _judge(house, found)
    except AbsentError as why:
        found.seen.append(f"not acted out: {why}")
    except WentWrongError as error:
        found.faults.append(str(error))
    finally:
        if house is not None:
            house.vacate()
            for witness in house.witnesses if story.own_witnesses else ():
                witness.server.stop()
            make_roomy(house)
    return found


def expect(found: Disaster, what: str, said: Said, code: int, words: str = "") -> None:
    """Keep what a command said, as it should be; a fault if it is not."""
    found.seen.append(f"{what}: exit {said.code}")
    if said.code != code or words not in said.text:
        found.faults.append(f"{what}: exit {said.code} and not {code} {words!r}: {said.text[-500:]}")


def _judge(house: House, found: Disaster) -> None:
    """The log takes events, under a quorum; everything verifies; nothing that anybody keeps convicts it."""
    house.append(3)
    house.append(3)
    expect(found, "check --policy of today's checkpoint", observers.quorum(house), 0)
    expect(found, "verify", observers.verify(house), 0)
    expect(found, "the auditor", house.audit(), 0)
    kept = house.outside / "kept.checkpoint"
    expect(
        found, "verify --since", house.ask("verify", f"{house.url}/log", "--vkey", house.vkeys[0], "--since", kept), 0
    )
    expect(found, "receipts check", observers.receipts(house), 0)
    convicted = 0
    for folder in _evidence(house):
        notes = sorted(path for path in folder.iterdir() if path.suffix in (".checkpoint", ".prefix"))
        said = house.ask("check", *notes, "--policy", house.policy)
        bare = house.ask("check", *notes, "--vkey", house.vkeys[0])
        if 1 in (said.code, bare.code) and "forked" in said.text + bare.text:
            convicted += 1
            found.faults.append(f"{folder.name} convicts an honest log: {(said.text + bare.text)[-300:]}")
        if folder.name.startswith("fork"):
            found.faults.append(f"evidence of a fork is kept: {folder}")
    if not convicted:
        found.seen.append("nothing that a witness or an auditor keeps convicts the log")


def _evidence(house: House) -> list[Path]:
    """What witnesses and the auditor keep about this log."""
    origin = f"example.com/{house.root.name}"
    folders = [folder for witness in house.witnesses for folder in (witness.directory / "evidence").glob("*")]
    folders = [one for one in folders if (one / "refused.checkpoint").read_text().split("\n", 1)[0] == origin]
    return folders + [one for one in (house.outside / "audit" / "evidence").glob("*") if one.is_dir()]
