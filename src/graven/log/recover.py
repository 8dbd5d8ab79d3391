"""Recovery: what the writer does before its first signature, at every start.

It learns the largest tree ever shown (the published checkpoint, the high-water mark beside the signing key, the
committed mark), finds the journal's end, cuts at most one unfinished frame, replays the blocks since the last tree that
is surely on disk, and refuses to sign anything if its own tree is smaller than, or another than, what was shown.
Opening costs what lies behind the last published checkpoint, not the length of the log.

The rules are those of docs/format.md, "Recovery". Whatever does not fit raises `Broken` with the exact place; nothing
is mended silently: what was cut is kept in `journal/torn/` and named by an event.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import compact_range_at, hash_leaves
from graven.core.note import parse_note
from graven.journal import frame
from graven.journal.files import Files
from graven.journal.mark import COMMITTED, SYNCED, Mark, read_mark
from graven.journal.segment import SegmentFile, SegmentReader, SegmentWriter, list_segments, write_torn
from graven.keys.signature import verify_signature
from graven.keys.signer import Signer
from graven.log.block import open_block
from graven.log.reader import JournalReader, KeyFinder
from graven.log.tail import Tail, remove_larger

_REMEDY = (
    "bring back the newest copy of the journal; or heal a copy with what a mirror has: `graven restore --mirror`; or, "
    "where no published checkpoint is lost, `graven recover --declare-loss`; or a successor: `graven init NEW_DIR "
    "--successor-of CHECKPOINT_FILE`"
)


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes that recovery took from the journal's end, for the event that must name them."""

    file: str
    segment: str
    offset: int
    length: int
    sha256: str
    declared: bool = False


@dataclass(slots=True)
class Recovered:
    """The log's tree as the journal holds it. `on_disk` is the size whose tiles are surely written."""

    log_id: bytes
    published: SignedCheckpoint
    tail: Tail
    on_disk: int
    segment: SegmentWriter | None
    committed_before: int
    cuts: list[Cut] = field(default_factory=list)
    unsaid_loss: tuple[int, int] | None = None
    """Lost slots [start, end) at the journal's end, put back by a heal and not yet named by an event."""


@dataclass(slots=True)
class _End:
    """The last whole frame, and what lies behind it."""

    size: int
    segment: SegmentFile
    offset: int
    blocks: list[tuple[int, int]]
    closed: bool
    rest: bytes = b""
    why: str = ""


def recover(
    directory: Path, *, files: Files, signer: Signer, find_key: KeyFinder, declare_loss: bool = False
) -> Recovered:
    """Open a log for writing. The caller holds its lock.

    Raises:
        Broken: see the module; nothing was changed but, at most, bytes kept in `torn/` and cut.
        Disproved: a signature that should be the log's own is not.
    """
    published = read_published(directory, signer)
    highest = _read_highest(signer)
    try:
        return _recover(directory, files, signer, find_key, published, highest, declare_loss)
    except Disproved as error:
        raise Broken(f"the journal does not fit: {error}", mend=_REMEDY) from None


