"""The two documents of a copy, read and put: what log it is of, and whether the full lock is in force.

Whoever can write to a bucket can add versions of both. A description that fits is looked for among all versions; a full
lock once begun is found in any version, since what is locked cannot be taken back.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from graven.core.errors import BadInput, Broken
from graven.worm import layout
from graven.worm.layout import Description
from graven.worm.store import Store, Taken, versions_of

VERSIONS_MAX = 64
"""How many versions of a document are looked at, the oldest."""

_Document = TypeVar("_Document")


def read_descriptions(store: Store) -> list[Description]:
    """Every description there, the oldest first. Raises Broken."""
    return list(_documents(store, layout.COPY, layout.parse_description))


def open_copy(store: Store, description: Description, until_s: int) -> bool:
    """Make sure that the store is the copy of this log; whether it was empty before, and is one only now.

    Raises BadInput: it holds a copy of another log. Broken.
    """
    found = read_descriptions(store)
    if any((one.origin, one.log_id) == (description.origin, description.log_id) for one in found):
        return False
    if found:
        raise BadInput(
            "the store holds a copy of another log", place=store.url,
            mend="give each log a prefix of its own: s3://BUCKET/PREFIX",
        )  # fmt: skip
    empty = next(iter(store.list("")), None) is None
    _put(store, layout.COPY, layout.format_description(description), until_s)
    return empty


def read_full_lock(store: Store) -> int | None:
    """Since when the full lock is in force, POSIX seconds; None: only the trial is. Raises Broken."""
    return next(_documents(store, layout.FULL_LOCK, layout.parse_full_lock), None)


def begin_full_lock(store: Store, now_s: int, until_s: int) -> bool:
    """From now on objects are locked for their class's time; False if that is so already. Raises Broken."""
    if read_full_lock(store) is not None:
        return False
    _put(store, layout.FULL_LOCK, layout.format_full_lock(now_s), until_s)
    return True


def _put(store: Store, name: str, data: bytes, until_s: int) -> None:
    try:
        store.put(name, data, until_s=until_s)
    except Taken:  # something else lies under that name: the true one is put over it
        store.put(name, data, until_s=until_s, once=False)


def _documents(store: Store, name: str, parse: Callable[[bytes], _Document]) -> Iterator[_Document]:
    for version in versions_of(store, name)[:VERSIONS_MAX]:
        if version.marker or version.size > layout.DOCUMENT_BYTES_MAX:
            continue
        try:
            yield parse(store.read(version))
        except BadInput:
            continue
        except Broken as error:
            if "missing" not in error.what:
                raise
