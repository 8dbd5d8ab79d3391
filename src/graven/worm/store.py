"""The seam to a write-once store: named objects, each put once and locked until a time.

A store may hold several *versions* of a name, because whoever can write to a bucket can always add one, or a delete
marker; what is locked stays beneath. So a reader asks for versions, oldest first, and judges by cryptography which of
them is the object. `graven.worm.s3` and `graven.worm.folder` are the stores.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from graven.core.errors import Broken

COMPLIANCE = "compliance"
"""The mode of a lock that nobody can lift before its time, by the store's promise."""

DAY_S = 86_400


class Taken(Broken):
    """An object of this name is there already: nothing was written."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a name, as a listing has it. `id` names it to the store; "" where names have one version only.

    `marker`: a delete marker, which holds nothing and hides what is beneath. `digest`: what the store says of the bytes
    (an ETag), to tell versions apart, not to be believed; "" where it says nothing.
    """

    name: str
    id: str
    size: int
    modified_s: float
    marker: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """How one version is protected: `mode` in lower case (`compliance`, `governance`; a directory has `immutable` and
    `read-only`), until when (POSIX seconds), and whether the store says that nobody can lift it before."""

    mode: str
    until_s: int
    firm: bool


@dataclass(frozen=True, slots=True)
class Part:
    """The first `size` bytes of a file from `offset` on, to be put without being held in memory."""

    path: Path
    offset: int
    size: int


class Store(Protocol):
    """A place for copies. Threads may share it. Every method may raise Broken: the store does not answer, or says no.

    Names are relative to the store's prefix, of printable ASCII, with `/` between parts.
    """

    @property
    def url(self) -> str:
        """The store as a person names it; it holds no secret."""

    def check(self) -> None:
        """Raises BadInput unless what is put here is locked and kept in versions, as far as the store can be asked."""

    def put(self, name: str, data: bytes | Part, *, until_s: int, once: bool = True) -> None:
        """Put an object, locked until `until_s`. Durable on return. Raises Taken if `once` and the name is there."""

    def read(self, version: Version, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes of a version from `offset` on (fewer only at its end), or all of them."""

    def list(self, prefix: str, *, deep: bool = True) -> Iterator[Version]:
        """Every version under a prefix, by name; those of one name oldest first. Not `deep`: of names that have no
        further `/` behind the prefix only."""

    def lock(self, version: Version) -> Lock | None:
        """How a version is protected; None: not at all."""

    def extend(self, version: Version, until_s: int) -> None:
        """Lock a version for longer."""


def by_name(versions: Iterable[Version]) -> Iterator[list[Version]]:
    """The versions of each name, oldest first."""
    group: list[Version] = []
    for version in versions:
        if group and group[0].name != version.name:
            yield group
            group = []
        group.append(version)
    if group:
        yield group


def versions_of(store: Store, name: str) -> list[Version]:
    """Every version of one name, oldest first."""
    return [one for one in store.list(name, deep=False) if one.name == name]


def end_of_day(time_s: float, days: int) -> int:
    """The end of the UTC day in which `time_s` + `days` lies: so that a day's objects share one date."""
    return (int(time_s) // DAY_S + days + 1) * DAY_S
