"""A write-once copy verified by itself, streaming: `graven verify --from STORE`.

    checkpoints, the newest that is signed and has an edge → the tree below it → the journal's frames
    → every other kept checkpoint against the tree, as it is passed

Nothing in the store is believed but what the log's keys signed, and those come from elsewhere. Versions that somebody
added, and delete markers, change no verdict about the log; they are told, since somebody tried. Memory does not grow
with the log: a folder of names, some tiles and one frame.

Not here: what the sealed frames hold. For that a directory is rebuilt from the copy, and verified with its keys.
"""

import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Protocol

from graven.core.checkpoint import SignedCheckpoint, open_checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.note import MAX_NOTE_BYTES, Key
from graven.core.policy import Succession, log_keys_at
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature
from graven.log.verify.checkpoints import SINCE_PLACE, Stated, open_since
from graven.log.verify.report import Findings, Problem, Report
from graven.runtime.clock import US_PER_S, Clock, SystemClock
from graven.worm import layout
from graven.worm.certificates import NO_CERTIFICATE, read_copy_certificates
from graven.worm.handovers import NO_HANDOVER, follow_copy
from graven.worm.journal import FALSE_CLAIM, CopyJournal, Walked
from graven.worm.layout import Edge
from graven.worm.opening import read_descriptions, read_full_lock
from graven.worm.originals import ATTEMPTS, Originals
from graven.worm.store import Store, Version, by_name
from graven.worm.tree import CopyTree, RootStream

THREADS = 24
_NEWEST = 64
_AHEAD = 64
_BEYOND_MAX = 20

NO_CHECKPOINT = "an object among the checkpoints is none of this log's"
NO_FILE = "a file is not the one its name says"
_NOT_ABOUT_IT = {*ATTEMPTS, FALSE_CLAIM, NO_CERTIFICATE, NO_CHECKPOINT, NO_FILE, NO_HANDOVER}
"""Problems that anybody who can write to the store can make, beside a copy that is whole."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a copy holds. `newest`: its newest checkpoint, None if it has none that can be used; `end`: how far its
    frames go; `full_lock_s`: since when it is locked for its classes' time, None during the trial."""

    report: Report
    newest: SignedCheckpoint | None
    end: int
    full_lock_s: int | None

    @property
    def data_problems(self) -> tuple[Problem, ...]:
        """The problems that are about the copy itself, and not about somebody's attempt on it."""
        return tuple(one for one in self.report.problems if one.what not in _NOT_ABOUT_IT)


class Kept(Protocol):
    """Whoever wants what proved good: to rebuild a directory from it. `checkpoint` is called by several threads."""

    def tile(self, path: str, data: bytes) -> None: ...
    def frames(self, segment: str, offset: int, version: Version, found: Walked) -> None: ...
    def edge(self, edge: Edge) -> None: ...
    def checkpoint(self, size: int, note: bytes) -> None: ...
    def handover(self, number: int, document: bytes) -> None: ...
    def certificate(self, first: int, last: int, note: bytes) -> None: ...


def verify_copy(
    store: Store,
    *,
    keys: Sequence[Key],
    witnesses: Sequence[Key] = (),
    since: bytes | None = None,
    clock: Clock | None = None,
    keep: Kept | None = None,
) -> Verified:
    """Verify a copy. It collects what is wrong and goes on; damage never raises.

    `keys` are those the caller trusts the log by, got elsewhere; `witnesses` may have cosigned. `since` is a checkpoint
    the caller kept: its tree must be the beginning of this one. `keep` gets what proved good, as it is passed.

    Raises:
        BadInput: no key is given, `since` is no checkpoint of this log, or there is no copy of it here. Broken: the
            store does not answer at all.
    """
    if not keys:
        raise BadInput("no key to verify by", mend="give the log's verifier key: --vkey")
    origin = keys[0].name
    descriptions = read_descriptions(store)
    if not any(one.origin == origin for one in descriptions):
        there = f"of {descriptions[0].origin!r}, not " if descriptions else "at all: none "
        raise BadInput(f"there is no copy {there}of {origin!r}", place=store.url, mend="s3://BUCKET/PREFIX")
    findings = Findings()
    trust, handovers = follow_copy(store, keys, findings)
    for number, document in enumerate(handovers if keep is not None else (), 1):
        assert keep is not None
        keep.handover(number, document)
    kept = open_since(since, trust, findings) if since is not None else None
    with ThreadPoolExecutor(THREADS, "graven-verify") as pool:
        return _Verification(store, trust, origin, witnesses, findings, pool, clock or SystemClock(), keep).run(kept)


