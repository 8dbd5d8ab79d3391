"""Work spread over processes, results in order.

One process: everything runs here, at once. More: a few tasks are always under way, never all of them, so memory stays
bounded however long the log. The processes end with this one, however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

from graven.core.errors import Broken

_AHEAD = 2  # tasks under way for each process

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def processes_default() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """`processes` workers; with one, no process is started."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Pool":
        if self._processes > 1:
            # Forking is cheap, and safe only where no other thread can hold a lock.
            forks = sys.platform == "linux" and threading.active_count() == 1
            context = multiprocessing.get_context("fork" if forks else "spawn")
            self._executor = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=error is None, cancel_futures=True)

    def run(self, work: Callable[[_Task], _Result], task: _Task) -> _Result:
        """One result, waited for. Raises Broken if a process died."""
        if self._executor is None:
            return work(task)
        return _wait(self._submit(work, task))

    def ordered(self, work: Callable[[_Task], _Result], tasks: Iterable[_Task]) -> Iterator[tuple[_Task, _Result]]:
        """(task, result) of each, in order; tasks are taken as there is room. Raises Broken if a process died."""
        if self._executor is None:
            for task in tasks:
                yield task, work(task)
            return
        under_way: deque[tuple[_Task, Future[_Result]]] = deque()
        for task in tasks:
            under_way.append((task, self._submit(work, task)))
            if len(under_way) > _AHEAD * self._processes:
                first, future = under_way.popleft()
                yield first, _wait(future)
        for first, future in under_way:
            yield first, _wait(future)

    def _submit(self, work: Callable[[_Task], _Result], task: _Task) -> "Future[_Result]":
        assert self._executor is not None
        try:
            return self._executor.submit(work, task)
        except BrokenProcessPool:
            raise _died() from None


def _wait(future: "Future[_Result]") -> _Result:
    try:
        return future.result()
    except BrokenProcessPool:
        raise _died() from None


def _died() -> Broken:
    return Broken("a process that helped with the work ended by itself", mend="see whether memory is short")


def _begin() -> None:
    """In each worker: leave ^C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
