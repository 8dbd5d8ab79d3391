"""What Graven's own events say of the files: which cuts are named, which erasures were published, which keys signed.

An erased slot, or a data key that is gone, needs an erasure event that was published and names exactly it. A file in
`journal/torn/` needs the event that names it, unless recovery made it just now and a crash kept it from saying so.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graven.core.errors import GravenError
from graven.core.handover import Tenures, format_handover
from graven.core.note import MAX_NOTE_BYTES, format_vkey
from graven.journal.segment import SegmentFile
from graven.log import acts
from graven.log.verify.reading import is_blank, read_bounded, read_sha256
from graven.log.verify.report import Findings
from graven.log.verify.task import Act, Slots

DataKeyName = tuple[int, str, str, str]
"""(segment start, class, kind, key id in hex), as an erasure event names a data key."""


@dataclass(frozen=True, slots=True)
class End:
    """Where the journal ends: the last segment's name, the index, and the places behind the last block: (segment,
    offset) of its own end, and of the beginning and the end of each later segment that has no block."""

    segment: str
    index: int
    places: frozenset[tuple[str, int]] = frozenset()


@dataclass(slots=True)
class Acts:
    """Graven's own events, as far as they say something about files."""

    erasures: dict[int, DataKeyName] = field(default_factory=dict)
    torn: dict[str, str] = field(default_factory=dict)
    heals: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    anchored: set[str] = field(default_factory=set)
    """Files in anchors/ that events name."""
    genesis: Mapping[str, object] | None = None
    handovers: list[str] = field(default_factory=list)
    complete: bool = True
    """False where keys of a segment could not be read: an event that is not found may be among what stays sealed."""

    def take(self, found: Iterable[Act]) -> None:
        for act in found:
            data = act.data
            if act.action == acts.ERASURE:
                self.erasures[act.index] = _named_key(data)
            elif act.action == acts.HEAL:
                self.heals[act.index] = _named_ranges(data)
            elif act.action in (acts.RECOVERY, acts.LOSS) and "file" in data:  # of a loss, nothing may be left
                self.torn[str(data.get("file"))] = str(data.get("sha256"))
            elif act.action == acts.KEYS_HANDOVER:
                self.handovers.append(str(data.get("handover")))
            elif act.action in (acts.ANCHOR_TOKEN, acts.ANCHOR_COSIGNATURE) and isinstance(data.get("file"), str):
                self.anchored.add(str(data["file"]))
            elif act.action == acts.GENESIS and act.index == 0:
                self.genesis = data


def check_slots(slots: Iterable[Slots], own: Acts, published: int, end: int, findings: Findings) -> set[DataKeyName]:
    """Judge erased and lost slots, and slots whose key is not in the keyring; returns the keys that were missed. `end`
    is the journal's.
    """
    missed: set[DataKeyName] = set()
    say = findings.disprove if own.complete else findings.fail
    erased = {key for index, key in own.erasures.items() if index < published}
    merged: dict[tuple[int, str, str, bytes, int | None], tuple[int, int, int]] = {}
    for one in slots:
        group = one.segment, one.class_name, one.kind, one.key_id, one.erasure
        first, last, count = merged.get(group, (one.first, one.last, 0))
        merged[group] = min(first, one.first), max(last, one.last), count + one.count
    for (segment, class_name, kind, key_id, erasure), (first, last, count) in merged.items():
        key: DataKeyName = segment, class_name, kind, key_id.hex()
        place = f"segment {segment}, {kind}s of class {class_name}, key {key_id.hex()}"
        if kind == "lost":
            _check_lost(first, last, count, erasure, own, published, end, findings)
        elif class_name == acts.SELF_CLASS:
            missed.add(key)
            say("Graven's own events, which nothing may erase, are gone", place, first, last + 1)
        elif erasure is None:
            if key in erased:
                findings.note(f"{count} {kind}s cannot be read: their key was erased, as an event says ({place})")
            else:
                missed.add(key)
                say("a key id gone without an erasure event", place, first, last + 1)
        elif own.erasures.get(erasure) != key:
            what = f"erased without an erasure event: index {erasure} names no such erasure"
            say(what, place, first, last + 1)
        elif erasure <= last:
            findings.disprove(f"erased by an event that came before: index {erasure}", place, first, last + 1)
        elif erasure >= published:
            findings.disprove(f"erased by an event that is not published: index {erasure}", place, first, last + 1)
        else:
            findings.note(f"{count} {kind}s are erased, as the event at index {erasure} says ({place})")
    return missed


def _check_lost(
    first: int, last: int, count: int, heal: int | None, own: Acts, published: int, end: int, findings: Findings
) -> None:
    """Lost slots stand only where a heal, the event right behind them, names them; it may be yet to come."""
    say = findings.disprove if own.complete else findings.fail
    named = own.heals.get(-1 if heal is None else heal, [])
    if heal is None or heal != last + 1 or count != last + 1 - first:
        findings.disprove("lost slots that do not lie right before the event that is to name them", "", first, last + 1)
    elif heal == end:
        findings.note(f"{count} events were lost: the next start says so in the log ([{first}, {last + 1}))")
    elif not any(a <= first and last < b for a, b in named):
        say(f"lost without an event that says so: index {heal} names no such loss", "", first, last + 1)
    elif heal >= published:
        findings.note(f"{count} events were lost, as the event at index {heal}, not published yet, says")
    else:
        findings.note(f"{count} events were lost, as the event at index {heal} says ([{first}, {last + 1}))")


