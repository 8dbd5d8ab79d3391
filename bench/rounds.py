"""Interleaved rounds: every contestant runs once a round, so that a noisy minute falls on all of them alike.

A ratio is taken within each round and the median of the ratios is reported, not the ratio of the medians.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

Run = Callable[[Sequence[bytes], Path, float], float]
"""(batches of NDJSON, a directory to write in, seconds) -> events a second. Leaves the directory as it was."""


@dataclass(frozen=True, slots=True)
class Rates:
    """One contestant's events a second, one figure a round, in the order of the rounds."""

    per_round: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.per_round)

    def ratio_to(self, other: "Rates") -> float:
        return median(own / base for own, base in zip(self.per_round, other.per_round, strict=True))


def measure(
    contestants: dict[str, Run], batches: Sequence[bytes], *, place: Path, rounds: int, seconds: float
) -> dict[str, Rates]:
    """`rounds` rounds of every contestant, `seconds` each; who begins moves on from round to round."""
    names = list(contestants)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contestants[name](batches, place, seconds))
    return {name: Rates(tuple(rates)) for name, rates in found.items()}
