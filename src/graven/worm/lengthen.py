"""Locking everything that lies in a copy for its class's time: what was put during the trial has a short lock.

Probes and frames of open segments are left alone. A segment that is no longer on this disk is locked for as long as
the longest of all classes, since only its frames say what is in it.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice

from graven.worm import layout
from graven.worm.material import Material
from graven.worm.retention import Retention
from graven.worm.store import Store, Version, by_name, end_of_day

NOT_LENGTHENED = (layout.OPEN, layout.PROBES)
VERSIONS_MAX = 8
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Volume:
    """How much a copy holds: objects and bytes, and of those what a full lock covers."""

    objects: int
    bytes: int
    lasting_objects: int
    lasting_bytes: int


def measure(store: Store) -> Volume:
    """What a copy holds, as its listing says. Raises Broken."""
    objects = size = lasting = lasting_bytes = 0
    for version in store.list(""):
        if version.marker:
            continue
        objects, size = objects + 1, size + version.size
        if not version.name.startswith(NOT_LENGTHENED):
            lasting, lasting_bytes = lasting + 1, lasting_bytes + version.size
    return Volume(objects, size, lasting, lasting_bytes)


def lengthen(
    store: Store,
    material: Material,
    retention: Retention,
    now_s: int,
    *,
    pool: Executor,
    stop: threading.Event | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Lock every object for its class's time from now; returns how many there are. Raises Broken.

    A lock that is longer already stays. Cost: one or two calls an object.
    """
    local = {segment.name: segment for segment in material.segments()}
    tree_s = end_of_day(now_s, retention.tree)

    def until(name: str) -> int:
        segment = local.get(name.removeprefix(layout.JOURNAL)) if name.startswith(layout.JOURNAL) else None
        if segment is None or material.closed_end(segment) is None:
            return tree_s
        return end_of_day(now_s, retention.of(material.whole(segment).classes))

    def one(versions: list[Version]) -> None:
        wanted_s = until(versions[0].name)
        for version in [one for one in versions if not one.marker][:VERSIONS_MAX]:
            held = store.lock(version)
            if held is None or held.until_s < wanted_s:
                store.extend(version, wanted_s)

    done = 0
    groups = iter(_lasting(by_name(store.list(""))))
    while batch := list(islice(groups, _BATCH)):
        if stop is not None and stop.is_set():
            return done
        for _ in pool.map(one, batch):
            pass
        done += len(batch)
        if progress is not None:
            progress(done)
    return done


def _lasting(groups: Iterable[list[Version]]) -> Iterable[list[Version]]:
    return (group for group in groups if not group[0].name.startswith(NOT_LENGTHENED))