class _Verification:
    def __init__(
        self, store: Store, trust: Succession, origin: str, witnesses: Sequence[Key], findings: Findings,
        pool: ThreadPoolExecutor, clock: Clock, keep: Kept | None,
    ) -> None:  # fmt: skip
        self._store, self._trust, self._witnesses, self._findings = store, trust, tuple(witnesses), findings
        self._origin = origin
        self._pool, self._clock, self._keep = pool, clock, keep
        self._originals = Originals(store, findings)

    def run(self, since: Stated | None) -> Verified:
        findings = self._findings
        full_lock_s = read_full_lock(self._store)
        for name in (layout.COPY, layout.FULL_LOCK):
            self._originals.of(name)
        found = self._newest()
        if found is None:
            findings.fail("the copy has no checkpoint that can be used", layout.CHECKPOINTS)
            return Verified(self._report(0, 0), None, 0, full_lock_s)
        newest, edge, places = found
        keep = self._keep
        tree = CopyTree(self._originals, edge, findings, self._pool, keep.tile if keep is not None else None)
        stated = _Passing(RootStream(tree, edge), self._stated(since), findings)
        frames = keep.frames if keep is not None else None
        journal = CopyJournal(self._originals, stated, self._origin, findings, frames)
        journal.walk()
        stated.finish()
        size = newest.checkpoint.size
        if journal.end < size:
            findings.fail("frames are missing from the copy", layout.JOURNAL, journal.end, size)
        if journal.unfollowed:
            findings.note(f"{journal.unfollowed} events behind the newest checkpoint: only their frames' checksums")
        self._small_files()
        for first, last, note in read_copy_certificates(self._store, self._originals, self._trust, findings):
            if keep is not None:
                keep.certificate(first, last, note)
        self._originals.tell()
        self._locks([*places, *journal.segments])
        if full_lock_s is None:
            findings.note("a trial: everything is locked for 7 days only (graven worm enable --full)")
        if keep is not None:
            keep.edge(edge)
        return Verified(self._report(max(size, journal.end), size), newest, journal.end, full_lock_s)

    def _report(self, size: int, published: int) -> Report:
        found = self._findings
        return Report(
            found.problems, found.disproved, found.broken, found.notes, size, published, 0,
            "not checked: a copy holds no key",
        )  # fmt: skip

    def _newest(self) -> tuple[SignedCheckpoint, Edge, list[Version]] | None:
        """The newest good checkpoint whose edge leads to its root: looked for from the largest size down, some at a
        time, since anybody may have put names of large sizes there."""
        below = 1 << 63
        while True:
            names = (one.name for one in self._store.list(layout.CHECKPOINTS, deep=False))
            sizes = {found[0] for name in names if (found := layout.parse_checkpoint_name(name)) is not None}
            tried = heapq.nlargest(_NEWEST, {size for size in sizes if size < below})
            for size in tried:
                if (found_here := self._at(size)) is not None:
                    return found_here
            if not tried:
                return None
            below = tried[-1]

    def _at(self, size: int) -> tuple[SignedCheckpoint, Edge, list[Version]] | None:
        """A good checkpoint of this size, with its edge. What is no checkpoint is told when all are passed."""
        for group in by_name(self._store.list(f"{layout.CHECKPOINTS}{size:020d}.", deep=False)):
            for version in (one for one in group if not one.marker):
                try:
                    signed = self._open(version)
                except GravenError:
                    continue
                refused: list[GravenError] = []
                for edge_version in self._originals.of(layout.edge_name(size)):
                    edge = self._edge(edge_version, signed)
                    if isinstance(edge, Edge):
                        self._originals.took(edge_version)
                        return signed, edge, [version, edge_version]
                    refused.append(edge)
                for error in refused:
                    self._findings.error(error, layout.edge_name(size))
        return None

    def _edge(self, version: Version, signed: SignedCheckpoint) -> Edge | GravenError:
        size = signed.checkpoint.size
        try:
            if version.size != 32 * sum(layout.edge_counts(size)):
                raise BadInput("the edge of a tree has the wrong length")
            edge = layout.parse_edge(self._store.read(version), size)
            if edge.root == signed.checkpoint.root:
                return edge
            raise Disproved("the edge of a tree does not lead to its signed root")
        except GravenError as error:
            return error

    def _open(self, version: Version) -> SignedCheckpoint:
        """A kept checkpoint. Raises BadInput, Disproved, Broken."""
        name = layout.parse_checkpoint_name(version.name)
        assert name is not None
        if version.size > MAX_NOTE_BYTES:
            raise Disproved("what is kept as a checkpoint is too long for one")
        data = self._store.read(version)
        if sha256(data).hexdigest()[:16] != name[1]:
            raise Disproved("a kept checkpoint is not the one its name says")
        keys = log_keys_at(self._trust, name[0])
        signed = open_checkpoint(data, keys, verify_signature, cosigners=self._witnesses)
        if signed.checkpoint.size != name[0]:
            raise Disproved("a kept checkpoint is of another size than its name says")
        return signed

    def _stated(self, since: Stated | None) -> Iterator[Stated]:
        """Every tree that a kept checkpoint states, by rising size."""
        return heapq.merge([since] if since is not None else [], self._kept(), key=lambda one: one.size)

    def _kept(self) -> Iterator[Stated]:
        groups = by_name(self._store.list(layout.CHECKPOINTS, deep=False))
        while batch := list(islice(groups, _AHEAD)):
            good = [group for group in batch if layout.parse_checkpoint_name(group[0].name) is not None]
            for group in batch:
                if group not in good:
                    self._findings.note(f"an object that is no part of a copy: {group[0].name}")
            candidates = [self._originals.judge(group) for group in good]
            for found in self._pool.map(self._first_good, candidates):
                if isinstance(found, Broken):
                    self._findings.error(found)
                elif isinstance(found, GravenError):
                    self._findings.disprove(NO_CHECKPOINT, f"{found.place}: {found.what}")
                elif found is not None:
                    stated, version = found
                    self._originals.took(version)
                    yield stated

    def _first_good(self, versions: Sequence[Version]) -> tuple[Stated, Version] | GravenError | None:
        refused: GravenError | None = None
        for version in versions:
            try:
                signed = self._open(version)
            except GravenError as error:
                error.place = error.place or f"{version.name}, version {version.id or '?'}"
                refused = refused or error
                continue
            head = signed.checkpoint
            if self._keep is not None:
                self._keep.checkpoint(head.size, signed.data)
            return Stated("a kept checkpoint", version.name, head.size, head.root), version
        return refused

    def _small_files(self) -> None:
        """Those named by what they hold: policies, configurations."""
        for prefix, suffix in ((layout.POLICIES, ""), (layout.CONFIGS, ".toml")):
            for name, versions in self._originals.folder(prefix).items():
                wanted = name.removeprefix(prefix).removesuffix(suffix)
                true = next((version for version in versions if self._is(version, wanted)), None)
                if true is not None:
                    self._originals.took(true)
                elif versions:
                    self._findings.disprove(NO_FILE, name)
        for prefix in (layout.TORN, layout.PREDECESSORS, layout.ANCHORS):
            self._originals.folder(prefix)

    def _is(self, version: Version, wanted: str) -> bool:
        if version.size > MAX_NOTE_BYTES:
            return False
        return sha256(self._store.read(version)).hexdigest() == wanted

    def _locks(self, versions: Sequence[Version]) -> None:
        """Whether the objects that matter most are locked still."""
        now_s = self._clock.now_us() // US_PER_S
        loose: list[str] = []
        for version, lock in zip(versions, self._pool.map(self._store.lock, versions), strict=True):
            if lock is None or lock.until_s <= now_s:
                loose.append(version.name)
        if loose:
            some = ", ".join(loose[:3])
            self._findings.note(f"{len(loose)} objects are not locked, or no longer: {some}{' …' * (len(loose) > 3)}")


