"""A source as people see it."""

from typing import Any

from graven.cli.sources_shown import source_lines, table_row

NOW_US = 1_767_225_600_000_000  # 2026-01-01
ROW: dict[str, Any] = {
    "number": 7, "name": "web", "type": "agent", "owner": "", "grade": "sequenced agent", "class": "default",
    "classes": ["long"], "retired": False, "expect_s": 180, "state": "missing",
    "last_seen": "2025-12-31T22:00:00.000000Z",
    "agent": {"name": "web", "vkey": "web+x", "sequence": 9, "sent": None, "ended": False, "revoked": False},
    "activity": {
        "since": "2025-12-01T00:00:00.000000Z", "events": 12, "duplicates": 1, "rate_1m": 0.25, "rate_1h": 2.0,
        "lag_ms": 90_500, "clock_ahead_ms": -7_000, "quarantined": 3, "refused": 0, "gaps": 1, "replays": 0,
        "forks": 0, "forged": 2, "heartbeat": "2025-12-31T23:59:30.000000Z",
    },
}  # fmt: skip


def test_a_row_of_the_table() -> None:
    assert table_row(ROW, NOW_US) == (
        "7", "web", "missing", "2 h ago", "0.2", "1 min", "3 quarantined, 1 gaps, 2 forged", "agent", "sequenced agent",
        "default,long", "",
    )  # fmt: skip
    assert table_row({**ROW, "activity": None, "last_seen": None}, NOW_US)[3:7] == ("never", "", "", "")


def test_all_of_one() -> None:
    lines = {label: str(value) for label, value in source_lines(ROW, NOW_US)}
    assert lines["expected"] == "every 180 s"
    assert lines["heartbeat"] == "2025-12-31T23:59:30.000000Z, 30 s ago"
    assert lines["clock"] == "7 s behind"
    assert lines["rate"] == "0.2 a second over a minute, 2.0 over an hour"
    assert lines["events"] == "12, and 1 that were stored before"
    without = {label: str(value) for label, value in source_lines({**ROW, "activity": None, "agent": None}, NOW_US)}
    assert "none has counted" in without["activity"] and "heartbeat" not in without
