"""Healing a log that came back from a copy: the entries between the copy's end and the largest tree ever signed.

A copy normally ends before the newest checkpoint that somebody outside has seen. Going on below that one would be a
fork. Its entries are public: whoever mirrored the tree has them. So they are fetched, proved to be the entries of the
signed tree, and put back as *lost* slots: 32 bytes each, the events behind them are gone. The log goes on in the same
tree, and its next event, `graven.heal`, names the lost indexes.

    kept journal of size J ── tiles of the signed tree, from copy and mirror ── J's tree is its beginning? ──
    entries [J, S) from the bundles ── lead to the signed root? ── frames of lost slots ── checkpoint S published

What is not kept of the journal: segments whose data keys the keyring does not hold at all (a kit opens only those begun
before it was made), and lost slots whose own heal event did not make it into the copy. Their indexes are lost as well.

The caller builds in a directory nobody uses yet, and verifies the whole before it takes its name. Nothing a mirror says
is believed: a wrong tile leads to another root here, or to a finding of that verification.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import Broken, Disproved
from graven.core.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    CompactRange,
    compact_range_at,
    hash_leaves,
    prove_consistency,
    verify_consistency,
)
from graven.core.tile import (
    GRAVEN_ENTRY_BYTES,
    HEIGHT,
    WIDTH,
    bundle_path,
    decode_entries,
    parse_path,
    tile_nodes,
    tile_path,
    width_at,
)
from graven.journal import frame
from graven.journal.files import Files, write_atomic
from graven.journal.frame import LOST, Section, SegmentHeader
from graven.journal.segment import SegmentFile, SegmentReader, SegmentWriter, list_segments
from graven.keys.keyring import Keyring
from graven.log.history import CheckpointHistory
from graven.log.tail import disk_fetch

BLOCK_ENTRIES = 1 << 16
LOST_CLASS = "lost"

_BUNDLE_ENTRY_BYTES = 2 + GRAVEN_ENTRY_BYTES

Fetch = Callable[[str, int], bytes | None]
"""(path, most bytes) -> the published file of a mirror, None where it has none."""
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Healed:
    """`start`: how far the journal was kept. [start, end) is lost; equal where nothing is."""

    start: int
    end: int


@dataclass(slots=True)
class _Kept:
    """The end of what is kept of the journal. `tree`: root of the tree of `size` entries."""

    size: int
    root: bytes
    segment: SegmentFile
    offset: int
    blocks: list[tuple[int, int]]
    closed: bool


def heal(
    directory: Path, keyring: Keyring, newest: SignedCheckpoint, fetch: Fetch, *,
    classes: Sequence[str], now_us: int, files: Files, progress: Progress | None = None,
) -> Healed:  # fmt: skip
    """Bring the log in `directory`, which nobody uses yet, up to the tree of `newest`, and publish that.

    `newest` is the largest checkpoint known, believed by the caller; `fetch` a mirror of its tree. Raises Disproved:
    the copy is not of this tree, or the mirror's entries do not lead to it. Broken: nobody has what is missing, or the
    disk failed.
    """
    told = progress or (lambda _: None)
    head = newest.checkpoint
    kept = _keep(directory / "journal", keyring, files)
    try:
        _complete_tiles(directory / "log", head.size, fetch, files, told)
        nodes = tile_nodes(disk_fetch(directory / "log"), head.size)
        if head.size and compact_range_at(nodes, head.size).root() != head.root:
            raise Disproved("the tiles do not lead to the newest checkpoint's root", place=f"tree of {head.size}")
        if kept.size < head.size:
            _check_beginning(kept, nodes, newest)
            tree = compact_range_at(nodes, kept.size) if kept.size else CompactRange.EMPTY
            _write_lost(directory, keyring, kept, tree, newest, classes, now_us, files, told)
        write_atomic(files, str(directory / "log" / "checkpoint"), newest.data)
        CheckpointHistory(files, directory / "checkpoints").pin(head.size, newest.data)
        for path in (directory / "state").iterdir() if (directory / "state").is_dir() else ():
            files.remove(str(path))  # of the copy's end: each start makes them anew
        files.sync_all(str(directory))
    except OSError as error:
        place = f"{error.filename or directory}: {error.strerror}"
        raise Broken("the log cannot be healed", place=place) from None
    return Healed(min(kept.size, head.size), head.size)


def _keep(journal: Path, keyring: Keyring, files: Files) -> _Kept:
    """Cut the journal behind the last block that can be kept; where that is."""
    segments = list_segments(str(journal))
    readable = [segment for segment in segments if _opens(segment, keyring)]
    while readable != segments[: len(readable)]:
        readable.pop()  # what lies behind a segment that cannot be opened cannot follow
    if not readable:
        raise Broken(
            "no segment of the copy can be opened by this keyring",
            place=str(journal), mend="bring back the keyring, or an older kit of this log; else a successor",
        )  # fmt: skip
    kept = _walk(readable[-1])
    _drop_unsaid(readable[-1], kept)
    for segment in segments[len(readable) :]:
        files.remove(segment.path)
    if not kept.closed:
        file = files.open(kept.segment.path)
        file.truncate(kept.offset)
        file.sync()
        file.close()
    files.sync_dir(str(journal))
    return kept


def _opens(segment: SegmentFile, keyring: Keyring) -> bool:
    """Whether the keyring has any of the segment's keys: all are made together, and erased one by one."""
    with SegmentReader(segment) as reader:
        header = reader.header()
    return any(keyring.data_key(key_id, segment.start) is not None for _, _, key_id in header.keys)


