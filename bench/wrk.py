"""Load from wrk: many connections, distinct requests from files, and a count taken elsewhere.

wrk says how fast it was answered. How many events there were is asked of whoever keeps them, in the middle of the run,
from one moment at which their number grew to another, at least `seconds` later: they may come thousands at a time.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep

import msgspec

from bench.rounds import NotMeasuredError, Turn

THREADS = 2
WARM_SECONDS = 0.3
START_SECONDS_MAX = 15.0
OVERHEAD_SECONDS = 1.5  # how much longer than the measured time requests must last

_SCRIPT = Path(__file__).with_suffix(".lua")
_MEMORY = Path("/dev/shm")  # where requests lie, so that reading them costs no disk


class Summary(msgspec.Struct, frozen=True):
    """wrk's own words, of the whole run."""

    requests: int
    refused: int
    broken: int
    p50_us: int
    p99_us: int
    ran_out: int


def check_installed() -> None:
    """Raises NotMeasuredError if there is no wrk."""
    if shutil.which("wrk") is None:
        raise NotMeasuredError("wrk is not installed (Debian: apt-get install wrk)")


@contextmanager
def request_files(place: Path, requests: Iterator[bytes]) -> Iterator[Path]:
    """The requests, dealt out to as many files as wrk has threads; the prefix of their names. In memory if possible."""
    with TemporaryDirectory(prefix="graven-bench-", dir=_MEMORY if _MEMORY.is_dir() else place) as name:
        prefix = Path(name) / "requests"
        files = [Path(f"{prefix}.{number}").open("wb") for number in range(THREADS)]  # noqa: SIM115
        try:
            for number, request in enumerate(requests):
                files[number % THREADS].write(b"%08d%b" % (len(request), request))
        finally:
            for file in files:
                file.close()
        yield prefix


def drive(
    url: str,
    prefix: Path,
    *,
    connections: int,
    seconds: float,
    count: Callable[[], int],
    cpu_s: Callable[[], float] | None = None,
) -> tuple[Turn, Summary]:
    """Send the requests of `request_files` over so many connections; `count()` says how many events were taken so far.

    Raises NotMeasuredError: no wrk, an answer that is no success, a broken connection, or too few requests.
    """
    check_installed()
    duration = f"{int(seconds + START_SECONDS_MAX + 1)}s"  # it is told to stop long before
    command = ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{duration}", "--timeout", "10s", "-s", str(_SCRIPT), url]
    process = subprocess.Popen([*command, "--", str(prefix)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_for_growth(process, count, count())
        sleep(WARM_SECONDS)
        begun = _wait_for_growth(process, count, count())
        begun_cpu_s, started = cpu_s() if cpu_s else 0.0, perf_counter()
        sleep(seconds)
        ended = _wait_for_growth(process, count, count())
        ended_cpu_s, elapsed = cpu_s() if cpu_s else 0.0, perf_counter() - started
        turn = Turn(ended - begun, elapsed, ended_cpu_s - begun_cpu_s if cpu_s else None)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=START_SECONDS_MAX)
    summary = _read_summary(output)
    if summary.refused or summary.broken or summary.ran_out:
        raise NotMeasuredError(f"wrk: {summary}")
    return turn, summary


def _wait_for_growth(process: "subprocess.Popen[bytes]", count: Callable[[], int], before: int) -> int:
    """The number of events right after it passed `before`."""
    end = monotonic() + START_SECONDS_MAX
    while (now := count()) <= before:
        if process.poll() is not None or monotonic() > end:
            raise NotMeasuredError("wrk sent nothing that was taken")
        sleep(0.001)
    return now


def _read_summary(output: bytes) -> Summary:
    try:
        return msgspec.json.decode(output.splitlines()[-1], type=Summary)
    except (IndexError, msgspec.DecodeError):
        raise NotMeasuredError(f"wrk failed: {output.decode(errors='replace')[-300:]}") from None
