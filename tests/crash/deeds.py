"""Crashes and failing disks for anything that writes through `Files`: one deed told once, every step of it a case.

A deed writes below a root directory through recording files and says, with `files.promise`, what may be relied on from
that moment on. Its judge opens whatever a crash or a failure left, with the real code, and holds it to those promises.

    crash_each   after every step, in every form a disk may leave; then again while the judge, a second life of the
                 program, goes on after a kill: what the first life left unsynced may still be lost
    fail_each    every step failing, once and from there on; what is raised is one of our errors, or it went on
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crash.disk import Disk, RecordingFiles, Step, Tree, read_tree, write_tree
from graven.core.errors import GravenError

CODES = (errno.EIO, errno.ENOSPC, errno.EROFS)

Promised = list[object]


@dataclass(frozen=True, slots=True)
class Deed:
    """`prepare` lays out what is there before; `act` does the deed; `judge` goes on from what is left and raises
    AssertionError if something promised is gone.

    `may_raise`: besides our own errors, what a failing disk may make `act` raise. `cost`: how much dearer a case is
    than most; short forms take so many fewer.
    """

    act: Callable[[Path, RecordingFiles], None]
    judge: Callable[[Path, RecordingFiles, Promised], None]
    prepare: Callable[[Path], None] = lambda root: None
    may_raise: tuple[type[BaseException], ...] = ()
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Left:
    """What a crash left, what had been promised, and the steps that were done."""

    name: str
    tree: Tree
    promised: Promised
    done: Sequence[Step]


def crash_each(deed: Deed, tmp_path: Path, *, share: int = 1, twice: int = 0) -> int:
    """Judge one in `share` of the crashes; and after one in `twice` kills (0: none), one in `share` of the crashes of
    the second life. Returns how many cases were judged.
    """
    start, files = _done(deed, tmp_path)
    found = list(_crashes(files.steps, start=start))
    assert len(found) > 10, "hardly a step was recorded"
    share = min(share, len(found) // 2)
    count = 0
    for number, left in enumerate(found):
        if number % share == len(found) % share:
            _judge(deed, left, tmp_path)
            count += 1
    for left in list(_kills(files.steps, start=start))[::twice] if twice else ():
        for number, second in enumerate(_second_lives(deed, left, start, tmp_path)):
            if number % share == 0:
                _judge(deed, second, tmp_path)
                count += 1
    return count


def fail_each(deed: Deed, tmp_path: Path, *, codes: Sequence[int] = CODES, share: int = 1) -> int:
    """Every step (one in `share`) fails with every code, once and from there on. Returns how many cases were judged."""
    _, files = _done(deed, tmp_path)
    places = [step for step in files.steps if step.kind != "promise"]
    share = min(share, len(places))
    count = 0
    for at in range(len(places) % share, len(places), share):
        for code in codes:
            for lasting in (False, True):
                _fail(deed, tmp_path, at, code, lasting=lasting, place=str(places[at]))
                count += 1
    return count


def _done(deed: Deed, tmp_path: Path) -> tuple[Tree, RecordingFiles]:
    root = tmp_path / "deed"
    root.mkdir()
    deed.prepare(root)
    start = read_tree(root)
    files = RecordingFiles(root)
    deed.act(root, files)
    deed.judge(root, RecordingFiles(root), _promised(files.steps))
    shutil.rmtree(root)
    return start, files


def _crashes(steps: Sequence[Step], *, start: Tree, before: Sequence[Step] = ()) -> Iterator[Left]:
    """Each different outcome, with the most that had been promised when it could come."""
    disk = Disk(start)
    for step in before:
        disk.apply(step)
    found: dict[int, Left] = {}
    for number, step in enumerate(steps):
        disk.apply(step)
        done = [*before, *steps[: number + 1]]
        for name, tree in disk.crashes(step):
            found[hash(frozenset(tree.items()))] = Left(f"{name} at step {number}, {step}", tree, _promised(done), done)
    yield from found.values()


def _kills(steps: Sequence[Step], *, start: Tree) -> Iterator[Left]:
    """The process alone killed after each step that wrote something: the disk owes what was not synced."""
    disk = Disk(start)
    for number, step in enumerate(steps):
        disk.apply(step)
        if step.kind not in ("promise", "sync", "sync_dir", "sync_all", "open"):
            done = steps[: number + 1]
            _, tree = next(disk.crashes(None))
            yield Left(f"killed at step {number}, {step}", tree, _promised(done), done)


def _second_lives(deed: Deed, first: Left, start: Tree, tmp_path: Path) -> list[Left]:
    root = tmp_path / "first"
    write_tree(root, first.tree)
    files = RecordingFiles(root)
    deed.judge(root, files, list(first.promised))
    shutil.rmtree(root)
    return [
        Left(f"{first.name}; then {left.name}", left.tree, left.promised, ())
        for left in _crashes(files.steps, start=start, before=first.done)
    ]


def _judge(deed: Deed, left: Left, tmp_path: Path) -> None:
    root = tmp_path / "crashed"
    write_tree(root, left.tree)
    try:
        deed.judge(root, RecordingFiles(root), list(left.promised))
    except BaseException as error:
        error.add_note(f"after this crash: {left.name}")
        raise
    shutil.rmtree(root)


def _fail(deed: Deed, tmp_path: Path, at: int, code: int, *, lasting: bool, place: str) -> None:
    root = tmp_path / "failing"
    root.mkdir()
    deed.prepare(root)
    seen = [0]

    def before(step: Step) -> None:
        seen[0] += 1
        if seen[0] == at + 1 or (lasting and seen[0] > at):
            raise OSError(code, os.strerror(code), step.path)

    files = RecordingFiles(root, before)
    try:
        try:
            deed.act(root, files)
        except Exception as error:
            if not isinstance(error, (GravenError, *deed.may_raise)):
                raise
        deed.judge(root, RecordingFiles(root), _promised(files.steps))
    except BaseException as error:
        error.add_note(f"failing with {errno.errorcode[code]} at step {at} ({place}), {lasting=}")
        raise
    shutil.rmtree(root)


def _promised(steps: Sequence[Step]) -> Promised:
    return [step.promise for step in steps if step.kind == "promise"]
