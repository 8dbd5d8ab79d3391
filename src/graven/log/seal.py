"""Sealing: a section's events and salts, compressed and encrypted; and back.

Each section has its own random 32-byte seed, shared with no other section and kept only inside the section's
ciphertext. Salt k is bytes [32k, 32k+32) of the AES-256-CTR keystream under the seed, from an all-zero counter block,
k counting the events the section stores, in index order. A rewritten section stores its salts one by one instead.

Clear form of a section's ciphertext (docs/format.md, "Sections"), integers big-endian:

    u8 1 ‖ seed[32]   or   u8 2 ‖ salt[32] × count
    u32 size of the body ‖ one Zstandard frame of the body

    body of events: u32 runs, then (u32 count, u32 source, u64 received-µs) a run, u32 size an event, the events
    body of raws:   u32 size a raw, the raws

AES-GCM does not commit to its key. That is harmless: the tree binds the clear text, and no check here trusts the
tag alone.
"""

import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from graven.core.errors import Disproved
from graven.journal import frame
from graven.journal.frame import EVENTS, NO_ERASURE, Runs, Section

if sys.version_info >= (3, 14):  # pragma: no cover - the same module, in the standard library
    from compression import zstd
else:
    from backports import zstd

__all__ = ["DataKey", "Heads", "Unsealed", "salts_of", "seal", "unseal", "zstd"]

BODY_SIZE_MAX = 1 << 30
ZSTD_LEVEL = 1

Heads = tuple[tuple[int, int, int], ...]
"""(number of events, source, received-µs) runs, in index order."""

_SEEDED, _LISTED = 1, 2
_HEAD_RUN = struct.Struct(">IIQ")


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key in use: its public id and the cipher made from it."""

    key_id: bytes
    cipher: AESGCM


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A section's clear text. `heads` is empty for raws. `items` are the exact bytes of events or raws."""

    salts: list[bytes]
    heads: Heads
    items: list[bytes]


def salts_of(seed: bytes, count: int) -> list[bytes]:
    """`count` salts of 32 bytes from a section's seed."""
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor().update(bytes(32 * count))
    return [stream[at : at + 32] for at in range(0, 32 * count, 32)]


def seal(
    kind: int,
    class_name: str,
    positions: Runs | None,
    items: Sequence[bytes],
    *,
    salts: bytes | Sequence[bytes],
    heads: Heads,
    key: DataKey,
    log_id: bytes,
    compressor: zstd.ZstdCompressor | None = None,
) -> Section:
    """One sealed section. `salts` is its seed, or its list of salts: of one item, or of a section rewritten."""
    count = len(items)
    prefix = b"\x01" + salts if isinstance(salts, bytes) else b"\x02" + b"".join(salts)
    parts: list[bytes] = []
    if kind == EVENTS:
        parts.append(struct.pack(">I", len(heads)))
        parts.extend(_HEAD_RUN.pack(*run) for run in heads)
    parts.append(struct.pack(f">{count}I", *map(len, items)))
    parts.extend(items)
    body = b"".join(parts)
    if compressor is None:
        compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
    packed = compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)
    nonce = os.urandom(12)
    label = frame.section_label(kind, class_name, positions, count, key.key_id, nonce)
    clear = b"".join((prefix, len(body).to_bytes(4, "big"), packed))
    sealed = key.cipher.encrypt(nonce, clear, frame.associated_data(log_id, label))
    return Section(kind, class_name, positions, count, key.key_id, nonce, NO_ERASURE, sealed)


def unseal(section: Section, *, key: AESGCM, log_id: bytes, place: str = "") -> Unsealed:
    """The clear text of a section.

    Raises:
        Disproved: the tag does not fit, or the clear text does not parse to its last byte.
    """
    count = section.count
    label = frame.section_label(
        section.kind, section.class_name, section.positions, count, section.key_id, section.nonce
    )
    try:
        clear = key.decrypt(section.nonce, section.body, frame.associated_data(log_id, label))
    except InvalidTag:
        raise Disproved(
            "a sealed section does not open: its bytes or its directory were changed", place=place
        ) from None
    try:
        salts, at = _decode_salts(clear, count)
        body = _decompress(clear, at)
        heads: Heads = ()
        at = 0
        if section.kind == EVENTS:
            (runs,) = struct.unpack_from(">I", body)
            at = 4 + _HEAD_RUN.size * runs
            heads = tuple(_HEAD_RUN.iter_unpack(body[4:at]))
            if len(heads) != runs or sum(run[0] for run in heads) != count or any(run[2] >> 63 for run in heads):
                raise ValueError("heads do not add up")
        sizes = struct.unpack_from(f">{count}I", body, at)
        at += 4 * count
        bounds = list(accumulate(sizes, initial=at))
        if bounds[-1] != len(body):
            raise ValueError("sizes do not add up")
        items = [body[a:b] for a, b in zip(bounds, bounds[1:])]  # noqa: B905, RUF007 - hot
    except (ValueError, struct.error, IndexError, zstd.ZstdError) as error:
        raise Disproved(f"a sealed section does not parse: {error}", place=place) from None
    return Unsealed(salts, heads, items)


def _decode_salts(clear: bytes, count: int) -> tuple[list[bytes], int]:
    form = clear[0]
    if form == _SEEDED and len(clear) >= 37:
        return salts_of(clear[1:33], count), 33
    if form == _LISTED and len(clear) >= 5 + 32 * count:
        return [clear[1 + 32 * k : 33 + 32 * k] for k in range(count)], 1 + 32 * count
    raise ValueError("no salts")


def _decompress(clear: bytes, at: int) -> bytes:
    size = int.from_bytes(clear[at : at + 4], "big")
    if size > BODY_SIZE_MAX:
        raise ValueError("the body is out of bounds")
    decompressor = zstd.ZstdDecompressor()
    body = decompressor.decompress(clear[at + 4 :], max_length=size)
    if len(body) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError("the body has another size than it says")
    return body
