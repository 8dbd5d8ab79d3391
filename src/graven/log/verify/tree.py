"""The published tree's files, compared byte for byte with the tree that the journal leads to.

A chunk of the journal hands in runs of consecutive entries and of the nodes they complete; each run is compared, slice
by slice, with the bundles and tiles it touches. A file that two chunks share is compared by both, each its own part, so
together the chunks cover every byte. Files are read whole, bounded, and never written.

`width_at(level, index, published)` says how long a file must be. A partial tile that is gone because the full one came
is read from the full one. Files beyond the published tree (a publisher stopped by a crash, partial tiles not yet
collected) need not be there, but where they are, they must be prefixes of the same tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from graven.core.errors import GravenError
from graven.core.merkle import CompactRange, compact_range_at
from graven.core.tile import WIDTH, TilePath, bundle_path, decode_entries, tile_nodes, tile_path, width_at
from graven.log.verify.reading import is_blank, read_bounded
from graven.log.verify.report import Findings

Level = int | Literal["entries"]

HASH_SIZE, ENTRY_SIZE = 32, 34
_ENTRY_PREFIX = b"\x00\x20"
_FLUSH_HASHES = 4096


@dataclass(frozen=True, slots=True)
class TreePlace:
    """Where the files are and what must be there: all of the tree of `published`; surely on disk those of `synced`.

    `extras` are the files that are there and need not be: leftover partial tiles, and whatever lies beyond.
    """

    log: str
    published: int
    synced: int
    extras: tuple[TilePath, ...] = ()


@dataclass(slots=True)
class _Run:
    """Consecutive hashes of one level from `first` on. `derived`: the journal itself led to them."""

    first: int
    derived: bool
    hashes: list[bytes] = field(default_factory=list)


class TreeCheck:
    """Compares what one chunk knows of the tree with the files. Not shared between processes."""

    def __init__(self, place: TreePlace, findings: Findings) -> None:
        self.lost: list[str] = []
        """Files missing or empty past the synced cursor that the journal leads to: recovery writes them again."""
        self._place, self._findings = place, findings
        self._runs: dict[Level, _Run] = {}
        self._extras: dict[tuple[Level, int], list[int]] = {}
        for extra in place.extras:
            self._extras.setdefault((extra.level, extra.index), []).append(extra.width)
        self._bundle: tuple[int, list[bytes]] | None = None

    def add(self, level: Level, first: int, hashes: Sequence[bytes], *, derived: bool) -> None:
        """Hashes (entries, for level "entries") from `first` on; runs must come in order, gaps are allowed."""
        run = self._runs.get(level)
        if run is not None and (run.first + len(run.hashes) != first or run.derived is not derived):
            self._compare(level, run)
            run = None
        if run is None:
            run = self._runs[level] = _Run(first, derived)
        run.hashes += hashes
        if len(run.hashes) >= _FLUSH_HASHES:
            keep = (run.first + len(run.hashes)) % WIDTH
            done = len(run.hashes) - keep
            self._compare(level, _Run(run.first, derived, run.hashes[:done]))
            self._runs[level] = _Run(run.first + done, derived, run.hashes[done:])

    def flush(self) -> None:
        """Compare whatever is left."""
        for level, run in self._runs.items():
            self._compare(level, run)
        self._runs.clear()

    def anchor(self, size: int) -> CompactRange | None:
        """The tree of `size` entries as the tiles have it, unproven; None if they do not say."""
        if size == 0:
            return CompactRange.EMPTY
        if size > self._place.published:
            return None
        try:
            return compact_range_at(tile_nodes(self._fetch, self._place.published), size)
        except (GravenError, OSError):
            return None

    def entries(self, start: int, end: int, *, needed: bool = True) -> list[bytes] | None:
        """The entries [start, end) as the bundles have them, unproven; None if one of these bundles is of no use.

        `needed`: nothing else gives these entries, so a bundle that is of no use is a problem.
        """
        if end > self._place.published:
            return None
        found: list[bytes] = []
        for index in range(start // WIDTH, (end + WIDTH - 1) // WIDTH):
            bundle = self._read_bundle(index, needed)
            found += bundle[max(0, start - WIDTH * index) : end - WIDTH * index]
        return found if len(found) == end - start else None

    def _read_bundle(self, index: int, needed: bool) -> list[bytes]:
        if self._bundle is not None and self._bundle[0] == index:
            return self._bundle[1]
        width = width_at(0, index, self._place.published)
        path = _path("entries", index, width)
        entries: list[bytes] = []
        try:
            path, data = self._read("entries", index, width)
            if data is not None:
                entries = decode_entries(data[: ENTRY_SIZE * width], width)
                self._bundle = index, entries
            elif needed:
                self._missing("entries", index, width, derived=False)
        except GravenError as error:
            if needed:
                self._findings.error(error, _shown(path), WIDTH * index, WIDTH * index + width, group="entries")
        return entries

    def _fetch(self, path: str) -> bytes:
        data = read_bounded(f"{self._place.log}/{path}", WIDTH * HASH_SIZE)
        if not data:
            raise FileNotFoundError(path)
        return data

    def _read(self, level: Level, index: int, width: int) -> tuple[str, bytes | None]:
        """The file that holds `width` hashes: its path and bytes; None if it is not there, empty, or zeros only, which
        is what a power cut leaves of bytes never written. Raises Broken, Disproved."""
        size = _size(level)
        path = _path(level, index, width)
        data = read_bounded(f"{self._place.log}/{path}", width * size)
        if is_blank(data) and width != WIDTH:
            full = _path(level, index, WIDTH)
            whole = read_bounded(f"{self._place.log}/{full}", WIDTH * size)
            if not is_blank(whole):
                return full, whole
        return path, None if is_blank(data) else data

    def _compare(self, level: Level, run: _Run) -> None:
        if not run.hashes:
            return
        size = _size(level)
        joined = (_ENTRY_PREFIX + _ENTRY_PREFIX.join(run.hashes)) if level == "entries" else b"".join(run.hashes)
        first, end = run.first, run.first + len(run.hashes)
        published = self._place.published >> (8 * _number(level))
        for index in range(first // WIDTH, (end + WIDTH - 1) // WIDTH):
            base = WIDTH * index
            a, b = max(first, base), min(end, base + WIDTH)
            truth = joined[size * (a - first) : size * (b - first)]
            if base < published and a < published:
                self._compare_published(level, index, a, truth, run.derived)
            if self._extras and (widths := self._extras.get((level, index))):
                for width in widths:
                    self._compare_extra(level, index, width, a, truth, run.derived)

    def _compare_published(self, level: Level, index: int, a: int, truth: bytes, derived: bool) -> None:
        size, base = _size(level), WIDTH * index
        width = width_at(_number(level), index, self._place.published)
        try:
            path, data = self._read(level, index, width)
        except GravenError as error:
            self._findings.error(error, _shown(_path(level, index, width)), *_entries_of(level, base, base + width))
            return
        if data is None:
            self._missing(level, index, width, derived)
        elif data != truth:  # not a whole file at once
            stored = WIDTH if "." not in path else width
            self._compare_file(level, index, stored, path, data, a, truth[: size * (base + width - a)], derived)

    def _compare_extra(self, level: Level, index: int, width: int, a: int, truth: bytes, derived: bool) -> None:
        size, base = _size(level), WIDTH * index
        path = _path(level, index, width)
        try:
            data = read_bounded(f"{self._place.log}/{path}", width * size)
        except GravenError as error:
            self._findings.error(error, _shown(path), *_entries_of(level, base, base + width))
            return
        # None: collected since it was listed. Blank: lost with the power before it was published.
        if data is not None and not is_blank(data) and a < base + width:
            self._compare_file(level, index, width, path, data, a, truth[: size * (base + width - a)], derived)

    def _compare_file(
        self, level: Level, index: int, width: int, path: str, data: bytes, a: int, truth: bytes, derived: bool
    ) -> None:
        """Compare a file of `width` hashes with `truth`, which begins at hash `a`."""
        size, base = _size(level), WIDTH * index
        held = data[size * (a - base) :][: len(truth)]
        first, end = _entries_of(level, base, base + width)
        if derived and end > self._place.synced and _is_unfinished(held, truth):
            if held != truth:
                self.lost.append(_shown(path))
            return
        if len(data) != size * width:
            what = f"a file of the tree has the wrong length: expected {size * width} bytes, found {len(data)}"
            self._findings.disprove(what, _shown(path), first, end)
        truth = truth[: len(held)]
        wrong = [at // size for at in range(0, len(held), size) if held[at : at + size] != truth[at : at + size]]
        if wrong:
            what = (
                "an entry bundle holds another entry than the journal"
                if level == "entries"
                else "a tile holds another hash than the tree of the journal"
            )
            place = f"{_shown(path)} at byte {size * (a + wrong[0] - base)}"
            first, end = _entries_of(level, a + wrong[0], a + wrong[-1] + 1)
            self._findings.disprove(what, place, first, end, group=f"level {level}")

    def _missing(self, level: Level, index: int, width: int, derived: bool) -> None:
        path, base = _path(level, index, width), WIDTH * index
        first, end = _entries_of(level, base, base + width)
        if derived and end > self._place.synced:
            self.lost.append(_shown(path))
        else:
            what = "an entry bundle is missing or empty" if level == "entries" else "a tile is missing or empty"
            self._findings.fail(what, _shown(path), first, end, group=f"level {level}")


def format_path(path: TilePath) -> str:
    """Where a tile or bundle lies, from the log's directory."""
    return _shown(_path(path.level, path.index, path.width))


def entries_under(path: TilePath) -> tuple[int, int]:
    """The events [first, end) that a tile or bundle stands for."""
    return _entries_of(path.level, path.index * WIDTH, path.index * WIDTH + path.width)


def _path(level: Level, index: int, width: int) -> str:
    return bundle_path(index, width) if level == "entries" else tile_path(level, index, width)


def _shown(path: str) -> str:
    return f"log/{path}"


def _size(level: Level) -> int:
    return ENTRY_SIZE if level == "entries" else HASH_SIZE


def _number(level: Level) -> int:
    return 0 if level == "entries" else level


def _entries_of(level: Level, first: int, end: int) -> tuple[int, int]:
    """The events [first, end) that hashes [first, end) of a level stand for."""
    shift = 8 * _number(level)
    return first << shift, end << shift


def _is_unfinished(held: bytes, truth: bytes) -> bool:
    """Whether these are the true bytes, or they with zeros in place of some, or cut short: what was not yet written
    when the power went."""
    return held == truth[: len(held)] or all(a in (0, b) for a, b in zip(held, truth, strict=False))
