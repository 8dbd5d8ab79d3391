"""A source as the command line shows it: a row of a table, or lines with all there is to say."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from graven.check.words import Row

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_TROUBLES = ("quarantined", "refused", "gaps", "replays", "forks", "forged")


def table_row(row: Mapping[str, Any], now_us: int) -> tuple[str, ...]:
    """The cells of one source; what only a running server knows is empty without one."""
    activity = row["activity"] or {}
    return (
        str(row["number"]),
        row["name"],
        row["state"],
        _ago(row["last_seen"], now_us),
        f"{activity['rate_1m']:.1f}" if activity else "",
        _span(activity["lag_ms"]) if activity else "",
        _troubles(activity),
        row["type"],
        row["grade"],
        ",".join((row["class"], *row["classes"])),
        row["owner"],
    )


def source_lines(row: Mapping[str, Any], now_us: int) -> list[Row]:
    """Everything known of one source, a line a fact."""
    activity, agent = row["activity"] or {}, row["agent"]
    expected = row["expect_s"]
    lines: list[Row] = [
        ("type", row["type"]),
        ("owner", row["owner"]),
        ("grade", row["grade"]),
        ("classes", ", ".join((row["class"], *row["classes"]))),
        ("expected", f"every {expected} s" if expected else "never"),
        ("last seen", _seen(row["last_seen"], now_us)),
    ]
    if agent is not None:
        lines += [
            ("agent", f"{agent['vkey']}, batch {agent['sequence']}"),
            ("heartbeat", _seen(activity["heartbeat"], now_us) if activity.get("heartbeat") else ""),
        ]
    if not activity:
        return [*lines, ("activity", "a running server counts it; none has counted this source")]
    ahead_ms = activity["clock_ahead_ms"]
    return [
        *lines,
        ("since", activity["since"]),
        ("events", f"{activity['events']}, and {activity['duplicates']} that were stored before"),
        ("rate", f"{activity['rate_1m']:.1f} a second over a minute, {activity['rate_1h']:.1f} over an hour"),
        ("lag", _span(activity["lag_ms"])),
        ("clock", "" if ahead_ms is None else f"{_span(abs(ahead_ms))} {'ahead' if ahead_ms >= 0 else 'behind'}"),
        ("trouble", _troubles(activity) or "none"),
    ]


def _troubles(activity: Mapping[str, Any]) -> str:
    """What went wrong since the server started, as `3 quarantined, 1 gaps`."""
    return ", ".join(f"{activity[name]} {name}" for name in _TROUBLES if activity.get(name))


def _seen(time: str | None, now_us: int) -> str:
    return f"{time}, {_ago(time, now_us)}" if time else "never"


def _ago(time: str | None, now_us: int) -> str:
    if time is None:
        return "never"
    return f"{_span(max(0, now_us - round(datetime.fromisoformat(time).timestamp() * 1e6)) // 1000)} ago"


def _span(span_ms: int | None) -> str:
    """A span of time in its largest unit: `3 d`, `250 ms`."""
    if span_ms is None:
        return ""
    for unit_s, name in _UNITS:
        if span_ms >= unit_s * 1000:
            return f"{span_ms // (unit_s * 1000)} {name}"
    return f"{span_ms // 1000} s" if span_ms >= 1000 else f"{span_ms} ms"