def _recover(
    directory: Path,
    files: Files,
    signer: Signer,
    find_key: KeyFinder,
    published: SignedCheckpoint,
    highest: SignedCheckpoint,
    declare_loss: bool,
) -> Recovered:
    mark = read_mark(str(directory / "state" / "committed"), COMMITTED)
    shown = max(published.checkpoint.size, highest.checkpoint.size)
    signed = max(shown, mark.size if mark else 0)
    journal = str(directory / "journal")
    cuts: list[Cut] = []
    end = _find_end(files, journal, published.checkpoint.size, signed, shown, declare_loss, cuts)
    if end.size < (shown if declare_loss else signed):
        raise Broken(
            f"the journal ends at {end.size}, but a tree of {signed} entries was "
            + ("signed" if end.size < shown else "acknowledged"),
            place=end.segment.path,
            mend=_REMEDY,
        )
    with SegmentReader(end.segment) as reader:
        header = reader.header()
    if header.origin != signer.origin:
        raise Broken(
            f"the journal is of another log: {header.origin!r}, the keyring of {signer.origin!r}",
            place=end.segment.path,
        )
    reader_ = JournalReader(Path(journal), header.log_id, find_key)
    try:
        tail, on_disk = _replay(directory, reader_, header.log_id, find_key, published, end.size)
        checks = [("the published checkpoint", published.checkpoint.size, published.checkpoint.root)]
        checks.append(("the highest checkpoint ever signed", highest.checkpoint.size, highest.checkpoint.root))
        if mark is not None and mark.size <= end.size:  # else its loss was declared
            checks.append(("the committed mark", mark.size, mark.root))
        for what, size, root in checks:
            if compact_range_at(tail.nodes(end.size), size).root() != root:
                raise Broken(
                    f"the journal's tree of {size} entries has another root than {what}: signing would fork the log",
                    place=journal,
                    mend=_REMEDY,
                )
        _write_again(files, journal, published.checkpoint.size, end)
        remove_larger(files, directory / "log", end.size, published.checkpoint.size)
        unsaid = unsaid_loss(reader_, end.size)
    finally:
        reader_.close()
    segment = None if end.closed else _resume(files, end)
    committed = mark.size if mark else published.checkpoint.size
    return Recovered(header.log_id, published, tail, on_disk, segment, committed, cuts, unsaid)


def unsaid_loss(reader: JournalReader, size: int) -> tuple[int, int] | None:
    """The lost slots at the end of a journal of `size`, whose event is yet to come; None where there are none."""
    start = size
    while start > 0:
        place = reader.place(start - 1)
        if not any(one.kind == frame.LOST and one.erasure == size for one in reader.sections(place)):
            break
        start = place.header.start
    return (start, size) if start < size else None


def read_published(directory: Path, signer: Signer) -> SignedCheckpoint:
    """The published checkpoint, signed by each of the log's keys."""
    path = directory / "log" / "checkpoint"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Broken(
            "the published checkpoint cannot be read", place=f"{path}: {error.strerror}", mend=_REMEDY
        ) from None
    try:
        return signer.tenures.open(data, verify_signature)
    except BadInput as error:
        raise Broken(f"the published checkpoint does not parse: {error.what}", place=str(path)) from None


def _read_highest(signer: Signer) -> SignedCheckpoint:
    data = signer.highest()
    if data is None:
        raise Broken(
            "the largest checkpoint ever signed is not known",
            place="highest-checkpoint in the keyring",
            mend="name one from outside this host: graven keys seen CHECKPOINT_FILE --dir DIR",
        )
    must, may = signer.tenures.at(parse_checkpoint(parse_note(data).text)[0].size)
    return open_checkpoint(data, must, verify_signature, cosigners=may, only_known=True)


def _find_end(
    files: Files, journal: str, published: int, signed: int, shown: int, declare_loss: bool, cuts: list[Cut]
) -> _End:
    """Walk the segments from the one that holds the published size; check every frame behind it; cut if allowed."""
    segments = list_segments(journal)
    if not segments:
        raise Broken("the journal has no segment", place=journal, mend=_REMEDY)
    first = max((i for i, s in enumerate(segments) if s.start <= published), default=0)
    end: _End | None = None
    for number in range(first, len(segments)):
        segment = segments[number]
        if end is not None and (not end.closed or end.rest or segment.start != end.size):
            break
        found = _walk(segment, published)
        if found is None:  # not even a header frame
            before = end or _end_before(segments, number)
            rest, later = Path(segment.path).read_bytes(), segments[number + 1 :]
            _check_cut(segment, 0, rest, before.size, signed, shown, later, declare_loss, "its header is unfinished")
            cuts += _cut(files, journal, segment, 0, rest, later, declare_loss)
            # look again: behind an unfinished generation of a segment the one before it may lie, empty
            return _find_end(files, journal, published, signed, shown, declare_loss, cuts)
        end = found
    assert end is not None
    later = [segment for segment in segments if segment > end.segment]
    if end.rest or later:
        why = end.why or (
            "the segment is not closed, and another follows" if not end.closed else "a gap in the journal"
        )
        _check_cut(end.segment, end.offset, end.rest, end.size, signed, shown, later, declare_loss, why)
        declared = declare_loss and (signed > end.size or bool(later) or holds_whole_frame(end.rest))
        cuts += _cut(files, journal, end.segment, end.offset, end.rest, later, declared)
        end.rest = b""
    return end


