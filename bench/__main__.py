"""`python -m bench`: measures, interleaved, and prints one table. docs/benchmarks.md says what each row means."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lab import AbsentError

from bench import (
    anchored,
    audited,
    copied,
    doors,
    embedded,
    floor,
    followed,
    loggers,
    long,
    postgres,
    served,
    sqlite,
    trail,
    witnessed,
    wrk,
)
from bench.events import Feed
from bench.lone import Lone, median_ms, percentile_99_ms
from bench.over_http import Load, Nothing
from bench.report import Row, as_json, format_table, limit_row, rate_row
from bench.rounds import Measured, Run, measure

CORES = 2
EVENTS_A_BATCH = 1_000
LONE_MS_OVER_BARE_MAX = 0.5

FLOOR = "the bare floor: decode, SHA-256, write, fdatasync"
EMBEDDED = "Graven embedded, batches of 1,000"
ANCHORED = "Graven embedded, stamped every second"
FOLLOWED = "the agent: lines of a file into its spool"
BATCHES = "Graven over HTTP, batches of 500, 8 connections"
SINGLES = "Graven over HTTP, single events, 256 connections"
HEC = "Splunk HEC, batches of 500, 8 connections"
BULK = "Elasticsearch _bulk, batches of 500, 8 connections"
SYSLOG = "syslog over TCP, one connection, until durable"
RSYSLOG = "rsyslog over TCP to a file, synced, the same lines"
SECURE_NG = "syslog-ng, secure logging to a file, the same lines"
EMPTY = "an empty HTTP handler, the same requests"
VERIFY = "verify"
SQLITE = "SQLite, hash chain, batches of 1,000"
TRAIL_DECODE = "CloudTrail records, decoded and nothing else"
TRAIL = "CloudTrail records, normalised on one core"
LONE = "one lone client, one event"

RATIO_MIN = {EMBEDDED: 0.45, FOLLOWED: 0.14, BATCHES: 0.35, SINGLES: 0.034, VERIFY: 1.7, TRAIL: 0.085, SYSLOG: 0.113}
RATE_MIN = {FOLLOWED: 50_000.0, SINGLES: 12_000.0, VERIFY: 600_000.0, TRAIL: 30_000.0, SYSLOG: 40_000.0}
"""What is asked of a machine whose floor is 355,000 events a second; RATIO_MIN asks the same of any other."""


BATCHES_OVER_SHIPPERS_MAX = 1.5
"""How many times as many events the native door may take as one for shippers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `events` and `small_blocks` are the lengths of the two long logs, `entries` that of the
    tree that is audited; `witnessed_s` is how long witnessed receipts are asked for at each interval."""

    rounds: int
    seconds: float
    events: int
    small_blocks: int
    entries: int
    witnessed_s: float


DEFAULT = Plan(5, 1.5, 1_000_000, 100_000, 2_000_000, 30.0)
QUICK = Plan(1, 0.3, 30_000, 1_000, 70_000, 0.0)
LARGE = Plan(5, 1.5, 10_000_000, 1_000_000, 10_000_000, 60.0)


def main() -> None:
    args = _arguments()
    plan = QUICK if args.quick else LARGE if args.large else DEFAULT
    plan = replace(plan, rounds=args.rounds or plan.rounds, seconds=args.seconds or plan.seconds)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="graven-bench-", dir=args.dir) as name:
        place = Path(name)
        place.chmod(0o711)  # the database server runs under another account
        rows, mean_bytes = run(plan, place)
    _told("")
    kind = "QUICK, too short to judge by: " if args.quick else ""
    print(
        f"{kind}{plan.rounds} rounds of {plan.seconds:g} s, {mean_bytes:.0f} bytes an event, {CORES} cores of "
        f"{os.cpu_count()}, Python {platform.python_version()}\n"
    )
    print(format_table(rows))
    if args.json is not None:
        setting = {"kind": "quick" if args.quick else "large" if args.large else "default", "rounds": plan.rounds,
                   "seconds": plan.seconds, "mean_event_bytes": mean_bytes, "cores": CORES,
                   "python": platform.python_version()}  # fmt: skip
        args.json.write_text(json.dumps({"run": setting, "rows": as_json(rows)}, indent=2) + "\n")


def run(plan: Plan, place: Path) -> tuple[list[Row], float]:
    """All rows, in the order of the table, and the mean size of an event in bytes."""
    absent: list[Row] = []
    lone: Lone | None = None
    with ExitStack() as stack:
        rate_max = _calibrate(place)
        contestants: dict[str, Run] = {FLOOR: floor.run, EMBEDDED: embedded.run}
        contestants |= {ANCHORED: anchored.run, FOLLOWED: followed.run}
        try:
            wrk.check_installed()
            _told("starting a server")
            server = stack.enter_context(served.serve(place))
            feed = Feed(seed=2)
            contestants[BATCHES] = Load(server, feed, events_each=500, connections=8, events_a_second_max=rate_max).run
            contestants[SINGLES] = Load(
                server, feed, events_each=1, connections=256, events_a_second_max=min(rate_max, 40_000)
            ).run
            for name, path, wrap in ((HEC, doors.HEC_PATH, doors.as_hec), (BULK, doors.BULK_PATH, doors.as_bulk)):
                contestants[name] = doors.Wrapped(server, feed, path, wrap, events_a_second_max=rate_max).run
            contestants[SYSLOG] = doors.Syslog(server).run
            contestants[EMPTY] = Nothing(
                feed, connections=256, requests_a_second_max=60_000, log=place / "empty.log"
            ).run
            lone = Lone(server, feed)
            contestants[LONE] = lone.run
        except AbsentError as why:
            absent += [Row(name, f"not measured: {why}") for name in (BATCHES, SINGLES, HEC, BULK, SYSLOG, EMPTY, LONE)]
        for name, start in ((RSYSLOG, loggers.rsyslog), (SECURE_NG, loggers.secure_syslog_ng)):
            try:
                contestants[name] = stack.enter_context(start(place)).run
            except AbsentError as why:
                absent.append(Row(name, f"not measured: {why}"))
        large = _make_log(plan.events, long.EVENTS_A_BLOCK, place)
        small_blocks = _make_log(plan.small_blocks, 1, place)
        contestants[VERIFY] = large.verify
        contestants[SQLITE] = sqlite.run
        contestants[TRAIL_DECODE], contestants[TRAIL] = trail.decode, trail.normalise
        try:
            _told("starting PostgreSQL")
            database = stack.enter_context(postgres.serve(place))
            contestants[f"PostgreSQL {database.version}, hash-chain trigger"] = database.run
        except AbsentError as why:
            absent.append(Row("PostgreSQL, hash-chain trigger", f"not measured: {why}"))
        count = max(2, int(rate_max * plan.seconds / EVENTS_A_BATCH))
        batches = list(Feed().batches(count, events_each=EVENTS_A_BATCH))
        measured = measure(contestants, batches, place=place, rounds=plan.rounds, seconds=plan.seconds, told=_told)
    rows = [*_rate_rows(measured), *absent]
    if lone is not None and lone.bare_s:
        rows.append(_lone_row(lone))
    rows += long.rows(place, large, small_blocks, _told)
    rows.append(copied.row(place, large, _told))
    further: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
        (witnessed.WHAT, partial(witnessed.rows, place, plan.witnessed_s, _told)),
        (audited.WHAT, partial(audited.rows, place, plan.entries, _told)),
    )
    for what, more in further:
        try:
            rows += more()
        except AbsentError as why:
            rows.append(Row(what, f"not measured: {why}"))
    return rows, sum(map(len, batches)) / (count * EVENTS_A_BATCH) - 1  # less the newline


def _rate_rows(measured: Measured) -> list[Row]:
    base = measured.rates[FLOOR]
    beside = {TRAIL: f"; {measured.rates[TRAIL].ratio_to(measured.rates[TRAIL_DECODE]):.2f} × the bare decode"}
    rows = [
        rate_row(
            name, rates, base, ratio_min=RATIO_MIN.get(name), rate_min=RATE_MIN.get(name), beside=beside.get(name, "")
        )
        for name, rates in measured.rates.items()
        if name not in (LONE, ANCHORED, HEC, BULK)
    ]
    rows += [_shipper_row(name, measured) for name in (HEC, BULK) if name in measured.rates]
    if ANCHORED in measured.rates:
        rows.insert(2, _anchored_row(measured))
    return rows + [Row(name, f"not measured: {why}") for name, why in measured.absent.items()]


def _anchored_row(measured: Measured) -> Row:
    rates = measured.rates[ANCHORED]
    ratio = rates.ratio_to(measured.rates[EMBEDDED])
    row = rate_row(ANCHORED, rates, measured.rates[FLOOR], beside=f"; {ratio:.3f} × without")
    return replace(row, asked=f"≥ {anchored.RATIO_MIN} × without", met=ratio >= anchored.RATIO_MIN)


def _shipper_row(name: str, measured: Measured) -> Row:
    rates = measured.rates[name]
    row = rate_row(name, rates, measured.rates[FLOOR])
    if BATCHES not in measured.rates:
        return row
    times = 1 / rates.ratio_to(measured.rates[BATCHES])
    asked = f"native ≤ {BATCHES_OVER_SHIPPERS_MAX} ×"
    met = times <= BATCHES_OVER_SHIPPERS_MAX
    return replace(row, figure=f"{row.figure}; native is {times:.2f} ×", asked=asked, met=met)


def _lone_row(lone: Lone) -> Row:
    bare, append = median_ms(lone.bare_s), median_ms(lone.appends_s)
    figure = (
        f"p50 {append:.2f} ms, p99 {percentile_99_ms(lone.appends_s):.2f} ms; bare append + fdatasync {bare:.2f} ms"
    )
    return limit_row(LONE, figure, append, round(bare + LONE_MS_OVER_BARE_MAX, 2), "ms p50", bare_p50_ms=bare)


def _make_log(events: int, events_a_block: int, place: Path) -> long.LongLog:
    _told(f"making a log of {events:,} events, {events_a_block:,} a block")
    return long.make(place, events=events, events_a_block=events_a_block)


def _calibrate(place: Path) -> float:
    """Events a second that nobody will pass: the floor's own rate in a short run, and half as much again."""
    _told("finding out how fast this machine is")
    return 1.5 * max(floor.run(list(Feed(pool_events=2_000).batches(60, events_each=1_000)), place, 0.2).rate
                     for _ in range(3))  # fmt: skip


def _told(what: str) -> None:
    """Progress, on standard error, in one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
    elif what:
        sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a run of seconds, to see that all of it works")
    size.add_argument("--large", action="store_true", help="with a log of 10 million events (about 15 minutes)")
    parser.add_argument("--rounds", type=int, help="rounds of all contestants (default 5)")
    parser.add_argument("--seconds", type=float, help="seconds a turn (default 1.5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where to write: a real disk (default /var/tmp)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
