"""Graven over HTTP: a real server on the same two cores as the load upon it. And an empty handler beside it.

What is counted is the growth of the log, by its own mark, so a request that was refused, lost or a duplicate does not
count. No event is ever sent twice.
"""

import http.client
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from bench import wrk
from bench.events import Feed
from bench.rounds import Turn
from bench.served import PATH, Server, cpu_seconds, listening, request_head

NDJSON = "application/x-ndjson"
JSON = "application/json"
_POOL = 500  # single events are made so many at a time
_TOKEN = "t" * 47  # as long as one of Graven's


class Load:
    """Requests of `events_each` events over `connections`. `events_a_second_max` sizes the supply."""

    def __init__(
        self, server: Server, feed: Feed, *, events_each: int, connections: int, events_a_second_max: float
    ) -> None:
        self._server, self._feed = server, feed
        self._events_each, self._connections = events_each, connections
        self._events_a_second_max = events_a_second_max
        self.summaries: list[wrk.Summary] = []

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn; events come from the feed. Raises NotMeasuredError."""
        del batches
        server = self._server
        requests = int(self._events_a_second_max * (seconds + wrk.OVERHEAD_SECONDS) / self._events_each) + 100
        with wrk.request_files(place, self._requests(requests)) as prefix:
            turn, summary = wrk.drive(
                server.url, prefix, connections=self._connections, seconds=seconds,
                count=server.committed, cpu_s=partial(cpu_seconds, server.pid),
            )  # fmt: skip
        self.summaries.append(summary)
        server.settle()
        return turn

    @property
    def latency_ms(self) -> tuple[float, float]:
        """The medians over the rounds of wrk's p50 and p99."""
        return median(s.p50_us for s in self.summaries) / 1000, median(s.p99_us for s in self.summaries) / 1000

    def _requests(self, count: int) -> Iterator[bytes]:
        server = self._server
        return whole_requests(self._feed, count, self._events_each, server.host, server.port, server.token)


class Nothing:
    """The same load of single events on an empty handler."""

    def __init__(self, feed: Feed, *, connections: int, requests_a_second_max: float, log: Path) -> None:
        self._feed, self._connections, self._requests_a_second_max = feed, connections, requests_a_second_max
        self._log = log

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn. Raises NotMeasuredError."""
        del batches
        count = int(self._requests_a_second_max * (seconds + wrk.OVERHEAD_SECONDS)) + 100
        with (
            listening([sys.executable, "-m", "bench.empty"], self._log) as (process, host, port),
            wrk.request_files(place, whole_requests(self._feed, count, 1, host, port, _TOKEN)) as prefix,
            _asking(host, port) as asked,
        ):
            return wrk.drive(
                f"http://{host}:{port}{PATH}", prefix, connections=self._connections, seconds=seconds,
                count=asked, cpu_s=partial(cpu_seconds, process.pid),
            )[0]  # fmt: skip


def whole_requests(feed: Feed, count: int, events_each: int, host: str, port: int, token: str) -> Iterator[bytes]:
    """HTTP requests that append the feed's next events: one as JSON, several as NDJSON."""
    if events_each == 1:
        bodies: Iterator[bytes] = (line for _ in range(0, count, _POOL) for line in feed.batch(_POOL).splitlines())
        kind = JSON
    else:
        bodies, kind = feed.batches(count, events_each=events_each), NDJSON
    for body in islice(bodies, count):
        yield request_head(host, port, token, body_bytes=len(body), content_type=kind) + body


@contextmanager
def _asking(host: str, port: int) -> Iterator[partial[int]]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        yield partial(_ask, connection)
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    return int(connection.getresponse().read())
