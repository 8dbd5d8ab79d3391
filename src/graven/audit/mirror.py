"""The copy of a published log, in C2SP layout, derived again from its entries.

    DIR/checkpoint                        the newest one that was checked to its root
    DIR/tile/…, DIR/tile/entries/…        what leads to it; perhaps files beyond it, of a copy that was cut off
    DIR/anew/…                            what is to replace files here, until it leads to a signed root
    DIR/checkpoints/<day>/…               every note seen that the log had signed: size, seconds first seen, hash
    DIR/handover/<n>                      the hand-overs of the log's keys that were followed
    DIR/evidence/…                        see evidence.py
    DIR/lock                              one follower at a time

Files are renamed into place whole. The checkpoint follows when everything it needs is durable, so a crash leaves the
old copy and a beginning of the new one, which is not asked for again. Nothing on disk counts until it leads to a signed
root; a file that does not is told of and fetched anew, and replaced only when the new one does.
"""

import fcntl
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from graven.audit.tree import Tree
from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import HASH_BYTES, hash_leaves
from graven.core.note import MAX_NOTE_BYTES
from graven.core.succession import served
from graven.core.tile import WIDTH, bundle_path, decode_entries, tile_path, width_at
from graven.runtime.files import LocalFiles, write_atomic
from graven.runtime.site import CONNECTIONS, FolderSite, Site

_ENTRY_BYTES = 34
_AHEAD = 8 * CONNECTIONS


class Stopped(Broken):
    """The follower was told to end while it copied. What is on disk is used again."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A bundle and its level-0 tile, cut to the same width; `kept` when both were on disk."""

    bundle: bytes
    tile: bytes
    kept: bool


