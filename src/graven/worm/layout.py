"""The names of a copy's objects, and the documents that say what the copy is (docs/format.md, section 21).

    graven-copy.json                          what log this is a copy of; put first
    full-lock.json                            since when objects are locked for their class's time; absent: a trial
    journal/<segment name>                    a closed segment, whole
    journal/torn/<name>                       bytes that recovery cut
    open/<segment name>/<offset>.<16 hex>     whole frames of a segment that was open, from that byte on
    log/tile/…                                full tiles and entry bundles, never partial ones
    log/handover/<n>                          hand-overs of the log's keys
    edges/<size, 20 digits>                   what a tree of that size has beside full tiles
    checkpoints/<size>.<16 hex digits>        kept checkpoints, by size and SHA-256
    checkpoints/predecessor/<size>            of the log this one goes on from
    certificates/<first>-<last>.<16 hex>      of the receipt key, by the sizes they cover (20 digits) and SHA-256
    policies/<SHA-256>, config/<SHA-256>.toml, anchors/…
    probe/…                                   what the doctor tried

An edge of size n is the entries of the last bundle if it is not full, then for each level from 1 on the hashes of the
last tile of that level if it is not full: 32 bytes each, their numbers given by n.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core.document import parse_document
from graven.core.errors import BadInput
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import Key, format_vkey, parse_vkey
from graven.core.tile import HEIGHT, WIDTH

COPY = "graven-copy.json"
FULL_LOCK = "full-lock.json"
JOURNAL, TORN, OPEN, TREE = "journal/", "journal/torn/", "open/", "log/tile/"
HANDOVERS = "log/handover/"
EDGES, CHECKPOINTS, PREDECESSORS = "edges/", "checkpoints/", "checkpoints/predecessor/"
POLICIES, CONFIGS, ANCHORS, PROBES = "policies/", "config/", "anchors/", "probe/"
CERTIFICATES = "certificates/"

DOCUMENT_BYTES_MAX = 64 << 10
TRIAL_DAYS = 7

_FORMAT, _LOCK_FORMAT = "graven-copy/v1", "graven-copy-lock/v1"
_CHECKPOINT = re.compile(r"checkpoints/([0-9]{20})\.([0-9a-f]{16})", re.ASCII)
_CERTIFICATE = re.compile(r"certificates/([0-9]{20})-([0-9]{20})\.([0-9a-f]{16})", re.ASCII)
_EDGE = re.compile(r"edges/([0-9]{20})", re.ASCII)
_SEGMENT = re.compile(r"journal/([0-9]{20})\.([0-9]{4,})\.seg", re.ASCII)
_PIECE = re.compile(r"open/([0-9]{20})\.([0-9]{4,})\.seg/([0-9]{12})\.([0-9a-f]{16})", re.ASCII)
_HEX32 = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Description:
    """What a copy is of. It is not signed, and convinces nobody: the keys that verify a copy come from elsewhere."""

    origin: str
    log_id: str
    keys: tuple[Key, ...]


def format_description(description: Description) -> bytes:
    return _format(
        {
            "format": _FORMAT,
            "origin": description.origin,
            "log_id": description.log_id,
            "vkeys": [format_vkey(key) for key in description.keys],
        }
    )


def parse_description(data: bytes) -> Description:
    """Raises BadInput for anything but the one spelling of a description."""
    document = _parse(data, "the description of a copy", ("format", "origin", "log_id", "vkeys"))
    origin, log_id, vkeys = document["origin"], document["log_id"], document["vkeys"]
    if document["format"] != _FORMAT or not isinstance(origin, str) or not isinstance(log_id, str):
        raise BadInput("a description of a copy that is of another format")
    if not _HEX32.fullmatch(log_id) or not isinstance(vkeys, list) or not 1 <= len(vkeys) <= 8:
        raise BadInput("a description of a copy with a wrong log id or key list")
    if not all(isinstance(vkey, str) for vkey in vkeys):
        raise BadInput("a description of a copy with a key that is no text")
    found = Description(origin, log_id, tuple(parse_vkey(vkey) for vkey in vkeys))
    if format_description(found) != data:
        raise BadInput("a description of a copy that is not spelled as Graven does")
    return found


def format_full_lock(since_s: int) -> bytes:
    return _format({"format": _LOCK_FORMAT, "since_s": since_s})


def parse_full_lock(data: bytes) -> int:
    """Since when the full lock is in force, POSIX seconds. Raises BadInput."""
    document = _parse(data, "the document of the full lock", ("format", "since_s"))
    since_s = document["since_s"]
    if document["format"] != _LOCK_FORMAT or not isinstance(since_s, int) or format_full_lock(since_s) != data:
        raise BadInput("a document of the full lock that is of another format")
    return since_s


def checkpoint_name(size: int, note: bytes) -> str:
    return f"{CHECKPOINTS}{size:020d}.{sha256(note).hexdigest()[:16]}"


def parse_checkpoint_name(name: str) -> tuple[int, str] | None:
    """(size, first 16 hex digits of its SHA-256), None for another name."""
    found = _CHECKPOINT.fullmatch(name)
    return None if found is None else (int(found[1]), found[2])


def certificate_name(file: str, note: bytes) -> str:
    """`file` is its name in the log's directory: the sizes it covers."""
    return f"{CERTIFICATES}{file}.{sha256(note).hexdigest()[:16]}"


