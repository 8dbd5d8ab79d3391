"""What a log goes through before it crashes: a story told to a real log on recording files, every promise noted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from crash.disk import RecordingFiles
from graven.app import Log, create_log
from graven.config import Config, default_config
from graven.config.model import ClassConfig, JournalConfig, PublishConfig
from graven.log.admin import add_source, create_token
from graven.log.types import Batch, Committed
from graven.runtime.clock import FixedClock

START_US = 1_790_000_000_000_000
ORIGIN = "example.com/crash"
SEGMENT_AGE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Ack:
    """An answer that left the log: these events stand at these indexes, and the receipt binds the tree."""

    batch: Batch
    indexes: tuple[int, ...]
    receipt: bytes


def small_config() -> Config:
    """Publishing only when asked; a segment for every minute of the fixed clock; a second class."""
    base = default_config(origin=ORIGIN, log_id="0" * 32, vkeys=("replaced",))
    return msgspec.structs.replace(
        base,
        classes={"default": ClassConfig(), "pii": ClassConfig()},
        journal=JournalConfig(segment_age_s=SEGMENT_AGE_US // 1_000_000),
        publish=PublishConfig(interval_ms=3_600_000),
    )


class Teller:
    """Appends to a log and notes what it answered. Without recording files nothing is noted."""

    def __init__(self, log: Log, files: RecordingFiles | None = None) -> None:
        self.log, self._files = log, files

    def append(
        self,
        *events: tuple[str | None, str],
        source: int = 1,
        classes: str | list[str] = "default",
        raws: Sequence[bytes | None] | None = None,
    ) -> Committed:
        """Append events given as (id, message) and note the answer."""
        batch = self.batch(*events, source=source, classes=classes, raws=raws)
        answer = self.log.commit(batch)
        if self._files is not None:
            self._files.promise(Ack(batch, indexes_of(answer, len(events)), answer.receipt))
        return answer

    def batch(
        self,
        *events: tuple[str | None, str],
        source: int = 1,
        classes: str | list[str] = "default",
        raws: Sequence[bytes | None] | None = None,
    ) -> Batch:
        """A request as a door would make it now."""
        return Batch(
            [event(event_id, message) for event_id, message in events],
            [event_id for event_id, _ in events],
            source,
            self.log.clock.now_us(),
            classes,
            list(raws) if raws is not None else None,
        )


def tell(root: Path, files: RecordingFiles, *, many: int = 250) -> None:
    """The whole story, below `root`, from init to the second close."""
    clock = FixedClock(START_US)
    config = small_config()
    directory = root / "log"
    create_log(directory, origin=ORIGIN, config=config, clock=clock, files=files)
    with Log.open(directory, clock=clock, files=files, serve=True) as log:
        teller = Teller(log, files)
        create_token(log, "shop", ["ingest", "read"])
        add_source(log, "ward", declared=("default", "pii"), classes=("pii",))
        teller.append(("a1", "one"), ("a2", "two"), (None, "three"))
        teller.append(("a1", "one"), ("b1", "new beside a copy"))  # a duplicate
        teller.append(("a2", "other words"))  # a conflict
        log.publish()
        teller.append(
            ("p1", "seen"), ("p2", "treated"), ("p3", "sent home"), source=3, classes=["default", "pii", "pii"],
            raws=[None, b"raw of p2", b"raw of p3"],
        )  # fmt: skip
        clock.advance(SEGMENT_AGE_US + 1)
        teller.append(("c1", "in the second segment"))
        log.publish()
        teller.append(*((f"m{n}", f"message {n}") for n in range(many)))
        log.publish()
        teller.append(*((f"n{n}", f"message {n}") for n in range(30)))
        log.publish()
        log.publisher.sync()
        clock.advance(SEGMENT_AGE_US + 1)
        teller.append(("d1", "in the third segment, not published by itself"))
    clock.advance(-2_000_000)
    with Log.open(directory, clock=clock, files=files) as log:
        Teller(log, files).append(("e1", "after a clock that fell"), ("c1", "in the second segment"))


def event(event_id: str | None, message: str) -> bytes:
    body: dict[str, object] = {"action": "test", "message": message}
    if event_id is not None:
        body["id"] = event_id
    return msgspec.json.encode(body)


def indexes_of(answer: Committed, count: int) -> tuple[int, ...]:
    """The index of each event of a request, duplicates included."""
    copies = dict(answer.duplicates)
    fresh = iter(range(answer.first_index or 0, (answer.first_index or 0) + answer.accepted))
    return tuple(copies[position] if position in copies else next(fresh) for position in range(count))
