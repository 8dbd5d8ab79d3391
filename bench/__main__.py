"""`python -m bench`: measures, interleaved, and prints one table."""

import argparse
import os
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import embedded, floor, postgres, sqlite
from bench.events import Feed
from bench.report import Row, format_table, rate_row
from bench.rounds import Rates, Run, measure

EVENTS_A_BATCH = 1_000
FLOOR_EVENTS_A_SECOND_MAX = 400_000  # sizes the supply of events; a faster contestant ends its turn early
FLOOR = "the bare floor: decode, SHA-256, write, fdatasync"
EMBEDDED = "Graven, embedded"
ASKED = {EMBEDDED: 0.45}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all contestants (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds a turn (default 2)")
    parser.add_argument(
        "--dir", type=Path, default=Path("/var/tmp"), help="where to write: a real disk (default /var/tmp)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graven-bench-", dir=args.dir) as name:
        place = Path(name)
        place.chmod(0o711)  # the database server runs under another account
        rows, mean_bytes = _rates(place, rounds=args.rounds, seconds=args.seconds)
    print(
        f"{args.rounds} rounds of {args.seconds:g} s, {mean_bytes:.0f} bytes an event, batches of {EVENTS_A_BATCH:,}, ",
        end="",
    )
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(format_table(rows))


def _rates(place: Path, *, rounds: int, seconds: float) -> tuple[list[Row], float]:
    """The rows of interleaved contestants, and the mean size of the events they were given, in bytes."""
    count = max(2, int(FLOOR_EVENTS_A_SECOND_MAX * seconds / EVENTS_A_BATCH))
    batches = list(Feed().batches(count, events_each=EVENTS_A_BATCH))
    contestants: dict[str, Run] = {FLOOR: floor.run, EMBEDDED: embedded.run, "SQLite, hash chain": sqlite.run}
    absent: list[Row] = []
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.serve(place))
            contestants[f"PostgreSQL {server.version}, hash-chain trigger"] = server.run
        except postgres.AbsentError as why:
            absent.append(Row("PostgreSQL, hash-chain trigger", f"not measured: {why}"))
        found: dict[str, Rates] = measure(contestants, batches, place=place, rounds=rounds, seconds=seconds)
    rows = [rate_row(name, rates, found[FLOOR], ratio_min=ASKED.get(name)) for name, rates in found.items()]
    return rows + absent, sum(map(len, batches)) / (count * EVENTS_A_BATCH) - 1  # less the newline


if __name__ == "__main__":
    main()
