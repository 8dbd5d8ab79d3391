"""Small real logs to copy, and what tests do to their copies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from graven.app import Log, create_log, open_follower, open_store, public_keys
from graven.config import Config, RetentionConfig, WormConfig, default_config, load_config
from graven.config.model import ClassConfig, JournalConfig, PublishConfig
from graven.worm.follow import Follower
from graven.worm.store import Store, Version
from graven.worm.verify import Verified, verify_copy

ORIGIN = "example.com/copied"


def make_log(root: Path, store: str, *, events: int = 700) -> Path:
    """A log in `root/log` with segments of 64 KiB, published, and `store` configured. Two classes."""
    directory = root / "log"
    base = default_config(origin="", log_id="", vkeys=())
    config = msgspec.structs.replace(
        base,
        classes={"default": ClassConfig(), "audit": ClassConfig()},
        journal=JournalConfig(segment_bytes=64 << 10),
        publish=PublishConfig(interval_ms=10),
        retention=RetentionConfig(days=30, by_class={"audit": 90}),
        worm=WormConfig(store=store),
    )
    create_log(directory, origin=ORIGIN, config=config)
    append(directory, events)
    return directory


def append(directory: Path, events: int, *, size: int = 150) -> None:
    """Append events that do not compress, 100 a block, and publish them."""
    if not events:
        return
    with Log.open(directory) as log:
        for start in range(0, events, 100):
            count = min(100, events - start)
            log.append([{"action": "t.x", "message": os.urandom(size).hex()} for _ in range(count)])
        log.publish()


def config_of(directory: Path) -> Config:
    return load_config(directory / "graven.toml")


def store_of(directory: Path) -> Store:
    config = config_of(directory)
    assert config.worm.store is not None
    return open_store(config.worm.store, config)


@contextmanager
def following(directory: Path) -> Iterator[Follower]:
    with open_follower(directory, config_of(directory)) as follower:
        yield follower


def copy(directory: Path) -> Follower:
    """One whole round of a follower that starts anew."""
    with following(directory) as follower:
        assert follower.round(), follower.state.trouble
        follower.wait_for_sweep()
        return follower


def verify(directory: Path, store: Store | None = None) -> Verified:
    return verify_copy(store or store_of(directory), keys=public_keys(config_of(directory)))


def objects(store: Store) -> dict[str, list[Version]]:
    """Every version by name, oldest first."""
    found: dict[str, list[Version]] = {}
    for version in store.list(""):
        found.setdefault(version.name, []).append(version)
    return found
