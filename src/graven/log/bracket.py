"""The anchors that bound an event, or a range of them, put together as documents carry them (`core/bracket.py` judges).

    before   from anchors/: the stamp with the earliest time over a published tree that holds the event; where the
             newest is by a certificate that ends later, that one too. From checkpoints/: the first cosigned such note
    after    the event of the log's own, below it, that holds the latest stamp; the same of cosignatures

Each with what it takes to check it alone: a consistency proof to the tree of the evidence, or evidence of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from graven.anchor.policies import current_policy, kept_witness_keys
from graven.anchor.stored import StoredName, list_anchors, read_anchor
from graven.core.anchored import COSIGNATURE, EVENT, RFC3161, Anchored, format_anchor
from graven.core.bracket import Bracket, verify_bracket
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import GravenError
from graven.core.evidence import Anchor, parse_evidence, verify_evidence
from graven.core.merkle import prove_consistency
from graven.core.note import Key
from graven.core.policy import NO_QUORUM, Policy, Succession, Trust, parse_policy
from graven.core.tile import tile_nodes
from graven.core.timestamp import Stamp, verify_token
from graven.core.x509 import Certificate
from graven.keys.signature import verify_signature
from graven.log.anchorings import SelfEvents, anchored_in, best_below, read_covered
from graven.log.handovers import own_tenures
from graven.log.history import PINNED, PREDECESSOR
from graven.log.prove import evidence
from graven.log.reader import JournalReader
from graven.log.tail import disk_fetch

_LOOKED_AT_MAX = 16
_SCAN_ENTRIES = 4_096
_SCANS_MAX = 64


def collect_anchors(
    directory: Path,
    published: SignedCheckpoint,
    *,
    first: int,
    last: int,
    keys: Sequence[Key],
    reader: JournalReader,
    self_events: SelfEvents,
    roots: Sequence[Certificate] | None,
) -> tuple[Anchor, ...]:
    """The anchors that bound the published events `first` to `last`. What cannot be read or proved here is left out.

    `roots` None: stamps of any authority that hold together.
    """
    found: list[Anchor] = []
    tree = published.checkpoint
    nodes = tile_nodes(disk_fetch(directory / "log"), tree.size)
    for anchored in (
        *_stamps_over(directory, last, tree.size, roots),
        *_cosigned_over(directory, last, published, keys),
    ):
        size = anchored.head.size
        try:
            hashes = prove_consistency(nodes, old=size, new=tree.size) if size < tree.size else []
        except (GravenError, OSError):
            continue
        found.append(Anchor(anchored.type, format_anchor(replace(anchored, hashes=tuple(hashes)))))
    for kind in (RFC3161, COSIGNATURE):
        at = _event_below(directory / "state", kind, first, self_events)
        if at is not None and _holds(self_events(at, at + 1), at, kind):
            try:
                found.append(Anchor(EVENT, evidence(directory, reader.read(at), published, keys)))
            except GravenError:
                continue
    return tuple(found)


def read_bracket(directory: Path, document: bytes, keys: Sequence[Key], roots: Sequence[Certificate]) -> Bracket:
    """When the event of `document`, evidence of this log, was sequenced, by the operator's own lights: the given roots,
    and the witnesses of the policy the log is run with, its quorum apart. Raises Disproved, BadInput."""
    found = parse_evidence(document)
    tenures = own_tenures(directory, None, keys)
    base: Policy | tuple[Key, ...] = tenures.first_keys
    path = current_policy(directory)
    if path is not None:
        base = replace(
            parse_policy(path.read_bytes()), logs=tuple((key, None) for key in tenures.first_keys), quorum=NO_QUORUM
        )
    trust: Trust = Succession(base, tenures.handovers) if tenures.handovers else base
    return verify_bracket(verify_evidence(found, trust=trust, verify=verify_signature), trust, roots, verify_signature)


def _stamps_over(directory: Path, index: int, size: int, roots: Sequence[Certificate] | None) -> Iterator[Anchored]:
    """The earliest good stamp over a tree that holds `index`; of the newest, the one whose certificate ends latest."""
    names = [name for name in list_anchors(directory) if index < name.size <= size]
    first = next(_good_stamps(directory, names, roots), None)
    if first is None:
        return
    yield first[0]
    longest = max(_good_stamps(directory, names[-_LOOKED_AT_MAX:], roots), key=_expiry, default=first)
    if _expiry(longest) > _expiry(first):
        yield longest[0]


def _good_stamps(
    directory: Path, names: Sequence[StoredName], roots: Sequence[Certificate] | None
) -> Iterator[tuple[Anchored, Stamp]]:
    for name in names[:_LOOKED_AT_MAX]:
        try:
            anchored = read_anchor(directory, name)
            if anchored.token is not None:
                stamp = verify_token(anchored.token, anchored.checkpoint, roots=roots, verify=verify_signature)
                yield anchored, stamp
        except (GravenError, OSError):
            continue


def _expiry(stamped: tuple[Anchored, Stamp]) -> int:
    return stamped[1].expires_us


def _cosigned_over(directory: Path, index: int, published: SignedCheckpoint, keys: Sequence[Key]) -> Iterator[Anchored]:
    """The first note with cosignatures over a tree that holds `index`; none where that is the published one."""
    witnesses = kept_witness_keys(directory)
    if not witnesses:
        return
    try:
        tenures = own_tenures(directory, None, keys)
    except GravenError:
        return
    for path in _notes_over(directory / "checkpoints", index, published.checkpoint.size)[:_LOOKED_AT_MAX]:
        try:
            data = path.read_bytes()
            signed = tenures.open(data, verify_signature, cosigners=witnesses)
        except (GravenError, OSError):
            continue
        if any(one.key in witnesses for one in signed.signed):
            if signed.checkpoint.size < published.checkpoint.size:
                yield Anchored(COSIGNATURE, None, data)
            return


def _notes_over(folder: Path, index: int, size: int) -> list[Path]:
    """The kept notes of trees that hold `index`, up to `size`, the smallest first; of one day, and then the next."""
    days = sorted(day for day in folder.iterdir() if day.is_dir() and day.name not in (PINNED, PREDECESSOR))
    for day in days:
        found = [
            (int(path.name), path)
            for path in day.iterdir()
            if path.name.isascii() and path.name.isdecimal() and index < int(path.name) <= size
        ]
        if found:
            return [path for _, path in sorted(found)]
    return []


def _holds(events: Iterable[tuple[int, bytes]], index: int, kind: str) -> bool:
    """Whether the log's own event at `index` holds an anchor of this kind: the files that said so are believed in
    nothing, and another event has no business in somebody's evidence.
    """
    return any(at == index and (anchored_in(event) or ("", 0))[0] == kind for at, event in events)


def _event_below(state: Path, kind: str, index: int, self_events: SelfEvents) -> int | None:
    """The index of the event below `index` that holds the latest anchor of this kind."""
    if read_covered(state):
        return best_below(state, kind, index)
    end = index
    for _ in range(_SCANS_MAX):  # a copy without its state: look back, not for ever
        start = max(0, end - _SCAN_ENTRIES)
        best: tuple[int, int] | None = None
        for at, event in self_events(start, end):
            found = anchored_in(event)
            if at < end and found is not None and found[0] == kind:
                best = max(best or (0, 0), (found[1], at))
        if best is not None:
            return best[1]
        end = start
        if not end:
            break
    return None
