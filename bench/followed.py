"""The agent's own part: lines of a file read, gathered, signed, compressed, encrypted and synced into the spool.

What follows costs the server, and is measured there. The spool is emptied as it fills, as if a server answered at once.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

from bench.rounds import Turn
from graven.agent.batching import Gathering, spool_batch
from graven.agent.follow import FileSettings, FileSource
from graven.agent.identity import make_identity
from graven.agent.spool import Spool
from graven.runtime.clock import SystemClock
from graven.runtime.files import LocalFiles

RECORDS, BYTES = 2_000, 1 << 20


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over the lines of `batches`, until `seconds` are over or the lines are."""
    folder = place / "followed"
    folder.mkdir()
    source = None
    try:
        with (folder / "app.log").open("wb") as file:
            file.writelines(batches)
        lines = sum(batch.count(b"\n") for batch in batches)
        identity, clock = make_identity("bench"), SystemClock()
        spool = Spool(LocalFiles(), folder, bytes_max=1 << 30)
        source = FileSource(FileSettings("app", (str(folder / "app.log"),)), {})
        done = 0
        cpu_s, started = process_time(), perf_counter()
        while done < lines and perf_counter() - started < seconds:
            gathering = Gathering(records_max=RECORDS, bytes_max=BYTES)
            while not gathering.is_full and done + gathering.records < lines:
                for taken in source.take(gathering.room_bytes):
                    gathering.add(taken)
            spool.settle(spool_batch(spool, identity, gathering, clock))
            done += gathering.records
        return Turn(done, perf_counter() - started, process_time() - cpu_s)
    finally:
        if source is not None:
            source.close()
            spool.close()
        shutil.rmtree(folder)
