"""The bounded queue behind `send`: events wait here, in order, until the server has answered for them.

An event leaves only when it is settled (the log provably holds it) or refused (the server does not take it, whoever
sends it); refused ones stay counted until the program takes them, so nothing vanishes and memory stays bounded. After a
failure nothing more is sent, and `put` raises it, until `flush` is called, which tries again.

One thread takes and settles; any number put. Nothing here knows of HTTP.
"""

import threading
import time
from collections import deque
from itertools import islice

from graven.core.errors import BadInput, Busy, GravenError


class Outbox:
    """A queue of at most `events_max` events and `bytes_max` bytes, handed out in batches.

    A batch is up to `batch_events` events and `batch_bytes` bytes (one larger event goes alone); it is handed out when
    it is full, `linger_s` after its first event was seen, or at once while somebody flushes.
    """

    def __init__(
        self, *, events_max: int, bytes_max: int, batch_events: int, batch_bytes: int, linger_s: float
    ) -> None:
        self._events_max, self._bytes_max = events_max, bytes_max
        self._batch_events, self._batch_bytes, self._linger_s = batch_events, batch_bytes, linger_s
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._refused_bytes = 0
        self._put = self._gone = 0  # events ever put; those settled or refused
        self._urgent = 0  # events up to this one are to be sent without lingering
        self._refused: list[tuple[bytes, BadInput]] = []
        self._failure: GravenError | None = None
        self._closed = False
        self.trouble: GravenError | None = None
        """Why the last attempt did not get through; None since one did. For messages; the sender sets it."""

    def put(self, event: bytes, *, wait_s: float | None) -> None:
        """Queue an event; wait for room at most `wait_s` seconds (None: as long as it takes).

        Raises Busy when there is still none, BadInput when the event alone is larger than the queue or the queue is
        closed, and the failure that stopped the sending.
        """
        if len(event) > self._bytes_max:
            raise BadInput(f"an event larger than the whole queue of {self._bytes_max} bytes", place="queue_bytes_max")
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._failure or self._has_room(event), wait_s)
            if self._closed:
                raise BadInput("this client is closed", mend="send before close()")
            self._raise_failure()
            if not self._has_room(event):
                raise Busy(
                    f"the queue is full: {self._count()} events, of {self._waiting_bytes + self._refused_bytes} bytes",
                    place=self._reason(),
                    mend="wait; take_refused() if some were refused; or a larger queue",
                )
            self._waiting.append(event)
            self._waiting_bytes += len(event)
            self._put += 1
            if len(self._waiting) == 1 or self._is_full():  # the sender sleeps through what lies between
                self._changed.notify_all()

    def next_batch(self) -> list[bytes] | None:
        """Wait for a batch; its events stay queued until they are settled or refused. None once closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or (self._waiting and self._failure is None))
                if self._closed:
                    return None
                deadline = time.monotonic() + self._linger_s
                while not self._closed and self._failure is None:
                    rest_s = deadline - time.monotonic()
                    if self._is_full() or self._urgent > self._gone or rest_s <= 0:
                        return self._cut()
                    self._changed.wait(rest_s)

    def settle(self, count: int) -> None:
        """The log holds the first `count` events."""
        with self._changed:
            for _ in range(count):
                self._waiting_bytes -= len(self._waiting.popleft())
            self._gone += count
            self._changed.notify_all()

    def refuse(self, error: BadInput) -> None:
        """The server does not take the first event."""
        with self._changed:
            event = self._waiting.popleft()
            self._waiting_bytes -= len(event)
            self._refused_bytes += len(event)
            self._refused.append((event, error))
            self._gone += 1
            self._changed.notify_all()

    def take_refused(self) -> list[tuple[bytes, BadInput]]:
        """The refused events and why, which are the caller's from now on."""
        with self._changed:
            refused, self._refused = self._refused, []
            self._refused_bytes = 0
            self._changed.notify_all()
            return refused

    def fail(self, error: GravenError) -> None:
        """Stop handing out batches until somebody flushes."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def flush(self, timeout_s: float | None) -> None:
        """Wait until everything put so far is settled; after a failure, try again first.

        Raises the failure, Busy when the time is up, or BadInput when events were refused and not taken yet.
        """
        with self._changed:
            target = self._put
            self._failure, self._urgent = None, max(self._urgent, target)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._gone >= target or self._failure or self._closed, timeout_s)
            self._raise_failure()
            if self._gone < target:
                what = f"{target - self._gone} events are not sent yet"
                raise Busy(what, place=self._reason(), mend="they stay queued: flush again")
            if self._refused:
                first = self._refused[0][1]
                raise BadInput(
                    f"events the server refused: {len(self._refused)}; the first because {first.what}",
                    place=first.place,
                    mend="take_refused() hands them back; the others are stored",
                )

    def pause(self, seconds: float) -> bool:
        """Wait so long; True as soon as the queue is closed."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._closed, seconds))

    def close(self) -> None:
        """Take nothing more and hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def failure(self) -> GravenError | None:
        return self._failure

    def waiting(self) -> list[bytes]:
        """The events no answer was had for, in order: those in a request that is under way, too."""
        with self._changed:
            return list(self._waiting)

    def counts(self) -> tuple[int, int, int]:
        """(events waiting, events refused and not taken, bytes of both)."""
        with self._changed:
            return len(self._waiting), len(self._refused), self._waiting_bytes + self._refused_bytes

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # it may be raised many times, and would remember each

    def _reason(self) -> str:
        return "" if self.trouble is None else str(self.trouble)

    def _count(self) -> int:
        return len(self._waiting) + len(self._refused)

    def _has_room(self, event: bytes) -> bool:
        size_bytes = self._waiting_bytes + self._refused_bytes + len(event)
        return self._count() < self._events_max and size_bytes <= self._bytes_max

    def _is_full(self) -> bool:
        """Whether what waits fills a batch."""
        return len(self._waiting) >= self._batch_events or self._waiting_bytes >= self._batch_bytes

    def _cut(self) -> list[bytes]:
        """The batch at the head of the queue."""
        batch: list[bytes] = []
        size_bytes = 0
        for event in islice(self._waiting, self._batch_events):
            size_bytes += len(event)
            if batch and size_bytes > self._batch_bytes:
                break
            batch.append(event)
        return batch
