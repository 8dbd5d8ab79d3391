"""Ids that stand beside events: whenever the process is killed, what is sent again is known, and stored once.

What a shipper gives beside an event (`_id` of `_bulk`, the key of a request) is nowhere but in the idempotency window.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from crash.disk import RecordingFiles, Step, write_tree
from crash.enumerate_crashes import Crash, kills
from crash.story import ORIGIN, START_US, event, small_config
from graven.app import Log, create_log
from graven.config.model import IdempotencyConfig
from graven.log.types import Batch
from graven.runtime.clock import FixedClock

SIZES = (1, 3, 400, 1, 300, 250, 90, 2, 700, 1)
"""Of the requests: a generation of the window holds 1,024 ids, and some requests cross its end."""


def config() -> object:
    return msgspec.structs.replace(small_config(), idempotency=IdempotencyConfig(max_ids=1_000))


def requests(now_us: int) -> list[Batch]:
    found = []
    for number, size in enumerate(SIZES):
        names = [f"{number}-{at}" for at in range(size)]
        found.append(Batch([event(None, name) for name in names], list(names), 1, now_us, "default", None))
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Step]:
    """The log's steps; a promise notes which request begins."""
    root = tmp_path_factory.mktemp("beside")
    files, clock = RecordingFiles(root), FixedClock(START_US)
    create_log(root / "log", origin=ORIGIN, config=config(), clock=clock, files=files)  # type: ignore[arg-type]
    with Log.open(root / "log", clock=clock, files=files) as log:
        for number, batch in enumerate(requests(clock.now_us())):
            files.promise(number)
            assert log.commit(batch).accepted == len(batch.events)
    return files.steps


def test_a_kill_doubles_nothing(steps: Sequence[Step], tmp_path: Path) -> None:
    """One step in twelve, and those around the end of a generation of the window."""
    found = killed(steps)
    assert len(found) > 3 * len(SIZES)
    rolled = next(number for number, crash in enumerate(found) if "create log/state/window.00000001" in crash.name)
    for number in sorted({*range(5, len(found), 12), *range(rolled - 2, rolled + 4)}):
        check(found[number], tmp_path / str(number))


@pytest.mark.slow
def test_a_kill_at_any_step_doubles_nothing(steps: Sequence[Step], tmp_path: Path) -> None:
    for number, crash in enumerate(killed(steps)):
        check(crash, tmp_path / str(number))


def killed(steps: Sequence[Step]) -> list[Crash]:
    """Killed after each step from the first request on."""
    first = next(number for number, step in enumerate(steps) if step.promise == 0)
    wanted = {id(step) for step in steps[first:] if step.kind in ("write", "create", "truncate", "sync")}
    return kills(steps, lambda step: id(step) in wanted)


def check(crash: Crash, place: Path) -> None:
    """All requests that had begun are sent again, in order, to what the kill left."""
    begun = max(step.promise for step in crash.steps if isinstance(step.promise, int))
    write_tree(place, crash.tree)
    clock = FixedClock(START_US + 1_000_000)
    sent = requests(clock.now_us())[: begun + 1]
    with Log.open(place / "log", clock=clock) as log:
        for batch in sent:
            log.commit(batch)
        stored = Counter(record.event for record in log.view.records(0, log.size))
    assert all(stored[one] == 1 for batch in sent for one in batch.events), crash.name
