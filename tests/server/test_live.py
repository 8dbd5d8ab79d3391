"""Pools and waiting, without a server."""

import asyncio
import threading

import pytest

from graven.core.errors import Busy
from graven.server.answers import Full
from graven.server.body import Allowance, Share
from graven.server.live import Arrivals, ReadPool, answer_all


def test_a_full_read_pool_refuses() -> None:
    async def run() -> None:
        pool, gate = ReadPool(threads=1, reads_max=2), threading.Event()
        waiting = [asyncio.ensure_future(pool.run(lambda: gate.wait(90))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="too many reads"):
            await pool.run(lambda: 1)
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.run(lambda: 7) == 7
        assert pool.busy == 0
        pool.close()

    asyncio.run(run())


def test_who_cannot_be_answered_costs_no_other_an_answer() -> None:
    told: list[object] = []

    def gone(_: object) -> None:
        raise RuntimeError("the handler is closed")

    answer = Busy("x")
    answer_all([(told.append, answer), (gone, answer), (told.append, answer)])
    assert told == [answer, answer]


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


def test_who_waits_for_a_tree_to_be_covered_is_told() -> None:
    async def run() -> None:
        waits = Arrivals()
        assert await waits.wait(1, 1, 9) is True
        assert await waits.wait(2, 1, 0.0) is False
        assert await waits.wait(2, 1, 0.01) is False
        assert len(waits) == 0, "who gave up is forgotten"
        three = asyncio.ensure_future(waits.wait(3, 1, 99))
        five = asyncio.ensure_future(waits.wait(5, 1, 99))
        await asyncio.sleep(0)
        waits.arrived(2)
        assert len(waits) == 2
        waits.arrived(4)
        assert (await three, len(waits)) == (True, 1)
        waits.give_up()
        assert await five is False
        assert await waits.wait(9, 1, 99) is False

    asyncio.run(run())
