"""Pools and waiting, without a server."""

import asyncio
import threading
from pathlib import Path

import pytest

from graven.app import Log, create_log
from graven.core.errors import Busy
from graven.server.answers import Full
from graven.server.body import Allowance, Share
from graven.server.live import Publications, ReadPool


def test_a_full_read_pool_refuses() -> None:
    async def run() -> None:
        pool, gate = ReadPool(threads=1, reads_max=2), threading.Event()
        waiting = [asyncio.ensure_future(pool.run(lambda: gate.wait(10))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="too many reads"):
            await pool.run(lambda: 1)
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.run(lambda: 7) == 7
        assert pool.busy == 0
        pool.close()

    asyncio.run(run())


def test_an_allowance_is_given_back_whole() -> None:
    allowance = Allowance(100)
    first, second = Share(allowance), Share(allowance)
    first.take(60)
    with pytest.raises(Full):
        second.take(41)
    second.take(40)
    first.give_back()
    assert allowance.taken_bytes == 40
    second.give_back()
    second.give_back()
    assert allowance.taken_bytes == 0
    second.take(1000)  # a single one is never too much: its own bound is max_request_bytes


def test_who_waits_for_a_checkpoint_is_told(tmp_path: Path) -> None:
    create_log(tmp_path / "log")

    async def run(log: Log) -> None:
        waits = Publications()
        assert await waits.wait(log, 1) is True
        three = asyncio.ensure_future(waits.wait(log, 3))
        five = asyncio.ensure_future(waits.wait(log, 5))
        await asyncio.sleep(0)
        waits.arrived(2)
        assert len(waits) == 2
        waits.arrived(4)
        assert (await three, len(waits)) == (True, 1)
        waits.give_up()
        assert await five is False
        assert await waits.wait(log, 9) is False

    with Log.open(tmp_path / "log") as log:
        asyncio.run(run(log))
