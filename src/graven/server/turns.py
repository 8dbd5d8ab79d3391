"""Whose turn it is: what must be done by one at a time, by name; who comes second is refused, not kept waiting."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graven.server.answers import Refused

__all__ = ["Turns"]


class Turns:
    """One import a source at a time. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @contextmanager
    def of(self, source: str) -> Iterator[None]:
        """Raises Refused (409): it is somebody else's."""
        with self._lock:
            if source in self._taken:
                raise Refused(409, f"history is being imported as {source!r} already", reason="conflict", mend="wait")
            self._taken.add(source)
        try:
            yield
        finally:
            with self._lock:
                self._taken.discard(source)
