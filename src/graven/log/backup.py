"""A consistent copy of a log, running or not, without its keys; and bringing it back, which is the same copy.

What is copied, in this order of reading, so that each part covers the one before:

    log/checkpoint      the published tree, of size P
    state/committed     the committed mark, of size M ≥ P
    journal/            every frame up to M: closed segments whole, the one that holds M cut behind its frame; torn/
    log/tile/           every tile and bundle of the tree of size P; a partial one that was collected meanwhile is cut
                        from the full one
    checkpoints/        the history up to P
    policies/           the witness policies the log was run with
    anchors/            time stamps and imported cosignatures, over trees up to P
    certificates/       those of the receipt key
    graven.toml

The copy is built under `<target>.partial` and renamed at the end, so an interrupted one never looks like a log. It is
read back before that: every file against what was read, every frame against its own digest and the frame before, the
last root against the mark, the edge of the tiles against the root of P (`verify` judges all of them). It holds no key:
without the keyring its events stay sealed. Idempotency window and registers are not copied; they follow from the
journal.

Not here: refusing to write to a copy that is older than what was signed; that is recovery's work, at every start.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from graven.anchor.policies import FOLDER, read_kept
from graven.anchor.stored import list_anchors
from graven.core.checkpoint import Checkpoint, open_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import EMPTY_ROOT, HASH_BYTES, compact_range_at
from graven.core.note import Key
from graven.core.tile import GRAVEN_ENTRY_BYTES, HEIGHT, WIDTH, bundle_path, tile_nodes, tile_path
from graven.journal import frame
from graven.journal.mark import COMMITTED, Mark, encode_mark, read_mark
from graven.journal.segment import SegmentFile, SegmentReader, list_segments
from graven.keys.signature import verify_signature
from graven.log.certificates import FOLDER as CERTIFICATES
from graven.log.certificates import certificate_name, read_certificates
from graven.log.handovers import FOLDER as HANDOVERS
from graven.log.handovers import read_handovers
from graven.log.history import read_history
from graven.log.tail import disk_fetch
from graven.runtime.aside import built_aside
from graven.runtime.files import Files, LocalFiles

CONFIG_FILE = "graven.toml"
_BLOCK_BYTES = 1 << 20
_BUNDLE_ENTRY_BYTES = 2 + GRAVEN_ENTRY_BYTES

Progress = Callable[[int], None]
"""Told of bytes written or read back, as they go."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy. `committed` is what its journal holds, `published` the checkpoint it shows."""

    published: Checkpoint
    committed: Mark
    files: int
    bytes: int


