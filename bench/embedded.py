"""Graven embedded in a program: NDJSON bytes in, sealed and durable events out.

One thread parses and submits, as a server's loop does; the log's own writer and publisher run beside it. Every answer
is awaited, so a rate counts only what is durable, receipted and, at the end, published.
"""

import shutil
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter, process_time

from bench.rounds import Turn
from graven.app import Log, create_log
from graven.core.errors import GravenError
from graven.event import parse_body
from graven.log.writer import Answer

IN_FLIGHT = 8


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over `batches` (NDJSON), until `seconds` are over or the batches are; `place` is a directory."""
    directory = Path(tempfile.mkdtemp(dir=place))
    try:
        create_log(directory / "log")
        with Log.open(directory / "log") as log:
            return feed(log, batches, seconds)
    finally:
        shutil.rmtree(directory)


def feed(log: Log, batches: Iterable[bytes], seconds: float = float("inf"), *, in_flight: int = IN_FLIGHT) -> Turn:
    """Append batches to an open log as fast as it takes them."""
    room = threading.Semaphore(in_flight)
    refused: list[GravenError] = []

    def done(answer: Answer) -> None:
        if isinstance(answer, GravenError):
            refused.append(answer)
        room.release()

    count = 0
    cpu_s, started = process_time(), perf_counter()
    for batch in batches:
        room.acquire()
        parsed = parse_body(batch, "application/x-ndjson")
        log.submit(log.batch(parsed, source="local"), done)
        count += len(parsed.slices)
        if refused or perf_counter() - started >= seconds:
            break
    for _ in range(in_flight):
        room.acquire()
    elapsed, cpu_s = perf_counter() - started, process_time() - cpu_s
    if refused:
        raise refused[0]
    return Turn(count, elapsed, cpu_s)
