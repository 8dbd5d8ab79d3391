"""Which versions of an object are candidates, and what the others tell.

Object Lock keeps what was put, and lets anybody with the right to write add: a newer version, a delete marker. Neither
changes what a reader takes, and both are told: they are somebody's attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from graven.log.verify.report import Findings
from graven.worm.store import Store, Version, by_name, versions_of

CANDIDATES_MAX = 16
_ODD_MAX = 10_000

_OVERWRITTEN = "an object was overwritten; its original is still there"
_DELETED = "an object was deleted; its original is still there"
_DISPLACED = "other bytes were put under an object's name before it; the object is a later version"
_GONE = "an object was deleted, and no version of it is left"


ATTEMPTS = frozenset((_OVERWRITTEN, _DELETED, _DISPLACED))
"""What tells of somebody's attempt, and of nothing that is wrong with the copy."""


class Originals:
    """The objects of one copy: candidates, oldest first, and findings about the rest. Not shared between threads.

    What is odd about a name is told once it is known which version is the object (`took`), or at the end (`tell`).
    """

    def __init__(self, store: Store, findings: Findings) -> None:
        self.store, self._findings = store, findings
        self._odd: dict[str, _Odd] = {}

    def of(self, name: str) -> list[Version]:
        """The candidates for one name; none if there is no such object."""
        versions = versions_of(self.store, name)
        return self.judge(versions) if versions else []

    def folder(self, prefix: str) -> dict[str, list[Version]]:
        """The candidates of every name directly below a prefix."""
        return {group[0].name: self.judge(group) for group in by_name(self.store.list(prefix, deep=False))}

    def judge(self, group: Sequence[Version]) -> list[Version]:
        """The candidates among all versions of one name."""
        found = [one for one in group if not one.marker]
        if len(group) == 1 and found:
            return found
        name = group[0].name
        if name not in self._odd:
            others = any((one.size, one.digest) != (found[0].size, found[0].digest) for one in found[1:])
            if len(self._odd) >= _ODD_MAX:
                self.tell()
            self._odd[name] = _Odd(found[0] if found else None, len(found) < len(group), others, len(found))
        return found[:CANDIDATES_MAX]

    def took(self, version: Version) -> None:
        """This version is the object of its name."""
        odd = self._odd.get(version.name)
        if odd is not None and not odd.told:
            self._tell(odd, version)

    def tell(self) -> None:
        """Tell what is odd and was not told; and forget all of it."""
        for name, odd in self._odd.items():
            if not odd.told:
                if odd.first is None:
                    self._findings.fail(_GONE, name)
                else:
                    self._tell(odd, odd.first)
        self._odd.clear()

    def _tell(self, odd: "_Odd", version: Version) -> None:
        odd.told = True
        place = f"{version.name}, version {version.id or '?'}"
        if odd.hidden:
            self._findings.disprove(_DELETED, place)
        if odd.first is not None and version.id != odd.first.id:
            self._findings.disprove(_DISPLACED, place)
        elif odd.others:
            self._findings.disprove(_OVERWRITTEN, place)
        elif odd.count > 1:
            self._findings.note(f"an object was put {odd.count} times with the same bytes: {version.name}")


@dataclass(slots=True)
class _Odd:
    """A name with more than one version: the oldest, whether a delete marker hides it, whether others differ."""

    first: Version | None
    hidden: bool
    others: bool
    count: int
    told: bool = False
