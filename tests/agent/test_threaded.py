"""Sources that a thread reads for: bounded, in order, and ended when they are told to."""

import threading

import pytest

from graven.agent.source import Taken
from graven.agent.threaded import ThreadedSource
from graven.core.errors import Broken


class Counting(ThreadedSource):
    """Gives numbers for as long as it may."""

    def __init__(self, queued_max: int = 2) -> None:
        super().__init__("counting", queued_max=queued_max)
        self.given = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            self.put(Taken())  # says nothing: it is dropped, and blocks nobody
            self.put(Taken(records=[b"%d" % self.given]))
            self.given += 1
        self.ended.set()


def test_in_order_and_no_more_than_there_is_room_for() -> None:
    source = Counting()
    source.start()
    found: list[bytes] = []
    while len(found) < 50:
        found += [record for taken in source.take(10) for record in taken.records]
    assert found == [b"%d" % number for number in range(len(found))]
    assert source.given <= len(found) + 4
    source.close()
    assert source.ended.wait(90)


def test_what_came_is_given_before_what_stands_in_the_way() -> None:
    source = Counting()
    source.put(Taken(records=[b"one"]))
    source.error = Broken("the service is gone")
    assert [taken.records for taken in source.take(10)] == [[b"one"]]
    with pytest.raises(Broken):
        source.take(10)
    source.close()  # it was never started


def test_a_wait_ends_with_the_source() -> None:
    source = Counting()
    threading.Timer(0.05, source.close).start()
    assert source.wait(90)
