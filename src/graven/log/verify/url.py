"""A published tree, verified over HTTP: the checkpoint, every bundle and tile, and an older checkpoint if one is kept.

Leaves are derived from the bundles and everything above is derived from them, so the tiles are checked, not believed.
Payloads are not published: whether they are those committed to, only the log's own directory can show.

The server may be anyone's. Every answer is bounded in size and time, nothing it says makes this wait, and a server that
stops answering ends the verification instead of stretching it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from graven.core.checkpoint import open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved, GravenError
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import MAX_NOTE_BYTES, Key, parse_note
from graven.core.policy import Succession, log_keys_at
from graven.core.succession import follow, served, with_past
from graven.core.tile import WIDTH, bundle_path, decode_entries, tile_path, width_at
from graven.keys.signature import verify_signature
from graven.log.verify.chain import Progress
from graven.log.verify.checkpoints import Stated, as_disproved, check_stated, open_since
from graven.log.verify.report import Findings, Report
from graven.runtime.site import CONNECTIONS, HttpSite

FAILURES_MAX = 64
"""After so many tiles in a row that could not be had, the rest is not asked for."""

_AHEAD = 8 * CONNECTIONS
_HASH_SIZE, _ENTRY_SIZE = 32, 34

_Job = TypeVar("_Job")
_Done = TypeVar("_Done")


def verify_url(
    url: str, *, keys: Sequence[Key], since: bytes | None = None, progress: Progress | None = None
) -> Report:
    """Verify what a log publishes at `url` (the prefix of `checkpoint` and `tile/`, or the checkpoint's own URL).

    Each of `keys`, or of those they handed over to, must have signed the checkpoint; lines by others are ignored.
    `since` is a checkpoint of this log
    that the caller kept: its tree must be the beginning of this one.

    Raises:
        BadInput: `url` is none, no key is given, or `since` is no checkpoint of this log.
    """
    if not keys:
        raise BadInput("no key to verify by", mend="give the log's verifier key: --vkey")
    findings = Findings()
    with closing(HttpSite(url)) as server:
        trust = _follow(server, keys, findings)
        stated = [open_since(since, trust, findings)] if since is not None else []
        size = _Published(server, trust, stated, findings, progress).run()
    return Report(findings.problems, findings.disproved, findings.broken, findings.notes, size, size, 0, "not checked")


@dataclass(slots=True)
class _Tile:
    """Up to 256 leaves: the hashes the tree goes on with (None: they could not be had), and what was wrong."""

    hashes: list[bytes] | None
    findings: Findings = field(default_factory=Findings)


class _Published:
    def __init__(
        self, server: HttpSite, trust: Succession, stated: list[Stated], findings: Findings, progress: Progress | None
    ) -> None:
        self._server, self._trust, self._stated = server, trust, stated
        self._findings, self._progress = findings, progress
        self._size = 0

    def run(self) -> int:
        """Verify everything; the size of the published tree, 0 if there is none to be had."""
        checkpoint = self._checkpoint()
        if checkpoint is None:
            return 0
        size = self._size = checkpoint.size
        wanted = {one.size for one in self._stated if one.size <= size} | {size}
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            try:
                roots, nodes = self._walk(threads, wanted)
                self._check_levels(threads, nodes)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)
        for one in [*self._stated, checkpoint]:
            if one.size > size:
                what = f"the server shows a tree of {size} entries, but {one.what} is of {one.size}"
                self._findings.fail(what, "checkpoint", size, one.size)
            else:
                check_stated(one, roots, size, self._findings)
        return size

    def _checkpoint(self) -> Stated | None:
        try:
            data = self._server.get("checkpoint", MAX_NOTE_BYTES)
            if data is None:
                raise Broken("the server has no checkpoint", place="checkpoint")
            keys = log_keys_at(self._trust, parse_checkpoint(parse_note(data).text)[0].size)
            found = open_checkpoint(data, keys, verify_signature, require_all=True).checkpoint
        except GravenError as error:
            self._findings.error(as_disproved(error, "the checkpoint served"), "checkpoint")
            return None
        return Stated("the checkpoint served", "checkpoint", found.size, found.root)

    def _walk(self, threads: ThreadPoolExecutor, wanted: set[int]) -> tuple[dict[int, bytes], list[bytes | None]]:
        """Every bundle and level-0 tile, in order: the roots at the wanted sizes, and the node of each full tile."""
        roots: dict[int, bytes] = {}
        nodes: list[bytes | None] = []
        tree: CompactRange | None = CompactRange.EMPTY  # of full tiles, each as one leaf
        failures = 0
        for index, tile in _in_order(threads, self._leaves, range((self._size + WIDTH - 1) // WIDTH)):
            self._findings.merge(tile.findings)
            failures = failures + 1 if tile.hashes is None else 0
            if failures >= FAILURES_MAX:
                what = f"{failures} tiles in a row could not be had: the rest was not asked for"
                self._findings.fail(what, "tile", WIDTH * (index + 1 - failures), self._size)
                break
            if tile.hashes is None:
                nodes.append(None)
                tree = None
                continue
            for size in wanted:
                if tree is not None and WIDTH * index < size <= WIDTH * index + len(tile.hashes):
                    roots[size] = _joined(tree, tile.hashes[: size - WIDTH * index]).root()
            if len(tile.hashes) == WIDTH:
                node = CompactRange.EMPTY.extend(tile.hashes)[0].hashes[0]
                nodes.append(node)
                tree = tree.extend([node])[0] if tree is not None else None
            if self._progress is not None:
                self._progress(min(self._size, WIDTH * (index + 1)), self._size)
        return roots, nodes

    def _leaves(self, index: int) -> _Tile:
        """One bundle and its level-0 tile. The bundle's leaves count; the tile's only where there is no bundle."""
        width = width_at(0, index, self._size)
        first, end = WIDTH * index, WIDTH * index + width
        tile = _Tile(None)
        path, data = self._get(bundle_path(index, width), bundle_path(index), _ENTRY_SIZE, tile, first, end, "bundles")
        if data is not None:
            try:
                tile.hashes = hash_leaves(decode_entries(data[: _ENTRY_SIZE * width], width))
            except Disproved as error:
                tile.findings.error(error, path, first, end)
        path, data = self._get(tile_path(0, index, width), tile_path(0, index), _HASH_SIZE, tile, first, end, "level 0")
        if data is not None:
            if tile.hashes is None:
                tile.hashes = [data[at : at + 32] for at in range(0, _HASH_SIZE * width, _HASH_SIZE)]
            else:
                _compare(tile.findings, path, data, tile.hashes, first, 0)
        return tile

    def _check_levels(self, threads: ThreadPoolExecutor, nodes: list[bytes | None]) -> None:
        """Every tile above level 0, against the nodes that the leaves lead to."""
        level = 1
        while nodes:
            jobs = [(level, at // WIDTH, nodes[at : at + WIDTH]) for at in range(0, len(nodes), WIDTH)]
            above: list[bytes | None] = []
            for (_, _, hashes), findings in _in_order(threads, self._upper, jobs):
                self._findings.merge(findings)
                known = [one for one in hashes if one is not None]
                if len(hashes) == WIDTH:
                    above.append(CompactRange.EMPTY.extend(known)[0].hashes[0] if len(known) == WIDTH else None)
            nodes = above
            level += 1

    def _upper(self, job: tuple[int, int, list[bytes | None]]) -> Findings:
        level, index, hashes = job
        tile = _Tile(None)
        width = len(hashes)
        first, end = (WIDTH * index) << (8 * level), (WIDTH * index + width) << (8 * level)
        path, data = self._get(
            tile_path(level, index, width), tile_path(level, index), _HASH_SIZE, tile, first, end, f"level {level}"
        )
        if data is not None:
            _compare(tile.findings, path, data, hashes, WIDTH * index, level)
        return tile.findings

    def _get(
        self, path: str, full: str, size: int, tile: _Tile, first: int, end: int, group: str
    ) -> tuple[str, bytes | None]:
        """The file at `path`, or what it became once it was full; None, and a problem, if it is of no use."""
        width = int(path.rpartition(".p/")[2]) if path != full else WIDTH
        try:
            data = self._server.get(path, size * width)
            if data is None and path != full:
                path, width = full, WIDTH
                data = self._server.get(path, size * width)
            if data is None:
                raise Broken("the server does not have a file of the tree")
            if len(data) != size * width:
                raise Disproved(f"a file of the tree has the wrong length: expected {size * width}, found {len(data)}")
        except GravenError as error:
            tile.findings.error(error, path, first, end, group)
            return path, None
        return path, data


def _follow(server: HttpSite, keys: Sequence[Key], findings: Findings) -> Succession:
    """The keys, led on by the hand-overs the log serves; one that does not count is told of."""
    trust = Succession(tuple(keys))
    try:
        documents = list(served(server.get))
        trust, relied = follow(trust, documents, verify_signature)
        trust = with_past(trust, documents, verify_signature)
        for one in relied:
            findings.note(
                f"relied on the hand-over of the log's keys at {one.handover.last} entries (event {one.index}), to "
                + ", ".join(f"{key.name}+{key.id.hex()}" for key in one.handover.new)
            )
    except Broken as error:
        findings.note(f"whether the log's keys were handed over is not known: {error.what} ({error.place})")
    except GravenError as error:
        findings.error(as_disproved(error, "a hand-over"), "handover/")
    return trust


def _compare(
    findings: Findings, path: str, data: bytes, hashes: Sequence[bytes | None], first: int, level: int
) -> None:
    wrong = [
        at for at, one in enumerate(hashes) if one is not None and data[_HASH_SIZE * at : _HASH_SIZE * (at + 1)] != one
    ]
    if wrong:
        place = f"{path} at byte {_HASH_SIZE * wrong[0]}"
        shift = 8 * level
        what = "a tile holds another hash than the bundles lead to"
        findings.disprove(what, place, (first + wrong[0]) << shift, (first + wrong[-1] + 1) << shift)


def _joined(tiles: CompactRange, leaves: list[bytes]) -> CompactRange:
    """The tree of these full tiles and the leaves behind them."""
    rest = CompactRange.EMPTY.extend(leaves)[0]
    if len(leaves) == WIDTH:
        tiles = tiles.extend(rest.hashes)[0]
        return CompactRange(tiles.size << 8, tiles.hashes)
    return CompactRange((tiles.size << 8) + rest.size, (*tiles.hashes, *rest.hashes))


def _in_order(
    threads: ThreadPoolExecutor, work: Callable[[_Job], _Done], jobs: Iterable[_Job]
) -> Iterator[tuple[_Job, _Done]]:
    """(job, what came of it), in order; a bounded number under way."""
    under_way: deque[tuple[_Job, Future[_Done]]] = deque()
    for job in jobs:
        under_way.append((job, threads.submit(work, job)))
        if len(under_way) >= _AHEAD:
            first, future = under_way.popleft()
            yield first, future.result()
    for first, future in under_way:
        yield first, future.result()
