"""The doors for shippers, beside the native one: the same events, in the collector's and Elasticsearch's wrapping.

And syslog: lines over TCP, octet-counted, until they are durable. Counted by the growth of the log, by its own mark.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

from bench import wrk
from bench.events import Feed
from bench.lines import LINES_A_PIECE, SshdLines
from bench.rounds import NotMeasuredError, Turn
from bench.served import Server, cpu_seconds, request_head

EVENTS_EACH, CONNECTIONS = 500, 8
WAIT_SECONDS_MAX = 60.0

HEC_PATH, BULK_PATH = "/services/collector/event", "/_bulk"

_WAIT_S = 0.002


class Wrapped:
    """Batches of 500 events over 8 connections, each body wrapped as a protocol has it."""

    def __init__(
        self, server: Server, feed: Feed, path: str, wrap: Callable[[bytes], bytes], *, events_a_second_max: float
    ) -> None:
        self._server, self._feed, self._path, self._wrap = server, feed, path, wrap
        self._events_a_second_max = events_a_second_max

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn; events come from the feed. Raises NotMeasuredError."""
        del batches
        server = self._server
        requests = int(self._events_a_second_max * (seconds + wrk.OVERHEAD_SECONDS) / EVENTS_EACH) + 100
        with wrk.request_files(place, self._requests(requests)) as prefix:
            turn, _ = wrk.drive(
                f"http://{server.host}:{server.port}{self._path}", prefix, connections=CONNECTIONS, seconds=seconds,
                count=server.committed, cpu_s=partial(cpu_seconds, server.pid),
            )  # fmt: skip
        server.settle()
        return turn

    def _requests(self, requests: int) -> Iterator[bytes]:
        server = self._server
        for body in self._feed.batches(requests, events_each=EVENTS_EACH):
            wrapped = b"\n".join(self._wrap(line) for line in body.splitlines()) + b"\n"
            head = request_head(
                server.host, server.port, server.token, body_bytes=len(wrapped),
                content_type="application/x-ndjson", path=self._path,
            )  # fmt: skip
            yield head + wrapped


def as_hec(line: bytes) -> bytes:
    """An event in the collector's envelope."""
    return b'{"time":1772439271.204,"host":"web1","source":"app","event":%b}' % line


def as_bulk(line: bytes) -> bytes:
    """An event behind its action."""
    return b'{"create":{"_index":"audit"}}\n' + line


class Syslog:
    """Lines of sshd over one TCP connection, from the first byte sent to the last line durable."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lines = SshdLines()

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn. Raises NotMeasuredError."""
        del batches, place
        server = self._server
        before, cpu_s = server.committed(), cpu_seconds(server.pid)
        pieces = [self._lines.piece() for _ in range(20)]
        started, sent = perf_counter(), 0
        with socket.create_connection((server.host, server.syslog_port)) as sender:
            while perf_counter() - started < seconds:
                if not pieces:
                    pieces = [self._lines.piece() for _ in range(5)]
                sender.sendall(pieces.pop())
                sent += LINES_A_PIECE
            while server.committed() < before + sent:
                if perf_counter() - started > seconds + WAIT_SECONDS_MAX:
                    raise NotMeasuredError(f"{server.committed() - before} lines of {sent} arrived")
                sleep(_WAIT_S)
        turn = Turn(sent, perf_counter() - started, cpu_seconds(server.pid) - cpu_s)
        server.settle()
        return turn
