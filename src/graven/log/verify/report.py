"""What verifying finds: problems, notes, and the numbers that say how much was checked.

Two branches of problem, as the errors have them. *Disproved*: cryptography says no; the bytes are there and are not
the log's. *Broken*: something is missing or cannot be read. Notes are for what a healthy log may show, above all after
a crash. Nothing here reads a file.
"""

from dataclasses import dataclass
from typing import Literal

from graven.core.errors import Broken, Disproved, GravenError

PROBLEMS_MAX = 1_000
NOTES_MAX = 200

Branch = Literal["disproved", "broken"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `place` names files (relative to the log's directory) and byte offsets; the indexes are
    the first and last event it touches, both included, None where it touches none in particular."""

    branch: Branch
    what: str
    place: str = ""
    first_index: int | None = None
    last_index: int | None = None

    def __str__(self) -> str:
        indexes = ""
        if self.first_index is not None:
            one = self.first_index == self.last_index
            indexes = f"index {self.first_index}" if one else f"indexes {self.first_index} to {self.last_index}"
        where = "; ".join(part for part in (self.place, indexes) if part)
        return f"{self.branch}: {self.what} ({where})" if where else f"{self.branch}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole verification found.

    `problems` are at most `PROBLEMS_MAX`; `disproved` and `broken` count all there were. `size` is how far the journal
    goes (of a URL: the tree), `published` the size of the published checkpoint. `events` counts the events whose
    entry was derived again from their own bytes, and `payloads` says the same to a human: "all", "n of m", or "not
    checked".
    """

    problems: tuple[Problem, ...]
    disproved: int
    broken: int
    notes: tuple[str, ...]
    size: int
    published: int
    events: int
    payloads: str

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 something is disproved, 3 nothing is disproved, but something is broken."""
        return 1 if self.disproved else 3 if self.broken else 0


@dataclass(slots=True)
class _Run:
    """Problems of one kind about neighbouring events, told as one."""

    problem: Problem
    group: str
    last_place: str

    def told(self) -> Problem:
        one = self.problem
        place = one.place if self.last_place == one.place else f"{one.place} … {self.last_place}"
        return Problem(one.branch, one.what, place, one.first_index, one.last_index)


class Findings:
    """Collects problems and notes, bounded. Equal problems about neighbouring events become one."""

    def __init__(self) -> None:
        self.disproved = 0
        self.broken = 0
        self._runs: list[_Run] = []
        self._open: dict[tuple[str, str, str], _Run] = {}
        self._notes: dict[str, None] = {}
        self._notes_left_out = 0

    def add(self, problem: Problem, group: str | None = None) -> None:
        """Keep a problem. Those of one `group` (say, a file) and one text whose events touch or overlap are joined."""
        self._add(_Run(problem, problem.place if group is None else group, problem.place))

    def disprove(
        self, what: str, place: str = "", first: int | None = None, end: int | None = None, group: str | None = None
    ) -> None:
        """A disproved problem about the events [first, end)."""
        self.add(Problem("disproved", what, place, first, None if end is None else end - 1), group)

    def fail(
        self, what: str, place: str = "", first: int | None = None, end: int | None = None, group: str | None = None
    ) -> None:
        """A broken problem about the events [first, end)."""
        self.add(Problem("broken", what, place, first, None if end is None else end - 1), group)

    def error(
        self, error: GravenError, place: str = "", first: int | None = None, end: int | None = None,
        group: str | None = None,
    ) -> None:  # fmt: skip
        """A problem from an error: `Broken` is broken; what is refused here (`BadInput` too) is disproved."""
        what = error.what
        if isinstance(error, Disproved) and (error.expected or error.found):
            what = f"{what}: expected {error.expected}, found {error.found}"
        branch: Branch = "broken" if isinstance(error, Broken) else "disproved"
        self.add(Problem(branch, what, place or error.place, first, None if end is None else end - 1), group)

    def note(self, text: str) -> None:
        """Keep a note, once."""
        if len(self._notes) < NOTES_MAX:
            self._notes[text] = None
        elif text not in self._notes:
            self._notes_left_out += 1

    def merge(self, other: "Findings") -> None:
        """Take over what another part of the verification found."""
        listed_disproved = sum(run.problem.branch == "disproved" for run in other._runs)
        for run in other._runs:
            self._add(run)
        self.disproved += other.disproved - listed_disproved
        self.broken += other.broken - (len(other._runs) - listed_disproved)
        for note in other._notes:
            self.note(note)
        self._notes_left_out += other._notes_left_out

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order found; the last one says how many more there were."""
        told = [run.told() for run in self._runs]
        more = self.disproved + self.broken - len(told)
        if more:
            branch: Branch = "disproved" if self.disproved else "broken"
            told.append(Problem(branch, f"and {more} more problems that are not listed"))
        return tuple(told)

    @property
    def notes(self) -> tuple[str, ...]:
        left_out = (f"and {self._notes_left_out} more notes",) if self._notes_left_out else ()
        return (*self._notes, *left_out)

    def _add(self, run: _Run) -> None:
        problem = run.problem
        key = (problem.branch, problem.what, run.group)
        last = self._open.get(key)
        if last is not None and _touch(last.problem, problem):
            last.problem = Problem(
                problem.branch, problem.what, last.problem.place,
                _least(last.problem.first_index, problem.first_index),
                _most(last.problem.last_index, problem.last_index),
            )  # fmt: skip
            last.last_place = run.last_place
            return
        if problem.branch == "disproved":
            self.disproved += 1
        else:
            self.broken += 1
        if len(self._runs) < PROBLEMS_MAX:
            run = _Run(problem, run.group, run.last_place)
            self._runs.append(run)
            self._open[key] = run


def _touch(a: Problem, b: Problem) -> bool:
    if a.first_index is None or b.first_index is None or a.last_index is None or b.last_index is None:
        return a.place == b.place and a.first_index == b.first_index
    return b.first_index <= a.last_index + 1 and a.first_index <= b.last_index + 1


def _least(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else min(a, b)


def _most(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else max(a, b)
