"""The receipt that is signed while the disk syncs: given once, for its own tree, or dropped."""

import threading

import pytest

from graven.core.errors import Broken
from graven.log.promise import PromiseAhead


class Receipts:
    """Signs sizes below 10; every signature waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: set[int] = set()

    def sign(self, size: int, root: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        assert self.go.wait(90)
        if size >= 10:
            raise Broken("no certificate")
        return b"%d %b" % (size, root)


@pytest.fixture
def receipts() -> Receipts:
    return Receipts()


def test_what_was_begun_is_taken_once(receipts: Receipts) -> None:
    ahead = PromiseAhead(receipts)  # type: ignore[arg-type]
    assert ahead.take() is None
    ahead.begin(1, b"a")
    receipts.go.set()
    assert ahead.take() == b"1 a"
    assert ahead.take() is None
    ahead.stop()
    assert receipts.threads and threading.get_ident() not in receipts.threads


def test_what_was_dropped_is_given_to_nobody(receipts: Receipts) -> None:
    ahead = PromiseAhead(receipts)  # type: ignore[arg-type]
    receipts.go.set()
    ahead.begin(1, b"a")
    ahead.drop()
    assert ahead.take() is None
    ahead.begin(2, b"b")
    assert ahead.take() == b"2 b"
    ahead.begin(3, b"c")
    ahead.stop()  # one that is under way does not hang the end


def test_a_refusal_reaches_the_writer_and_is_not_the_next_ones(receipts: Receipts) -> None:
    ahead = PromiseAhead(receipts)  # type: ignore[arg-type]
    receipts.go.set()
    ahead.begin(10, b"a")
    with pytest.raises(Broken, match="no certificate"):
        ahead.take()
    ahead.begin(1, b"b")
    assert ahead.take() == b"1 b"
    ahead.stop()
