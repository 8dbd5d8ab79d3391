"""Graven embedded in a program: NDJSON bytes in, sealed and durable events out.

One thread parses and submits, as a server's loop does; the log's own writer and publisher run beside it. Every answer
is awaited, so a rate counts only what is durable, receipted and, at the end, published.
"""

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from graven.app import Log, create_log
from graven.core.errors import GravenError
from graven.event import parse_body
from graven.log.writer import Answer

IN_FLIGHT = 8


def run(batches: Sequence[bytes], place: Path, seconds: float) -> float:
    """Events a second over `batches` (NDJSON), until `seconds` are over or the batches are; `place` is a directory."""
    directory = Path(tempfile.mkdtemp(dir=place))
    try:
        create_log(directory / "log")
        with Log.open(directory / "log") as log:
            return feed(log, batches, seconds)
    finally:
        shutil.rmtree(directory)


def feed(log: Log, batches: Sequence[bytes], seconds: float) -> float:
    """Append batches to an open log as fast as it takes them; returns events a second."""
    room = threading.Semaphore(IN_FLIGHT)
    refused: list[GravenError] = []

    def done(answer: Answer) -> None:
        if isinstance(answer, GravenError):
            refused.append(answer)
        room.release()

    count = 0
    started = perf_counter()
    for batch in batches:
        room.acquire()
        parsed = parse_body(batch, "application/x-ndjson")
        log.submit(log.batch(parsed, source="local"), done)
        count += len(parsed.slices)
        if perf_counter() - started >= seconds:
            break
    for _ in range(IN_FLIGHT):
        room.acquire()
    elapsed = perf_counter() - started
    if refused:
        raise refused[0]
    return count / elapsed
