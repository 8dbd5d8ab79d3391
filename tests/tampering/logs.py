"""Logs to tamper with, made by the real writer, and the judge of what became of them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from graven.app import Log, create_log
from graven.config import Config, default_config
from graven.config.model import ClassConfig, JournalConfig, PublishConfig
from graven.core.errors import GravenError
from graven.core.note import Key
from graven.keys.keyring import Keyring
from graven.log.types import Batch
from graven.log.verify import Report, verify_directory
from graven.runtime.clock import FixedClock

ORIGIN = "example.com/tampered"
START_US = 1_790_000_000_000_000


@dataclass(frozen=True)
class Tampered:
    """A log, its keyring and its true public keys: a verifier knows these from before."""

    directory: Path
    keys: tuple[Key, ...]

    @property
    def keyring(self) -> Path:
        return self.directory.with_name(self.directory.name + ".keys")

    @property
    def segments(self) -> list[Path]:
        return sorted((self.directory / "journal").glob("*.seg"))

    def copy(self, to: Path) -> "Tampered":
        shutil.copytree(self.directory, to)
        copied = Tampered(to, self.keys)
        shutil.copytree(self.keyring, copied.keyring)
        return copied

    def judge(self, *, keyless: bool = False, since: bytes | None = None, processes: int = 1) -> Report:
        """What `verify` says; a keyring that does not even open is what its own error says."""
        keyring = None
        if not keyless and self.keyring.exists():
            try:
                keyring = Keyring.open(str(self.keyring))
            except GravenError as error:
                return Report((), 0, 1, (f"the keyring does not open: {error}",), 0, 0, 0, "not checked")
        return verify_directory(self.directory, keys=self.keys, keyring=keyring, since=since, processes=processes)


def small_config() -> Config:
    """A segment for every minute of the fixed clock, a second class, and publishing only when asked."""
    base = default_config(origin=ORIGIN, log_id="0" * 32, vkeys=("replaced",))
    return msgspec.structs.replace(
        base,
        classes={"default": ClassConfig(), "staff": ClassConfig()},
        journal=JournalConfig(segment_age_s=60),
        publish=PublishConfig(interval_ms=3_600_000),
    )


def make_log(directory: Path, *, events: int, block: int = 100, publish_every: int = 500) -> Tampered:
    """A log of about so many events: two classes, some raws, a segment for every ten blocks, all of it published."""
    clock = FixedClock(START_US)
    create_log(directory, origin=ORIGIN, config=small_config(), clock=clock)
    with Log.open(directory, clock=clock) as log:
        keys = log.keys
        for start in range(0, events, block):
            clock.advance(6_000_000)
            log.commit(batch_of(range(start, min(events, start + block)), clock.now_us()))
            if (start + block) % publish_every < block:
                log.publish()
    return Tampered(directory, keys)


def batch_of(numbers: Sequence[int], received_us: int) -> Batch:
    """Events of the source `local`: every fifth block of the class `staff`, every third with a raw here and there."""
    block = numbers[0] // max(len(numbers), 1)
    events = [event_of(number) for number in numbers]
    classes: str | list[str] = "default"
    if block % 5 == 1:
        classes = ["staff" if number % 3 == 0 else "default" for number in numbers]
    elif block % 5 == 2:
        classes = "staff"
    raws: list[bytes | None] | None = None
    if block % 3 == 2:
        raws = [b"raw line %d" % number if number % 2 else None for number in numbers]
    return Batch(events, [f"id-{number}" for number in numbers], 1, received_us, classes, raws)


def event_of(number: int) -> bytes:
    actor = f"user-{number * 7919 % 97}"
    message = sha256(b"%d" % number).hexdigest()  # does not compress, so that segments fill
    return msgspec.json.encode(
        {"id": f"id-{number}", "action": "file.read", "actor": {"id": actor}, "message": message}
    )


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file, at `offset` from its start (or, negative, from its end)."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)
