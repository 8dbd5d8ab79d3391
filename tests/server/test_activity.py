"""What each source does, counted within bounds."""

import pytest

from graven.runtime.telemetry import OTHER, SERIES_MAX, Metrics
from graven.server.activity import Activity

S = 1_000_000
T0 = 1_800_000_000 * S


def row(activity: Activity, name: str, now_us: int) -> dict[str, object]:
    found = activity.row(name, now_us)
    assert found is not None
    return found


def test_rates_are_of_the_last_minute_and_hour() -> None:
    activity = Activity()
    for second in range(600):
        activity.took("web", now_us=T0 + second * S, events=20)
    busy = row(activity, "web", T0 + 600 * S)
    assert busy["rate_1m"] == pytest.approx(20, rel=0.05)
    assert busy["rate_1h"] == pytest.approx(20, rel=0.05)  # over the ten minutes it was counted
    assert row(activity, "web", T0 + 630 * S)["rate_1m"] == pytest.approx(10, rel=0.1)
    quiet = row(activity, "web", T0 + 800 * S)
    assert quiet["rate_1m"] == 0
    assert quiet["rate_1h"] == pytest.approx(15, rel=0.05)
    assert row(activity, "web", T0 + 3 * 3600 * S)["rate_1h"] == 0


def test_a_clock_that_falls_harms_nothing() -> None:
    activity = Activity()
    activity.took("web", now_us=T0, events=5)
    activity.took("web", now_us=T0 - 10_000 * S, events=5)
    assert row(activity, "web", T0 - 9_000 * S)["events"] == 10
    assert float(str(row(activity, "web", T0 - 9_000 * S)["rate_1m"])) >= 0


def test_lag_is_sampled_and_the_future_is_a_clock_ahead() -> None:
    activity = Activity()
    now = 1_767_225_600 * S  # 2026-01-01
    activity.took("web", now_us=now, events=1, last=b'{"time":"2025-12-31T23:59:50Z","action":"x"}')
    assert (row(activity, "web", now)["lag_ms"], row(activity, "web", now)["clock_ahead_ms"]) == (10_000, None)
    activity.took("web", now_us=now + S, events=1, last=b'{"time":"2026-01-01T00:01:01Z","action":"x"}')
    assert (row(activity, "web", now)["lag_ms"], row(activity, "web", now)["clock_ahead_ms"]) == (0, 60_000)
    far = (b'{"time":"9999-12-31T23:59:59Z"}', b'{"time":"0001-01-01T00:00:00Z"}')
    for hostile in (*far, b"{", b"[" * 10_000, b"\xff"):
        now += 2 * S
        activity.took("web", now_us=now, events=1, last=hostile)
    assert row(activity, "web", now)["lag_ms"] == 0
    activity.beat("web", -3_000_000, now)
    activity.took("web", now_us=now + 2 * S, events=1, last=b'{"time":"2027-01-01T00:00:00Z"}')
    assert row(activity, "web", now)["clock_ahead_ms"] == -3_000  # measured: better than guessed


def test_a_million_sources_take_no_more_room_than_there_is() -> None:
    activity = Activity(rows_max=1_000)
    activity.took("first", now_us=T0, events=1)
    for number in range(20_000):
        activity.took(f"source-{number}", now_us=T0 + number, events=1)
        if not number % 100:
            activity.took("busy", now_us=T0 + number, events=1)
    assert len(activity) <= 1_000
    assert activity.row("first", T0) is None
    assert row(activity, "busy", T0)["events"] == 200  # who is heard often is kept


def test_series_are_bounded() -> None:
    metrics = Metrics("test")
    for number in range(SERIES_MAX + 500):
        metrics.accepted.add(1, f"source-{number}")
    assert metrics.accepted.value(OTHER) == 500
    metrics.accepted.add(2, "source-0")
    assert metrics.accepted.value("source-0") == 3
    metrics.watch_each("ages", "Ages.", "source", lambda: ((f"s{n}", float(n)) for n in range(10**9)))
    assert metrics.exposition().count(b"ages{") == SERIES_MAX
