"""A range of entries with every head opened: how many events of which source came when, and none left out.

One JSON document, `graven-range/v1`:

    format      "graven-range/v1"
    start, end  the range [start, end)
    source      the source the document is about: whose events may be disclosed; or null
    entries     one object for each index of the range, in order:
                {"head", "event", "raw"}   the entry opened; event and raw as in evidence
                {"entry": base64}          an entry nobody can open any more (its events were lost)
    proof       [base64]: the range-inclusion proof: the hashes of the maximal aligned complete subtrees that cover
                [0, start), then of those that cover [end, size), left to right
    checkpoint  the signed tree
    vkeys       verifier keys, for information: never trusted
    anchors     [{"type", "base64"}], as in evidence

What it proves, given trust in a key or a policy from elsewhere: these are all the entries of the range, and each came
from the source its head names. An entry that is not opened could be of any source, so it widens the count; it is never
counted as none. Bounded: 64 MiB, 100,000 entries. Cost: about four hashes an entry.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from graven.core.checkpoint import LOG_KEY_TYPES, SignedCheckpoint, open_checkpoint
from graven.core.commitment import NO_RAW, SOURCE_MAX, Head, entry_of, parse_head
from graven.core.disclosed import Disclosed, Withheld, digest_of, format_event, format_raw, parse_event, parse_raw
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import MAX_VKEYS, Anchor, format_anchors, parse_anchors
from graven.core.merkle import HASH_BYTES, RANGE_HASHES_MAX, hash_leaves, verify_range
from graven.core.note import VerifySignature, parse_vkey
from graven.core.policy import Trust, open_trusted
from graven.core.spelling import decode_hash, encode_base64

FORMAT = "graven-range/v1"
MAX_RANGE_BYTES = 64 << 20
MAX_RANGE_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Opened:
    """An entry with its head. Raises BadInput for a head that is not one."""

    head: bytes
    event: Disclosed | Withheld
    raw: Disclosed | Withheld | None

    def __post_init__(self) -> None:
        parse_head(self.head)

    @property
    def entry(self) -> bytes:
        """The 32 bytes that stand in the tree, recomputed."""
        return entry_of(self.head, digest_of(self.event), NO_RAW if self.raw is None else digest_of(self.raw))


@dataclass(frozen=True, slots=True)
class Closed:
    """An entry that nobody can open. Raises BadInput unless it has 32 bytes."""

    entry: bytes

    def __post_init__(self) -> None:
        if len(self.entry) != HASH_BYTES:
            raise BadInput("an entry is 32 bytes")


@dataclass(frozen=True, slots=True)
class OpenedRange:
    """A range as written, verified by nobody yet. Raises BadInput: empty, too long, a source or a vkey that is none."""

    start: int
    entries: tuple[Opened | Closed, ...]
    source: int | None
    proof: tuple[bytes, ...]
    checkpoint: bytes
    vkeys: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.entries) <= MAX_RANGE_ENTRIES:
            raise BadInput(f"a range of {len(self.entries)} entries", mend=f"1 to {MAX_RANGE_ENTRIES} in one document")
        if self.source is not None and not 0 <= self.source <= SOURCE_MAX:
            raise BadInput("a source number is between 0 and 2^32-1", place="source")
        for vkey in self.vkeys:
            parse_vkey(vkey)

    @property
    def end(self) -> int:
        return self.start + len(self.entries)


@dataclass(frozen=True, slots=True)
class VerifiedRange:
    """What a check of a range has shown. `counts`: events by source. `closed`: indexes of entries that nobody opens."""

    start: int
    end: int
    source: int | None
    counts: Mapping[int, int]
    closed: tuple[int, ...]
    first: Head | None
    last: Head | None
    disclosed: Mapping[int, bytes] = field(repr=False)
    checkpoint: SignedCheckpoint = field(repr=False)
    witnesses: tuple[str, ...]
    anchors: tuple[Anchor, ...] = field(repr=False)

    def of(self, source: int) -> tuple[int, int]:
        """How many events of a source stand in the range: at least, at most (equal where every head is opened)."""
        count = self.counts.get(source, 0)
        return count, count + len(self.closed)


def parse_range(data: bytes) -> OpenedRange:
    """Read a range. Raises BadInput with the path in the document."""
    document = parse_document(data, max_bytes=MAX_RANGE_BYTES, what="a range")
    fields = as_object(document, "range", keys=_KEYS)
    if fields["format"] != FORMAT:
        raise BadInput("not a range of a format known here", place="range.format", mend=f"this version reads {FORMAT}")
    rows = as_list(fields["entries"], "entries", count_max=MAX_RANGE_ENTRIES)
    hashes = as_list(fields["proof"], "proof", count_max=RANGE_HASHES_MAX)
    vkeys = as_list(fields["vkeys"], "vkeys", count_max=MAX_VKEYS)
    found = OpenedRange(
        as_number(fields["start"], "start"),
        tuple(_parse_row(row, f"entries[{number}]") for number, row in enumerate(rows)),
        None if fields["source"] is None else as_number(fields["source"], "source"),
        tuple(decode_hash(as_text(one, f"proof[{at}]"), place=f"proof[{at}]") for at, one in enumerate(hashes)),
        as_text(fields["checkpoint"], "checkpoint").encode(),
        tuple(as_text(vkey, f"vkeys[{number}]") for number, vkey in enumerate(vkeys)),
        parse_anchors(fields["anchors"]),
    )
    if as_number(fields["end"], "end") != found.end:
        raise BadInput(f"a range to {fields['end']} with {len(found.entries)} entries", place="end")
    return found


def format_range(one: OpenedRange) -> bytes:
    """The document: one key a line, one entry a line. Raises BadInput: an event that is not UTF-8, too large."""
    rows = ",\n".join(f"    {_dump(_format_row(entry))}" for entry in one.entries)
    data = (
        f'{{\n  "format": {_dump(FORMAT)},\n  "start": {one.start},\n  "end": {one.end},\n'
        f'  "source": {_dump(one.source)},\n  "entries": [\n{rows}\n  ],\n'
        f'  "proof": {_dump([encode_base64(node) for node in one.proof])},\n'
        f'  "checkpoint": {_dump(one.checkpoint.decode("utf-8"))},\n'
        f'  "vkeys": {_dump(list(one.vkeys))},\n  "anchors": {_dump(format_anchors(one.anchors))}\n}}\n'
    ).encode()
    if len(data) > MAX_RANGE_BYTES:
        raise BadInput(f"a range of more than {MAX_RANGE_BYTES} bytes", mend="a shorter one, or without bodies")
    return data


def verify_opened_range(one: OpenedRange, trust: Trust, verify: VerifySignature) -> VerifiedRange:
    """What a range shows to someone who trusts keys or follows a policy.

    Every entry is recomputed from what is opened. Raises Disproved: not all entries of the range are there, one was
    changed, or the checkpoint is not signed as `trust` (or a `vkeys` line) demands. BadInput: no key given.
    """
    signed, witnesses = open_trusted(one.checkpoint, trust, verify)
    head = signed.checkpoint
    if one.end > head.size:
        raise Disproved(
            "the range goes beyond the tree of the checkpoint", expected=f"up to {head.size}", found=str(one.end)
        )
    verify_range(
        hash_leaves(entry.entry for entry in one.entries), one.proof, start=one.start, size=head.size, root=head.root
    )
    keys = [parse_vkey(vkey) for vkey in one.vkeys]
    if own := [key for key in keys if key.name == head.origin and key.type in LOG_KEY_TYPES]:
        others = [key for key in keys if key not in own]
        open_checkpoint(signed.data, own, verify, cosigners=others, require_all=True)
    opened = [(one.start + at, entry) for at, entry in enumerate(one.entries) if isinstance(entry, Opened)]
    heads = [parse_head(entry.head) for _, entry in opened]
    mine = [read for read in heads if one.source is None or read.source == one.source]
    return VerifiedRange(
        one.start, one.end, one.source,
        Counter(read.source for read in heads),
        tuple(one.start + at for at, entry in enumerate(one.entries) if isinstance(entry, Closed)),
        mine[0] if mine else None, mine[-1] if mine else None,
        {index: entry.event.data for index, entry in opened if isinstance(entry.event, Disclosed)},
        signed, witnesses, one.anchors,
    )  # fmt: skip


_KEYS = ("format", "start", "end", "source", "entries", "proof", "checkpoint", "vkeys", "anchors")


def _parse_row(value: object, place: str) -> Opened | Closed:
    if isinstance(value, dict) and "entry" in value:
        fields = as_object(value, place, keys=("entry",))
        return Closed(decode_hash(as_text(fields["entry"], f"{place}.entry"), place=f"{place}.entry"))
    fields = as_object(value, place, keys=("head", "event", "raw"))
    try:
        return Opened(
            as_text(fields["head"], "head").encode(),
            parse_event(fields["event"], "event"),
            parse_raw(fields["raw"], "raw"),
        )
    except BadInput as error:
        error.place = f"{place}.{error.place or 'head'}"
        raise


def _format_row(entry: Opened | Closed) -> dict[str, object]:
    if isinstance(entry, Closed):
        return {"entry": encode_base64(entry.entry)}
    return {
        "head": entry.head.decode("ascii"), "event": format_event(entry.event), "raw": format_raw(entry.raw),
    }  # fmt: skip


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