def _end_before(segments: list[SegmentFile], number: int) -> _End:
    if number == 0:
        raise Broken("the first segment has no header", place=segments[0].path, mend=_REMEDY)
    found = _walk(segments[number - 1], 1 << 63)
    if found is None or not found.closed or found.size != segments[number].start:
        raise Broken("the segment before an unfinished one is not closed", place=segments[number - 1].path)
    return found


def _walk(segment: SegmentFile, published: int) -> _End | None:
    """To the last whole frame of a segment; None if not even the header frame is whole.

    Frames that end behind the published size are read and their digests checked.
    """
    with SegmentReader(segment) as reader:
        size_bytes = reader.size_bytes
        try:
            header = reader.header()
            offset = reader.frame_header(0).size
        except Disproved:
            return None
        end = _End(header.start, segment, offset, [], False)
        blocks = reader.blocks() if header.start < published else None
        if blocks is not None and (index := reader.closed()) is not None and index.end <= published:
            return _End(index.end, segment, size_bytes, blocks, True)
        try:
            for at, one in reader.walk(offset):
                if one.kind == frame.INDEX:
                    reader.frame(at, one)
                    end.closed = True
                elif one.kind != frame.BLOCK or one.start != end.size or end.closed:
                    raise Disproved("a frame out of place", place=reader.place(at))
                else:
                    if one.end > published:
                        reader.frame(at, one)
                    end.blocks.append((one.start, at))
                    end.size = one.end
                end.offset = at + one.size
            end.why = "a frame is cut short"
        except Disproved as error:
            end.why = str(error)
        if end.offset < size_bytes:
            end.rest = reader.rest(end.offset)
    return end


def _check_cut(
    segment: SegmentFile,
    offset: int,
    rest: bytes,
    start: int,
    signed: int,
    shown: int,
    later: list[SegmentFile],
    declare: bool,
    why: str,
) -> None:
    """The one permitted cut: the last frame, unfinished, nothing signed above it, no other frame behind it."""
    place = f"{segment.path} at byte {offset} (index {start})"
    if start < shown:
        raise Broken(
            f"{why}, and a published or signed checkpoint of {shown} entries needs what lies there",
            place=place,
            mend=_REMEDY,
        )
    if declare:
        return
    if start < signed:
        raise Broken(f"{why}, and events up to {signed} were acknowledged", place=place, mend=_REMEDY)
    if later or holds_whole_frame(rest):
        raise Broken(f"{why}, and whole frames follow", place=place, mend=_REMEDY)


def holds_whole_frame(rest: bytes) -> bool:
    """Whether cut bytes hold more than one unfinished frame: another header behind the first, or a frame with its
    digest. No start cuts those by itself."""
    if frame.find_header(rest, 1) >= 0:
        return True
    try:
        size = frame.decode_header(rest, place="").size
        if size <= len(rest):
            frame.check_digest(rest[:size], place="")
            return True
    except Disproved:
        pass
    return False


def _cut(
    files: Files,
    journal: str,
    segment: SegmentFile,
    offset: int,
    rest: bytes,
    later: list[SegmentFile],
    declared: bool,
) -> list[Cut]:
    """Keep what is to go, all of it, then cut it: later segments, and the segment's bytes from `offset` on."""
    cuts = [_keep(files, journal, one, 0, Path(one.path).read_bytes(), True) for one in later]
    if rest or not offset:
        cuts.append(_keep(files, journal, segment, offset, rest, declared))
    for one in reversed(later):
        files.remove(one.path)
    if not offset:
        files.remove(segment.path)
    elif rest:
        file = files.open(segment.path)
        file.truncate(offset)
        file.sync()
        file.close()
    files.sync_dir(journal)
    return cuts


