"""One lone client: how long one event takes from the request to the receipt, when nothing else is going on.

Beside the least a durable append can take: the same bytes written to a file, and one fdatasync. The two take turns,
request by request, so that a slow moment of the disk falls on both.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from bench.events import Feed
from bench.over_http import whole_requests
from bench.rounds import NotMeasuredError, Turn
from bench.served import Server

REQUESTS_A_SECOND = 100  # a round of so many seconds sends so many requests, however long they take

WARM_REQUESTS = 5


class Lone:
    """A client with one connection, kept alive; the times of both contestants, in seconds."""

    def __init__(self, server: Server, feed: Feed) -> None:
        self._server, self._feed = server, feed
        self.appends_s: list[float] = []
        self.bare_s: list[float] = []

    def run(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """One turn. Raises NotMeasuredError if a request is not answered with 200."""
        del batches
        server, count = self._server, max(10, int(REQUESTS_A_SECOND * seconds))
        path = place / "lone.ndjson"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        connection = socket.create_connection((server.host, server.port))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began = perf_counter()
            requests = whole_requests(self._feed, count + WARM_REQUESTS, 1, server.host, server.port, server.token)
            for number, request in enumerate(list(requests)):
                started = perf_counter()
                os.write(fd, request)
                os.fdatasync(fd)
                between = perf_counter()
                connection.sendall(request)
                _read_answer(connection)
                ended = perf_counter()
                if number >= WARM_REQUESTS:
                    self.bare_s.append(between - started)
                    self.appends_s.append(ended - between)
            return Turn(count, perf_counter() - began)
        finally:
            connection.close()
            os.close(fd)
            path.unlink()


def median_ms(times_s: Sequence[float]) -> float:
    """The p50, in milliseconds."""
    return median(times_s) * 1000


def percentile_99_ms(times_s: Sequence[float]) -> float:
    """The p99, in milliseconds."""
    return quantiles(times_s, n=100, method="inclusive")[98] * 1000


def _read_answer(connection: socket.socket) -> None:
    data = connection.recv(65536)
    head, found, body = data.partition(b"\r\n\r\n")
    while not found:
        data += _more(connection)
        head, found, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise NotMeasuredError(f"the server answered {data[:200]!r}")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += _more(connection)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise NotMeasuredError("the server closed the connection")
    return data
