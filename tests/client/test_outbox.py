"""The bounded queue: order, bounds, batches, failures; nothing leaves it unless it was settled or taken."""

import threading
import time

import pytest

from graven.client.outbox import Outbox
from graven.core.errors import BadInput, Broken, Busy


def outbox(
    *, events_max: int = 10, bytes_max: int = 100, batch_events: int = 3, batch_bytes: int = 50, linger_s: float = 0.0
) -> Outbox:
    return Outbox(
        events_max=events_max, bytes_max=bytes_max, batch_events=batch_events, batch_bytes=batch_bytes,
        linger_s=linger_s,
    )  # fmt: skip


def fill(box: Outbox, *events: bytes) -> None:
    for event in events:
        box.put(event, wait_s=0)


def test_batches_by_count_in_order() -> None:
    box = outbox()
    fill(box, b"a", b"b", b"c", b"d")
    assert box.next_batch() == [b"a", b"b", b"c"]
    assert box.next_batch() == [b"a", b"b", b"c"], "they stay until settled"
    box.settle(3)
    assert box.next_batch() == [b"d"]
    assert box.waiting() == [b"d"] and box.counts() == (1, 0, 1)


def test_batches_by_bytes_and_a_large_event_alone() -> None:
    box = outbox(batch_events=99)
    fill(box, b"a" * 30, b"b" * 21, b"c" * 49)
    for expected in (b"a", b"b", b"c"):
        batch = box.next_batch()
        assert batch is not None and [event[:1] for event in batch] == [expected]
        box.settle(1)
    fill(box, b"d" * 99)
    assert box.next_batch() == [b"d" * 99]


@pytest.mark.parametrize("bounds", [{"events_max": 2}, {"bytes_max": 2}])
def test_a_full_queue_is_busy_until_there_is_room(bounds: dict[str, int]) -> None:
    box = outbox(**bounds)
    fill(box, b"a", b"b")
    with pytest.raises(Busy, match="the queue is full: 2 events, of 2 bytes"):
        box.put(b"c", wait_s=0)
    with pytest.raises(Busy):
        box.put(b"c", wait_s=0.02)
    threading.Timer(0.05, lambda: box.settle(1)).start()
    box.put(b"c", wait_s=None)
    assert box.waiting() == [b"b", b"c"]


def test_an_event_that_never_fits_is_bad_input() -> None:
    with pytest.raises(BadInput, match="larger than the whole queue"):
        outbox().put(b"x" * 101, wait_s=None)


def test_a_batch_waits_for_more_but_not_for_long() -> None:
    box = outbox(linger_s=1.5)
    box.put(b"a", wait_s=0)
    started = time.monotonic()
    threading.Timer(0.05, lambda: fill(box, b"b")).start()
    assert box.next_batch() == [b"a", b"b"]
    assert time.monotonic() - started >= 1.499
    box = outbox(linger_s=60)
    fill(box, b"a", b"b", b"c")
    assert box.next_batch() == [b"a", b"b", b"c"], "a full batch does not wait"
    box = outbox(linger_s=60)
    fill(box, b"a" * 50)
    assert box.next_batch() == [b"a" * 50], "nor does one full of bytes"


def test_a_batch_that_fills_while_it_waits_goes_at_once() -> None:
    box = outbox(linger_s=60)
    handed: list[list[bytes] | None] = []
    taker = threading.Thread(target=lambda: handed.append(box.next_batch()))
    taker.start()
    for event in (b"a", b"b", b"c"):
        time.sleep(0.01)
        box.put(event, wait_s=0)
    taker.join(90)
    assert handed == [[b"a", b"b", b"c"]]


def test_flush_waits_for_what_was_put_and_hurries_it() -> None:
    box = outbox(linger_s=60)
    fill(box, b"a", b"b")
    served = threading.Thread(target=serve, args=(box,))
    served.start()
    box.flush(90)
    assert box.waiting() == []
    box.flush(0)
    box.close()
    served.join(90)


