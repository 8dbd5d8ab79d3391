"""Small logs for tests: two classes, a clock that stands, publishing only when asked, and the verifier as the judge."""

from pathlib import Path
from unittest.mock import patch

import msgspec

from crash.story import ORIGIN, SEGMENT_AGE_US, START_US, Teller, event, small_config
from graven.app import Log, create_log, open_keyring, public_keys
from graven.config import Config, load_config
from graven.log.publish import Publisher
from graven.log.verify import Report, verify_directory
from graven.runtime.clock import FixedClock
from graven.runtime.files import Files

__all__ = ["ORIGIN", "SEGMENT_AGE_US", "START_US", "Teller", "acts_of", "event", "make_log", "open_log", "verify"]


def make_log(root: Path, *, config: Config | None = None, successor_of: bytes | None = None) -> Path:
    """A new log in `root/log`; returns its directory."""
    directory = root / "log"
    create_log(
        directory, origin=ORIGIN, config=config or small_config(), clock=FixedClock(START_US), successor_of=successor_of
    )
    return directory


def open_log(
    directory: Path, *, now_us: int = START_US, files: Files | None = None, config: Config | None = None,
    serve: bool = False, declare_loss: str | None = None, lock_wait_s: float = 10.0,
) -> Log:  # fmt: skip
    """A log whose publisher waits to be asked, so that a test knows what is published and what is not."""
    with patch.object(Publisher, "start"):
        return Log.open(
            directory, config, clock=FixedClock(now_us), files=files, serve=serve, declare_loss=declare_loss,
            lock_wait_s=lock_wait_s,
        )  # fmt: skip


def verify(directory: Path, *, with_keys: bool = True) -> Report:
    """The product's own verdict on a log's directory."""
    config = load_config(directory / "graven.toml")
    keyring = open_keyring(directory, config) if with_keys else None
    return verify_directory(directory, keys=public_keys(config), keyring=keyring, processes=1)


def acts_of(log: Log, action: str) -> list[dict[str, object]]:
    """The `data` of each act of this name, in order."""
    found = []
    for record in log.view.records(0, log.size):
        if record.event is not None and record.class_name == "graven":
            body = msgspec.json.decode(record.event)
            if body["action"] == action:
                found.append(body["data"])
    return found
