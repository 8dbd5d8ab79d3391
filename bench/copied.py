"""A row about the write-once copy: a long log copied to a real store with Object Lock, which runs on the same cores.

The floor of this work is measured in the same store, behind it: as many objects of the same size, put with the same
locks by as many threads, and nothing else. What the store itself takes of the processor stands beside the follower's.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from lab import AbsentError, seaweed
from msgspec import structs

from bench.long import LongLog
from bench.report import Row
from bench.rounds import NotMeasuredError
from bench.served import cpu_seconds
from graven.app import open_follower
from graven.config import CONFIG_NAME, WormConfig, load_config
from graven.worm.placing import THREADS
from graven.worm.s3 import S3Settings, S3Store
from graven.worm.store import end_of_day

COPY = "write-once copy to SeaweedFS, one round"
EVENTS = 50_000
SECONDS_MAX = 1.0
RATIO_MIN = 0.8
BARE_OBJECTS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class _Copied:
    """One whole round, and the bare puts behind it. `own_s` and `store_s` are processor time."""

    seconds: float
    objects: int
    own_s: float
    store_s: float
    bare_objects_per_s: float


def row(place: Path, log: LongLog, told: Callable[[str], None]) -> Row:
    """How long `EVENTS` events take to be copied: objects put and locked, segments read back."""
    told(f"copying {log.name}")
    try:
        with TemporaryDirectory(dir=place) as name:
            found = _copy(Path(name), log)
    except AbsentError as why:
        return Row(COPY, f"not measured: {why}")
    events = log.grown.events
    rate, objects = events / found.seconds, found.objects / found.seconds
    ratio = objects / found.bare_objects_per_s
    figure = (
        f"{rate:,.0f} events/s, {objects:,.0f} objects/s, {ratio:.2f} × as many bare puts; "
        f"the store beside it {found.store_s / events * 1e6:.1f} CPU µs an event"
    )
    return Row(
        COPY, figure,
        asked=f"≤ {SECONDS_MAX:g} s for {EVENTS:,} events or {RATIO_MIN} × bare puts",
        met=EVENTS / rate <= SECONDS_MAX or ratio >= RATIO_MIN, cpu_us=found.own_s / events * 1e6,
        values={
            "value": EVENTS / rate, "events_a_second": rate, "of_bare_puts": ratio,
            "store_cpu_us_per_event": found.store_s / events * 1e6,
        },
    )  # fmt: skip


def _copy(folder: Path, log: LongLog) -> _Copied:
    """One whole round, then the bare puts."""
    store = seaweed.start(folder)
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ |= {"AWS_ACCESS_KEY_ID": seaweed.ACCESS, "AWS_SECRET_ACCESS_KEY": seaweed.SECRET}
    try:
        seaweed.make_bucket(store, "copied")
        worm = WormConfig(store="s3://copied/bench", endpoint=store.endpoint, region="us-east-1")
        config = structs.replace(load_config(log.directory / CONFIG_NAME), worm=worm)
        with open_follower(log.directory, config) as follower:
            store_s, own_s, started = cpu_seconds(store.pid), process_time(), perf_counter()
            if not follower.round():
                raise NotMeasuredError(follower.state.trouble)
            seconds = perf_counter() - started
            own_s, store_s = process_time() - own_s, cpu_seconds(store.pid) - store_s
            objects, size = follower.state.objects, follower.state.bytes
        bare = _bare(store.endpoint, min(objects, BARE_OBJECTS_MAX), size // objects)
        return _Copied(seconds, objects, own_s, store_s, bare)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        seaweed.kill(store.pid)
        (log.directory / "state" / "worm.json").unlink(missing_ok=True)


def _bare(endpoint: str, count: int, size: int) -> float:
    """Objects of `size` bytes put and locked a second."""
    store = S3Store("s3://copied/bare", S3Settings(endpoint=endpoint, region="us-east-1"))
    data, until_s = os.urandom(size), end_of_day(int(time.time()), 7)
    started = perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: store.put(f"log/{number}", data, until_s=until_s), range(count)))
    return count / (perf_counter() - started)
