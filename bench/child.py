"""What is measured in a process of its own, because it is about memory, or about how long a fresh start takes.

    python -m bench.child grow DIR EVENTS EVENTS_A_BLOCK     makes a log and appends to it
    python -m bench.child open DIR PROOFS                    opens it for writing, then proves events
    python -m bench.child verify DIR                         verifies it

Each prints one line of JSON; `call` runs one and reads it.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TypeVar

import msgspec

from bench import embedded
from bench.events import Feed
from bench.rounds import NotMeasuredError
from graven.app import Log, create_log, open_keyring, public_keys
from graven.config import CONFIG_NAME, IntakeConfig, default_config, load_config
from graven.journal.files import File, LocalFiles
from graven.journal.segment import list_segments
from graven.log.verify import verify_directory
from graven.runtime.process import return_large_buffers

SMALL_EVENTS = 10_000
"""The log that the memory of a long one is compared with."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Answer = TypeVar("Answer", bound=msgspec.Struct)


class Grown(msgspec.Struct, frozen=True):
    """A log was made. Resident memory is that of the process that did it, at 10,000 events and at the end."""

    events: int
    seconds: float
    small_rss_bytes: int
    rss_bytes: int
    journal_bytes: int
    tree_bytes: int
    segments: int


class Opened(msgspec.Struct, frozen=True):
    """A log was opened for writing: how long that took, and then each proof and each evidence of some event."""

    events: int
    seconds: float
    rss_bytes: int
    proofs_s: list[float]
    evidence_s: list[float]


class Verified(msgspec.Struct, frozen=True):
    """A log was verified, with its keys."""

    events: int
    seconds: float
    cpu_s: float
    problems: int


def call(kind: type[Answer], *arguments: object) -> Answer:
    """Run this module in a process and read its answer. Raises NotMeasuredError if it fails."""
    command = [sys.executable, "-m", "bench.child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"{arguments[0]} failed: {done.stderr[-300:]}")
    return msgspec.json.decode(done.stdout, type=kind)


def grow(directory: Path, events: int, events_a_block: int) -> Grown:
    """Make a log of about `events` events in blocks of `events_a_block`, in a process set up as a server's."""
    return_large_buffers()
    config = msgspec.structs.replace(
        default_config(origin="bench.invalid/long", log_id="0" * 32, vkeys=("",)),
        intake=IntakeConfig(group_events=events_a_block),
    )
    create_log(directory, origin=config.origin, config=config)
    feed = Feed(seed=3)
    small = min(events, SMALL_EVENTS)
    # One sync for each of many small blocks would take hours; how it was written makes no difference to what it is.
    files = _Unsynced() if events_a_block < 100 else LocalFiles()
    with Log.open(directory, files=files) as log:
        embedded.feed(log, _batches(feed, small, events_a_block))
        log.publish()
        small_rss = _rss_bytes()
        turn = embedded.feed(log, _batches(feed, events - small, events_a_block))
        log.publish()
        rss = _rss_bytes()
        size = log.size
    tree = sum(path.stat().st_size for path in (directory / "log" / "tile").rglob("*") if path.is_file())
    journal = directory / "journal"
    journal_bytes = sum(path.stat().st_size for path in journal.iterdir())
    return Grown(size, turn.seconds, small_rss, rss, journal_bytes, tree, len(list_segments(str(journal))))


def open_and_prove(directory: Path, proofs: int) -> Opened:
    """Open the log, then prove so many events anywhere in it, twice: the bare proof, and as evidence."""
    random = Random(7)
    started = perf_counter()
    with Log.open(directory) as log:
        seconds = perf_counter() - started
        rss, size, view = _rss_bytes(), log.published.checkpoint.size, log.view
        proofs_s = [_timed(lambda: view.tlog_proof(random.randrange(size))) for _ in range(proofs)]
        evidence_s = [_timed(lambda: view.evidence(random.randrange(size))) for _ in range(proofs)]
    return Opened(size, seconds, rss, proofs_s, evidence_s)


def verify(directory: Path) -> Verified:
    """Verify the log with its keys, on all cores."""
    config = load_config(directory / CONFIG_NAME)
    keyring = open_keyring(directory, config)
    started, before_s = perf_counter(), cpu_s()
    report = verify_directory(directory, keys=public_keys(config), keyring=keyring)
    return Verified(report.size, perf_counter() - started, cpu_s() - before_s, len(report.problems))


def _batches(feed: Feed, events: int, events_each: int) -> Iterator[bytes]:
    yield from feed.batches(events // events_each, events_each=events_each)


def _timed(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def cpu_s() -> float:
    """Processor time of this process and those it started and waited for, in seconds."""
    whole = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in whole)


class _UnsyncedFile:
    """A file of which nothing is made durable."""

    def __init__(self, file: File) -> None:
        self.write_at, self.truncate, self.close = file.write_at, file.truncate, file.close

    def sync(self) -> None:
        pass


class _Unsynced(LocalFiles):
    """Files of this machine, of which nothing is made durable."""

    __slots__ = ()

    def create(self, path: str) -> File:  # type: ignore[override]
        return _UnsyncedFile(super().create(path))

    def open(self, path: str) -> File:  # type: ignore[override]
        return _UnsyncedFile(super().open(path))

    def sync_dir(self, path: str) -> None:
        pass

    def sync_all(self, path: str) -> None:
        pass


def main() -> None:
    """Run one of the three, as the command line says."""
    what, directory, *numbers = sys.argv[1:]
    answer: msgspec.Struct
    match what:
        case "grow":
            answer = grow(Path(directory), *map(int, numbers))
        case "open":
            answer = open_and_prove(Path(directory), *map(int, numbers))
        case "verify":
            answer = verify(Path(directory))
        case _:
            raise SystemExit(f"no such work: {what}")
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
