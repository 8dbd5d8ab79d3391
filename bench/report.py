"""The one table that the benchmark prints: what was measured, how it compares, what was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.rounds import Rates

_HEAD = ("what", "figure", "× floor", "asked", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where nothing was asked."""

    what: str
    figure: str
    ratio: float | None = None
    asked: str = ""
    met: bool | None = None


def rate_row(what: str, rates: Rates, floor: Rates, *, ratio_min: float | None = None) -> Row:
    """A row for events a second, with the spread over the rounds and the ratio to the floor of the same rounds."""
    figure = f"{rates.median:,.0f} events/s ({min(rates.per_round):,.0f} to {max(rates.per_round):,.0f})"
    ratio = rates.ratio_to(floor)
    if ratio_min is None:
        return Row(what, figure, ratio)
    return Row(what, figure, ratio, f"≥ {ratio_min:.2f} × floor", ratio >= ratio_min)


def format_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table whose columns are aligned."""
    verdicts = {None: "", True: "met", False: "NOT met"}
    cells = [
        (row.what, row.figure, "" if row.ratio is None else f"{row.ratio:.2f}", row.asked, verdicts[row.met])
        for row in rows
    ]
    widths = [max(3, *(len(line[column]) for line in [_HEAD, *cells])) for column in range(len(_HEAD))]
    rule = tuple("-" * width for width in widths)
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in
             [_HEAD, rule, *cells]]  # fmt: skip
    return "\n".join(lines)