def copy_log(
    directory: Path,
    target: Path,
    keys: Sequence[Key],
    *,
    config: bytes | None = None,
    files: Files | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Copy the log in `directory` to `target`, which must be empty or not be there. A writer may be at work.

    `keys` are the log's public keys; `config` stands in for its `graven.toml`. Memory is bounded; time and space go
    with the size of the log.

    Raises:
        BadInput: `target` holds something, or there is no log. Disproved: what was read does not hold together; the
            copy is not kept. Broken: a file is missing or cannot be read or written.
    """
    directory, target = directory.absolute(), target.absolute()
    files = files or LocalFiles()
    if not (directory / "log" / "checkpoint").exists():
        raise BadInput("there is no log here", place=str(directory))
    if target == directory or directory in target.parents:
        raise BadInput("a copy cannot lie within the log it is made of", place=str(target), mend="choose another place")
    with built_aside(target, files, failed="the copy could not be made") as building:
        copy = _Copy(directory, building, config, files, progress or (lambda _: None))
        published, committed = copy.everything(keys)
        copy.check(published, committed)
    return Copied(published, committed, copy.files, copy.bytes)


def bytes_to_copy(directory: Path) -> int:
    """About how much `copy_log` will write, and read back of the journal: for a progress bar."""
    folders = ((2, directory / "journal"), (1, directory / "log"))
    return sum(times * path.stat().st_size for times, folder in folders for path in folder.rglob("*") if path.is_file())


class _Copy:
    """One copy on its way: how many files and bytes it has so far."""

    def __init__(self, source: Path, target: Path, config: bytes | None, files: Files, progress: Progress) -> None:
        self._config = config
        self._source, self._target, self._disk, self._progress = source, target, files, progress
        self.files = self.bytes = 0

    def everything(self, keys: Sequence[Key]) -> tuple[Checkpoint, Mark]:
        note = (self._source / "log" / "checkpoint").read_bytes()
        try:
            published = open_checkpoint(note, keys, verify_signature, require_all=True).checkpoint
        except BadInput as error:
            raise Disproved(f"the published checkpoint is damaged: {error.what}", place="log/checkpoint") from None
        mark = read_mark(str(self._source / "state" / "committed"), COMMITTED)
        if mark is None or mark.size < published.size:
            mark = Mark(published.size, published.root)
        for folder in ("journal", "log", "checkpoints", "state"):
            self._make_folder(self._target / folder)
        self._journal(mark)
        self._tiles(published.size)
        self._history(published.size)
        self._policies()
        self._handovers()
        self._anchors(published.size)
        self._certificates()
        self._write(CONFIG_FILE, self._config or (self._source / CONFIG_FILE).read_bytes())
        self._write("state/committed", encode_mark(COMMITTED, mark))
        self._write("log/checkpoint", note)
        return published, mark

    def check(self, published: Checkpoint, committed: Mark) -> None:
        """Raises Disproved unless the copy holds together."""
        self._check_frames(committed)
        size = published.size
        fetch = disk_fetch(self._target / "log")
        root = compact_range_at(tile_nodes(fetch, size), size).root() if size else EMPTY_ROOT
        if root != published.root:
            raise Disproved(
                "the tiles do not lead to the published root",
                expected=published.root.hex(),
                found=root.hex(),
                place=str(self._source / "log" / "tile"),
                mend="graven verify --dir DIR names what is wrong",
            )

    def _journal(self, mark: Mark) -> None:
        for segment in list_segments(str(self._source / "journal")):
            if segment.start < mark.size or segment.start == 0:
                end = self._end_in(segment, mark.size)
                with Path(segment.path).open("rb") as file:
                    self._write_pieces(f"journal/{segment.name}", _pieces(file.fileno(), end))
        torn = self._source / "journal" / "torn"
        if torn.is_dir():
            self._make_folder(self._target / "journal" / "torn")
            for path in sorted(torn.iterdir()):
                self._write(f"journal/torn/{path.name}", path.read_bytes())

    def _end_in(self, segment: SegmentFile, size: int) -> int:
        """How many bytes of a segment the tree of `size` entries needs: all of a closed one, else up to a boundary."""
        with SegmentReader(segment) as reader:
            closed = reader.closed()
            if closed is not None and closed.end <= size:
                return reader.size_bytes
            end = reader.frame_header(0).size
            for at, header in reader.walk(end):
                if header.kind != frame.BLOCK or header.end > size:
                    break
                end = at + header.size
            return end

    def _tiles(self, size: int) -> None:
        level = 0
        while count := size >> (HEIGHT * level):
            for index in range((count + WIDTH - 1) // WIDTH):
                width = min(WIDTH, count - index * WIDTH)
                self._tile(tile_path(level, index, width), tile_path(level, index), HASH_BYTES * width)
                if level == 0:
                    self._tile(bundle_path(index, width), bundle_path(index), _BUNDLE_ENTRY_BYTES * width)
            level += 1

    def _tile(self, path: str, full: str, size_bytes: int) -> None:
        """A partial tile is gone once the full one stands; then its hashes are the first ones of the full one."""
        try:
            data = (self._source / "log" / path).read_bytes()
        except FileNotFoundError:
            data = (self._source / "log" / full).read_bytes()[:size_bytes]
        if len(data) != size_bytes:
            raise Disproved(
                "a tile or bundle has another length", expected=str(size_bytes), found=str(len(data)), place=path
            )
        self._make_folder((self._target / "log" / path).parent)
        self._write(f"log/{path}", data)

    def _policies(self) -> None:
        kept = read_kept(self._source)
        if kept:
            self._make_folder(self._target / FOLDER)
        for name, data in kept:
            self._write(f"{FOLDER}/{name}", data)

    def _handovers(self) -> None:
        documents = read_handovers(self._source / "log")
        if documents:
            self._make_folder(self._target / "log" / HANDOVERS)
        for number, data in enumerate(documents, 1):
            self._write(f"log/{HANDOVERS}/{number}", data)

    def _anchors(self, size: int) -> None:
        for name in list_anchors(self._source):
            if name.size <= size:
                self._make_folder((self._target / name.path).parent)
                self._write(name.path, (self._source / name.path).read_bytes())

    def _certificates(self) -> None:
        kept = list(read_certificates(self._source))
        if kept:
            self._make_folder(self._target / CERTIFICATES)
        for first, last, note in kept:
            self._write(f"{CERTIFICATES}/{certificate_name(first, last)}", note)

    def _history(self, size: int) -> None:
        root = self._source / "checkpoints"
        for path, note in read_history(root):
            if path.name.isdecimal() and int(path.name) <= size:
                relative = path.relative_to(root)
                self._make_folder(self._target / "checkpoints" / relative.parent)
                self._write(f"checkpoints/{relative}", note)

    def _check_frames(self, mark: Mark) -> None:
        """Every frame of the copied journal: its digest, that it follows the one before, and where the last leads."""
        at, root = 0, EMPTY_ROOT
        for segment in list_segments(str(self._target / "journal")):
            with SegmentReader(segment) as reader:
                header = reader.header()
                if (header.start, header.root) != (at, root):
                    raise Disproved("a segment does not begin where the one before ends", place=segment.name)
                for offset, one in reader.walk(reader.frame_header(0).size):
                    reader.frame(offset, one)
                    self._progress(one.size)
                    if one.start != at:
                        raise Disproved("a frame does not follow the one before", place=reader.place(offset))
                    at, root = one.end, one.root
        if (at, root) != (mark.size, mark.root):
            raise Disproved(
                "the journal does not lead to the committed tree",
                expected=f"size {mark.size}, root {mark.root.hex()}",
                found=f"size {at}, root {root.hex()}",
                place=str(self._source / "journal"),
                mend="graven verify --dir DIR names what is wrong",
            )

    def _write(self, path: str, data: bytes) -> None:
        self._write_pieces(path, [data])

    def _write_pieces(self, path: str, pieces: Sequence[bytes] | Iterator[bytes]) -> None:
        file = self._disk.create(str(self._target / path))
        digest, offset = sha256(), 0
        try:
            for piece in pieces:
                file.write_at(offset, piece)
                digest.update(piece)
                offset += len(piece)
                self._progress(len(piece))
        finally:
            file.close()
        if _digest(self._target / path) != digest.digest():
            raise Broken("a file of the copy does not read back as it was written", place=str(self._target / path))
        self.files += 1
        self.bytes += offset

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            if folder != self._target:
                self._make_folder(folder.parent)
            self._disk.mkdir(str(folder), 0o755 if "tile" in folder.parts else 0o700)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()


def _pieces(fd: int, end: int) -> Iterator[bytes]:
    """The first `end` bytes of a file. Raises Broken when it is shorter."""
    offset = 0
    while offset < end:
        piece = os.pread(fd, min(_BLOCK_BYTES, end - offset), offset)
        if not piece:
            raise Broken("a segment became shorter while it was copied")
        yield piece
        offset += len(piece)
