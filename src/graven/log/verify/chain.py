"""The chunks of the journal strung together, from the empty tree to the last frame.

Chunks are verified side by side, each from a state it was told or that the tiles claim. Here they are taken in order:
a chunk counts only if it began exactly where the one before it ended (offset, index, tree); otherwise it is done again
from there. What is gathered on the way (roots, Graven's own events, erased slots) comes from chunks that count.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from graven.core.errors import GravenError
from graven.core.merkle import EMPTY_ROOT, CompactRange
from graven.core.tile import WIDTH
from graven.keys.keyring import Keyring
from graven.log.verify.acts import Acts, End
from graven.log.verify.chunk import verify_chunk
from graven.log.verify.report import Findings
from graven.log.verify.segments import Segment, split
from graven.log.verify.task import Rest, Result, Slots, State, Task
from graven.log.verify.tree import TreePlace
from graven.runtime.pool import Pool

Progress = Callable[[int, int], None]
"""(events done, events in all as far as known)."""

SEGMENT_SIZE_MAX = 1 << 32  # a segment's index counts bytes in 32 bits


class Chain:
    """Walks the segments. `signed` is the largest size that was signed or acknowledged: nothing below it may be cut.

    Afterwards: `roots` by wanted size, `acts`, `slots`, `held` (segment start → key ids in the keyring), `opened`
    (events derived from their own bytes), `end` of the journal.
    """

    def __init__(
        self,
        keyring: Keyring | None,
        origin: str,
        tree: TreePlace,
        wanted: Sequence[int],
        signed: int,
        findings: Findings,
        progress: Progress | None,
    ) -> None:
        self.tree = tree
        self.roots: dict[int, bytes] = {0: EMPTY_ROOT}
        self.acts = Acts()
        self.slots: list[Slots] = []
        self.held: dict[int, frozenset[bytes]] = {}
        self.lost: dict[str, None] = {}
        self.opened = self.unfollowed = 0
        self.end = End("", 0)
        self.log_id: bytes | None = None
        self._keyring, self._origin, self._wanted, self._signed = keyring, origin, tuple(wanted), signed
        self._findings, self._progress = findings, progress
        self._low = sorted((one for one in tree.extras if one.level in (0, "entries")), key=lambda one: one.index)
        self._high = [one for one in tree.extras if one.level not in (0, "entries")]
        self._at = State(0, 0, CompactRange.EMPTY)
        self._closed = True
        self._frames: list[bytes] = []
        self._damaged = False

    def walk(self, pool: Pool, opened: Sequence[Segment]) -> None:
        """Verify every segment."""
        if not opened:
            self._findings.fail("the journal has no segment", "journal")
        ids = Counter(one.header.log_id for one in opened if one.header and one.header.origin == self._origin)
        self.log_id = ids.most_common(1)[0][0] if ids else None
        by_start = {one.file.start: one for one in opened}
        for task, result in pool.ordered(verify_chunk, self._tasks(opened)):
            segment = by_start[task.segment_start]
            last = segment is opened[-1]
            state, fill_to = self._expected(task, segment)
            if not _begins(result.start, state) or fill_to != task.fill_to:
                again = replace(task, state=state, fill_to=fill_to, wanted=self._wanted_from(state.index, None))
                result = pool.run(verify_chunk, replace(again, tree=self._tree_from(state.index, None)))
            self._accept(result)
            if task.limit == task.size:
                self._finish(segment, result, last)
        if not self.end.segment:
            self.end = End("", self._at.index)

    def fill(self, pool: Pool, to: int) -> None:
        """Where the journal ends too soon, go on to index `to` with what the bundles hold."""
        if self._at.index < to:
            task = Task(
                path="", name="", size=0, segment_start=0, log_id=b"", keys=(), named=None,
                header_bad=False, state=self._at, limit=0, fill_to=to, tree=self._tree_from(self._at.index, None),
                wanted=self._wanted_from(self._at.index, None),
            )  # fmt: skip
            self._accept(pool.run(verify_chunk, task))

    def _tasks(self, opened: Sequence[Segment]) -> Iterator[Task]:
        for segment, after in zip(opened, [*opened[1:], None], strict=False):
            self._check_header(segment)
            keys, whole = self._keys(segment)
            size = min(segment.size, SEGMENT_SIZE_MAX)
            if size != segment.size:
                self._findings.disprove("a segment is longer than its format allows", segment.place)
            header = segment.header
            known = after.file.start if after is not None and header is not None else None
            chunks = split(segment)
            for (start, offset), (end, limit) in zip(chunks, [*chunks[1:], (known, size)], strict=True):
                yield Task(
                    path=segment.file.path, name=segment.file.name, size=size, segment_start=segment.file.start,
                    log_id=header.log_id if header else self.log_id or b"", keys=keys,
                    named=frozenset(header.keys) if header and whole else None,
                    header_bad=header is None,
                    state=State(offset, start, segment.range if offset == segment.first else None),
                    limit=limit, fill_to=0, tree=self._tree_from(start, end), wanted=self._wanted_from(start, end),
                )  # fmt: skip

    def _check_header(self, segment: Segment) -> None:
        header, place = segment.header, segment.place
        if header is None:
            return
        if header.origin != self._origin:
            segment.foreign = True
            what = f"a segment is of another log: expected {self._origin}, found {header.origin}"
            self._findings.disprove(what, place)
        elif header.log_id != self.log_id:
            segment.foreign = True
            self._findings.disprove("a segment is of another log of the same name: its log id differs", place)

    def _keys(self, segment: Segment) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
        """The segment's data keys, and whether one that is not there is gone."""
        if self._keyring is None:
            return (), False
        try:
            keys = self._keyring.segment_keys(segment.file.start)
        except GravenError as error:
            self._findings.fail(error.what, error.place)
            self.acts.complete = False
            return (), False
        if segment.header is None or segment.foreign:
            return tuple(keys.items()), False
        self.held[segment.file.start] = frozenset(keys)
        return tuple(keys.items()), True

    def _expected(self, task: Task, segment: Segment) -> tuple[State, int]:
        """The state this chunk must begin at, and up to where the journal is known to lack events before it."""
        at, start = self._at, segment.file.start
        if task.state.offset != segment.first:
            return at, 0
        self._frames, self._damaged = [], False
        if at.index < start:
            self._findings.fail("no segment holds these events", f"before {segment.place}", at.index, start)
            return State(segment.first, at.index, at.range), start
        if at.index > start:
            what = "a segment begins within the one before it"
            self._findings.disprove(what, segment.place, start, at.index)
        elif segment.range is not None and at.range is not None and segment.range != at.range:
            self._findings.disprove(
                "a segment's header states another tree than the journal before it leads to", segment.place
            )
        known = at.range if at.range is not None else segment.range if at.index == start else None
        return State(segment.first, at.index, known), 0

    def _accept(self, result: Result) -> None:
        self._findings.merge(result.findings)
        self._damaged = self._damaged or bool(result.findings.disproved or result.findings.broken)
        self._frames.append(result.frames)
        self.roots |= result.roots
        self.acts.take(result.acts)
        self.slots += result.slots
        self.lost |= dict.fromkeys(result.lost)
        self.opened += result.opened
        self.unfollowed += result.unfollowed
        self._at = result.end
        if self._progress is not None:
            self._progress(self._at.index, max(self._at.index, self.tree.published))

    def _finish(self, segment: Segment, result: Result, last: bool) -> None:
        """The end of a segment: closed by its index, or, of the last one, open, or broken off as a crash leaves it."""
        findings, place = self._findings, segment.place
        rest = result.rest
        if rest is None and segment.header is None and not segment.size:
            rest = Rest(0, 0, "an empty file", True, None)
        forgiven = rest is not None and last and self._closed_before(segment, rest) and self._at.index >= self._signed
        behind = segment.size if rest is None else rest.offset
        own_ends = {(segment.file.name, behind if result.index_frame is None else result.index_offset)}
        if (
            self._at.index == segment.file.start
        ):  # no block: perhaps begun anew, where recovery cut the name's first bytes
            own_ends.add((segment.file.name, 0))
        earlier = self.end.places if self._at.index == self.end.index else frozenset()
        self.end = End(segment.file.name, self._at.index, earlier | own_ends)
        if segment.error is not None and (rest is None or rest.offset):
            findings.error(segment.error, place)
        if rest is not None:
            self._judge_rest(rest, f"{place} at byte {rest.offset}", forgiven)
        elif result.index_frame is None and not last:
            findings.fail("a segment does not end with its index, and another follows", place)
        if result.index_frame is not None and not self._damaged and result.index_frame != b"".join(self._frames):
            findings.disprove(
                "a segment's index names other frames than there are", f"{place} at byte {result.index_offset}"
            )
        self._closed = result.index_frame is not None

    def _closed_before(self, segment: Segment, rest: Rest) -> bool:
        """Whether recovery would take the rest away: a segment without even a header needs a closed one before it."""
        return segment.header is not None or (rest.offset == 0 and self._closed and segment.file.start > 0)

    def _judge_rest(self, rest: Rest, place: str, forgiven: bool) -> None:
        findings, index = self._findings, self._at.index
        if forgiven:
            findings.note(
                f"an unfinished frame of {rest.length} bytes, as a crash leaves it: {place}; recovery cuts it"
            )
        elif rest.short:
            findings.fail(f"the journal is cut off: {rest.why}", place)
        else:
            findings.disprove(rest.why, place, index if rest.end else None, rest.end)
            if rest.end is not None:
                self.end = replace(self.end, index=max(rest.end, index))

    def _wanted_from(self, start: int, end: int | None) -> tuple[int, ...]:
        first = bisect_right(self._wanted, start)
        return self._wanted[first : len(self._wanted) if end is None else bisect_right(self._wanted, end)]

    def _tree_from(self, start: int, end: int | None) -> TreePlace:
        """The tree with those extra files only that the entries [start, end) may touch."""
        first = bisect_left(self._low, start // WIDTH, key=lambda extra: extra.index)
        behind = len(self._low)
        if end is not None:
            behind = bisect_right(self._low, end // WIDTH, key=lambda extra: extra.index)
        return replace(self.tree, extras=(*self._low[first:behind], *self._high))


def _begins(found: State, expected: State) -> bool:
    """Whether a chunk began where it had to. A tree not known before it may be whatever the tiles claim."""
    if (found.offset, found.index) != (expected.offset, expected.index):
        return False
    return expected.range is None or found.range == expected.range
