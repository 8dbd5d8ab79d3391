"""A log's directory, rebuilt from its write-once copy: verified on the way, nothing taken that does not prove.

    segments, and the frames of those that were open          → journal/
    full tiles and bundles, and partial ones made of the edge → log/tile/
    the newest checkpoint                                     → log/checkpoint; all kept ones → checkpoints/
    hand-overs, certificates, policies, torn files, anchors, predecessor → as they were
    the newest configuration of this log                      → graven.toml
    how far the frames go                                     → state/committed

It is built under `<target>.partial` and renamed at the end. It holds no key, and says nothing of what was signed after
the copy's newest checkpoint: going on from there is recovery's business, and a fork if that was not the last one shown.

Nobody signed the configuration: whoever could write to the store could add one. So it is for a person to read before a
start, which compares it with the hash the log itself recorded, and records the change.
"""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from graven.anchor.policies import CURRENT, FOLDER
from graven.core.errors import Broken, Disproved
from graven.core.note import Key
from graven.core.tile import HEIGHT, WIDTH, bundle_path, encode_entries, tile_path
from graven.journal.mark import COMMITTED, Mark, encode_mark
from graven.log.backup import CONFIG_FILE
from graven.log.certificates import FOLDER as CERTIFICATES
from graven.log.certificates import certificate_name
from graven.log.history import PINNED, PREDECESSOR, checkpoint_time_s
from graven.runtime.aside import built_aside
from graven.runtime.files import Files, LocalFiles
from graven.worm import layout
from graven.worm.journal import Walked
from graven.worm.layout import Edge
from graven.worm.store import Store, Version, by_name
from graven.worm.verify import Verified, verify_copy

_PIECE_BYTES = 8 << 20
_SMALL_BYTES_MAX = 16 << 20
_CANDIDATES_MAX = 16


def rebuild(
    store: Store, target: Path, keys: Sequence[Key], *, files: Files | None = None, unpublished: bool = True
) -> Verified:
    """Rebuild the log of `keys` in `target`, which must be empty or not be there.

    `unpublished`: take frames behind the newest checkpoint as well. Nothing signed vouches for them until they are
    opened with the keys, so whoever could write to the store can make a start on the result refuse them; then leave
    them out.

    Raises:
        BadInput: something is in `target`; there is no copy of this log. Disproved: the copy is not whole, and the
            first that is wrong. Broken: the store or the disk failed, or something is missing. Nothing is left then.
    """
    target, files = target.absolute(), files or LocalFiles()
    with built_aside(target, files, failed="the log could not be rebuilt") as building:
        work = _Rebuilding(store, building, files, unpublished)
        found = verify_copy(store, keys=keys, keep=work)
        _check(found, store)
        work.finish(found)
    return found


def _check(found: Verified, store: Store) -> None:
    """A copy that somebody wrote over is whole all the same; one whose own bytes are wrong, or missing, is not."""
    if found.newest is None:
        raise Broken("the copy has no checkpoint that can be used", place=store.url)
    for problem in found.data_problems:
        kind = Disproved if problem.branch == "disproved" else Broken
        raise kind(f"the copy is not whole: {problem.what}", place=problem.place, mend="graven verify --from")


