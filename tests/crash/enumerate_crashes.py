"""Every crash a recorded story could have had: each prefix of its steps, in every form a disk may leave behind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from crash.disk import Disk, Step, Tree
from crash.judge import Promises


@dataclass(frozen=True, slots=True)
class Crash:
    """What a crash left, and the most that had been promised when it did.

    `steps` are given by `kills`: those that were done, so that it is known what the disk still owes.
    """

    name: str
    tree: Tree
    promises: Promises
    steps: Sequence[Step] = ()


def crashes(
    steps: Sequence[Step], *, before: Sequence[Step] = (), start: Tree | None = None, heard: Promises | None = None
) -> list[Crash]:
    """All different crashes during `steps`, in order.

    `start` is the disk at the beginning, all durable, and `heard` what was promised by then. `before` are steps that
    were done in an earlier life of the process, which was killed: what they left unsynced may still be lost.
    """
    disk = Disk(start)
    promises = heard.copy() if heard else Promises()
    for step in before:
        disk.apply(step)
    found: dict[int, Crash] = {}
    for number, step in enumerate(steps):
        disk.apply(step)
        promises.hear([step])
        told = promises.copy()
        for name, tree in disk.crashes(step):
            found[hash(frozenset(tree.items()))] = Crash(f"{name} at step {number}, {step}", tree, told)
    return list(found.values())


def kills(steps: Sequence[Step], wanted: Callable[[Step], bool]) -> list[Crash]:
    """The process killed after each step that is `wanted`, with the steps before it."""
    disk, promises = Disk(), Promises()
    found: list[Crash] = []
    for number, step in enumerate(steps):
        disk.apply(step)
        promises.hear([step])
        if wanted(step):
            _, tree = next(disk.crashes(None))
            found.append(Crash(f"killed at step {number}, {step}", tree, promises.copy(), steps[: number + 1]))
    return found


def sample(found: Sequence[Crash], share: int, offset: int = 0) -> Iterator[Crash]:
    """One in `share` of the crashes, spread evenly."""
    yield from found[offset % share :: share]