class Mirror:
    """The copy in `directory`, held by this process. Close it."""

    def __init__(self, directory: Path, stop: threading.Event | None = None) -> None:
        """Raises BadInput: the directory cannot be used, or another follower has it."""
        self.directory = directory
        self.folder = FolderSite(directory)
        self.tree = Tree()
        self.damaged: list[str] = []
        self._anew = directory / "anew"
        self._kept_any = False
        self._stop = stop or threading.Event()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadInput(f"the directory cannot be used: {error.strerror}", place=str(directory)) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise BadInput("another follower holds this directory", place=str(directory)) from None

    def close(self) -> None:
        os.close(self._lock)

    def checkpoint(self) -> bytes | None:
        """The note the copy leads to. Raises Broken."""
        return self.folder.get("checkpoint", MAX_NOTE_BYTES)

    def handovers(self) -> list[bytes]:
        """The hand-overs of the log's keys kept here, oldest first. Raises Broken."""
        return list(served(self.folder.get))

    @property
    def handover_count(self) -> int:
        return len(self.handovers())

    def keep_handovers(self, documents: Sequence[bytes]) -> None:
        """Keep more of them, durably, behind those there are."""
        folder = self.directory / "handover"
        folder.mkdir(mode=0o700, exist_ok=True)
        for number, data in enumerate(documents, self.handover_count + 1):
            write_atomic(LocalFiles(), str(folder / str(number)), data)

    def keep_note(self, signed: SignedCheckpoint, now_s: int) -> int:
        """Keep a note the log signed, once and durably; when these bytes were first seen, in POSIX seconds."""
        name = f"{signed.checkpoint.size:020}-{{}}-{sha256(signed.data).hexdigest()[:16]}.checkpoint"
        folder = self.directory / "checkpoints"
        for known in folder.glob(f"*/{name.format('*')}"):
            return int(known.name.split("-")[1])
        day = folder / datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
        day.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(LocalFiles(), str(day / name.format(now_s)), signed.data)
        return now_s

    def check(self, site: Site, signed: SignedCheckpoint) -> None:
        """Derive the whole copy again up to its own checkpoint. What is missing or damaged is fetched from `site`.

        `damaged` names the files. Raises as `grow`.
        """
        self.tree = Tree()
        self.tree = self._derive(site, signed)

    def grow(self, site: Site, signed: SignedCheckpoint) -> None:
        """Copy what the tree of `signed` adds to this one, and make it the newest.

        Raises Disproved: what is served does not lead to the signed root. Broken: it cannot be had, or the disk failed.
        Then the copy stays as it was. Memory does not depend on the size.
        """
        before = self.tree.size
        tree = self._derive(site, signed)
        try:
            LocalFiles().sync_all(str(self.directory))
            write_atomic(LocalFiles(), str(self.directory / "checkpoint"), signed.data)
        except OSError as error:
            raise Broken(f"the copy cannot be written: {error.strerror}", place=str(self.directory)) from error
        self.tree = tree
        self._drop_partials(before, tree.size)

    def _derive(self, site: Site, signed: SignedCheckpoint) -> Tree:
        head = signed.checkpoint
        self._kept_any = False
        try:
            return self._walk(site, head, fresh=False)
        except Disproved:
            if not self._kept_any:  # so it is the server's
                raise
        tree = self._walk(site, head, fresh=True)
        self.damaged.append("entry bundles that lead to another root")
        return tree

    def _walk(self, site: Site, head: Checkpoint, *, fresh: bool) -> Tree:
        """This tree, extended to that of `head`; with `fresh`, by nothing that is on disk."""
        tree, size = self.tree.copy(), head.size
        shutil.rmtree(self._anew, ignore_errors=True)
        todo = iter(range(tree.size // WIDTH, (size + WIDTH - 1) // WIDTH) if size > tree.size else ())
        under_way: deque[tuple[int, Future[_Piece]]] = deque()

        def full(level: int, index: int, hashes: list[bytes]) -> None:
            self._put_tile(site, level, index, hashes)

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            try:
                while True:
                    while len(under_way) < _AHEAD and (index := next(todo, None)) is not None:
                        under_way.append((index, threads.submit(self._piece, site, index, size, fresh)))
                    if not under_way:
                        break
                    if self._stop.is_set():
                        raise Stopped("the follower was told to end")
                    index, future = under_way.popleft()
                    piece = future.result()
                    self._kept_any |= piece.kept
                    self._add(tree, site, index, size, piece, full)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)
        for level, index, hashes in tree.partial_tiles():
            self._put_tile(site, level, index, hashes)
        if tree.root() != head.root:
            raise Disproved(
                "the entries served do not lead to the root that was signed",
                expected=head.root.hex(), found=tree.root().hex(), place=f"tree of {size} entries",
            )  # fmt: skip
        self._replace()
        return tree

    def _replace(self) -> None:
        try:
            for path in self._anew.rglob("*"):
                if path.is_file():
                    path.replace(self.directory / path.relative_to(self._anew))
        except OSError as error:
            raise Broken(f"the copy cannot be written: {error.strerror}", place=str(self._anew)) from error
        shutil.rmtree(self._anew, ignore_errors=True)

    def _add(
        self, tree: Tree, site: Site, index: int, size: int, piece: _Piece,
        full: Callable[[int, int, list[bytes]], None],
    ) -> None:  # fmt: skip
        width = width_at(0, index, size)
        try:
            leaves = _leaves(piece, index, width)
        except Disproved as error:
            if not piece.kept:
                raise
            self.damaged.append(error.place)
            piece = self._piece(site, index, size, True)
            leaves = _leaves(piece, index, width)
        known = tree.last_leaves
        if leaves[: len(known)] != known:
            raise Disproved("the log serves other entries than it did before", place=bundle_path(index, width))
        if not piece.kept:
            self._put(bundle_path(index, width), piece.bundle)
            self._put(tile_path(0, index, width), piece.tile)
        tree.extend(leaves[len(known) :], full)

    def _piece(self, site: Site, index: int, size: int, fresh: bool) -> _Piece:
        width = width_at(0, index, size)
        paths = (bundle_path(index, width), tile_path(0, index, width))
        if not fresh:
            bundle, tile = self._on_disk(paths[0], _ENTRY_BYTES * width), self._on_disk(paths[1], HASH_BYTES * width)
            if bundle is not None and tile is not None:
                return _Piece(bundle, tile, True)
        return _Piece(
            _fetch(site, paths[0], bundle_path(index), _ENTRY_BYTES, width),
            _fetch(site, paths[1], tile_path(0, index), HASH_BYTES, width),
            False,
        )

    def _put_tile(self, site: Site, level: int, index: int, hashes: list[bytes]) -> None:
        """Keep a derived tile above level 0; one that is not on disk is first compared with the one served."""
        path, data = tile_path(level, index, len(hashes)), b"".join(hashes)
        if level == 0 or (found := self._on_disk(path, len(data))) == data:
            return
        if found is not None:
            self.damaged.append(path)
        if _fetch(site, path, tile_path(level, index), HASH_BYTES, len(hashes)) != data:
            raise Disproved("a tile holds another hash than the entries lead to", place=path)
        self._put(path, data)

    def _on_disk(self, path: str, size: int) -> bytes | None:
        try:
            data = self.folder.get(path, size)
        except Disproved:
            return None
        return data if data is not None and len(data) == size else None

    def _put(self, path: str, data: bytes) -> None:
        target = self.directory / path
        if target.exists():
            target = self._anew / path
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(LocalFiles(), str(target), data, sync=False)
        except OSError as error:
            raise Broken(f"the copy cannot be written: {error.strerror}", place=str(target)) from error

    def _drop_partials(self, before: int, size: int) -> None:
        """Partial files of the old right edge that are full now: C2SP lets them go."""
        level, index = 0, before // WIDTH
        while before:
            if width_at(level, index, size) == WIDTH:
                shutil.rmtree(self.directory / f"{tile_path(level, index)}.p", ignore_errors=True)
                if level == 0:
                    shutil.rmtree(self.directory / f"{bundle_path(index)}.p", ignore_errors=True)
            before >>= 8
            level, index = level + 1, before // WIDTH


def _leaves(piece: _Piece, index: int, width: int) -> list[bytes]:
    path = bundle_path(index, width)
    leaves = hash_leaves(decode_entries(piece.bundle, width, place=path))
    if b"".join(leaves) != piece.tile:
        raise Disproved("a tile holds another hash than the bundle leads to", place=tile_path(0, index, width))
    return leaves


def _fetch(site: Site, path: str, full: str, unit: int, width: int) -> bytes:
    """The file at `path`, or the beginning of what it became once it was full. Raises Broken, Disproved."""
    data, count = site.get(path, unit * width), width
    if data is None and path != full:
        data, count = site.get(full, unit * WIDTH), WIDTH
    if data is None:
        raise Broken("the server does not have a file of the tree", place=path)
    if len(data) != unit * count:
        raise Disproved(
            "a file of the tree has the wrong length",
            expected=str(unit * count), found=str(len(data)), place=path,
        )  # fmt: skip
    return data[: unit * width]