def _keep(files: Files, journal: str, segment: SegmentFile, offset: int, rest: bytes, declared: bool) -> Cut:
    digest = sha256(rest).hexdigest()
    name = write_torn(files, journal, segment.name, offset, rest, digest)
    return Cut(name, segment.name, offset, len(rest), digest, declared)


def _replay(
    directory: Path,
    reader: JournalReader,
    log_id: bytes,
    find_key: KeyFinder,
    published: SignedCheckpoint,
    size: int,
) -> tuple[Tail, int]:
    """The tree's edge at `size`, and the size whose tiles are surely on disk. Every frame's root is checked."""
    log = directory / "log"
    tail = _load_edge(directory, published) or Tail.empty(log)
    on_disk = tail.size
    for place in reader.places(on_disk, size) if on_disk < size else ():
        if place.header.start != tail.size:
            raise Broken("a block does not begin where the last one ended", place=str(place))

        def find(key_id: bytes, start: int = place.segment.start) -> object:
            return find_key(key_id, start)

        opened = open_block(reader.sections(place), place.header.count, find, log_id, str(place))  # type: ignore[arg-type]
        if opened.unreadable or None in opened.entries:
            raise Broken(
                "a block cannot be replayed: its data key is not in the keyring",
                place=str(place),
                mend="restore the keyring: graven keys restore",
            )
        entries = [entry for entry in opened.entries if entry is not None]
        extended, completed = tail.range.extend(hash_leaves(entries))
        if extended.root() != place.header.root:
            raise Broken("a block does not lead to the root its frame states", place=str(place), mend=_REMEDY)
        tail.add(extended, completed, entries)
    return tail, on_disk


def _load_edge(directory: Path, published: SignedCheckpoint) -> Tail | None:
    """The edge of the largest tree whose tiles are whole: the synced cursor, else the published checkpoint."""
    synced = read_mark(str(directory / "state" / "synced"), SYNCED)
    shown = Mark(published.checkpoint.size, published.checkpoint.root)
    for mark in ([synced] if synced and synced.size <= shown.size else []) + [shown]:
        try:
            tail = Tail.load(directory / "log", mark.size)
        except (OSError, Disproved, Broken):
            continue
        if tail.range.root() == mark.root:
            return tail
    return None


def _write_again(files: Files, journal: str, published: int, end: _End) -> None:
    """Write the frames behind the published checkpoint once more and sync them, those that begin and close segments
    too: what is in the page cache after a crash may never have reached the disk."""
    for segment in reversed(list_segments(journal)):
        with SegmentReader(segment) as reader:
            blocks = end.blocks if segment == end.segment else reader.blocks()
            behind = [
                (offset, reader.frame(offset, one))
                for offset, one in reader.walk(_offset_before(blocks or (), published))
                if (one.end > published if one.kind == frame.BLOCK else one.start >= published)
            ]
        if behind:
            file = files.open(segment.path)
            for offset, data in behind:
                file.write_at(offset, data)
            file.sync()
            file.close()
        if segment.start < published:
            break
    files.sync_dir(journal)


def _offset_before(blocks: Sequence[tuple[int, int]], published: int) -> int:
    """The offset of the last block that begins at or before `published`: from there on, frames may lie behind it."""
    at = bisect_right(blocks, published, key=lambda block: block[0])
    return blocks[at - 1][1] if at and blocks[0][0] < published else 0


def _resume(files: Files, end: _End) -> SegmentWriter:
    with SegmentReader(end.segment) as reader:
        header = reader.header()
    file = files.open(end.segment.path)
    return SegmentWriter(files, end.segment.path, header, file, end.offset, end.blocks)
