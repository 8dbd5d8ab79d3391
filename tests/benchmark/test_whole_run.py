"""One whole run with tiny numbers: every row is measured, by real servers and processes, and nothing is left behind."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from bench import witnessed, wrk
from bench.__main__ import (
    ANCHORED,
    BATCHES,
    BULK,
    EMBEDDED,
    EMPTY,
    FLOOR,
    HEC,
    LONE,
    RSYSLOG,
    SECURE_NG,
    SINGLES,
    SQLITE,
    TRAIL,
    TRAIL_DECODE,
    VERIFY,
    Plan,
    run,
)
from bench.child import Grown, Opened, Verified, call
from bench.events import Feed
from bench.over_http import Nothing
from bench.rounds import NotMeasuredError

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
@pytest.mark.timeout(1200)
def test_every_row_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnessed, "WITNESSES", 1)
    monkeypatch.setattr(witnessed, "ANSWERS_MIN", 3)
    with tempfile.TemporaryDirectory() as name:  # not pytest's: the database server's account could not enter it
        place = Path(name)
        place.chmod(0o711)
        rows, mean_bytes = run(
            Plan(rounds=1, seconds=0.1, events=3_000, small_blocks=30, entries=3_000, witnessed_s=0.0), place
        )
    assert 550 < mean_bytes < 590
    found = {row.what: row for row in rows}
    for name in (FLOOR, EMBEDDED, BATCHES, SINGLES, EMPTY, VERIFY, SQLITE, TRAIL_DECODE):
        assert found[name].figure.endswith(")"), found[name]
        assert (found[name].ratio or 0) > 0
    assert found[TRAIL].figure.endswith("× the bare decode") and (found[TRAIL].ratio or 0) > 0
    assert found[LONE].figure.startswith("p50 ")
    absent = [row.what for row in rows if row.figure.startswith("not measured")]
    assert [name for name in absent if not name.startswith(("PostgreSQL", RSYSLOG, SECURE_NG))] == []
    for name in (HEC, BULK):
        assert "native is" in found[name].figure and found[name].met is not None
    assert found[ANCHORED].figure.endswith("× without")
    asked = [row for row in rows if row.asked]
    assert len(asked) == 4 + 1 + 2 + 1 + 1 + 2 + 1 + 1 + 1 + 1 + 2 + 2 + 3
    assert all(row.met is not None for row in asked)


@needs_wrk
def test_a_run_whose_requests_ran_out_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrk, "START_SECONDS_MAX", 3.0)
    nothing = Nothing(Feed(pool_events=50), connections=4, requests_a_second_max=0, log=tmp_path / "log")
    with pytest.raises(NotMeasuredError, match=r"ran_out=[12]|nothing that was taken"):
        nothing.run([], tmp_path, 0.2)


def test_a_log_is_made_opened_and_verified_in_processes_of_their_own(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    grown = call(Grown, "grow", directory, 12_000, 500)
    assert grown.events == 12_001  # and the log's own first event
    assert grown.journal_bytes == sum(path.stat().st_size for path in (directory / "journal").iterdir())
    assert all(10 << 20 < rss < 1 << 30 for rss in (grown.small_rss_bytes, grown.rss_bytes))
    opened = call(Opened, "open", directory, 5)
    assert (opened.events, len(opened.proofs_s), len(opened.evidence_s)) == (12_001, 5, 5)
    verified = call(Verified, "verify", directory)
    assert (verified.events, verified.problems) == (12_001, 0)
    flip(next((directory / "journal").glob("*.seg")), at=-1)
    assert call(Verified, "verify", directory).problems > 0
    with pytest.raises(NotMeasuredError, match="grow failed"):
        call(Grown, "grow", directory, 1_000, 500)


def flip(path: Path, *, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert os.path.getsize(path) == len(data)
