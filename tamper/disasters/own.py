"""Disasters of the log's own host: a snapshot, the whole host, the disk, the clock."""

import os
import signal
from contextlib import suppress

from lab import AbsentError

from tamper import calls
from tamper.disasters.judge import Story, expect
from tamper.house import House, copy_host, restore_host
from tamper.model import WentWrongError
from tamper.report import Disaster

AHEAD_S = 86_400


def _die(house: House) -> None:
    """Power off: nothing is said, nothing is closed."""
    assert house.server is not None
    house.server.stop(signal.SIGKILL)
    house.server = None


def _refuses(house: House, found: Disaster, words: str) -> None:
    """The start must end with 3, say what is wrong, and have signed nothing."""
    signed = (house.keyring / "highest-checkpoint").read_bytes()
    server = house.start(expect=False)
    if server.url:
        found.faults.append("the log started over data that is older than what was signed")
        house.stop()
        return
    code = server.stop()
    house.server = None
    text = server.errors.read_text().splitlines()[-1]
    found.seen.append(f"the start refuses: exit {code}")
    if code != 3 or words not in text:
        found.faults.append(f"the start ended with {code}: {text[:400]}")
    if (house.keyring / "highest-checkpoint").read_bytes() != signed:
        found.faults.append("something was signed over older data")


def _snapshot(house: House, found: Disaster) -> None:
    house.stop()
    copy_host(house, house.root / "snapshot")
    house.start()
    house.append()
    if house.audit().alarm:
        raise WentWrongError("the auditor finds fault before the disaster")
    _die(house)
    restore_host(house, house.root / "snapshot")
    _refuses(house, found, "rolled back")
    old = house.root / "old"
    house.directory.rename(old)
    said = house.ask(
        "restore", old, "--dir", house.directory, "--keys", house.keyring, "--mirror", house.outside / "audit"
    )  # fmt: skip
    expect(found, "graven restore --mirror", said, 0)
    house.start()


def _host_lost(house: House, found: Disaster) -> None:
    if not house.store:
        raise AbsentError(house.world.absent["write-once bucket"])
    kit = house.outside / "kit"
    house.run("keys", "backup", kit, "--no-passphrase", "--dir", house.directory)
    house.append()
    calls.until("the copy", house.copied)
    house.append(5)
    if house.audit().alarm:
        raise WentWrongError("the auditor finds fault before the disaster")
    _die(house)
    for number, path in enumerate((house.directory, house.keyring)):
        path.rename(house.root / f"lost-{number}")
    said = house.ask(
        "restore", "--from", house.store, "--dir", house.directory, "--kit", kit, "--mirror", house.outside / "audit"
    )  # fmt: skip
    expect(found, "graven restore --from --kit --mirror", said, 0)
    house.start()


def _disk_full(house: House, found: Disaster) -> None:
    filler = house.home / "filler"
    with filler.open("wb", buffering=0) as file:
        for step in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(bytes(step))
    statuses = []
    for _ in range(3):
        body = b'{"action":"door.open","message":"' + os.urandom(100_000).hex().encode() + b'"}\n'
        statuses.append(calls.http(f"{house.url}/api/v1/events", token=house.token, body=body)[0])
    found.seen.append(f"with a full disk: {sorted(set(statuses))}")
    if not any(status == 503 for status in statuses) or any(status not in (200, 503) for status in statuses):
        found.faults.append(f"a full disk was answered with {statuses}")
    if house.audit().code == 1:
        found.faults.append("the auditor convicts a log whose disk is full")
    filler.unlink()
    calls.until("the log to go on by itself", lambda: calls.http(f"{house.url}/health/ready")[0] == 200)
    found.seen.append("with room again it goes on by itself")


def _clock(house: House, found: Disaster) -> None:
    offset = house.root / "offset"
    offset.write_text("0")
    house.stop()
    house.start(code=_CLOCK.format(str(offset)))
    house.append(3)
    for seconds in (AHEAD_S, 0):
        offset.write_text(str(seconds))
        house.append(3)
        house.append(3)
    said = house.ask("status", "--dir", house.directory)
    found.seen.append(f"graven status: exit {said.code}")
    house.stop()
    house.start()


_CLOCK = """
import time
_true, _ns = time.time, time.time_ns
def _off():
    try:
        return int(open({0!r}).read() or 0)
    except (OSError, ValueError):
        return 0
time.time = lambda: _true() + _off()
time.time_ns = lambda: _ns() + _off() * 10**9
"""


def _crash(house: House, found: Disaster) -> None:
    for _ in range(3):
        house.append(5, wait="committed")
        _die(house)
        house.start()
    found.seen.append("killed three times right after an answer, started three times")


STORIES = (
    Story(
        "snapshot", "a snapshot is restored",
        "data and keyring brought back as they were before the newest events, started again",
        "the start refuses; `graven restore OLD --mirror AUDITOR` heals the copy, the log goes on in the same tree",
        _snapshot,
    ),
    Story(
        "host-lost", "the host is lost", "data and keyring gone; the newest events are not in the write-once copy",
        "`graven restore --from STORE --kit KIT --mirror AUDITOR` on a new host", _host_lost,
    ),
    Story(
        "disk-full", "the disk is full", "the data disk is filled while events come",
        "free space: requests are refused meanwhile, and the log goes on by itself", _disk_full, small_disk=True,
    ),
    Story(
        "clock-jump", "the clock jumps", "a day ahead while the log runs, then back",
        "set the clock; the order never depended on it", _clock,
    ),
    Story(
        "crash", "the process dies", "killed (SIGKILL) right after an answer, three times",
        "start again: what was acknowledged is at its index", _crash,
    ),
)  # fmt: skip