def check_keys(
    segment: int, named: Iterable[tuple[str, str, bytes]], held: Collection[bytes], missed: Collection[DataKeyName],
    own: Acts, published: int, findings: Findings,
) -> None:  # fmt: skip
    """Every data key that a segment's header names is in the keyring, was erased by a published event, or was `missed`
    already."""
    say = findings.disprove if own.complete else findings.fail
    erased = {key for index, key in own.erasures.items() if index < published}
    for class_name, kind, key_id in named:
        key: DataKeyName = segment, class_name, kind, key_id.hex()
        allowed = key in erased and class_name != acts.SELF_CLASS
        if key_id not in held and not allowed and key not in missed:
            place = f"segment {segment}, {kind}s of class {class_name}, key {key_id.hex()}"
            say("a key id gone without an erasure event", place)


def check_torn(
    directory: Path, names: Iterable[str], own: Acts, segments: Sequence[SegmentFile], end: End, findings: Findings
) -> None:
    """Every file in `journal/torn/` is the one its event names."""
    names = list(names)
    for name in names:
        place = f"journal/torn/{name}"
        if name.endswith(".tmp"):
            findings.note(f"an unfinished write, as a crash may leave it: {place}")
            continue
        try:
            digest = read_sha256(str(directory / "journal" / "torn" / name))
        except GravenError as error:
            findings.error(error, place)
            continue
        if digest is None:
            continue  # gone since it was listed
        if name in own.torn:
            if own.torn[name] != digest:
                findings.disprove(
                    f"the bytes kept by recovery were changed: expected SHA-256 {own.torn[name]}, found {digest}", place
                )
        elif _just_cut(name, digest, segments, end):
            findings.note(f"{place} is not named by an event yet: the next start does that")
        else:
            say = findings.disprove if own.complete else findings.fail
            say("a file in torn/ that no event names", place)
    for name in sorted(own.torn.keys() - set(names)):
        findings.note(f"the bytes kept by recovery are gone: journal/torn/{name}")


def check_genesis(own: Acts, tenures: Tenures, origin: str, log_id: bytes, end: int, findings: Findings) -> None:
    """The first event names this log and its first keys; each change of them is an event."""
    genesis = own.genesis
    if genesis is None:
        findings.disprove("the first event is not the log's genesis", "", 0, 1)
        return
    vkeys = genesis.get("vkeys")
    for key in tenures.at(0)[0]:
        if not isinstance(vkeys, list) or format_vkey(key) not in vkeys:
            what = "the log's first event does not name a key its checkpoints are believed by"
            findings.disprove(f"{what}: {key.name}+{key.id.hex()}", "", 0, 1)
    if genesis.get("origin") != origin or genesis.get("log_id") != log_id.hex():
        findings.disprove("the log's first event names another log", "", 0, 1)
    stated = {text.partition("\n\n")[0] + "\n" for text in own.handovers}
    for handover in tenures.handovers:
        if format_handover(handover) not in stated:
            what = f"no event of the log names the hand-over of its signing keys at size {handover.last}"
            if handover.last < end:
                (findings.disprove if own.complete else findings.fail)(what)
            else:
                findings.note(f"{what}: the next start does that")


def check_predecessors(directory: Path, paths: Iterable[str], own: Acts, findings: Findings) -> None:
    """A checkpoint of the log this one succeeds is the one that the first event holds."""
    successor = (own.genesis or {}).get("successor_of")
    stated = successor.get("checkpoint") if isinstance(successor, dict) else None
    for path in paths:
        try:
            note = read_bounded(str(directory / path), MAX_NOTE_BYTES)
        except GravenError as error:
            findings.error(error, path)
            continue
        if is_blank(note):
            findings.note(f"the checkpoint of the log before is empty, as a power cut may leave it: {path}")
        elif note != (stated.encode() if isinstance(stated, str) else None):
            findings.disprove("a checkpoint of another log, which is not the one the first event names", path)


def _named_key(data: Mapping[str, object]) -> DataKeyName:
    segment = data.get("segment")
    start = segment if isinstance(segment, int) else -1
    return start, str(data.get("class")), str(data.get("kind")), str(data.get("key_id"))


def _named_ranges(data: Mapping[str, object]) -> list[tuple[int, int]]:
    rows = data.get("lost")
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2] if isinstance(rows, list) else []
    return [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]


def _just_cut(name: str, digest: str, segments: Sequence[SegmentFile], end: End) -> bool:
    """Whether recovery can have kept these bytes with nothing appended since: they were cut at the journal's end."""
    rest, _, head = name.rpartition(".")
    segment, _, offset = rest.rpartition(".")
    if head != digest[:16] or not offset.isdecimal():
        return False
    if (segment, int(offset)) in end.places:
        return True
    start = segment.partition(".")[0]
    gone = all(one.name != segment for one in segments)
    return gone and int(offset) == 0 and start.isdecimal() and int(start) >= end.index
