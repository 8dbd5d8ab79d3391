"""A crash at every write, sync, rename, creation and removal, in every form a disk may leave: nothing promised is lost.

A story is told to a log on recording files. For each prefix of its steps, whatever could be on the disk then is laid
out and opened by the real code, and the judge holds the log to all it had said. The same is done once more for the
steps of the recovery itself.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from crash.disk import RecordingFiles, Step, write_tree
from crash.enumerate_crashes import Crash, crashes, kills, sample
from crash.judge import judge
from crash.story import ORIGIN, START_US, small_config, tell
from graven.app import create_log
from graven.core.errors import BadInput
from graven.runtime.clock import FixedClock

AFTER_US = START_US + 400_000_000


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Step]:
    root = tmp_path_factory.mktemp("story")
    files = RecordingFiles(root)
    tell(root, files)
    return files.steps


@pytest.fixture(scope="module")
def story(steps: Sequence[Step]) -> list[Crash]:
    return crashes(steps)


def test_one_crash_in_twenty_of_the_story(story: list[Crash], tmp_path: Path) -> None:
    assert len(story) > 1_000
    judge_all(sample(story, 20), tmp_path)


PARTS = pytest.mark.parametrize("part", range(8))
"""Long forms in eight parts, for as many processes."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@PARTS
def test_every_crash_of_the_story(story: list[Crash], part: int, tmp_path: Path) -> None:
    judge_all(sample(story, 8, part), tmp_path)


def test_a_crash_in_the_recovery_from_a_crash(story: list[Crash], tmp_path: Path) -> None:
    torn = torn_frames(story)
    assert len(torn) > 20
    for number, crash in enumerate([torn[3], torn[-2]]):
        judge_all(sample(second_crashes(crash, tmp_path), 16, number), tmp_path)


def test_the_power_fails_after_the_process_was_killed(steps: Sequence[Step], tmp_path: Path) -> None:
    owing = killed_with_debts(steps)
    assert len(owing) > 20
    for number, crash in enumerate([owing[1], owing[len(owing) // 2], owing[-2]]):
        judge_all(sample(second_crashes(crash, tmp_path), 20, number), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@PARTS
def test_every_crash_in_the_recovery_from_a_crash(
    steps: Sequence[Step], story: list[Crash], part: int, tmp_path: Path
) -> None:
    first = (*torn_frames(story)[::3], *killed_with_debts(steps))
    for crash in first[part::8]:
        judge_all(sample(second_crashes(crash, tmp_path), 2), tmp_path)


def torn_frames(story: Iterable[Crash]) -> list[Crash]:
    """Crashes that left part of a frame behind."""
    return [
        crash
        for crash in story
        if crash.promises.created and "write log/journal/" in crash.name and crash.name.startswith(("torn", "hole"))
    ]


def killed_with_debts(steps: Sequence[Step]) -> list[Crash]:
    """The process alone was killed, while the journal or the keyring were written and not synced."""
    places = ("log/journal/", "log.keys/")
    found = kills(steps, lambda step: step.kind in ("write", "rename") and step.path.startswith(places))
    return [crash for crash in found if crash.promises.created]


def second_crashes(crash: Crash, tmp_path: Path) -> list[Crash]:
    """What a crash may leave while the log recovers from the first, goes on, and is closed."""
    root = tmp_path / "first"
    write_tree(root, crash.tree)
    files = RecordingFiles(root)
    judge(root / "log", crash.promises, now_us=AFTER_US, files=files)
    shutil.rmtree(root)
    start = None if crash.steps else crash.tree
    found = crashes(files.steps, before=crash.steps, start=start, heard=crash.promises)
    return [Crash(f"{crash.name}; then {one.name}", one.tree, one.promises) for one in found]


def judge_all(chosen: Iterable[Crash], tmp_path: Path) -> None:
    for crash in chosen:
        root = tmp_path / "crashed"
        write_tree(root, crash.tree)
        try:
            if (root / "log").exists():
                judge(root / "log", crash.promises, now_us=2 * AFTER_US - START_US, files=RecordingFiles(root))
            else:
                assert not crash.promises.created, "the log is gone"
                begin_again(root)
        except BaseException as error:
            error.add_note(f"after this crash: {crash.name}")
            raise
        shutil.rmtree(root)


def begin_again(root: Path) -> None:
    """An interrupted `init` leaves no log; it can be called again, or says which directory is in the way."""
    clock, config = FixedClock(AFTER_US), small_config()
    files = RecordingFiles(root)
    if (root / "log.keys").exists():
        with pytest.raises(BadInput, match="keyring is there already"):
            create_log(root / "log", origin=ORIGIN, config=config, clock=clock, files=files)
        (root / "log.keys").rename(root / "log.keys.unused")
    assert create_log(root / "log", origin=ORIGIN, config=config, clock=clock, files=files).checkpoint.size == 1
