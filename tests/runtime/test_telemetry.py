"""Log lines and metrics."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from graven.runtime.telemetry import Metrics, get_logger, set_up_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, graven = logging.getLogger(), logging.getLogger("graven")
    kept = list(root.handlers), root.level, graven.level
    stream = io.StringIO()
    set_up_logging("info", stream)
    yield stream
    root.handlers, root.level, graven.level = kept
    root.setLevel(kept[1])
    graven.setLevel(kept[2])


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object(stream: io.StringIO) -> None:
    get_logger("serve").info("listening", extra={"fields": {"url": "http://x", "size": 3, "ok": True, "none": None}})
    (line,) = lines(stream)
    time = str(line.pop("time"))
    assert time.endswith("Z")
    assert len(time) == len("2026-01-01T00:00:00.000Z")
    assert line == {
        "level": "info", "logger": "graven.serve", "message": "listening", "url": "http://x", "size": 3, "ok": True,
        "none": None,
    }  # fmt: skip


def test_text_from_outside_cannot_play_with_a_terminal(stream: io.StringIO) -> None:
    nasty = "a\x1b[2Jb\nc\u202ed"
    get_logger("x").warning("said %s", nasty, extra={"fields": {"path": nasty, "list": [nasty, 1]}})
    try:
        raise ValueError(nasty)
    except ValueError as error:
        get_logger("x").error("failed", exc_info=error)
    for raw in stream.getvalue().splitlines():
        decoded = json.loads(raw)
        for value in [*decoded.values(), *decoded.get("list", [])]:
            assert "\x1b" not in str(value)
            assert "\n" not in str(value)
            assert "\u202e" not in str(value)
    first, second = lines(stream)
    assert first["path"] == "a\\u{1b}[2Jb\\u{a}c\\u{202e}d"
    assert str(second["error"]).startswith("ValueError: a")
    assert any("test_telemetry.py" in str(frame) for frame in second["trace"])  # type: ignore[attr-defined]


def test_levels(stream: io.StringIO) -> None:
    get_logger("x").debug("too fine")
    logging.getLogger("elsewhere").info("not ours")
    logging.getLogger("elsewhere").warning("worth it")
    assert [line["message"] for line in lines(stream)] == ["worth it"]


def test_counters_histograms_and_gauges() -> None:
    metrics, value = Metrics("1.2.3"), [1.0]
    metrics.accepted.add(3, "web")
    metrics.accepted.add(2, "web")
    metrics.accepted.add(1, 'q"uote')
    metrics.quarantined.add()
    for took_s in (0.0005, 0.0006, 3, 100):
        metrics.commit_s.observe(took_s)
    metrics.watch("graven_seen", "Now.", lambda: value[0])
    value[0] = 7.0
    text = metrics.exposition().decode()
    for line in (
        'graven_events_accepted_total{source="web"} 5.0',
        'graven_events_accepted_total{source="q\\"uote"} 1.0',
        "graven_events_quarantined_total 1.0",
        'graven_commit_seconds_bucket{le="0.0005"} 1.0',
        'graven_commit_seconds_bucket{le="0.001"} 2.0',
        'graven_commit_seconds_bucket{le="5.0"} 3.0',
        'graven_commit_seconds_bucket{le="+Inf"} 4.0',
        "graven_commit_seconds_count 4.0",
        "graven_seen 7.0",
        'graven_build_info{version="1.2.3"} 1.0',
    ):
        assert line in text.splitlines(), line
    assert metrics.accepted.value("web") == 5
    assert "graven_commit_seconds_sum 103.0011" in text
