"""Erasing one class of one closed segment: its raws, or its raws and events, by destroying their data keys.

    the erasure event published → the segment written again with husks, synced, renamed → readers forget
    → keys destroyed in every copy of the keyring, raws first → the old generation removed → certificate

A husk keeps what every proof needs (heads and digests), so nothing that was ever proved becomes unprovable. A crash at
any step leaves a log that verifies; calling again goes on where it stopped, under the same erasure event. The open
segment is never touched, so the writer need not stop.

What this cannot reach is named in the certificate: snapshots, backups and recovery kits made before hold keys of their
own. Whether an erasure is allowed (holds, retention, two people) is for the caller to decide.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.checkpoint import SignedCheckpoint
from graven.core.commitment import NO_RAW, digests, format_head
from graven.core.errors import BadInput, Broken, GravenError
from graven.core.merkle import CompactRange, hash_leaves
from graven.journal import frame
from graven.journal.files import File, Files
from graven.journal.frame import BLOCK, EVENTS, HUSK_EVENTS, HUSK_RAWS, RAWS, FrameHeader, Section, SegmentHeader
from graven.journal.segment import SegmentFile, SegmentReader, list_segments, segment_name
from graven.keys.keyring import Keyring
from graven.log import acts
from graven.log.admin import Actor, Acts
from graven.log.block import decode_husk, encode_husk, heads_of, open_block
from graven.log.reader import KeyFinder
from graven.log.seal import Unsealed, unseal

Kind = Literal["event", "raw"]

OUT_OF_REACH = (
    "copies of the keyring this log does not list: snapshots, backups, recovery kits made before",
    "what was exported or disclosed",
)

_NUMBERS: dict[Kind, int] = {"raw": RAWS, "event": EVENTS}


class Erasable(Acts, Protocol):
    """What erasing needs of a log (a `Log`)."""

    @property
    def directory(self) -> Path: ...

    @property
    def files(self) -> Files: ...

    @property
    def keyring(self) -> Keyring: ...

    def publish(self) -> SignedCheckpoint: ...

    def forget(self) -> None:
        """Let every reader of this process drop what it has cached."""


def erase_class(
    log: Erasable, segment_start: int, class_name: str, kind: Kind, *, reason: str, actor: Actor | None = None
) -> dict[str, object]:
    """Erase a class's raws (`kind` "raw"), or its raws and events ("event"), in one closed segment; the certificate.

    Raises:
        BadInput: no such segment or class in it, the segment is still open, or the class is Graven's own. Broken: the
            disk failed, or a slot cannot be read any more and so has no husk; no key was destroyed then.
    """
    if class_name == acts.SELF_CLASS:
        raise BadInput("Graven's own events are never erased", place=f"class {class_name!r}")
    with log.one_act():  # one erasure at a time
        journal = log.directory / "journal"
        segment = _closed_segment(journal, segment_start)
        with SegmentReader(segment) as reader:
            targets = _targets(reader.header(), class_name, kind)
            bounds = {key_id: _bounds(reader, key_id) for key_id in targets.values()}
            erasures = {
                key_id: _publish_event(log, segment_start, class_name, one, key_id, bounds[key_id], reason, actor)
                for one, key_id in targets.items()
            }
            published = log.publish().checkpoint.size
            newest = _write_husks(log, reader, erasures)
        log.forget()
        destroyed = [log.keyring.destroy(key_id, segment_start) for key_id in targets.values()]
        _remove_older(log.files, journal, newest)
    return {
        "segment": segment_start,
        "generation": newest.generation,
        "class": class_name,
        "erased": [
            {"kind": one, "key_id": key_id.hex(), "event": erasures[key_id], "first": first, "last": last}
            for (one, key_id), (first, last) in zip(targets.items(), bounds.values(), strict=True)
        ],
        "published": published,
        "keys_destroyed": sum(destroyed),
        "keyring_copies": 1 + len(log.keyring.replicas),
        "out_of_reach": list(OUT_OF_REACH),
    }


def _closed_segment(journal: Path, start: int) -> SegmentFile:
    for segment in list_segments(str(journal)):
        if segment.start == start:
            with SegmentReader(segment) as reader:
                if reader.closed() is None:
                    raise BadInput(
                        "this segment is still open, and only closed ones are rewritten",
                        place=segment.name,
                        mend="wait until it is full or old enough: [journal] segment_bytes, segment_age_s",
                    )
            return segment
    raise BadInput(f"no segment begins at index {start}", place=str(journal))


def _targets(header: SegmentHeader, class_name: str, kind: Kind) -> dict[Kind, bytes]:
    """The keys to destroy, by kind, raws first."""
    wanted: tuple[Kind, ...] = ("raw",) if kind == "raw" else ("raw", "event")
    held = {(name, number): key_id for name, number, key_id in header.keys}
    found = {one: held[class_name, _NUMBERS[one]] for one in wanted if (class_name, _NUMBERS[one]) in held}
    if not found:
        raise BadInput(f"the segment at {header.start} has no keys of class {class_name!r}")
    return found


def _bounds(reader: SegmentReader, key_id: bytes) -> tuple[int | None, int | None]:
    """The first and last index of what a key seals, or sealed before it was erased; (None, None) if that is nothing."""
    first = last = None
    for block in _blocks(reader):
        for section in block.sections:
            if section.key_id == key_id:
                where = section.indexes()
                first = block.header.start + where[0] if first is None else first
                last = block.header.start + where[-1]
    return first, last


def _publish_event(
    log: Erasable,
    segment: int,
    class_name: str,
    kind: Kind,
    key_id: bytes,
    bounds: tuple[int | None, int | None],
    reason: str,
    actor: Actor | None,
) -> int:
    """The index of the erasure event of a key: the one an interrupted call left, or a new one, published by the caller
    before anything is touched."""
    for erasure in log.registers.erasures:
        if erasure.key_id == key_id.hex() and erasure.segment == segment:
            return erasure.index
    first, last = bounds
    data: Mapping[str, object] = {
        "segment": segment,
        "class": class_name,
        "kind": kind,
        "key_id": key_id.hex(),
        "first": first,
        "last": last,
        "reason": reason,
    }
    index = log.append_act(acts.ERASURE, data, actor=actor).first_index
    assert index is not None
    return index


def _write_husks(log: Erasable, reader: SegmentReader, erasures: Mapping[bytes, int]) -> SegmentFile:
    """The next generation of a segment, durable under its name; the one there is, if it holds nothing to erase."""
    if not any(
        section.key_id in erasures and section.kind in (EVENTS, RAWS)
        for block in _blocks(reader)
        for section in block.sections
    ):
        return reader.file
    old, folder = reader.file, Path(reader.file.path).parent
    name = segment_name(old.start, old.generation + 1)
    final = SegmentFile(old.start, old.generation + 1, str(folder / name))
    temporary = final.path + ".tmp"
    files = log.files
    try:
        if Path(temporary).exists():
            files.remove(temporary)
        file = files.create(temporary)
        try:
            _Rewriting(reader, erasures, KeyFinder(log.keyring)).write(file)
            file.sync()
        except (OSError, GravenError):
            with contextlib.suppress(OSError):  # what matters is the first error
                files.remove(temporary)
            raise
        finally:
            file.close()
        files.rename(temporary, final.path)
        files.sync_dir(str(folder))
    except OSError as error:
        raise Broken("the segment could not be rewritten", place=f"{temporary}: {error.strerror}") from None
    return final


class _Rewriting:
    """A closed segment written again, its sections under `erasures` as husks. Each block is proved to lead to the tree
    it stands in, as it will be read when the keys are gone, before it is written."""

    def __init__(self, reader: SegmentReader, erasures: Mapping[bytes, int], find_key: KeyFinder) -> None:
        self._reader, self._erasures, self._find_key = reader, erasures, find_key
        self._header = reader.header()

    def write(self, file: File) -> None:
        """Raises Broken where a key is gone already, or a block would not lead to its tree; OSError."""
        start, tree = self._header.start, CompactRange(self._header.start, self._header.hashes)
        data = frame.encode_segment_header(replace(self._header, generation=self._header.generation + 1))
        file.write_at(0, data)
        offset = len(data)
        places: list[tuple[int, int]] = []
        for block in _blocks(self._reader):
            sections = self._with_husks(block)
            tree = self._extend(tree, block, sections)
            data = frame.encode_block(
                start=block.header.start, count=block.header.count, root=block.header.root, sections=sections
            )
            places.append((block.header.start, offset))
            file.write_at(offset, data)
            offset += len(data)
        index = frame.encode_index(segment_start=start, end=tree.size, root=tree.root(), frames=places, offset=offset)
        file.write_at(offset, index)

    def _with_husks(self, block: "_Block") -> list[Section]:
        raw_digests = [NO_RAW] * block.header.count
        sections = list(block.sections)
        for number, section in enumerate(block.sections):
            if section.kind in (HUSK_EVENTS, HUSK_RAWS):
                slots = decode_husk(section, block.place)
            elif section.kind == RAWS:
                clear = self._unseal(section, block.place)
                slots = [(b"", b"", one) for one in digests(clear.salts, clear.items)]
                if section.key_id in self._erasures:
                    sections[number] = self._husk(section, HUSK_RAWS, slots)
            else:
                continue
            for position, (_, _, raw) in zip(section.indexes(), slots, strict=True):
                raw_digests[position] = raw
        for number, section in enumerate(block.sections):  # after the raws: a husk of events states their digests
            if section.kind == EVENTS and section.key_id in self._erasures:
                clear = self._unseal(section, block.place)
                heads = map(format_head, heads_of(clear.heads))
                raws = [raw_digests[position] for position in section.indexes()]
                slots = list(zip(heads, digests(clear.salts, clear.items), raws, strict=True))
                sections[number] = self._husk(section, HUSK_EVENTS, slots)
        return sections

    def _husk(self, section: Section, kind: int, slots: Sequence[tuple[bytes, bytes, bytes]]) -> Section:
        erasure = self._erasures[section.key_id]
        return replace(section, kind=kind, erasure=erasure, body=encode_husk(kind, slots))

    def _unseal(self, section: Section, place: str) -> Unsealed:
        cipher = self._find_key(section.key_id, self._header.start)
        if cipher is None:
            raise Broken(
                "a data key is gone already, so no husk of what it sealed can be made",
                place=f"{place}, key {section.key_id.hex()}",
                mend="bring the key back from a replica or a recovery kit, and erase again",
            )
        return unseal(section, key=cipher, log_id=self._header.log_id, place=place)

    def _extend(self, tree: CompactRange, block: "_Block", sections: Sequence[Section]) -> CompactRange:
        def find(key_id: bytes) -> AESGCM | None:
            return None if key_id in self._erasures else self._find_key(key_id, self._header.start)

        opened = open_block(sections, block.header.count, find, self._header.log_id, block.place)
        entries = [entry for entry in opened.entries if entry is not None]
        if len(entries) == block.header.count:
            tree, _ = tree.extend(hash_leaves(entries))
            if tree.root() == block.header.root:
                return tree
        raise Broken(
            "a rewritten block would not lead to the tree it stands in, so nothing was erased",
            place=block.place,
            mend="verify the log first: graven verify",
        )


@dataclass(frozen=True, slots=True)
class _Block:
    place: str
    header: FrameHeader
    sections: Sequence[Section]


def _blocks(reader: SegmentReader) -> Iterator[_Block]:
    """The blocks of a closed segment, digests checked."""
    for _, offset in reader.blocks() or ():
        header, place = reader.frame_header(offset), reader.place(offset)
        if header.kind != BLOCK:
            raise Broken("the segment's index points to no block", place=place)
        data = reader.frame(offset, header)
        yield _Block(place, header, frame.decode_block(data, header, place=place))


def _remove_older(files: Files, journal: Path, newest: SegmentFile) -> None:
    """Take away the generations that `newest` stands for."""
    older = [
        path
        for path in sorted(journal.glob(f"{newest.start:020d}.*.seg"))
        if path.name != newest.name and int(path.name.split(".")[1]) < newest.generation
    ]
    try:
        for path in older:
            files.remove(str(path))
        if older:
            files.sync_dir(str(journal))
    except OSError as error:
        raise Broken(
            "the keys are destroyed, but an older generation of the segment could not be removed",
            place=f"{journal}: {error.strerror}",
            mend="erase again: what is done is not done twice",
        ) from None