class _Passing:
    """The roots of the tree; on the way every stated tree is compared as its size is passed."""

    def __init__(self, roots: RootStream, stated: Iterator[Stated], findings: Findings) -> None:
        self.size = roots.size
        self._roots, self._stated, self._findings = roots, stated, findings
        self._upcoming = next(stated, None)

    def at(self, size: int) -> bytes | None:
        self._pass_to(size)
        return self._roots.at(size)

    def finish(self) -> None:
        self._pass_to(self.size)
        self._roots.finish()
        if self._upcoming is not None:
            for one in (self._upcoming, *islice(self._stated, _BEYOND_MAX)):
                what = f"the copy ends at {self.size}, but {one.what} is of {one.size} entries"
                if one.place == SINCE_PLACE:
                    self._findings.fail(what, one.place, self.size, one.size)
                else:
                    self._findings.note(f"{what}: {one.place}")

    def _pass_to(self, size: int) -> None:
        while self._upcoming is not None and self._upcoming.size <= min(size, self.size):
            one, self._upcoming = self._upcoming, next(self._stated, None)
            root = self._roots.at(one.size)
            if root is None:
                self._findings.fail(f"whether the copy leads to {one.what} cannot be told", one.place)
            elif root != one.root:
                self._findings.disprove(
                    f"the copy's tree of {one.size} entries is not that of {one.what}:"
                    f" expected root {encode_base64(one.root)}, found {encode_base64(root)}",
                    one.place, 0, max(one.size, 1),
                )  # fmt: skip
