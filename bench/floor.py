"""The bare floor: the least that any durable log of typed events must do, in one thread and with nothing else.

Typed decode, one SHA-256 an event, the batch appended to a file, one fdatasync a batch. Neither sealed nor proved.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time

from msgspec.json import Decoder

from bench.rounds import Turn
from graven.event import Event


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over `batches` (NDJSON), until `seconds` are over or the batches are; `place` is a directory."""
    decode = Decoder(Event).decode
    path = place / "floor.ndjson"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        done = 0
        cpu_s, started = process_time(), perf_counter()
        for batch in batches:
            lines = batch.splitlines()
            for line in lines:
                decode(line)
                sha256(line).digest()
            if os.write(fd, batch) != len(batch):
                raise OSError(f"short write to {path}")
            os.fdatasync(fd)
            done += len(lines)
            if perf_counter() - started >= seconds:
                break
        return Turn(done, perf_counter() - started, process_time() - cpu_s)
    finally:
        os.close(fd)
        path.unlink()