def _walk(segment: SegmentFile) -> _Kept:
    with SegmentReader(segment) as reader:
        header = reader.header()
        kept = _Kept(header.start, header.root, segment, reader.frame_header(0).size, [], False)
        for offset, one in reader.walk(kept.offset):
            reader.frame(offset, one)
            if one.kind == frame.INDEX:
                kept.closed = True
            else:
                kept.blocks.append((one.start, offset))
                kept.size, kept.root = one.end, one.root
            kept.offset = offset + one.size
    return kept


def _drop_unsaid(segment: SegmentFile, kept: _Kept) -> None:
    """Lost slots of an earlier heal, whose event lies behind the end: nothing says any more that they were lost."""
    if kept.closed:
        return
    with SegmentReader(segment) as reader:
        header = reader.header()
        while kept.blocks:
            start, offset = kept.blocks[-1]
            one = reader.frame_header(offset)
            sections = frame.decode_block(reader.frame(offset, one), one, place=reader.place(offset))
            if not any(section.kind == LOST and section.erasure >= kept.size for section in sections):
                return
            kept.blocks.pop()
            kept.size, kept.offset = start, offset
            kept.root = reader.frame_header(kept.blocks[-1][1]).root if kept.blocks else header.root


def _complete_tiles(log: Path, size: int, fetch: Fetch, files: Files, told: Progress) -> None:
    """Every tile and bundle of the tree of `size`; partial ones of smaller trees go."""
    wanted: set[str] = set()
    level = 0
    while count := size >> (HEIGHT * level):
        for index in range((count + WIDTH - 1) // WIDTH):
            width = width_at(level, index, size)
            wanted.add(tile_path(level, index, width))
            _have(log, tile_path(level, index, width), tile_path(level, index), HASH_BYTES * width, fetch, files, told)
            if level == 0:
                path = bundle_path(index, width)
                wanted.add(path)
                _have(log, path, bundle_path(index), _BUNDLE_ENTRY_BYTES * width, fetch, files, told)
        level += 1
    for found in list((log / "tile").rglob("*")) if (log / "tile").is_dir() else ():
        name = str(found.relative_to(log))
        if found.is_file() and name not in wanted:
            parse_path(name)  # of another spelling: no file of a tree, and not for this to remove
            files.remove(str(found))


def _have(log: Path, path: str, full: str, size_bytes: int, fetch: Fetch, files: Files, told: Progress) -> None:
    target = log / path
    if target.exists() and target.stat().st_size == size_bytes:
        return
    data = fetch(path, size_bytes)
    if data is None and path != full:
        whole = fetch(full, size_bytes * WIDTH)
        data = None if whole is None else whole[:size_bytes]
    if data is None:
        raise Broken(
            "nobody who was asked has this file of the tree", place=path,
            mend="name another mirror or auditor with --mirror; where nobody holds it: graven init --successor-of",
        )  # fmt: skip
    if len(data) != size_bytes:
        raise Disproved("a file of the mirror has another length", expected=str(size_bytes), found=str(len(data)))
    folder = target.parent
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        files.mkdir(str(one), 0o755)
    write_atomic(files, str(target), data, sync=False)
    told(size_bytes)


def _check_beginning(kept: _Kept, nodes: Callable[..., list[bytes]], newest: SignedCheckpoint) -> None:
    """The kept journal's tree is the beginning of the signed one, or going on would fork the log."""
    head = newest.checkpoint
    if not kept.size:
        if kept.root != EMPTY_ROOT:
            raise Disproved("a journal of no entries with a root of its own", place=kept.segment.path)
        return
    proof = prove_consistency(nodes, old=kept.size, new=head.size)
    try:
        verify_consistency(proof, old=kept.size, new=head.size, old_root=kept.root, new_root=head.root)
    except Disproved as error:
        raise Disproved(
            "the copy's journal is not the beginning of the tree that was signed",
            expected=error.expected, found=error.found, place=f"tree of {kept.size} entries",
            mend="this copy is of another history: bring back another one",
        ) from None  # fmt: skip


def _write_lost(
    directory: Path, keyring: Keyring, kept: _Kept, tree: CompactRange, newest: SignedCheckpoint,
    classes: Sequence[str], now_us: int, files: Files, told: Progress,
) -> None:  # fmt: skip
    head, log = newest.checkpoint, directory / "log"
    writer = _writer(directory / "journal", keyring, kept, tree, classes, now_us, files)
    try:
        at = kept.size
        while at < head.size:
            end = min(head.size, at + BLOCK_ENTRIES)
            entries = _entries(log, at, end, head.size)
            tree, _ = tree.extend(hash_leaves(entries))
            section = Section(LOST, LOST_CLASS, None, end - at, bytes(16), bytes(12), head.size, b"".join(entries))
            data = frame.encode_block(start=at, count=end - at, root=tree.root(), sections=[section])
            writer.append(data, at)
            told(len(data))
            at = end
    finally:
        writer.close()
    if tree.root() != head.root:
        raise Disproved(
            "the mirror's entries do not lead to the root that was signed",
            expected=head.root.hex(), found=tree.root().hex(), place=f"[{kept.size}, {head.size})",
            mend="ask another mirror or auditor",
        )  # fmt: skip


def _writer(
    journal: Path, keyring: Keyring, kept: _Kept, tree: CompactRange, classes: Sequence[str], now_us: int, files: Files
) -> SegmentWriter:
    """Where the frames of lost slots go: behind the last block of an open segment, or into a new one."""
    with SegmentReader(kept.segment) as reader:
        header = reader.header()
    if not kept.closed:
        return SegmentWriter(
            files, kept.segment.path, header, files.open(kept.segment.path), kept.offset, list(kept.blocks)
        )
    keys = keyring.new_data_keys(kept.size, classes)
    numbers = {"event": frame.EVENTS, "raw": frame.RAWS}
    begun = SegmentHeader(
        header.origin, header.log_id, kept.size, 0, now_us, tree.root(), tree.hashes,
        tuple((name, numbers[kind], key_id) for (name, kind), (key_id, _) in keys.items()),
    )  # fmt: skip
    return SegmentWriter.create(files, str(journal), begun)


def _entries(log: Path, start: int, end: int, size: int) -> list[bytes]:
    """The entries [start, end) of the tree of `size`, from its bundles. Raises Disproved."""
    found: list[bytes] = []
    for index in range(start // WIDTH, (end + WIDTH - 1) // WIDTH):
        path = bundle_path(index, width_at(0, index, size))
        entries = decode_entries((log / path).read_bytes(), width_at(0, index, size), place=path)
        found += entries[max(0, start - index * WIDTH) : end - index * WIDTH]
    return found
