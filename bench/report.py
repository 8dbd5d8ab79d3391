"""The one table that the benchmark prints: what was measured, how it compares, what was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.rounds import Rates

_HEAD = ("what", "figure", "CPU µs/event", "× floor", "asked", "")
_VERDICTS = {None: "", True: "met", False: "NOT met"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where nothing was asked. `values` are the numbers behind the figure."""

    what: str
    figure: str
    ratio: float | None = None
    asked: str = ""
    met: bool | None = None
    cpu_us: float | None = None
    values: dict[str, object] = field(default_factory=dict)


def rate_row(
    what: str,
    rates: Rates,
    floor: Rates,
    *,
    ratio_min: float | None = None,
    rate_min: float | None = None,
    beside: str = "",
) -> Row:
    """A row for events a second, with the spread over the rounds and the ratio to the floor of the same rounds.

    With both `ratio_min` and `rate_min`, either is enough: the ratio is the same demand on a machine of another speed.
    """
    ratio = rates.ratio_to(floor)
    figure = f"{rates.median:,.0f} events/s ({min(rates.per_round):,.0f} to {max(rates.per_round):,.0f}){beside}"
    values: dict[str, object] = {"events_per_second": rates.median, "per_round": rates.per_round}
    demands, kept = [], []
    if rate_min is not None:
        demands.append(f"{rate_min:,.0f}/s")
        kept.append(rates.median >= rate_min)
    if ratio_min is not None:
        demands.append(f"{ratio_min:.{2 if ratio_min >= 0.1 else 3}f} × floor")
        kept.append(ratio >= ratio_min)
    asked = f"≥ {' or '.join(demands)}" if demands else ""
    return Row(what, figure, ratio, asked, any(kept) if kept else None, rates.cpu_us, values)


def limit_row(what: str, figure: str, value: float, limit: float, unit: str, **values: object) -> Row:
    """A row for a figure that may not pass a limit."""
    return Row(what, figure, asked=f"≤ {limit:,.6g} {unit}", met=value <= limit, values={"value": value, **values})


def format_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table whose columns are aligned."""
    cells = [
        (row.what, row.figure, _number(row.cpu_us), _ratio(row.ratio), row.asked, _VERDICTS[row.met]) for row in rows
    ]
    widths = [max(3, *(len(line[column]) for line in [_HEAD, *cells])) for column in range(len(_HEAD))]
    rule = tuple("-" * width for width in widths)
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in
             [_HEAD, rule, *cells]]  # fmt: skip
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows for other programs."""
    return [
        {
            "what": row.what,
            "figure": row.figure,
            "cpu_us_per_event": row.cpu_us,
            "ratio_to_floor": row.ratio,
            "asked": row.asked or None,
            "met": row.met,
            **row.values,
        }
        for row in rows
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
