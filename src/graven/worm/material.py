"""What of a log's directory a copy is made of: read beside a running writer, never further than it is durable.

Nothing here writes, and nothing needs a key: frames are copied as they are, sealed.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint, open_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import EMPTY_ROOT, HASH_BYTES, compact_range_at
from graven.core.note import Key
from graven.core.tile import (
    GRAVEN_ENTRY_BYTES,
    HEIGHT,
    WIDTH,
    bundle_path,
    decode_entries,
    tile_nodes,
    tile_path,
)  # fmt: skip
from graven.journal import frame
from graven.journal.mark import COMMITTED, read_mark
from graven.journal.segment import SegmentFile, SegmentReader, list_segments
from graven.keys.signature import verify_signature
from graven.log.certificates import certificate_name, read_certificates
from graven.log.history import PINNED, PREDECESSOR, checkpoint_time_s
from graven.log.tail import disk_fetch
from graven.worm import layout
from graven.worm.store import Part

SMALL_BYTES_MAX = 16 << 20
PIECE_BYTES_MAX = 8 << 20

_BUNDLE_ENTRY_BYTES = 2 + GRAVEN_ENTRY_BYTES
_KEPT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIZE = re.compile(r"[0-9]{20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Frames:
    """Whole frames of a segment file: bytes [offset, end), entries up to `size`, sections of these classes."""

    offset: int
    end: int
    size: int
    classes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Small:
    """A file copied whole, and under which name."""

    name: str
    data: bytes | Part


class Material:
    """One log's directory, as a follower sees it."""

    def __init__(
        self, directory: Path, keys: Sequence[Key], keys_now: Callable[[], Sequence[Key]] | None = None
    ) -> None:
        """`keys` are the log's public keys, all of which must have signed whatever is taken for a checkpoint.

        They change when they are rotated: `keys_now` is asked where a checkpoint does not fit them.
        """
        self.directory, self._keys, self._keys_now = directory, tuple(keys), keys_now
        self._log, self._journal = directory / "log", directory / "journal"

    def published(self) -> SignedCheckpoint:
        """The published checkpoint. Raises Broken, Disproved."""
        path = self._log / "checkpoint"
        try:
            data = path.read_bytes()
            try:
                return open_checkpoint(data, self._keys, verify_signature, require_all=True)
            except Disproved:
                if self._keys_now is None or (keys := tuple(self._keys_now())) == self._keys:
                    raise
                self._keys = keys
            return open_checkpoint(data, self._keys, verify_signature, require_all=True)
        except OSError as error:
            raise Broken("the published checkpoint cannot be read", place=f"{path}: {error.strerror}") from None
        except BadInput as error:
            raise Disproved(f"the published checkpoint is damaged: {error.what}", place=str(path)) from None

    def committed(self, published: int) -> int:
        """How far the journal is durable: at least what is published."""
        mark = read_mark(str(self.directory / "state" / "committed"), COMMITTED)
        return max(published, mark.size if mark is not None else 0)

    def root(self, size: int, published: int) -> bytes:
        """The root of the tree of `size` entries, at most `published`. Raises Broken, Disproved."""
        return compact_range_at(tile_nodes(disk_fetch(self._log), published), size).root() if size else EMPTY_ROOT

    def tiles(self, old: int, new: int) -> Iterator[str]:
        """The paths of full tiles and bundles that the tree of `new` entries has and that of `old` has not."""
        level = 0
        while (count := new >> (HEIGHT * level)) >= WIDTH:
            for index in range((old >> (HEIGHT * level)) // WIDTH, count // WIDTH):
                yield tile_path(level, index)
                if level == 0:
                    yield bundle_path(index)
            level += 1

    def tile(self, path: str) -> bytes:
        """A full tile or bundle. Raises Broken, Disproved."""
        size = _BUNDLE_ENTRY_BYTES if path.startswith("tile/entries/") else HASH_BYTES
        try:
            data = (self._log / path).read_bytes()
        except OSError as error:
            raise Broken("a tile cannot be read", place=f"{path}: {error.strerror}") from None
        if len(data) != size * WIDTH:
            raise Disproved("a tile has the wrong length", expected=str(size * WIDTH), found=str(len(data)), place=path)
        return data

    def edge(self, size: int) -> bytes:
        """The edge of the published tree of `size` entries. Raises Broken, Disproved."""
        counts = layout.edge_counts(size)
        entries: list[bytes] = []
        if counts[0]:
            data = self._wide(bundle_path(size // WIDTH, counts[0]), bundle_path(size // WIDTH))
            entries = decode_entries(data[: _BUNDLE_ENTRY_BYTES * counts[0]], counts[0])
        levels: list[list[bytes]] = []
        for level, count in enumerate(counts[1:], 1):
            index = (size >> (HEIGHT * level)) // WIDTH
            data = self._wide(tile_path(level, index, count), tile_path(level, index)) if count else b""
            levels.append([data[at : at + HASH_BYTES] for at in range(0, HASH_BYTES * count, HASH_BYTES)])
        return layout.format_edge(entries, levels)

    def segments(self) -> list[SegmentFile]:
        """The segments there are, oldest first."""
        return list_segments(str(self._journal))

    def closed_end(self, segment: SegmentFile) -> int | None:
        """The size of the tree at the end of a closed segment; None while it is open."""
        with SegmentReader(segment) as reader:
            closed = reader.closed()
            return None if closed is None else closed.end

    def frames(self, segment: SegmentFile, offset: int, committed: int) -> Frames | None:
        """The next whole frames of a segment from `offset` on: at most `PIECE_BYTES_MAX` unless one alone is larger,
        none that ends behind `committed`. Each is read and its digest checked. None where there are none."""
        classes: set[str] = set()
        end, size = offset, 0
        with SegmentReader(segment) as reader:
            for at, header in reader.walk(offset):
                beyond = header.kind == frame.BLOCK and header.end > committed
                if beyond or (end > offset and at + header.size - offset > PIECE_BYTES_MAX):
                    break
                data = reader.frame(at, header)
                if header.kind == frame.BLOCK:
                    classes |= {one.class_name for one in frame.decode_block(data, header, place=reader.place(at))}
                end, size = at + header.size, header.end
        return Frames(offset, end, size, frozenset(classes)) if end > offset else None

    def whole(self, segment: SegmentFile) -> Frames:
        """All of a closed segment, every frame's digest checked. Raises Disproved where the file does not end so."""
        at, classes, size = 0, set[str](), 0
        total = os.path.getsize(segment.path)  # noqa: PTH202
        while at < total:
            found = self.frames(segment, at, 1 << 63)
            if found is None:
                raise Disproved(
                    "a closed segment does not end with a whole frame", place=f"{segment.name} at byte {at}"
                )
            at, size = found.end, found.size
            classes |= found.classes
        return Frames(0, total, size, frozenset(classes))

    def smalls(self) -> Iterator[Small]:
        """Policies, configuration, hand-overs, cut bytes, pinned checkpoints, the predecessor's last, certificates,
        anchors."""
        for path in self._files("policies"):
            if _KEPT.fullmatch(path.name):
                yield Small(layout.POLICIES + path.name, _small(path))
        for path in self._files("log/handover"):
            if path.name.isdecimal():
                yield Small(layout.HANDOVERS + path.name, _small(path))
        config = _small(self.directory / "graven.toml")
        yield Small(f"{layout.CONFIGS}{sha256(config).hexdigest()}.toml", config)
        for path in self._files("journal/torn"):
            yield Small(layout.TORN + path.name, Part(path, 0, path.stat().st_size))
        for path in self._files(f"checkpoints/{PINNED}"):
            if _SIZE.fullmatch(path.name):
                note = _small(path)
                yield Small(layout.checkpoint_name(int(path.name), note), note)
        for path in self._files(f"checkpoints/{PREDECESSOR}"):
            if _SIZE.fullmatch(path.name):
                yield Small(layout.PREDECESSORS + path.name, _small(path))
        for first, last, note in read_certificates(self.directory):
            yield Small(layout.certificate_name(certificate_name(first, last), note), note)
        anchors = self.directory / "anchors"
        for path in sorted(anchors.rglob("*")) if anchors.is_dir() else ():
            if path.is_file() and not path.name.endswith(".tmp"):
                yield Small(layout.ANCHORS + path.relative_to(anchors).as_posix(), _small(path))

    def _files(self, folder: str) -> list[Path]:
        where = self.directory / folder
        paths = sorted(where.iterdir()) if where.is_dir() else []
        return [path for path in paths if path.is_file() and not path.name.endswith(".tmp")]

    def _wide(self, partial: str, full: str) -> bytes:
        """A partial tile or bundle, or the full one it became."""
        for path in (partial, full):
            try:
                return (self._log / path).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Broken("a tile cannot be read", place=f"{path}: {error.strerror}") from None
        raise Broken("a tile is missing", place=partial)


def hour_of(signed: SignedCheckpoint) -> int | None:
    """The hour in which the log signed a checkpoint, counted from 1970; None where it does not say."""
    time_s = checkpoint_time_s(signed.data)
    return None if time_s is None else time_s // 3600


def _small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(SMALL_BYTES_MAX + 1)
    except OSError as error:
        raise Broken("a file of the log cannot be read", place=f"{path}: {error.strerror}") from None
    if len(data) > SMALL_BYTES_MAX:
        raise Broken(f"a file of the log is longer than {SMALL_BYTES_MAX} bytes", place=str(path))
    return data
