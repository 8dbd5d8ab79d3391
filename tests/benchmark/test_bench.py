"""The benchmark's supply of events is what its figures say it is; every contestant does real work and cleans up."""

import json
import os
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import psycopg
import pytest
from backports import zstd
from bench import floor, postgres, sqlite
from bench.events import MEAN_BYTES, Feed
from bench.report import Row, format_table, rate_row
from bench.rounds import Rates, Run, measure

from graven.event import decode_event


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


@pytest.mark.parametrize("run", [floor.run, sqlite.run])
def test_a_contestant_measures_decodes_and_leaves_nothing(run: Run, batches: list[bytes], tmp_path: Path) -> None:
    assert run(batches, tmp_path, 60.0) > 0
    with pytest.raises(msgspec.ValidationError, match="action"):
        run([b"{}\n"], tmp_path, 60.0)
    assert os.listdir(tmp_path) == []


def test_postgres_keeps_a_chain_that_anyone_can_recompute(batches: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's: the server's account could not enter it
        place = Path(name)
        place.chmod(0o711)
        try:
            with postgres.serve(place) as server:
                assert server.run(batches, place, 60.0) > 0
                with psycopg.connect(server.dsn) as db:
                    rows = db.execute("SELECT event::text, hash FROM log ORDER BY seq").fetchall()
        except postgres.AbsentError as why:
            pytest.skip(f"PostgreSQL: {why}")
        assert os.listdir(place) == []
    assert [text.encode() for text, _ in rows] == b"".join(batches).splitlines()
    last = b""
    for text, kept in rows:
        last = sha256(last + text.encode()).digest()
        assert kept == last


def test_rounds_are_interleaved_and_ratios_taken_within_a_round(tmp_path: Path) -> None:
    turns: list[str] = []
    speeds = {"slow": [50.0, 5.0, 40.0], "fast": [100.0, 10.0, 100.0]}

    def contestant(name: str) -> Run:
        rates = iter(speeds[name])

        def run(batches: Sequence[bytes], place: Path, seconds: float) -> float:
            turns.append(name)
            return next(rates)

        return run

    found = measure({name: contestant(name) for name in speeds}, [], place=tmp_path, rounds=3, seconds=1)
    assert turns == ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert found["slow"].ratio_to(found["fast"]) == 0.5
    assert found["slow"].median == 40.0


def test_the_table_says_what_was_asked_and_whether_it_was_met() -> None:
    base, half = Rates((100.0, 120.0)), Rates((50.0, 60.0))
    rows = [rate_row("floor", base, base), rate_row("log", half, base, ratio_min=0.45)]
    rows += [rate_row("slow", half, base, ratio_min=0.6), Row("gone", "not measured: no server")]
    lines = format_table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["what", "figure", "× floor", "asked", ""]
    assert cells[3] == ["log", "55 events/s (50 to 60)", "0.50", "≥ 0.45 × floor", "met"]
    assert cells[4][-1] == "NOT met"
    assert cells[5] == ["gone", "not measured: no server", "", "", ""]