def parse_certificate_name(name: str) -> tuple[int, int, str] | None:
    """(first size, last size, first 16 hex digits of its SHA-256), None for another name."""
    found = _CERTIFICATE.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]), found[3])


def edge_name(size: int) -> str:
    return f"{EDGES}{size:020d}"


def parse_edge_name(name: str) -> int | None:
    found = _EDGE.fullmatch(name)
    return None if found is None else int(found[1])


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """(start, generation) of a segment's copy, None for another name."""
    found = _SEGMENT.fullmatch(name)
    if found is None or f"{int(found[2]):04d}" != found[2]:
        return None
    return int(found[1]), int(found[2])


def piece_name(segment: str, offset: int, digest: bytes) -> str:
    """`segment` is its file name, `digest` SHA-256 of the frames: after a declared loss others may stand there."""
    return f"{OPEN}{segment}/{offset:012d}.{digest.hex()[:16]}"


def parse_piece_name(name: str) -> tuple[int, int, int] | None:
    """(start, generation, offset), None for another name."""
    found = _PIECE.fullmatch(name)
    if found is None or f"{int(found[2]):04d}" != found[2]:
        return None
    return int(found[1]), int(found[2]), int(found[3])


def edge_counts(size: int) -> list[int]:
    """How many entries, then how many hashes of each level from 1 on, the edge of a tree of `size` entries has."""
    counts = [size % WIDTH]
    while size := size >> HEIGHT:
        counts.append(size % WIDTH)
    return counts


def format_edge(entries: Sequence[bytes], levels: Sequence[Sequence[bytes]]) -> bytes:
    """`levels`: the hashes of level 1, 2, …"""
    return b"".join((*entries, *(hash_ for level in levels for hash_ in level)))


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree: `levels[0]` are the leaf hashes of `entries`, `levels[L]` nodes of height 8·L."""

    size: int
    entries: tuple[bytes, ...]
    levels: tuple[tuple[bytes, ...], ...]

    @property
    def root(self) -> bytes:
        """The root of the whole tree: an edge determines it."""
        hashes = tuple(hash_ for level in reversed(self.levels) for hash_ in CompactRange.EMPTY.extend(level)[0].hashes)
        return CompactRange(self.size, hashes).root()


def parse_edge(data: bytes, size: int) -> Edge:
    """Raises BadInput for a wrong length. What the hashes are worth is told by the root they lead to."""
    counts = edge_counts(size)
    if len(data) != 32 * sum(counts):
        raise BadInput(f"an edge of {len(data)} bytes, where {32 * sum(counts)} belong")
    hashes = [data[at : at + 32] for at in range(0, len(data), 32)]
    levels: list[tuple[bytes, ...]] = []
    for count in counts:
        levels.append(tuple(hashes[:count]))
        hashes = hashes[count:]
    entries, *upper = levels
    return Edge(size, entries, (tuple(hash_leaves(entries)), *upper))


def _format(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _parse(data: bytes, what: str, keys: Sequence[str]) -> dict[str, object]:
    document = parse_document(data, max_bytes=DOCUMENT_BYTES_MAX, what=what)
    if not isinstance(document, dict) or tuple(document) != tuple(keys):
        raise BadInput(f"{what} with other keys than {', '.join(keys)}")
    return document
