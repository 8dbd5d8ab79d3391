"""A row about the write-once copy: a long log copied to a real store with Object Lock, which runs on the same cores."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from msgspec import structs

from bench import seaweed
from bench.long import LongLog
from bench.report import Row, limit_row
from bench.rounds import NotMeasuredError
from graven.app import open_follower
from graven.config import CONFIG_NAME, WormConfig, load_config

COPY = "write-once copy to SeaweedFS, one round"
EVENTS = 50_000
SECONDS_MAX = 1.0


def row(place: Path, log: LongLog, told: Callable[[str], None]) -> Row:
    """How long `EVENTS` events take to be copied: objects put and locked, segments read back."""
    told(f"copying {log.name}")
    try:
        with TemporaryDirectory(dir=place) as name:
            seconds, objects = _copy(Path(name), log)
    except NotMeasuredError as why:
        return Row(COPY, f"not measured: {why}")
    rate = log.grown.events / seconds
    figure = f"{rate:,.0f} events/s, {objects / seconds:,.0f} objects/s"
    return limit_row(COPY, figure, EVENTS / rate, SECONDS_MAX, f"s for {EVENTS:,} events", events_a_second=rate)


def _copy(folder: Path, log: LongLog) -> tuple[float, int]:
    """(seconds, objects) of one whole round."""
    store = seaweed.start(folder)
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ |= {"AWS_ACCESS_KEY_ID": seaweed.ACCESS, "AWS_SECRET_ACCESS_KEY": seaweed.SECRET}
    try:
        seaweed.make_bucket(store, "copied")
        worm = WormConfig(store="s3://copied/bench", endpoint=store.endpoint, region="us-east-1")
        config = structs.replace(load_config(log.directory / CONFIG_NAME), worm=worm)
        with open_follower(log.directory, config) as follower:
            started = perf_counter()
            if not follower.round():
                raise NotMeasuredError(follower.state.trouble)
            return perf_counter() - started, follower.state.objects
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        seaweed.kill(store.pid)
        (log.directory / "state" / "worm.json").unlink(missing_ok=True)
