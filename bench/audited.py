"""Rows about an auditor outside: `graven audit follow` copies a whole tree, then checks its copy as at its next start.

The tree is made for these rows, of entries drawn at random: an auditor sees entries and tiles, never an event, so
nothing else of a log is needed. It is served over HTTP by `bench.static` on the same cores, which takes its part of
them. Each round runs in a process of its own, beside the floor of this work: the same hashes on both cores, and
nothing else.

    python -m bench.audited audit URL POLICY DIR         one round of a follower
    python -m bench.audited hash ENTRIES                 the hashes of so many entries, on all cores
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.child import cpu_s
from bench.report import Row
from bench.rounds import NotMeasuredError
from bench.served import cpu_seconds, listening
from graven.audit.follow import Follower
from graven.audit.pieces import RUN_BUNDLES
from graven.audit.tree import Tree
from graven.core.checkpoint import Checkpoint, format_checkpoint
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import ED25519, Key, Note, format_note, format_vkey, make_signature
from graven.core.policy import parse_policy
from graven.core.tile import WIDTH, bundle_path, encode_entries, tile_path
from graven.runtime.pool import Pool, processes_default
from graven.runtime.site import HttpSite

RATE_MIN = 500_000.0
RATIO_MIN = 0.5
ENTRY_BYTES = 32
WHAT = "an auditor"
COPIED, CHECKED = "an auditor copies the tree over HTTP", "an auditor checks its copy again"

_ORIGIN = "bench.invalid/audited"


class Audited(msgspec.Struct, frozen=True):
    """One round of a follower: what it found, how long it took, and the processor time of its processes."""

    size: int
    seconds: float
    cpu_s: float
    problems: list[str]


def rows(place: Path, entries: int, told: Callable[[str], None]) -> list[Row]:
    """Both rows, over a tree of so many entries under `place`. Raises NotMeasuredError."""
    told(f"making a tree of {entries:,} entries")
    folder, copy, policy = place / "audited", place / "copy", place / "policy"
    policy.write_text(make_tree(folder, entries))
    try:
        command = [sys.executable, "-m", "bench.static", str(folder)]
        with listening(command, place / "static.log", stdin=subprocess.PIPE) as (process, host, port):
            told(f"auditing {entries:,} entries")
            floor = [_call("hash", entries)]
            before_s = cpu_seconds(process.pid)
            copied = _call("audit", f"http://{host}:{port}", policy, copy)
            served_s = cpu_seconds(process.pid) - before_s
            floor.append(_call("hash", entries))
            checked = _call("audit", f"http://{host}:{port}", policy, copy)
            floor.append(_call("hash", entries))
        size = sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(copy, ignore_errors=True)
    alone = min(floor, key=lambda one: one.cpu_s)
    beside = f"; the server beside it {served_s / entries * 1e6:.2f} µs an entry"
    return [
        _row(COPIED, entries, copied, alone, beside + f"; {size / entries:.0f} bytes an entry"),
        _row(CHECKED, entries, checked, alone, ""),
    ]


def make_tree(folder: Path, entries: int) -> str:
    """Files of a tree of so many random entries, in C2SP layout, signed; the policy that trusts it."""
    tree = Tree()
    made: set[Path] = set()

    def put(path: str, data: bytes) -> None:
        file = folder / path
        if file.parent not in made:
            file.parent.mkdir(parents=True, exist_ok=True)
            made.add(file.parent)
        file.write_bytes(data)

    def full(level: int, index: int, hashes: list[bytes]) -> None:
        put(tile_path(level, index), b"".join(hashes))

    for at in range(0, entries, WIDTH):
        data = os.urandom(ENTRY_BYTES * min(WIDTH, entries - at))
        count = len(data) // ENTRY_BYTES
        put(bundle_path(at // WIDTH, count), encode_entries(data))
        tree.extend(hash_leaves(data[ENTRY_BYTES * k : ENTRY_BYTES * (k + 1)] for k in range(count)), full)
    for level, index, hashes in tree.partial_tiles():
        put(tile_path(level, index, len(hashes)), b"".join(hashes))
    private = Ed25519PrivateKey.generate()
    key = Key(_ORIGIN, ED25519, private.public_key().public_bytes_raw())
    text = format_checkpoint(Checkpoint(_ORIGIN, entries, tree.root()))
    put("checkpoint", format_note(Note(text, (make_signature(key, private.sign(text.encode())),))))
    return f"log {format_vkey(key)}\nquorum none\n"


def audit(url: str, policy: Path, directory: Path) -> Audited:
    """One round of a follower of `url` into `directory`."""
    follower = Follower(HttpSite(url), parse_policy(policy.read_bytes()), directory)
    try:
        started, before_s = perf_counter(), cpu_s()
        found = follower.round()
        return Audited(found.size, perf_counter() - started, cpu_s() - before_s, [one.what for one in found.problems])
    finally:
        follower.close()


def hash_alone(entries: int) -> Audited:
    """Leaves and nodes of so many entries, a tile at a time, in as many processes as there are cores."""
    started, before_s = perf_counter(), cpu_s()
    with Pool(processes_default()) as pool:
        tiles = (entries + WIDTH - 1) // WIDTH
        runs = [min(RUN_BUNDLES, tiles - at) for at in range(0, tiles, RUN_BUNDLES)]
        done = sum(WIDTH * count for count, _ in pool.ordered(_hash_tiles, runs))
    return Audited(done, perf_counter() - started, cpu_s() - before_s, [])


def _hash_tiles(count: int) -> None:
    data = os.urandom(ENTRY_BYTES * WIDTH)
    entries = [data[at : at + ENTRY_BYTES] for at in range(0, len(data), ENTRY_BYTES)]
    for _ in range(count):
        CompactRange.EMPTY.extend(hash_leaves(entries))


def _row(what: str, entries: int, found: Audited, alone: Audited, beside: str) -> Row:
    """The ratio is of processor time, which other work hardly changes: that of the hashes to that of all of it."""
    if found.problems or found.size != entries:
        raise NotMeasuredError(f"the auditor found {'; '.join(found.problems) or f'{found.size} entries'}")
    rate = entries / found.seconds
    ratio = alone.cpu_s / found.cpu_s
    hashing = entries / alone.seconds
    figure = f"{rate:,.0f} entries/s; hashing alone {hashing:,.0f}/s and {ratio:.2f} of the processor time{beside}"
    return Row(
        f"{what}, {entries:,} entries", figure,
        asked=f"≥ {RATE_MIN:,.0f}/s or {RATIO_MIN} of it hashing",
        met=rate >= RATE_MIN or ratio >= RATIO_MIN, cpu_us=found.cpu_s / entries * 1e6,
        values={"entries_per_second": rate, "hashing_alone_per_second": hashing, "hashing_cpu_share": ratio},
    )  # fmt: skip


def _call(*arguments: object) -> Audited:
    command = [sys.executable, "-m", "bench.audited", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"{arguments[0]} failed: {done.stderr[-300:]}")
    return msgspec.json.decode(done.stdout, type=Audited)


def main() -> None:
    """One of the two, as the command line says; prints a line of JSON."""
    what, *rest = sys.argv[1:]
    found = audit(rest[0], Path(rest[1]), Path(rest[2])) if what == "audit" else hash_alone(int(rest[0]))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
