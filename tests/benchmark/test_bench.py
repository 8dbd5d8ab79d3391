"""The benchmark's supply of events is what its figures say it is; every contestant does real work and cleans up."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

import msgspec
import psycopg
import pytest
from backports import zstd
from bench import embedded, floor, followed, loggers, postgres, sqlite, trail
from bench.events import MEAN_BYTES, Feed
from bench.lines import LINES_A_PIECE, SshdLines
from bench.report import Row, as_json, format_table, limit_row, rate_row
from bench.rounds import NotMeasuredError, Rates, Run, Turn, measure
from lab import AbsentError

from graven.core.errors import BadInput
from graven.event import decode_event
from graven.ingest import Pipeline, Record
from graven.ingest.protocol.framing import Framer


def test_events_are_in_the_model_and_of_the_stated_size() -> None:
    lines = Feed().batch(4000).splitlines()
    for line in lines:
        decode_event(line)
    assert abs(sum(map(len, lines)) / len(lines) - MEAN_BYTES) <= 10


def test_every_event_has_two_uuids_of_its_own_also_past_the_pool() -> None:
    feed = Feed(pool_events=300)
    events = [json.loads(line) for batch in feed.batches(4, events_each=250) for line in batch.splitlines()]
    assert len(events) == 1000
    ids = [event["id"] for event in events] + [event["correlation"]["request_id"] for event in events]
    assert len(set(ids)) == 2000
    assert all(len(uuid) == 36 and uuid[14] == "4" and uuid.count("-") == 4 for uuid in ids)


def test_a_feed_is_deterministic_and_seeds_differ() -> None:
    assert Feed(seed=5, pool_events=100).batch(150) == Feed(seed=5, pool_events=100).batch(150)
    assert Feed(seed=5, pool_events=100).batch(150) != Feed(seed=6, pool_events=100).batch(150)


def test_events_are_varied_as_audit_logs_are() -> None:
    lines = Feed().batch(4000).splitlines()
    events = [json.loads(line) for line in lines]
    assert len({event["actor"]["id"] for event in events}) > 300
    assert len({event["action"] for event in events}) > 25
    assert len({event["origin"]["ip"] for event in events}) > 300
    assert len({event["origin"].get("user_agent") for event in events}) > 100
    packed_bytes = len(zstd.compress(b"\n".join(lines), 3)) / len(lines)
    assert packed_bytes > 64  # two UUIDs cost 32 bytes whatever is done; as much again is what people and things did


@pytest.fixture
def batches() -> list[bytes]:
    return list(Feed(pool_events=500).batches(3, events_each=200))


@pytest.mark.parametrize("run", [floor.run, sqlite.run, embedded.run])
def test_a_contestant_measures_decodes_and_leaves_nothing(run: Run, batches: list[bytes], tmp_path: Path) -> None:
    turn = run(batches, tmp_path, 60.0)
    assert turn.events == 600
    assert turn.rate == pytest.approx(600 / turn.seconds)
    assert turn.cpu_us is not None and turn.cpu_us > 1
    assert run(batches, tmp_path, 0.0).events == 200  # the time is over after the first batch
    with pytest.raises((msgspec.ValidationError, BadInput), match="action"):
        run([b"{}\n"], tmp_path, 60.0)
    assert os.listdir(tmp_path) == []


def test_the_agent_spools_every_line_and_leaves_nothing(batches: list[bytes], tmp_path: Path) -> None:
    turn = followed.run(batches, tmp_path, 60.0)
    assert turn.events == 600
    assert turn.cpu_us is not None and turn.cpu_us > 1
    assert os.listdir(tmp_path) == []


def test_postgres_keeps_a_chain_that_anyone_can_recompute(batches: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's: the server's account could not enter it
        place = Path(name)
        place.chmod(0o711)
        try:
            with postgres.serve(place) as server:
                assert server.run(batches, place, 60.0).events == 600
                with psycopg.connect(server.dsn) as db:
                    rows = db.execute("SELECT event::text, hash FROM log ORDER BY seq").fetchall()
        except AbsentError as why:
            pytest.skip(f"PostgreSQL: {why}")
        assert os.listdir(place) == []
    assert [text.encode() for text, _ in rows] == b"".join(batches).splitlines()
    last = b""
    for text, kept in rows:
        last = sha256(last + text.encode()).digest()
        assert kept == last


def test_lines_are_read_as_what_they_are_and_no_two_are_alike() -> None:
    supply = SshdLines()
    framer = Framer(max_message_bytes=1_000)
    lines = [line for _ in range(2) for line in framer.feed(supply.piece()) if isinstance(line, bytes)]
    assert len(set(lines)) == len(lines) == 2 * LINES_A_PIECE
    assert {one.type for one in Pipeline().run([Record(line) for line in lines[::100]])} == {"sshd"}


@pytest.mark.parametrize("logger", [loggers.rsyslog, loggers.secure_syslog_ng])
def test_other_loggers_write_every_line(
    logger: Callable[[Path], AbstractContextManager[loggers.Logger]], tmp_path: Path
) -> None:
    try:
        with logger(tmp_path) as running:
            turn = running.run((), tmp_path, 0.001)
            written = running._file.read_bytes().splitlines()
    except AbsentError as why:
        pytest.skip(str(why))
    assert turn.events == len(written) == len(set(written)) and turn.events % loggers.LINES_A_PIECE == 0
    plain = written[0].startswith(b"<86>1 2026-03-02T08:14:")
    assert plain == (logger is loggers.rsyslog)
    assert os.listdir(tmp_path) == []


def test_rounds_are_interleaved_and_ratios_taken_within_a_round(tmp_path: Path) -> None:
    turns: list[str] = []
    speeds = {"slow": [50, 5, 40], "fast": [100, 10, 100]}

    def contestant(name: str) -> Run:
        events = iter(speeds[name])

        def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
            turns.append(name)
            return Turn(next(events), seconds)

        return run

    found = measure({name: contestant(name) for name in speeds}, [], place=tmp_path, rounds=3, seconds=1).rates
    assert turns == ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert found["slow"].ratio_to(found["fast"]) == 0.5
    assert found["slow"].median == 40.0


def test_who_cannot_be_measured_is_out_and_says_why(tmp_path: Path) -> None:
    left = [Turn(10, 1.0)]

    def fails_in_its_second_round(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        if not left:
            raise NotMeasuredError("the disk is gone")
        return left.pop()

    def works(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
        return Turn(5, 1.0)

    told: list[str] = []
    contestants: dict[str, Run] = {"a": fails_in_its_second_round, "b": works}
    found = measure(contestants, [], place=tmp_path, rounds=3, seconds=1, told=told.append)
    assert found.absent == {"a": "the disk is gone"}
    assert found.rates == {"b": Rates((Turn(5, 1.0),) * 3)}
    assert told == ["round 1 of 3: a", "round 1 of 3: b", "round 2 of 3: b", "round 2 of 3: a", "round 3 of 3: b"]


def test_the_table_says_what_was_asked_and_whether_it_was_met() -> None:
    base, half = Rates((Turn(100, 1.0), Turn(120, 1.0))), Rates((Turn(50, 1.0, 0.01), Turn(60, 1.0, 0.03)))
    rows = [
        rate_row("floor", base, base),
        rate_row("log", half, base, ratio_min=0.45),
        rate_row("slow", half, base, ratio_min=0.6),
        rate_row("either", half, base, ratio_min=0.034, rate_min=60),
        rate_row("neither", half, base, ratio_min=0.6, rate_min=60),
        limit_row("proof", "p50 0.40 ms", 0.4, 1.0, "ms p50", p99_ms=2.0),
        limit_row("memory", "70.0 MiB more", 70, 64, "MiB more"),
        Row("gone", "not measured: no server"),
    ]
    lines = format_table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["what", "figure", "CPU µs/event", "× floor", "asked", ""]
    assert cells[3] == ["log", "55 events/s (50 to 60)", "350.0", "0.50", "≥ 0.45 × floor", "met"]
    assert cells[4][-1] == "NOT met"
    assert cells[5][-2:] == ["≥ 60/s or 0.034 × floor", "met"]
    assert cells[6][-1] == "NOT met"
    assert cells[7] == ["proof", "p50 0.40 ms", "", "", "≤ 1 ms p50", "met"]
    assert cells[8][-2:] == ["≤ 64 MiB more", "NOT met"]
    assert cells[9] == ["gone", "not measured: no server", "", "", "", ""]
    as_data = as_json(rows)
    assert [row["met"] for row in as_data] == [None, True, False, True, False, True, False, None]
    assert as_data[1]["per_round"] == [50.0, 60.0]
    assert as_data[5]["p99_ms"] == 2.0


def test_trail_records_are_normalised_and_of_the_stated_size() -> None:
    records = trail.make_records(400)
    assert len({record.raw for record in records}) == 400
    assert 1_400 < sum(len(record.raw) for record in records) / 400 < 1_550
    made = Pipeline().run(records)
    assert all(one.type == "aws-cloudtrail" and not one.quarantined for one in made)
    assert len({decode_event(one.event).verb for one in made}) >= 5


@pytest.mark.parametrize("run", [trail.decode, trail.normalise])
def test_a_turn_over_trail_records(run: Run, tmp_path: Path) -> None:
    turn = run([], tmp_path, 0.02)
    assert turn.events > 0 and turn.events % trail.RECORDS_A_RUN == 0 and turn.seconds >= 0.02
