"""The arithmetic of capacity, held against a log that is really written."""

from pathlib import Path

import pytest
from bench.events import Feed

from cli.calls import Run, read_json
from graven.app import Log
from graven.cli.plan import GB, JOURNAL_RATIO, TILE_BYTES, Plan


def test_fifty_million_a_day() -> None:
    plan = Plan(50e6, 568, 365, 0.02)
    assert plan.journal_bytes_per_event == pytest.approx(88.3, abs=0.1)
    assert plan.bytes_in_all / GB == pytest.approx(50e6 * 365 * (88.3 + 66.2) / 1e9, rel=0.01)
    assert plan.price_last_month == pytest.approx(plan.bytes_in_all / GB * 0.02)
    kept_gb_days = sum(day * plan.bytes_per_day for day in range(365)) / GB
    assert plan.price_in_all == pytest.approx(kept_gb_days / 30 * 0.02, rel=0.01)


def test_memory_grows_with_ids_and_not_with_the_log() -> None:
    assert Plan(50e6, 568, 3650, 0).memory_bytes == Plan(2e6, 568, 1, 0).memory_bytes
    assert Plan(1e3, 568, 365, 0).memory_bytes < Plan(1e6, 568, 365, 0).memory_bytes


def test_the_command_adds_up(run: Run) -> None:
    found = read_json(run("plan", "--events-per-day", "1e6", "--days", 30, "--json"))
    month = found["gb_per_month"]
    assert month["total"] == pytest.approx(month["journal"] + month["tiles"], abs=0.002)
    assert found["gb_total"] == pytest.approx(month["total"] + found["gb_history"], abs=0.002)
    assert found["gb_history"] == pytest.approx(4096 * (7 * 86_400 + 23 * 1_440) / 1e9, abs=0.001)
    assert len(found["assumptions"]) == 5
    for words in (["0"], ["-1"], ["many"], ["1e20"]):
        run("plan", "--events-per-day", *words, exit_code=2)


def test_the_measured_figures_still_hold(run: Run, made: str) -> None:
    """20,000 events of the benchmark, in blocks of 1,000: within 3 % of what the plan says."""
    feed, count, size_bytes = Feed(), 20_000, 0
    with Log.open("log") as log:
        for _ in range(count // 1_000):
            body = feed.batch(1_000)
            size_bytes += len(body) - 1_000
            log.append(body)
    written = {
        name: sum(path.stat().st_size for path in Path("log", name).rglob("*") if path.is_file())
        for name in ("journal", "log")
    }
    assert written["journal"] / size_bytes == pytest.approx(JOURNAL_RATIO, rel=0.03)
    assert written["log"] / count == pytest.approx(TILE_BYTES, rel=0.03)