def test_flush_gives_up_in_time_and_keeps_the_events() -> None:
    box = outbox()
    fill(box, b"a", b"b")
    box.trouble = Broken("connection refused")
    with pytest.raises(Busy, match=r"2 events are not sent yet \(connection refused\)"):
        box.flush(0.01)
    assert box.waiting() == [b"a", b"b"]


def test_a_failure_stops_everything_until_flush() -> None:
    box = outbox()
    fill(box, b"a")
    box.fail(Broken("wrong"))
    with pytest.raises(Broken, match="wrong"):
        box.put(b"b", wait_s=None)
    handed: list[list[bytes] | None] = []
    taker = threading.Thread(target=lambda: handed.append(box.next_batch()))
    taker.start()
    taker.join(0.05)
    assert handed == []
    with pytest.raises(Busy):
        box.flush(0.05)
    taker.join(90)
    assert handed == [[b"a"]]


def test_a_failure_wakes_those_who_wait() -> None:
    box = outbox(events_max=1)
    fill(box, b"a")
    threading.Timer(0.05, lambda: box.fail(Broken("wrong"))).start()
    with pytest.raises(Broken, match="wrong"):
        box.put(b"b", wait_s=None)
    threading.Timer(0.05, lambda: box.fail(Broken("again"))).start()
    with pytest.raises(Broken, match="again"):
        box.flush(None)


def test_a_failure_raised_often_does_not_grow() -> None:
    box = outbox()
    failure = Broken("wrong")
    box.fail(failure)
    for _ in range(50):
        with pytest.raises(Broken):
            box.put(b"a", wait_s=0)
    depth, trace = 0, failure.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10


def test_refused_events_stay_counted_until_taken() -> None:
    box = outbox(events_max=2)
    fill(box, b"a", b"b")
    box.refuse(BadInput("not this one", place="event 0"))
    box.settle(1)
    assert box.counts() == (0, 1, 1)
    fill(box, b"c")
    with pytest.raises(Busy, match="take_refused"):
        box.put(b"d", wait_s=0)
    box.settle(1)
    with pytest.raises(BadInput, match=r"refused: 1; the first because not this one \(event 0\)"):
        box.flush(1)
    ((event, error),) = box.take_refused()
    assert (event, error.what) == (b"a", "not this one")
    assert box.counts() == (0, 0, 0)
    box.flush(1)


def test_closing_lets_everyone_go() -> None:
    box = outbox(events_max=1)
    fill(box, b"a")
    ended: list[type[Exception] | bool] = []

    def put() -> None:
        with pytest.raises(BadInput):
            box.put(b"b", wait_s=None)
        ended.append(BadInput)

    def flush() -> None:
        with pytest.raises(Busy):
            box.flush(None)
        ended.append(Busy)

    waiting = [threading.Thread(target=one) for one in (put, flush, lambda: ended.append(box.pause(60)))]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)
    box.close()
    for thread in waiting:
        thread.join(90)
    assert len(ended) == 3 and box.closed and box.pause(60)
    assert box.next_batch() is None
    with pytest.raises(BadInput, match="closed"):
        box.put(b"c", wait_s=0)
    assert box.waiting() == [b"a"]


def test_many_producers_lose_nothing_and_double_nothing() -> None:
    box = outbox(events_max=7, batch_events=4)
    got: list[bytes] = []
    server = threading.Thread(target=serve, args=(box, got))
    server.start()

    def produce(number: int) -> None:
        for at in range(100):
            box.put(b"%d-%d" % (number, at), wait_s=None)

    producers = [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()
    box.flush(90)
    box.close()
    server.join(90)
    assert sorted(got) == sorted(b"%d-%d" % (number, at) for number in range(4) for at in range(100))
    for number in range(4):
        own = [event for event in got if event.startswith(b"%d-" % number)]
        assert own == [b"%d-%d" % (number, at) for at in range(100)], "in the order put"


def serve(box: Outbox, got: list[bytes] | None = None) -> None:
    while (batch := box.next_batch()) is not None:
        if got is not None:
            got += batch
        box.settle(len(batch))
