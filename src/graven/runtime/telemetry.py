"""What a server says about itself: log lines (JSON on standard error) and metrics (Prometheus).

A log line is one JSON object: `time`, `level`, `logger`, `message`, and whatever fields the call adds. Text that may
come from outside is escaped, so that a line can be read on a terminal; tokens are never given to a logger at all. What
Graven does to the audit log is not here: it is in the audit log.

Metrics live in a registry of their own, made once a server. `Tally` and `Spread` are the counter and the histogram of a
hot path: plain numbers that one thread adds to, rendered when they are scraped, a tenth of the cost of the library's
own. Whoever has a number that is asked for rarely hands in a function (`watch`).
"""

import json
import logging
import sys
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TextIO

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from graven.runtime.terminal import escape_for_terminal

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 5, 10)
_GROUP_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000)
_TRACE_FRAMES_MAX = 20

SERIES_MAX = 1_000
"""Of one metric: what else there is counts under OTHER, so that no sender makes the metrics grow."""
OTHER = "(other)"


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON. Fields are what a call passes as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escape_for_terminal(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            line |= {str(key): _shown(value) for key, value in fields.items()}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = escape_for_terminal(f"{type(error).__name__}: {error}")
            line["trace"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)[-_TRACE_FRAMES_MAX:]
            ]
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """From now on every logger of this process writes JSON lines to `stream` (standard error), from `level` up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("graven").setLevel(level.upper())


def get_logger(name: str) -> logging.Logger:
    """The logger `graven.<name>`."""
    return logging.getLogger(f"graven.{name}")


class Tally(Collector):
    """A counter by labels, at most SERIES_MAX of them. One thread adds."""

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, amount: float = 1, *labels: str) -> None:
        value = self._values.get(labels)
        if value is None:
            if len(self._values) >= SERIES_MAX:
                labels = (OTHER,) * len(labels)
            value = self._values.get(labels, 0)
        self._values[labels] = value + amount

    def value(self, *labels: str) -> float:
        """What was counted so far."""
        return self._values.get(labels, 0)

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in list(self._values.items()):
            family.add_metric(labels, value)
        return (family,)


class Listing(Collector):
    """A gauge of things that come and go, by name: `read()` is asked at each scrape; the first SERIES_MAX are shown."""

    def __init__(self, name: str, meaning: str, label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        self._name, self._meaning, self._label, self._read = name, meaning, label, read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._meaning, labels=[self._label])
        for name, value in islice(self._read(), SERIES_MAX):
            family.add_metric([name], value)
        return (family,)


class Spread(Collector):
    """A histogram. One thread observes."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        self._name, self._meaning, self._bounds = name, meaning, tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip([*map(str, map(float, self._bounds)), "+Inf"], list(self._counts), strict=True):
            total += count
            buckets.append((bound, total))
        return (HistogramMetricFamily(self._name, self._meaning, buckets=buckets, sum_value=self._sum),)


class Metrics:
    """The numbers of one server. `watch` adds gauges that are read when they are asked for."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.accepted = self._tally("graven_events_accepted", "Events newly stored, by source.", "source")
        self.duplicates = self._tally("graven_events_duplicate", "Events that were stored already.", "source")
        self.quarantined = self._tally("graven_events_quarantined", "Events kept as they came: they were unreadable.")
        self.refused = self._tally("graven_intake_refused", "Requests to append that were refused.", "reason")
        self.bytes = self._tally("graven_intake_bytes", "Bytes of accepted requests, decompressed.")
        self.requests = self._tally("graven_http_requests", "HTTP requests answered.", "route", "code")
        self.http_lost = self._tally(
            "graven_http_connections_lost",
            "HTTP connections that were cut or refused before they asked anything.",
            "why",
        )
        self.syslog = self._tally("graven_syslog_messages", "Syslog messages taken in.", "transport")
        self.syslog_lost = self._tally("graven_syslog_lost", "Syslog messages lost, or connections refused.", "why")
        self.commit_s = Spread(
            "graven_commit_seconds", "From a request being queued to its events being durable.", _COMMIT_BOUNDS_S
        )
        self.group_events = Spread("graven_group_events", "Events in one commit.", _GROUP_BOUNDS)
        self.registry.register(self.commit_s)
        self.registry.register(self.group_events)
        self.watch("graven_build_info", "1; the version stands in the label.", lambda: 1.0, version=version)

    def watch(self, name: str, meaning: str, read: Callable[[], float], **labels: str) -> None:
        """A gauge whose value is `read()`, called at each scrape, on the scraping thread."""
        gauge = Gauge(name, meaning, list(labels), registry=self.registry)
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def watch_each(self, name: str, meaning: str, label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """A gauge for each (name, value) that `read()` gives, within bounds."""
        self.registry.register(Listing(name, meaning, label, read))

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _tally(self, name: str, meaning: str, *labels: str) -> Tally:
        tally = Tally(name, meaning, *labels)
        self.registry.register(tally)
        return tally


def _shown(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return escape_for_terminal(str(value))
