"""Interleaved rounds: every contestant runs once a round, so that a noisy minute falls on all of them alike.

A ratio is taken within each round and the median of the ratios is reported, not the ratio of the medians.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab import AbsentError

Run = Callable[[Sequence[bytes], Path, float], "Turn"]
"""(batches of NDJSON, a directory to write in, seconds) -> what was done. Leaves the directory as it was."""


class NotMeasuredError(AbsentError):
    """A contestant was there and could not be measured; the text says why, and stands in its row."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a contestant did in one round. `cpu_s`: processor seconds of whatever took the events; None if unknown."""

    events: int
    seconds: float
    cpu_s: float | None = None

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float | None:
        """Processor microseconds an event."""
        return None if self.cpu_s is None or not self.events else self.cpu_s / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Rates:
    """One contestant's turns, one a round, in the order of the rounds."""

    turns: tuple[Turn, ...]

    @property
    def per_round(self) -> list[float]:
        """Events a second."""
        return [turn.rate for turn in self.turns]

    @property
    def median(self) -> float:
        return median(self.per_round)

    @property
    def cpu_us(self) -> float | None:
        known = [turn.cpu_us for turn in self.turns if turn.cpu_us is not None]
        return median(known) if known else None

    def ratio_to(self, other: "Rates") -> float:
        return median(own / base for own, base in zip(self.per_round, other.per_round, strict=True))


@dataclass(frozen=True, slots=True)
class Measured:
    """Who ran in every round, and who could not, with why."""

    rates: dict[str, Rates]
    absent: dict[str, str]


def measure(
    contestants: dict[str, Run],
    batches: Sequence[bytes],
    *,
    place: Path,
    rounds: int,
    seconds: float,
    told: Callable[[str], None] = lambda _: None,
) -> Measured:
    """`rounds` rounds of every contestant, `seconds` each; who begins moves on from round to round.

    A turn that cannot be measured (NotMeasuredError) is tried once more. A contestant that raises AbsentError, which
    that one is as well, is out from then on. `told` hears what is under way.
    """
    names = list(contestants)
    found: dict[str, list[Turn]] = {name: [] for name in names}
    absent: dict[str, str] = {}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name in absent:
                continue
            told(f"round {number + 1} of {rounds}: {name}")
            try:
                found[name].append(_turn(contestants[name], batches, place, seconds))
            except AbsentError as why:
                absent[name] = str(why)
    rates = {name: Rates(tuple(turns)) for name, turns in found.items() if name not in absent}
    return Measured(rates, absent)


def _turn(run: Run, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    try:
        return run(batches, place, seconds)
    except NotMeasuredError:  # such as requests that ran out while another program had the machine
        return run(batches, place, seconds)
