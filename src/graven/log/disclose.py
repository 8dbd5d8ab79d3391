"""Opening entries for somebody outside: ranges with every head, and answers to challenges.

Every document is verified before it leaves: a log whose tiles or journal are damaged says so here, not at the
auditor's. Nothing is recorded here; who hands a document over appends `graven.disclosure` first.
"""

from collections.abc import Sequence
from hashlib import sha256

from graven.core.bracket import verify_range_bracket
from graven.core.challenge import draw, open_challenge
from graven.core.challenge_answer import ChallengeAnswer, Judged, Shown
from graven.core.commitment import NO_RAW, format_head
from graven.core.disclosed import Disclosed, Withheld
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import compact_range_at, prove_inclusion, prove_range
from graven.core.note import Key, format_vkey
from graven.core.range import MAX_RANGE_ENTRIES, Closed, Opened, OpenedRange, verify_opened_range
from graven.core.spelling import encode_base64
from graven.core.tile import tile_nodes
from graven.keys.signature import verify_signature
from graven.log.tail import disk_fetch, entry_at
from graven.log.types import Record
from graven.log.view import View


def open_range(
    view: View, start: int, end: int, *, source: int | None = None, bodies: bool = False, raws: bool = False
) -> OpenedRange:
    """The published entries [start, end) with every head opened, and the anchors that bound them in time; `bodies` and
    `raws` of the events of `source` only.

    An entry whose key is gone, or whose event was lost, stands there unopened. Cost: every block of the range is read.

    Raises:
        BadInput: no such range, too long, not published yet. Disproved, Broken: what is on disk does not prove it.
    """
    published = view.published
    head = published.checkpoint
    if not 0 <= start < end <= head.size:
        raise BadInput(
            f"[{start}, {end}) is no range of the published tree of {head.size} entries",
            mend="begin with the first index, end with the one behind the last",
        )
    if end - start > MAX_RANGE_ENTRIES:
        raise BadInput(
            f"a range of {end - start} entries",
            mend=f"at most {MAX_RANGE_ENTRIES} in one document: several, end to end",
        )
    entries = [
        _row(view, record, head.size, event=bodies and _of(record, source), raw=raws and _of(record, source))
        for record in view.records(start, end)
    ]
    nodes = tile_nodes(disk_fetch(view.directory / "log"), head.size)
    proof = tuple(prove_range(nodes, start=start, end=end, size=head.size))
    vkeys = tuple(format_vkey(key) for key in view.keys)
    anchors = view.anchors(start, end - 1, published)
    found = OpenedRange(start, tuple(entries), source, proof, published.data, vkeys, anchors)
    verify_range_bracket(
        verify_opened_range(found, view.keys, verify_signature), view.keys, view.time_roots, verify_signature
    )
    return found


def answer_challenge(
    view: View, data: bytes, auditors: Sequence[Key], *, bytes_max: int | None = None
) -> ChallengeAnswer:
    """What this log can answer to a signed challenge. An entry whose key is gone is left out: it is missing.

    `bytes_max` bounds the events and raws opened. Raises BadInput: no challenge, of another log, or by nobody of
    `auditors`; more bytes than that. Disproved: of a tree that this log does
    not have; or what is on disk does not prove it. Broken.
    """
    challenge, _, signed, _ = open_challenge(data, auditors, view.keys, verify_signature)
    tree, published = signed.checkpoint, view.published.checkpoint
    if tree.size > published.size:
        raise BadInput(
            f"a challenge of {tree.size} entries, {published.size} are published here", mend="ask when it has grown"
        )
    nodes = tile_nodes(disk_fetch(view.directory / "log"), published.size)
    if compact_range_at(nodes, tree.size).root() != tree.root:
        raise Disproved("the challenge is of a tree that this log does not have", place=f"tree of {tree.size} entries")
    at_size = tile_nodes(disk_fetch(view.directory / "log"), tree.size)
    answers: list[Shown] = []
    acts: dict[int, Shown] = {}
    size_bytes = 0

    def show(record: Record, by: int | None) -> Shown | None:
        entry = opened(record, event=True, raw=True) or (Closed(record.entry) if record.entry is not None else None)
        if entry is None:
            return None
        return Shown(record.index, entry, tuple(prove_inclusion(at_size, index=record.index, size=tree.size)), by)

    for index in draw(challenge.seed, start=challenge.start, end=challenge.end, count=challenge.count):
        record = view.read(index)
        size_bytes += len(record.event or b"") + len(record.raw or b"")
        if bytes_max is not None and size_bytes > bytes_max:
            raise BadInput(f"an answer of more than {bytes_max} bytes", mend="draw fewer entries, or ask by file")
        by = record.erasure_index if record.erasure_index is not None and record.erasure_index < tree.size else None
        if (shown := show(record, by)) is not None:
            answers.append(shown)
        if by is not None and by not in acts and (act := show(view.read(by), None)) is not None:
            acts[by] = act
    return ChallengeAnswer(data, tuple(answers), tuple(acts.values()))


def challenge_act(found: ChallengeAnswer, judged: Judged, document: bytes, *, receiver: str = "") -> dict[str, object]:
    """The data of the `graven.disclosure` that goes before an answer. `receiver`: else the auditor's name."""
    one, tree = judged.challenge, judged.checkpoint.checkpoint
    shown = [row.entry for row in found.answers if isinstance(row.entry, Opened)]
    return {
        "what": "challenge", "start": one.start, "end": one.end, "source": None,
        "heads": len(shown),
        "events": sum(isinstance(row.event, Disclosed) for row in shown),
        "raws": sum(isinstance(row.raw, Disclosed) for row in shown),
        "size": tree.size, "root": encode_base64(tree.root), "sha256": sha256(document).hexdigest(),
        "to": receiver or judged.auditor.name, "challenge": sha256(found.challenge).hexdigest(),
    }  # fmt: skip


def opened(record: Record, *, event: bool, raw: bool) -> Opened | None:
    """A record as an opened entry; None where its head is not known. What is erased is shown as its digest."""
    if record.head is None or record.event_digest is None or record.raw_digest is None:
        return None
    shown_event: Disclosed | Withheld = Withheld(record.event_digest)
    if event and record.event is not None and record.event_salt is not None:
        shown_event = Disclosed(record.event, record.event_salt)
    shown_raw: Disclosed | Withheld | None = None
    if record.raw_digest != NO_RAW:
        shown_raw = Withheld(record.raw_digest)
        if raw and record.raw is not None and record.raw_salt is not None:
            shown_raw = Disclosed(record.raw, record.raw_salt)
    return Opened(format_head(record.head), shown_event, shown_raw)


def _row(view: View, record: Record, size: int, *, event: bool, raw: bool) -> Opened | Closed:
    found = opened(record, event=event, raw=raw)
    if found is not None:
        return found
    if record.entry is not None:
        return Closed(record.entry)
    return Closed(entry_at(disk_fetch(view.directory / "log"), record.index, size))


def _of(record: Record, source: int | None) -> bool:
    return record.head is not None and (source is None or record.head.source == source)
