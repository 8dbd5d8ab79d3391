"""Silence becomes an event once, and so does its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.agents import acts
from graven.app import Log, create_log
from graven.log import admin
from graven.server.rows import state_of
from graven.server.watch import Watch


class Now:
    s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    create_log(tmp_path / "log", origin="example.com/watched")
    with Log.open(tmp_path / "log") as opened:
        admin.add_source(opened, "web", declared={"default"})
        admin.add_source(opened, "quiet", declared={"default"})
        admin.change_source(opened, "web", declared={"default"}, expect_s=60)
        yield opened


def test_silent_once_and_back(log: Log) -> None:
    now = Now()
    watch = Watch(now)
    watch.begin()
    for second in (30, 59, 61, 62, 500):
        now.s = second
        watch.sweep(log)
    assert state_of(log.registers.sources["web"], log.registers) == "missing"
    assert state_of(log.registers.sources["quiet"], log.registers) == "unseen"
    (silent,) = acts(log.directory, "graven.source.silent")
    assert silent == {"source": "web", "expect_s": 60, "last_heard": None}
    watch.heard("web")
    now.s = 501
    watch.sweep(log)
    watch.sweep(log)
    assert acts(log.directory, "graven.source.back") == [{"source": "web"}]
    now.s = 600
    watch.sweep(log)
    assert len(acts(log.directory, "graven.source.silent")) == 2
    assert acts(log.directory, "graven.source.silent")[1]["last_heard"]


def test_what_is_known_outlives_a_start(log: Log) -> None:
    now = Now()
    watch = Watch(now)
    now.s = 100
    watch.sweep(log)
    later = Watch(now)  # another start: the full time again, and no second event
    now.s = 150
    later.sweep(log)
    now.s = 900
    later.sweep(log)
    assert len(acts(log.directory, "graven.source.silent")) == 1
    log.publish()
    directory = log.directory
    log.close()
    with Log.open(directory) as again:
        assert again.registers.silent == {"web"}
        assert again.registers.sources["web"].expect_s == 60


def test_an_expectation_that_ends(log: Log) -> None:
    now = Now()
    watch = Watch(now)
    now.s = 100
    watch.sweep(log)
    admin.change_source(log, "web", declared={"default"}, expect_s=0)
    watch.sweep(log)
    now.s = 1000
    watch.sweep(log)
    assert len(acts(log.directory, "graven.source.silent")) == 1
    assert log.registers.sources["web"].expect_s is None
    assert not log.registers.silent
