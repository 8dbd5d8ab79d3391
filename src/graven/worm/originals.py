"""Which versions of an object are candidates, and what the others tell.

Object Lock keeps what was put, and lets anybody with the right to write add: a newer version, a delete marker. Neither
changes what a reader takes, and both are told: they are somebody's attempt.
"""

from collections.abc import Sequence

from graven.log.verify.report import Findings
from graven.worm.store import Store, Version, by_name, versions_of

CANDIDATES_MAX = 16

_OVERWRITTEN = "an object was overwritten; its original is still there"
_DELETED = "an object was deleted; its original is still there"
_GONE = "an object was deleted, and no version of it is left"


class Originals:
    """The objects of one copy: candidates, oldest first, and findings about the rest. Not shared between threads."""

    def __init__(self, store: Store, findings: Findings) -> None:
        self.store, self._findings = store, findings
        self._told: set[str] = set()

    def of(self, name: str) -> list[Version]:
        """The candidates for one name; none if there is no such object."""
        versions = versions_of(self.store, name)
        return self.judge(versions) if versions else []

    def folder(self, prefix: str) -> dict[str, list[Version]]:
        """The candidates of every name directly below a prefix."""
        return {group[0].name: self.judge(group) for group in by_name(self.store.list(prefix, deep=False))}

    def judge(self, group: Sequence[Version]) -> list[Version]:
        """The candidates among all versions of one name; what is odd about them is told, once."""
        found = [one for one in group if not one.marker]
        name = group[0].name
        if (len(group) == 1 and found) or name in self._told:
            return found[:CANDIDATES_MAX]
        if len(self._told) < 10_000:
            self._told.add(name)
        if not found:
            self._findings.fail(_GONE, name)
            return []
        first = found[0]
        original = f"{name}, version {first.id or '?'}"
        if len(group) > len(found):
            self._findings.disprove(_DELETED, original)
        others = [one for one in found[1:] if (one.size, one.digest) != (first.size, first.digest)]
        if others:
            self._findings.disprove(_OVERWRITTEN, original)
        elif len(found) > 1:
            self._findings.note(f"an object was put {len(found)} times with the same bytes: {name}")
        return found[:CANDIDATES_MAX]

    def displaced(self, name: str, chosen: Version, candidates: Sequence[Version]) -> None:
        """Tell that what lies oldest under a name is not the object, but a later version is."""
        if chosen is not candidates[0]:
            what = "other bytes were put under an object's name before it; the object is a later version"
            self._findings.disprove(what, f"{name}, version {chosen.id or '?'}")
