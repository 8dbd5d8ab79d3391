"""The journal of a copy, streamed: closed segments, then the frames of the open one, against the roots of its tree.

Of every frame: header checksum, digest, that it follows the one before; of a block its directory, and that the root it
states is that of the signed tree at its end. Frames stay sealed: what they hold is checked where the keys are, on a
directory that was rebuilt from the copy.

Where several objects claim one place (a higher generation, versions under one name), the first that holds stands: the
highest generation, the oldest version. Memory: one frame, and a few bytes for each frame of a segment.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from graven.core.errors import Broken, Disproved, GravenError
from graven.core.merkle import EMPTY_ROOT
from graven.journal import frame
from graven.journal.frame import FrameHeader
from graven.journal.segment import SEGMENT_HEADER_SIZE_MAX, segment_name
from graven.log.verify.report import Findings
from graven.worm import layout
from graven.worm.originals import Originals
from graven.worm.store import Store, Version, by_name

CLAIMS_MAX = 64
"""So many objects that claim one place are looked at."""

FALSE_CLAIM = "an object claims the place of a segment and does not hold; the true one is there"

_READ_BYTES = 8 << 20
_WHOLE_FRAME_MAX = 64 << 20
"""Larger frames are hashed piece by piece, and their directory is not looked at."""


class Roots(Protocol):
    """The roots of the signed tree of `size` entries."""

    @property
    def size(self) -> int: ...

    def at(self, size: int) -> bytes | None:
        """The root at `size`; None where it cannot be told. Cheap in rising order."""


@dataclass(slots=True)
class Walked:
    """What the frames of one object state: (size, root, offset) behind each block; where it begins and ends."""

    start: int
    root: bytes
    end: int
    end_root: bytes
    closed: bool = False
    header: frame.SegmentHeader | None = None
    blocks: list[tuple[int, bytes, int]] = field(default_factory=list)


KeepFrames = Callable[[str, int, Version, Walked], None]
"""Told of (segment's file name, offset in it, version, what its frames state)."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """An object that may be the segment of a start, or a piece of it."""

    name: str
    version: Version
    generation: int


class CopyJournal:
    """The frames of one copy, in order."""

    def __init__(
        self, originals: Originals, roots: Roots, origin: str, findings: Findings, keep: KeepFrames | None = None
    ) -> None:
        """`keep` gets every object whose frames are taken, in order."""
        self._originals, self._roots, self._origin, self._findings = originals, roots, origin, findings
        self._store, self._keep = originals.store, keep
        self.log_id: bytes | None = None
        self.end, self.end_root = 0, EMPTY_ROOT
        self.segments: list[Version] = []
        self.unfollowed = 0

    def walk(self) -> None:
        """Every frame of the copy. Problems stand in the findings."""
        starts = self._starts()
        upcoming = next(starts, None)
        while True:
            while upcoming is not None and upcoming[0] < self.end:
                upcoming = next(starts, None)  # told by its own walk: it was swallowed by the one before
            if upcoming is not None and upcoming[0] == self.end and self._segment(upcoming[1]):
                upcoming = next(starts, None)
                continue
            if self._pieces():
                continue
            if upcoming is None:
                return
            start, _ = upcoming
            if start == self.end:  # nothing of it holds
                upcoming = next(starts, None)
                if upcoming is None:
                    return
                start, _ = upcoming
            self._findings.fail("frames are missing from the copy", layout.JOURNAL, self.end, start)
            root = self._roots.at(start)
            self.end, self.end_root = start, root if root is not None else b""

    def _starts(self) -> Iterator[tuple[int, list[_Claim]]]:
        """(start, claims in the order in which they are tried) of each segment copied whole."""
        start, claims = -1, list[_Claim]()
        for group in by_name(self._store.list(layout.JOURNAL, deep=False)):
            found = layout.parse_segment_name(group[0].name)
            if found is None:
                self._findings.note(f"an object that is no part of a copy: {group[0].name}")
                continue
            if found[0] != start and claims:
                yield start, _ordered(claims)
                claims = []
            start = found[0]
            claims += self._claims(group, found[1])
        if claims:
            yield start, _ordered(claims)

    def _claims(self, group: Sequence[Version], generation: int) -> list[_Claim]:
        return [_Claim(one.name, one, generation) for one in self._originals.judge(group)]

    def _segment(self, claims: Sequence[_Claim]) -> bool:
        """Whether one of the claims is the whole segment that begins here; the journal then goes on behind it."""
        refused: list[tuple[_Claim, GravenError]] = []
        for claim in claims[:CLAIMS_MAX]:
            try:
                found = self._walk_object(claim, 0, self.end, self.end_root, whole=True)
                self._check_roots(claim, found)
            except GravenError as error:
                refused.append((claim, error))
                continue
            for false, _ in refused:
                if false.name != claim.name:
                    self._findings.disprove(FALSE_CLAIM, f"{false.name}, version {false.version.id or '?'}")
            self.segments.append(claim.version)
            self._go_on(claim, found, 0)
            return True
        for claim, why in refused:
            self._findings.error(why, f"{claim.name}, version {claim.version.id or '?'}", self.end)
        return False

    def _pieces(self) -> bool:
        """Frames of the segment that begins here, piece by piece; whether the journal went on."""
        prefix = f"{layout.OPEN}{self.end:020d}."
        generations: dict[int, dict[int, list[_Claim]]] = {}  # by generation and offset
        for group in by_name(self._store.list(prefix)):
            found = layout.parse_piece_name(group[0].name)
            if found is None:
                self._findings.note(f"an object that is no part of a copy: {group[0].name}")
                continue
            claims = generations.setdefault(found[1], {}).setdefault(found[2], [])
            claims += self._claims(group, found[1])
        return any(self._generation(generations[one]) for one in sorted(generations, reverse=True))

    def _generation(self, pieces: dict[int, list[_Claim]]) -> bool:
        """The pieces of one generation, from byte 0 of the segment on; at each place the longest that holds.

        Others at the same place are no offence: shorter ones a follower put before it lost its state, and frames that
        were lost before they were published, and declared so.
        """
        offset, begun = 0, self.end
        while claims := pieces.get(offset):
            taken = None
            for claim in sorted(claims, key=lambda one: -one.version.size)[:CLAIMS_MAX]:
                try:
                    found = self._walk_object(claim, offset, self.end, self.end_root, whole=False)
                    self._check_roots(claim, found)
                except Disproved as error:
                    self._findings.note(f"frames that are not this log's lie in {claim.name}: {error.what}")
                except Broken as error:
                    self._findings.error(error, claim.name)
                else:
                    taken = claim
                    self._go_on(claim, found, offset)
                    break
            if taken is None:
                break
            offset += taken.version.size
        return self.end > begun

    def _check_roots(self, claim: _Claim, found: Walked) -> None:
        """Raises Disproved unless the blocks state the roots of the signed tree, as far as it goes.

        A checkpoint is always of a block's end: one that passes over the newest was never written by this log.
        """
        signed, untold = self._roots.size, 0
        for size, root, offset in found.blocks:
            if size > signed:
                break
            known = self._roots.at(size)
            if known is None:
                untold = size
            elif known != root:
                place = f"{claim.name}, version {claim.version.id or '?'}, at byte {offset}"
                what = "a frame states another root than the signed tree's"
                raise Disproved(what, expected=known.hex(), found=root.hex(), place=place)
        if found.start < signed < found.end and all(size != signed for size, _, _ in found.blocks):
            raise Disproved("a frame passes over the newest checkpoint", expected=str(signed), found=str(found.end),
                            place=claim.name)  # fmt: skip
        if untold:
            what = "whether frames are of the signed tree cannot be told: bundles are missing"
            self._findings.fail(what, claim.name, found.start, untold, group="untold")

    def _go_on(self, claim: _Claim, found: Walked, offset: int) -> None:
        self._originals.took(claim.version)
        beyond = found.end - max(found.start, min(found.end, self._roots.size))
        self.unfollowed += max(0, beyond)
        self.end, self.end_root = found.end, found.end_root
        if self.log_id is None and found.header is not None:
            self.log_id = found.header.log_id
        if self._keep is not None:
            self._keep(claim.name.split("/")[1], offset, claim.version, found)

    def _walk_object(self, claim: _Claim, base: int, start: int, root: bytes, *, whole: bool) -> Walked:
        """The frames of one object, which begins `base` bytes into its segment. Raises Disproved, Broken."""
        found = Walked(start, root, start, root)
        reader = _Reader(self._store, claim.version)
        offset = 0
        while offset < reader.size:
            place = f"{claim.name} at byte {offset}"
            header = frame.decode_header(reader.read(offset, frame.HEADER_SIZE), place=place)
            if offset + header.size > reader.size:
                raise Disproved("a frame is cut short", place=place)
            data = reader.frame(offset, header, place)
            self._take(claim, found, header, data, base + offset, place)
            offset += header.size
        if whole and not found.closed:
            raise Disproved("a segment's copy does not end with an index frame", place=claim.name)
        if base == 0 and found.header is None:
            raise Disproved("a segment's copy does not begin with its header", place=claim.name)
        return found

    def _take(
        self, claim: _Claim, found: Walked, header: FrameHeader, data: bytes | None, offset: int, place: str
    ) -> None:
        if found.closed:
            raise Disproved("a frame behind the index frame of a segment", place=place)
        if header.start != found.end:
            raise Disproved("a frame does not follow the one before", expected=str(found.end), found=str(header.start),
                            place=place)  # fmt: skip
        if header.kind == frame.SEGMENT:
            if offset or data is None or header.size > SEGMENT_HEADER_SIZE_MAX:
                raise Disproved("a segment's header where none belongs", place=place)
            found.header = frame.decode_segment_header(data, place=place)
            self._check_header(found.header, claim, place)
        elif header.kind == frame.BLOCK:
            if data is not None:
                frame.decode_block(data, header, place=place)
            found.end, found.end_root = header.end, header.root
            found.blocks.append((header.end, header.root, offset))
        else:
            found.closed = True
        if header.kind != frame.BLOCK and found.end_root and header.root != found.end_root:
            raise Disproved("a frame states another root than the one before", place=place)

    def _check_header(self, header: frame.SegmentHeader, claim: _Claim, place: str) -> None:
        name = segment_name(header.start, header.generation)
        if name not in claim.name.split("/"):
            raise Disproved("a segment's header names another segment than its object", found=name, place=place)
        if header.origin != self._origin or (self.log_id is not None and header.log_id != self.log_id):
            raise Disproved("a segment of another log", found=header.origin, place=place)


class _Reader:
    """One version, read forward through a window."""

    def __init__(self, store: Store, version: Version) -> None:
        self._store, self._version, self.size = store, version, version.size
        self._at, self._data = 0, b""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`, fewer only at the end."""
        size = max(0, min(size, self.size - offset))
        start = offset - self._at
        if start < 0 or start + size > len(self._data):
            wanted = min(max(size, _READ_BYTES), self.size - offset)
            self._data = self._store.read(self._version, offset, wanted)
            if len(self._data) != wanted:
                raise Broken("an object is shorter than its listing says", place=self._version.name)
            self._at, start = offset, 0
        return self._data[start : start + size]

    def frame(self, offset: int, header: FrameHeader, place: str) -> bytes | None:
        """A whole frame, its digest checked; None, and checked all the same, where it is too large to hold."""
        if header.size <= _WHOLE_FRAME_MAX:
            data = self.read(offset, header.size)
            frame.check_digest(data, place=place)
            return data
        digest, end = sha256(), offset + header.size - frame.DIGEST_SIZE
        for at in range(offset, end, _READ_BYTES):
            digest.update(self.read(at, min(_READ_BYTES, end - at)))
        if digest.digest() != self.read(end, frame.DIGEST_SIZE):
            raise Disproved("the frame does not fit its checksum", place=place)
        return None


def _ordered(claims: Sequence[_Claim]) -> list[_Claim]:
    return sorted(claims, key=lambda one: -one.generation)  # stable: the oldest version first
