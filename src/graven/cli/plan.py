"""`graven plan`: events a day into gigabytes, memory and cost.

The bytes an event are measured: on events of 570 bytes with two random UUIDs each, in blocks of 1,000, the journal
takes 88.6 bytes an event (it seals them under zstd, so what they cost is what is new in them), tiles and bundles 66.2
(32 for the hash, 34 for the entry, and the upper levels). Linear in the events' length, which holds as long as they
are much like one another. GB are 10⁹ bytes, a month has 30 days.
"""

from dataclasses import dataclass

import click

from graven.cli.options import json_option
from graven.cli.output import print_fields, print_json, print_line

DAY_S = 86_400
MONTH_DAYS = 30
GB = 10**9

JOURNAL_RATIO = 88.6 / 570
TILE_BYTES = 66.2
MEMORY_BASE_BYTES = 160 << 20
WINDOW_BYTES_AN_ID = 25
CHECKPOINT_BYTES = 4_096
"""A kept checkpoint, a file of one block. Kept: all for 7 days, one a minute for a year, one an hour for ever."""
WINDOW_IDS_MAX = 1_000_000

ASSUMPTIONS = (
    f"the journal keeps {JOURNAL_RATIO:.3f} of an event's bytes: events like one another, 500 or more a commit",
    "one event a commit costs about 620 bytes in the journal, whatever its length: send batches",
    f"the tree keeps {TILE_BYTES} bytes an event for ever, whatever its length; erasing events never frees them",
    "raw records, where a normaliser wrote the event, cost about as much again as the event",
    "one copy: multiply for replicas and backups; no search index; nothing is erased within the time",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a log of so many events takes. Sizes in bytes, prices in whatever the price was in."""

    events_per_day: float
    event_bytes: float
    days: float
    price_per_gb_month: float

    @property
    def journal_bytes_per_event(self) -> float:
        return JOURNAL_RATIO * self.event_bytes

    @property
    def bytes_per_day(self) -> float:
        return self.events_per_day * (self.journal_bytes_per_event + TILE_BYTES)

    @property
    def bytes_in_all(self) -> float:
        return self.bytes_per_day * self.days + self.history_bytes

    @property
    def history_bytes(self) -> float:
        """Kept checkpoints at one a second, the default, if events come in every second."""
        minutes = min(max(0.0, self.days - 7), 365) * 1_440
        hours = max(0.0, self.days - 372) * 24
        return CHECKPOINT_BYTES * (min(self.days, 7) * min(self.events_per_day, DAY_S) + minutes + hours)

    @property
    def price_last_month(self) -> float:
        """What it costs to keep everything for a month, once the time is over."""
        return self.bytes_in_all / GB * self.price_per_gb_month

    @property
    def price_in_all(self) -> float:
        """What the time costs as the log grows: on average half of it is there."""
        return self.price_last_month * self.days / MONTH_DAYS / 2

    @property
    def memory_bytes(self) -> float:
        """A server's resident memory: it does not grow with the log, only with the ids it remembers for a day."""
        return MEMORY_BASE_BYTES + WINDOW_BYTES_AN_ID * min(self.events_per_day, WINDOW_IDS_MAX)


@click.command("plan")
@click.option(
    "--events-per-day", type=click.FloatRange(0, 1e12, min_open=True), required=True, metavar="N", help="As 50e6."
)
@click.option(
    "--event-bytes",
    type=click.FloatRange(20, 1 << 20),
    default=568,
    show_default=True,
    metavar="N",
    help="Bytes of an event, on average.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, 36_525, min_open=True),
    default=365,
    show_default=True,
    metavar="N",
    help="How long the events are kept.",
)
@click.option(
    "--price-per-gb-month",
    type=click.FloatRange(0),
    default=0.023,
    show_default=True,
    metavar="P",
    help="Price of a gigabyte kept for a month.",
)
@json_option
def command(events_per_day: float, event_bytes: float, days: float, price_per_gb_month: float, as_json: bool) -> None:
    """Say what a log of so many events a day takes: gigabytes, memory, cost, and what that assumes."""
    plan = Plan(events_per_day, event_bytes, days, price_per_gb_month)
    journal, tiles = plan.journal_bytes_per_event * events_per_day, TILE_BYTES * events_per_day
    if as_json:
        print_json(
            {
                "events_per_day": events_per_day,
                "events_per_second": round(events_per_day / DAY_S, 3),
                "bytes_per_event": {"journal": round(plan.journal_bytes_per_event, 1), "tiles": TILE_BYTES},
                "gb_per_month": {
                    "journal": round(journal * MONTH_DAYS / GB, 3),
                    "tiles": round(tiles * MONTH_DAYS / GB, 3),
                    "total": round(plan.bytes_per_day * MONTH_DAYS / GB, 3),
                },
                "gb_history": round(plan.history_bytes / GB, 3),
                "gb_total": round(plan.bytes_in_all / GB, 3),
                "days": days,
                "memory_mib": round(plan.memory_bytes / (1 << 20)),
                "price_last_month": round(plan.price_last_month, 2),
                "price_total": round(plan.price_in_all, 2),
                "assumptions": list(ASSUMPTIONS),
            }
        )
        return
    sent = events_per_day * event_bytes
    print_line(f"{events_per_day:,.0f} events a day of {event_bytes:,.0f} bytes, kept for {days:g} days")
    print_fields(
        [
            ("pace", f"{events_per_day / DAY_S:,.1f} events a second on average"),
            ("sent", f"{_gb(sent * MONTH_DAYS)} a month"),
            ("journal", f"{_gb(journal * MONTH_DAYS)} a month ({plan.journal_bytes_per_event:.1f} bytes an event)"),
            ("tiles", f"{_gb(tiles * MONTH_DAYS)} a month ({TILE_BYTES} bytes an event)"),
            ("checkpoints", f"{_gb(plan.history_bytes)} in {days:g} days, kept for consistency proofs"),
            ("together", f"{_gb(plan.bytes_per_day * MONTH_DAYS)} a month, {_gb(plan.bytes_in_all)} in {days:g} days"),
            ("memory", f"about {plan.memory_bytes / (1 << 20):.0f} MiB for the server, however long the log"),
            (
                "cost",
                f"{plan.price_in_all:,.2f} in {days:g} days as it grows, then {plan.price_last_month:,.2f} a month",
            ),
        ]
    )
    print_line("This assumes:")
    for assumption in ASSUMPTIONS:
        print_line(f"  - {assumption}")


def _gb(size_bytes: float) -> str:
    return f"{size_bytes / GB:,.1f} GB" if size_bytes >= GB else f"{size_bytes / 10**6:,.1f} MB"
