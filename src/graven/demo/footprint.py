"""What a log takes: disk an event, disk a month, memory of this process. Measured, not promised."""

from dataclasses import dataclass
from pathlib import Path

_EVENTS_A_DAY = 50_000_000
_DAYS_A_MONTH = 30
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on disk divided by entries. `event_bytes` is the mean size of an event as it was sent."""

    entries: int
    event_bytes: float
    journal_bytes: float
    tile_bytes: float

    @property
    def month_gb(self) -> float:
        """GB (10⁹ bytes) a month of 30 days, at 50 million events a day like those measured."""
        return (self.journal_bytes + self.tile_bytes) * _EVENTS_A_DAY * _DAYS_A_MONTH / 1e9


def measure(directory: Path, *, entries: int, event_bytes: float) -> Footprint:
    """Measure the log in `directory`. `entries` is its size, above 0; `event_bytes` the mean size of its events."""
    journal, tiles = (_bytes_under(directory / name) for name in ("journal", "log/tile"))
    return Footprint(entries, event_bytes, journal / entries, tiles / entries)


def memory_mib() -> float | None:
    """What this process holds in memory (resident), in MiB; None where the system does not say."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), None)


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
