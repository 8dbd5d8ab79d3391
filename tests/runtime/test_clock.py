import time

from graven.runtime.clock import Clock, FixedClock, SystemClock


def test_the_system_clock_counts_microseconds_since_the_epoch() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1000
    assert before <= clock.now_us() <= time.time_ns() // 1000


def test_the_fixed_clock_moves_only_when_moved() -> None:
    clock = FixedClock(1_000)
    assert (clock.now_us(), clock.now_us()) == (1_000, 1_000)
    clock.advance(-10)
    assert clock.now_us() == 990
    clock.set(5)
    assert clock.now_us() == 5
