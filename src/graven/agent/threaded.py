"""A source that a thread of its own reads for, because it waits for others: what came is kept, bounded, until taken."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from graven.agent.source import Taken
from graven.core.errors import GravenError

PUT_S = 0.2


class ThreadedSource(ABC):
    """Call `start` when all is set up. `wait(seconds)` ends early, and is true, when the source is to stop."""

    def __init__(self, name: str, *, queued_max: int, wait: Callable[[float], bool] | None = None) -> None:
        self.name = name
        self.stopped = threading.Event()
        self.wait = wait or self.stopped.wait
        self.error: GravenError | None = None
        """What stands in the way of reading on; None while nothing does."""
        self._queue: queue.Queue[Taken] = queue.Queue(queued_max)
        self._thread = threading.Thread(target=self.run, name=f"graven-agent-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @abstractmethod
    def run(self) -> None:
        """Read and `put`, until `stopped` is set. On the thread."""

    def put(self, taken: Taken) -> None:
        """Hand over, waiting for room. What says nothing is dropped."""
        while not self.stopped.is_set() and (taken.records or taken.places):
            try:
                self._queue.put(taken, timeout=PUT_S)
                return
            except queue.Full:
                continue

    def take(self, bytes_max: int) -> list[Taken]:
        """What came, about `bytes_max` of it. Raises what stands in the way, when there is nothing else to give."""
        taken: list[Taken] = []
        while bytes_max > 0 and not self._queue.empty():
            taken.append(self._queue.get_nowait())
            bytes_max -= taken[-1].size_bytes
        if not taken and self.error is not None:
            raise self.error
        return taken

    def close(self) -> None:
        self.stopped.set()
        if self._thread.ident is not None:
            self._thread.join(5)
