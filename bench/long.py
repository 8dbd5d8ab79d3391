"""Rows about a long log: verifying it, opening it, proving events in it, and what it takes of memory and disk.

Two logs are made first: one in blocks of 1,000 events, as under load, and one in blocks of a single event, the worst a
segment can hold. Each is opened, proved and verified in a fresh process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.child import SMALL_EVENTS, Grown, Opened, Verified, call
from bench.lone import median_ms, percentile_99_ms
from bench.report import Row, limit_row
from bench.rounds import NotMeasuredError, Turn

EVENTS_A_BLOCK = 1_000
PROOFS = 200
OPEN_S_MAX = 2.0
PROOF_P50_MS_MAX = 1.0
GROWTH_MIB_MAX = 64
JOURNAL_BYTES_MAX = 90
TREE_BYTES_MAX = 66.5

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LongLog:
    """A log that was made for these rows."""

    directory: Path
    events_a_block: int
    grown: Grown

    def verify(self, batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        """A contestant: the whole log verified, however long that takes."""
        del batches, place, seconds
        found = call(Verified, "verify", self.directory)
        if found.problems:
            raise NotMeasuredError(f"the log does not verify: {found.problems} problems")
        return Turn(found.events, found.seconds, found.cpu_s)

    @property
    def name(self) -> str:
        return f"{self.grown.events:,} events, {self.events_a_block:,} a block"


def make(place: Path, *, events: int, events_a_block: int) -> LongLog:
    """Make a log under `place`. Raises NotMeasuredError."""
    directory = place / f"long-{events_a_block}"
    return LongLog(directory, events_a_block, call(Grown, "grow", directory, events, events_a_block))


def rows(place: Path, large: LongLog, small_blocks: LongLog, told: Callable[[str], None]) -> list[Row]:
    """Everything but the rate of verifying. Raises NotMeasuredError."""
    told(f"opening {large.name}")
    opened = call(Opened, "open", large.directory, PROOFS)
    told(f"opening {small_blocks.name}")
    opened_blocks = call(Opened, "open", small_blocks.directory, PROOFS)
    little = make(place / "little", events=SMALL_EVENTS, events_a_block=EVENTS_A_BLOCK)
    opened_little = call(Opened, "open", little.directory, PROOFS)
    grown = large.grown
    return [
        _opening(large, opened),
        _opening(small_blocks, opened_blocks),
        _proving("proof of one event", large, opened.proofs_s, PROOF_P50_MS_MAX),
        _proving("evidence of one event", large, opened.evidence_s, None),
        limit_row(
            f"memory: {grown.events:,} events over {SMALL_EVENTS:,}",
            f"{(grown.rss_bytes - grown.small_rss_bytes) / _MIB:.1f} MiB more while writing, "
            f"{(opened.rss_bytes - opened_little.rss_bytes) / _MIB:.1f} MiB more after opening",
            max(grown.rss_bytes - grown.small_rss_bytes, opened.rss_bytes - opened_little.rss_bytes) / _MIB,
            GROWTH_MIB_MAX, "MiB more",
            writing_rss_mib=grown.rss_bytes / _MIB, opened_rss_mib=opened.rss_bytes / _MIB,
        ),
        _bytes(f"journal, {large.events_a_block:,} events a block", grown.journal_bytes, grown, JOURNAL_BYTES_MAX),
        _bytes("journal, 1 event a block", small_blocks.grown.journal_bytes, small_blocks.grown, None),
        _bytes("tiles and bundles", grown.tree_bytes, grown, TREE_BYTES_MAX),
    ]  # fmt: skip


def _opening(log: LongLog, opened: Opened) -> Row:
    figure = f"{opened.seconds:.2f} s ({log.grown.segments} segments)"
    return limit_row(f"opening {log.name}", figure, opened.seconds, OPEN_S_MAX, "s", rss_mib=opened.rss_bytes / _MIB)


def _proving(what: str, log: LongLog, times_s: list[float], p50_ms_max: float | None) -> Row:
    p50, p99 = median_ms(times_s), percentile_99_ms(times_s)
    what, figure = f"{what}, {log.name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    if p50_ms_max is None:
        return Row(what, figure, values={"value": p50, "p99_ms": p99})
    return limit_row(what, figure, p50, p50_ms_max, "ms p50", p99_ms=p99)


def _bytes(what: str, count: int, grown: Grown, limit: float | None) -> Row:
    each = count / grown.events
    if limit is None:
        return Row(f"bytes an event: {what}", f"{each:.1f} bytes", values={"value": each})
    return limit_row(f"bytes an event: {what}", f"{each:.1f} bytes", each, limit, "bytes")
