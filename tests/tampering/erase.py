"""Erasing as the format has it, for tests: the event, the husk in a rewritten segment, the key destroyed.

The whole procedure (followers, copies, certificate) is not here; what is left on disk is what it leaves.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.app import Log
from graven.core.commitment import NO_RAW, format_head
from graven.journal import frame
from graven.journal.frame import EVENTS, HUSK_EVENTS, HUSK_RAWS, RAWS, Section
from graven.journal.segment import SegmentReader, list_segments, segment_name
from graven.keys.keyring import Keyring
from graven.log import acts
from graven.log.block import encode_husk, heads_of
from graven.log.seal import unseal
from graven.runtime.clock import FixedClock

KINDS = {"event": EVENTS, "raw": RAWS}


def key_id_of(directory: Path, segment_start: int, class_name: str, kind: str) -> bytes:
    """The id of the data key that a segment's header names."""
    segment = next(one for one in list_segments(str(directory / "journal")) if one.start == segment_start)
    with SegmentReader(segment) as reader:
        return next(k for name, number, k in reader.header().keys if (name, number) == (class_name, KINDS[kind]))


def append_erasure(
    directory: Path, segment_start: int, class_name: str, kind: str, *, now_us: int, publish: bool = True
) -> int:
    """Append the erasure event; returns its index."""
    key_id = key_id_of(directory, segment_start, class_name, kind)
    with Log.open(directory, clock=FixedClock(now_us)) as log:
        data = {"segment": segment_start, "class": class_name, "kind": kind, "key_id": key_id.hex(), "reason": "test"}
        committed = log.append_act(acts.ERASURE, data)
        if publish:
            log.publish()
        assert committed.first_index is not None
        return committed.first_index


def write_husks(directory: Path, segment_start: int, class_name: str, kind: str, erasure: int) -> Path:
    """Rewrite a segment under the next generation, the class's events (or raws) as husks; the old file goes."""
    keyring = Keyring.open(str(directory) + ".keys")
    segment = next(one for one in list_segments(str(directory / "journal")) if one.start == segment_start)
    parts: list[bytes] = []
    pairs: list[tuple[int, int]] = []
    at = 0
    with SegmentReader(segment) as reader:
        header = reader.header()
        new = replace(header, generation=header.generation + 1)
        parts.append(frame.encode_segment_header(new))
        at = len(parts[0])
        for offset, one in reader.walk(reader.frame_header(0).size):
            data = reader.frame(offset, one)
            if one.kind == frame.INDEX:
                data = frame.encode_index(
                    segment_start=segment_start, end=one.start, root=one.root, frames=pairs, offset=at
                )
            else:
                sections = frame.decode_block(data, one, place="")
                rest = [
                    _husk(section, sections, kind, erasure, keyring, header.log_id, segment_start)
                    if (section.class_name, section.kind) == (class_name, KINDS[kind])
                    else section
                    for section in sections
                ]
                data = frame.encode_block(start=one.start, count=one.count, root=one.root, sections=rest)
                pairs.append((one.start, at))
            parts.append(data)
            at += len(data)
    path = Path(segment.path).with_name(segment_name(segment_start, new.generation))
    path.write_bytes(b"".join(parts))
    Path(segment.path).unlink()
    return path


def destroy_key(directory: Path, segment_start: int, class_name: str, kind: str) -> None:
    """Take the key out of the keyring."""
    key_id = key_id_of(directory, segment_start, class_name, kind)
    assert Keyring.open(str(directory) + ".keys").destroy(key_id, segment_start)


def _husk(
    section: Section, beside: list[Section], kind: str, erasure: int, keyring: Keyring, log_id: bytes, start: int
) -> Section:
    def opened(one: Section) -> list[tuple[bytes, bytes]]:
        key = keyring.data_key(one.key_id, start)
        assert key is not None
        clear = unseal(one, key=AESGCM(key), log_id=log_id)
        heads = [format_head(head) for head in heads_of(clear.heads)] or [b""] * len(clear.items)
        digests = [sha256(salt + item).digest() for salt, item in zip(clear.salts, clear.items, strict=True)]
        return list(zip(heads, digests, strict=True))

    if kind == "raw":
        slots = [(b"", b"", digest) for _, digest in opened(section)]
        return replace(section, kind=HUSK_RAWS, erasure=erasure, body=encode_husk(HUSK_RAWS, slots))
    raws: dict[int, bytes] = {}
    for other in beside:
        if other.kind == RAWS:
            raws |= dict(zip(other.indexes(), (digest for _, digest in opened(other)), strict=True))
        elif other.kind == HUSK_RAWS:
            raws |= dict(
                zip(other.indexes(), [other.body[at : at + 32] for at in range(0, len(other.body), 32)], strict=True)
            )
    slots = [
        (head, digest, raws.get(position, NO_RAW))
        for position, (head, digest) in zip(section.indexes(), opened(section), strict=True)
    ]
    return replace(section, kind=HUSK_EVENTS, erasure=erasure, body=encode_husk(HUSK_EVENTS, slots))
