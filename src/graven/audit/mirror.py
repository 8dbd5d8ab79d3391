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
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from graven.audit.pieces import (
    RUN_BUNDLES,
    Run,
    derive,
    derive_run,
    fetch,
    fetch_piece,
    leaves_of,
    on_disk,
    put,
    read_piece,
)
from graven.audit.tree import FullTile, Tree
from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import HASH_BYTES
from graven.core.note import MAX_NOTE_BYTES
from graven.core.succession import served
from graven.core.tile import WIDTH, bundle_path, tile_path, width_at
from graven.runtime.files import Files, LocalFiles, make_dir, make_dirs, write_atomic
from graven.runtime.pipelining import Pipeline
from graven.runtime.pool import Pool, processes_default
from graven.runtime.site import FolderSite, HttpSite, Site

APART_RUNS = 4
"""From so many runs on they are derived in other processes, a core each."""


class Stopped(Broken):
    """The follower was told to end while it copied. What is on disk is used again."""


class Mirror:
    """The copy in `directory`, held by this process. Close it."""

    def __init__(self, directory: Path, stop: threading.Event | None = None, files: Files | None = None) -> None:
        """Raises BadInput: the directory cannot be used, or another follower has it."""
        self.directory = directory
        self.files = files or LocalFiles()
        self.folder = FolderSite(directory)
        self.tree = Tree()
        self.damaged: list[str] = []
        self._anew = directory / "anew"
        self._kept_any = False
        self._stop = stop or threading.Event()
        try:
            make_dirs(self.files, str(directory.parent))
            make_dir(self.files, str(directory))
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
        make_dir(self.files, str(folder))
        for number, data in enumerate(documents, self.handover_count + 1):
            write_atomic(self.files, str(folder / str(number)), data)

    def keep_note(self, signed: SignedCheckpoint, now_s: int) -> int:
        """Keep a note the log signed, once and durably; when these bytes were first seen, in POSIX seconds."""
        name = f"{signed.checkpoint.size:020}-{{}}-{sha256(signed.data).hexdigest()[:16]}.checkpoint"
        folder = self.directory / "checkpoints"
        for known in folder.glob(f"*/{name.format('*')}"):
            self.files.sync_dir(str(known.parent))  # whoever wrote it may not have come to that
            return int(known.name.split("-")[1])
        day = folder / datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
        for one in (folder, day):
            make_dir(self.files, str(one))
        write_atomic(self.files, str(day / name.format(now_s)), signed.data)
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
            self.files.sync_all(str(self.directory))
            write_atomic(self.files, str(self.directory / "checkpoint"), signed.data)
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

        def full(level: int, index: int, hashes: list[bytes]) -> None:
            self._put_tile(site, level, index, hashes)

        if tree.size < size and tree.size % WIDTH:
            self._add(tree, site, size, fresh, full)
        if tree.size // WIDTH < size // WIDTH:
            self._add_full(tree, site, size // WIDTH, fresh, full)
        if tree.size < size:
            self._add(tree, site, size, fresh, full)
        for level, index, hashes in tree.partial_tiles():
            self._put_tile(site, level, index, hashes)
        if tree.root() != head.root:
            raise Disproved(
                "the entries served do not lead to the root that was signed",
                expected=head.root.hex(), found=tree.root().hex(), place=f"tree of {size} entries",
            )  # fmt: skip
        self._replace()
        return tree

    def _add_full(self, tree: Tree, site: Site, end: int, fresh: bool, full: FullTile) -> None:
        """The full bundles up to `end`, not including it: in runs, on all cores where there are many."""
        base = site.base if isinstance(site, HttpSite | FolderSite) else ""
        runs = [
            Run(self.directory, base, at, min(RUN_BUNDLES, end - at), fresh)
            for at in range(tree.size // WIDTH, end, RUN_BUNDLES)
        ]
        apart = bool(base) and len(runs) >= APART_RUNS
        pipeline = Pipeline(base) if isinstance(site, HttpSite) and not apart else None
        with Pool(processes_default() if apart else 1) as pool:
            try:
                work = derive if apart else lambda run: derive_run(run, site, pipeline, self.files)
                for _, derived in pool.ordered(work, runs):
                    self._kept_any |= derived.kept
                    self.damaged += derived.damaged
                    roots = derived.roots
                    tree.extend_tiles([roots[at : at + HASH_BYTES] for at in range(0, len(roots), HASH_BYTES)], full)
                    if self._stop.is_set():
                        raise Stopped("the follower was told to end")
            finally:
                if pipeline is not None:
                    pipeline.close()

    def _add(self, tree: Tree, site: Site, size: int, fresh: bool, full: FullTile) -> None:
        """What the tree of `size` adds to the bundle at the right edge of this one."""
        index = tree.size // WIDTH
        width = width_at(0, index, size)
        piece = None if fresh else read_piece(self.folder, index, width)
        if piece is not None:
            try:
                leaves = leaves_of(piece, index, width)
            except Disproved as error:
                self.damaged.append(error.place)
                piece = None
        if piece is None:
            piece = fetch_piece(site, index, size)
            leaves = leaves_of(piece, index, width)
        self._kept_any |= piece.kept
        known = tree.last_leaves
        if leaves[: len(known)] != known:
            raise Disproved("the log serves other entries than it did before", place=bundle_path(index, width))
        if not piece.kept:
            put(self.files, self.directory, bundle_path(index, width), piece.bundle)
            put(self.files, self.directory, tile_path(0, index, width), piece.tile)
        tree.extend(leaves[len(known) :], full)

    def _replace(self) -> None:
        try:
            for path in self._anew.rglob("*"):
                if path.is_file():
                    self.files.rename(str(path), str(self.directory / path.relative_to(self._anew)))
        except OSError as error:
            raise Broken(f"the copy cannot be written: {error.strerror}", place=str(self._anew)) from error
        shutil.rmtree(self._anew, ignore_errors=True)

    def _put_tile(self, site: Site, level: int, index: int, hashes: list[bytes]) -> None:
        """Keep a derived tile above level 0; one that is not on disk is first compared with the one served."""
        path, data = tile_path(level, index, len(hashes)), b"".join(hashes)
        if level == 0 or (found := on_disk(self.folder, path, len(data))) == data:
            return
        if found is not None:
            self.damaged.append(path)
        if fetch(site, path, tile_path(level, index), HASH_BYTES, len(hashes)) != data:
            raise Disproved("a tile holds another hash than the entries lead to", place=path)
        put(self.files, self.directory, path, data)

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
