"""Disasters outside: witnesses, the bucket, the time authority are gone for a while."""

import re

from lab import AbsentError

from tamper import calls, observers
from tamper.disasters.judge import Story, expect
from tamper.forward import Forwarder
from tamper.house import House
from tamper.report import Disaster
from tamper.world import start_witness


def _witnesses(house: House, found: Disaster) -> None:
    first, second = house.witnesses[:2]
    first.server.stop()
    house.append(3)
    expect(found, "one of three gone, check --policy", observers.quorum(house), 0)
    second.server.stop()
    before = house.size
    house.append(3)  # answered when published: after the deadline, with one cosignature
    if house.size <= before:
        found.faults.append("nothing is published without the quorum")
    short = _metric(house, "graven_witnesses_short")
    found.seen.append(f"two of three gone: published after the deadline, graven_witnesses_short is {short:g}")
    if short != 1:
        found.faults.append("no alarm while the quorum is not met")
    for witness in (first, second):
        witness.server = start_witness(witness.directory, witness.url.removeprefix("http://"))
    house.append(3)
    calls.until("the quorum", lambda: _metric(house, "graven_witnesses_short") == 0)


def _bucket(house: House, found: Disaster) -> None:
    if house.world.store is None:
        raise AbsentError(house.world.absent["write-once bucket"])
    config = house.directory / "graven.toml"
    endpoint = house.world.store.endpoint
    with Forwarder(endpoint.removeprefix("http://")) as door:
        house.stop()
        config.write_text(config.read_text().replace(endpoint, door.url))
        env = dict(house.world.store_env)
        house.start(env={**env, "AWS_ENDPOINT_URL_S3": door.url})
        house.append(3)
        calls.until("the copy", house.copied)
        door.shut()
        house.append()
        calls.until("trouble", lambda: "trouble" in _worm(house) and not house.copied(), 20)
        found.seen.append("events are taken and published while the bucket is away")
        door.reopen()
        calls.until("the copy to catch up", house.copied, 60)
        said = house.ask("verify", "--from", house.store, "--vkey", house.vkeys[0])
        expect(found, "verify --from", said, 0)
        house.stop()
        config.write_text(config.read_text().replace(door.url, endpoint))
        house.start()


def _authority(house: House, found: Disaster) -> None:
    authority = house.world.authority
    if authority is None:
        raise AbsentError(house.world.absent["time authority"])
    authority.reply = lambda _: (503, b"")
    try:
        for _ in range(3):
            house.append(3)
        calls.until("the failure to be told", lambda: _metric(house, "graven_time_authorities_failing") > 0, 20)
        found.seen.append("events are taken; graven_time_authorities_failing is 1")
    finally:
        authority.reply = None
    said = house.ask("anchor", "stamp", "--dir", house.directory)
    expect(found, "graven anchor stamp, once it is back", said, 0)


def _worm(house: House) -> str:
    return house.ask("worm", "status", "--dir", house.directory).text


def _metric(house: House, name: str) -> float:
    text = calls.http(f"{house.url}/metrics")[1].decode()
    match = re.search(rf"^{name} ([0-9.e+-]+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


STORIES = (
    Story(
        "witness-gone", "witnesses are gone", "one, then two of three witnesses end, and come back",
        "wait for them: below the quorum a tree is published after the deadline, with an alarm", _witnesses,
        own_witnesses=True,
    ),
    Story(
        "bucket-gone", "the bucket is gone", "the store answers nobody while events come",
        "wait for it: the copier catches up by itself", _bucket,
    ),
    Story(
        "authority-gone", "the time authority is gone", "it answers nobody while events come",
        "wait, or name another: brackets are wider meanwhile; `graven anchor stamp` asks at once", _authority,
    ),
)  # fmt: skip