class _Rebuilding:
    """What proved good, as it is passed, written down."""

    def __init__(self, store: Store, directory: Path, files: Files, unpublished: bool) -> None:
        self._store, self._directory, self._files, self._unpublished = store, directory, files, unpublished
        self._edge: Edge | None = None
        self._last: Walked | None = None
        self._frames: list[tuple[str, int, Version, Walked]] = []
        self._folders: set[Path] = set()
        self._lock = threading.Lock()
        for name in ("journal", "log", "checkpoints", "state"):
            self._make_folder(directory / name)

    def tile(self, path: str, data: bytes) -> None:
        self._write(f"log/{path}", data)

    def frames(self, segment: str, offset: int, version: Version, found: Walked) -> None:
        self._frames.append((segment, offset, version, found))

    def edge(self, edge: Edge) -> None:
        self._edge = edge

    def checkpoint(self, size: int, note: bytes) -> None:
        time_s = checkpoint_time_s(note)
        day = PINNED if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
        with self._lock:
            self._write(f"checkpoints/{day}/{size:020d}", note)

    def handover(self, number: int, document: bytes) -> None:
        self._write(f"{layout.HANDOVERS}{number}", document)

    def certificate(self, first: int, last: int, note: bytes) -> None:
        self._write(f"{CERTIFICATES}/{certificate_name(first, last)}", note)

    def finish(self, found: Verified) -> None:
        """What needs all of it: the journal's end, the partial tiles, the marks, the checkpoint last."""
        assert found.newest is not None and self._edge is not None
        head = found.newest.checkpoint
        mark = Mark(head.size, head.root)
        for segment, offset, version, walked in self._frames:
            end = version.size
            if walked.end > head.size and not self._unpublished:
                end = self._cut(walked, head.size, offset)
            if end:
                self._copy(segment, offset, version, end)
                if walked.end > mark.size and self._unpublished:
                    mark = Mark(walked.end, walked.end_root)
        self._partial_tiles(self._edge)
        self._small_files()
        self._write("state/committed", encode_mark(COMMITTED, mark))
        self._write("log/checkpoint", found.newest.data)

    def _cut(self, walked: Walked, size: int, offset: int) -> int:
        """How many bytes of an object belong to the tree of `size` entries."""
        if walked.start > size or (walked.start == size and walked.header is None):
            return 0
        first_beyond = next(at for end, _, at in walked.blocks if end > size)
        return first_beyond - offset

    def _copy(self, segment: str, offset: int, version: Version, end: int) -> None:
        path = str(self._directory / "journal" / segment)
        file = self._files.create(path) if offset == 0 else self._files.open(path)
        try:
            for at in range(0, end, _PIECE_BYTES):
                file.write_at(offset + at, self._store.read(version, at, min(_PIECE_BYTES, end - at)))
        finally:
            file.close()

    def _partial_tiles(self, edge: Edge) -> None:
        for level, hashes in enumerate(edge.levels):
            if hashes:
                index = (edge.size >> (HEIGHT * level)) // WIDTH
                self._write(f"log/{tile_path(level, index, len(hashes))}", b"".join(hashes))
        if edge.entries:
            path = bundle_path(edge.size // WIDTH, len(edge.entries))
            self._write(f"log/{path}", encode_entries(b"".join(edge.entries)))

    def _small_files(self) -> None:
        newest: dict[str, tuple[float, bytes]] = {}
        for prefix, suffix in ((layout.POLICIES, ""), (layout.CONFIGS, ".toml")):
            for group in by_name(self._store.list(prefix, deep=False)):
                wanted = group[0].name.removeprefix(prefix).removesuffix(suffix)
                for version in [one for one in group if not one.marker][:_CANDIDATES_MAX]:
                    data = self._small(version)
                    if data is None or sha256(data).hexdigest() != wanted:
                        continue
                    if prefix == layout.POLICIES:
                        self._write(f"{FOLDER}/{wanted}", data)
                    if version.modified_s >= newest.get(prefix, (0.0, b""))[0]:
                        newest[prefix] = version.modified_s, data
                    break
        if layout.POLICIES in newest:
            self._write(f"{FOLDER}/{CURRENT}", newest[layout.POLICIES][1])
        if layout.CONFIGS not in newest:
            raise Broken("the copy has no configuration", place=f"{self._store.url}/{layout.CONFIGS}")
        self._write(CONFIG_FILE, newest[layout.CONFIGS][1])
        places = ((layout.TORN, "journal/torn"), (layout.PREDECESSORS, f"checkpoints/{PREDECESSOR}"),
                  (layout.ANCHORS, "anchors"))  # fmt: skip
        for prefix, folder in places:
            for group in by_name(self._store.list(prefix)):
                first = next((one for one in group if not one.marker), None)
                data = self._small(first) if first is not None else None
                if data is not None:
                    self._write(f"{folder}/{group[0].name.removeprefix(prefix)}", data)

    def _small(self, version: Version) -> bytes | None:
        return self._store.read(version) if version.size <= _SMALL_BYTES_MAX else None

    def _write(self, path: str, data: bytes) -> None:
        full = self._directory / path
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise Disproved("a name of the copy leads out of it", place=path)
        self._make_folder(full.parent)
        if full.exists():  # the tree was passed twice, or a checkpoint has two notes
            self._files.remove(str(full))
        file = self._files.create(str(full))
        try:
            file.write_at(0, data)
        finally:
            file.close()

    def _make_folder(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if not folder.is_dir():
            if folder != self._directory:
                self._make_folder(folder.parent)
            self._files.mkdir(str(folder), 0o755 if "tile" in folder.parts else 0o700)
        self._folders.add(folder)
