"""Putting objects into a write-once store, each with its lock, and never over another's bytes.

A name that is taken is compared. The same bytes: the work of a round before, its lock is made sure of. Other bytes:
somebody else wrote there; that is an alarm, and the true object is put beneath the same name as a newer version, where
readers, who judge by cryptography, find it. Nothing is ever deleted.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TypeVar

from graven.worm.state import Held, State
from graven.worm.store import DAY_S, Part, Store, Taken, Version, end_of_day, versions_of

THREADS = 24
_READ_BYTES = 8 << 20

_Item = TypeVar("_Item")


class Placing:
    """Puts, compares and locks. Its threads are its own; close it."""

    def __init__(self, store: Store, alarm: Callable[[str, str], None], check_stop: Callable[[], None]) -> None:
        """`alarm` is told (what, where); `check_stop` raises when the follower is to end."""
        self._store, self._alarm, self._check_stop = store, alarm, check_stop
        self._pool = ThreadPoolExecutor(THREADS, "graven-worm")
        self._counts = threading.Lock()
        self.state: State
        """Whose objects and bytes are counted, whose held locks are lengthened."""
        self.careful = False
        """Every name may be taken already: look before putting."""

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, name: str, data: bytes | Part, until_s: int) -> None:
        """An object, locked until `until_s`. Raises Broken, and what the store raises."""
        if self.careful and versions_of(self._store, name):
            self._compare(name, data, until_s)
            return
        try:
            self._store.put(name, data, until_s=until_s)
        except Taken:
            self._compare(name, data, until_s)
            return
        with self._counts:
            self.state.objects += 1
            self.state.bytes += data.size if isinstance(data, Part) else len(data)

    def each(self, items: Sequence[_Item], work: Callable[[_Item], None]) -> None:
        """`work` on every item, many at a time. Raises what the first that fails raises."""
        self._check_stop()
        for _ in self._pool.map(work, items):
            pass

    def hold(self, now_s: int, days: int) -> None:
        """Lengthen the short locks of what is still needed, once half their time has gone."""
        state, until_s = self.state, end_of_day(now_s, days)
        due = [one for one in state.held if one.until_s - now_s < days * DAY_S / 2]
        self.each(due, lambda one: self._extend(one.name, until_s))
        if due:
            names = {one.name for one in due}
            state.held = [Held(one.name, until_s) if one.name in names else one for one in state.held]

    def digest(self, version: Version) -> bytes:
        """The SHA-256 of what the store holds, read back."""
        digest = sha256()
        for at in range(0, version.size, _READ_BYTES):
            digest.update(self._store.read(version, at, _READ_BYTES))
        return digest.digest()

    def _extend(self, name: str, until_s: int) -> None:
        for version in versions_of(self._store, name):
            held = None if version.marker else self._store.lock(version)
            if not version.marker and (held is None or held.until_s < until_s):
                self._store.extend(version, until_s)

    def _compare(self, name: str, data: bytes | Part, until_s: int) -> None:
        """The name is taken: by a round before, or by somebody else."""
        size = data.size if isinstance(data, Part) else len(data)
        wanted = digest_part(data) if isinstance(data, Part) else sha256(data).digest()
        versions = [one for one in versions_of(self._store, name) if not one.marker]
        same = [one for one in versions if one.size == size and self.digest(one) == wanted]
        if same and same[0] is versions[0]:
            held = self._store.lock(same[0])
            if held is None or held.until_s < until_s:
                self._store.extend(same[0], until_s)
            return
        self._alarm("other bytes lie under a name of the copy: who else can write there?", f"{self._store.url}/{name}")
        if not same:
            self._store.put(name, data, until_s=until_s, once=False)


def digest_part(part: Part) -> bytes:
    """The SHA-256 of a piece of a file."""
    digest = sha256()
    with part.path.open("rb") as file:
        file.seek(part.offset)
        left = part.size
        while left and (piece := file.read(min(_READ_BYTES, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.digest()
