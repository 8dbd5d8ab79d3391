"""A second implementation of the log's format, written from docs/format.md alone: it imports nothing of graven.

It opens a log directory with an unsealed keyring, decodes every frame, derives every entry, checks every root, and the
Ed25519 and ML-DSA-44 signatures of the published checkpoint. Section numbers are those of docs/format.md. `Wrong` says
that the bytes are not what that page says.
"""

import base64
import hashlib
import json
import re
import struct
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NO_ERASURE = 2**64 - 1


class Wrong(Exception):
    """The bytes are not what docs/format.md says."""


@dataclass
class Slot:
    """One index: what stands in the tree, and what was sealed (None once erased)."""

    head: bytes = b""
    d_event: bytes = b""
    d_raw: bytes = bytes(32)
    event: bytes | None = None
    raw: bytes | None = None
    erasure: int | None = None
    lost: bytes | None = None

    @property
    def entry(self) -> bytes:  # section 2
        return self.lost or sha(self.head, self.d_event, self.d_raw)


@dataclass
class Frame:
    kind: bytes
    sections: int
    start: int
    count: int
    directory: bytes
    payload: bytes
    root: bytes
    offset: int


@dataclass
class Tree:  # section 3
    """A compact range as (height, hash), left to right."""

    size: int = 0
    peaks: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, entry: bytes) -> None:
        height, node = 0, sha(b"\0", entry)
        while self.peaks and self.peaks[-1][0] == height:
            node = sha(b"\1", self.peaks.pop()[1], node)
            height += 1
        self.peaks.append((height, node))
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return sha()
        root = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            root = sha(b"\1", left, root)
        return root


@dataclass
class Log:
    origin: str
    log_id: bytes
    slots: list[Slot]
    tree: Tree
    roots: dict[int, bytes]
    kinds: list[bytes]


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def need(fits: object, what: str) -> None:
    if not fits:
        raise Wrong(what)


def read_log(directory: Path, keyring: Path) -> Log:
    """Everything the journal of a log says, every block's root checked."""
    newest: dict[int, tuple[int, Path]] = {}
    for path in (directory / "journal").iterdir():  # section 11
        if path.name == "torn" or path.name.endswith(".tmp"):
            continue
        name = re.fullmatch(r"([0-9]{20})\.([0-9]{4})\.seg", path.name)
        if name is None:
            raise Wrong(f"a file that is no segment: {path.name}")
        newest[int(name[1])] = max(newest.get(int(name[1]), (-1, path)), (int(name[2]), path))
    log = Log("", b"", [], Tree(), {0: sha()}, [])
    for number, start in enumerate(sorted(newest)):
        generation, path = newest[start]
        need(start == log.tree.size, f"{path.name} does not begin where the one before ended")
        keys = read_data_keys(keyring, start)
        frames = split_frames(path.read_bytes())
        need(frames and frames[0].kind == b"H", f"{path.name} has no header")
        read_segment_header(log, frames[0], generation)
        need(number == len(newest) - 1 or frames[-1].kind == b"X", f"{path.name} is not closed")
        for frame in frames[1:]:
            need(frame.start == log.tree.size, "a frame out of place")
            if frame.kind == b"B":
                for slot in read_block(frame, log.log_id, keys):
                    log.slots.append(slot)
                    log.tree.add(slot.entry)
                log.roots[log.tree.size] = log.tree.root()
            else:
                read_index(frame, frames, start)
            need(frame.root == log.tree.root(), "a root that its entries do not lead to")
        log.kinds += [frame.kind for frame in frames]
    return log


def split_frames(data: bytes) -> list[Frame]:  # section 8
    frames, at = [], 0
    while at < len(data):
        fixed = data[at : at + 64]
        need(sha(fixed)[:16] == data[at + 64 : at + 80], f"a header that does not fit its checksum, at {at}")
        magic, kind, version, sections, start, count, d, p, root = struct.unpack(">3scHHQIIQ32s", fixed)
        need(magic == b"GRV" and version == 1 and kind in (b"H", b"B", b"X"), "another format")
        need(((count > 0) == (sections > 0) == (kind == b"B")) and count <= 2**20 and sections <= 256, "bounds")
        need(d <= 2**24 and p <= 2**30, "bounds")
        end = at + 80 + d + p
        need(sha(data[at:end]) == data[end : end + 32], f"a frame that does not fit its digest, at {at}")
        directory, payload = data[at + 80 : at + 80 + d], data[at + 80 + d : end]
        frames.append(Frame(kind, sections, start, count, directory, payload, root, at))
        at = end + 32
    return frames


def read_segment_header(log: Log, frame: Frame, generation: int) -> None:
    take = Taker(frame.directory)
    origin, log_id = take(take.u8()).decode(), take(16)
    need(take.u32() == generation and frame.start == log.tree.size, "a segment under another's name")
    take.u64()
    need([take(32) for _ in range(take.u8())] == [node for _, node in log.tree.peaks], "another compact range")
    for _ in range(take.u16()):
        take(take.u8()).decode("ascii")
        need(take.u8() in (1, 2), "a key of no kind")
        take(16)
    take.end()
    need(frame.root == log.tree.root() and not frame.payload, "a segment of another tree")
    need(log.log_id in (b"", log_id) and log.origin in ("", origin), "a segment of another log")
    log.origin, log.log_id = origin, log_id


def read_index(frame: Frame, frames: list[Frame], start: int) -> None:
    blocks = b"".join(struct.pack(">II", one.start - start, one.offset) for one in frames if one.kind == b"B")
    need(frame is frames[-1] and not frame.directory, "an index frame that is not the last")
    need(frame.payload == blocks + struct.pack(">Q", frame.offset), "an index that does not say where the blocks are")


def read_block(frame: Frame, log_id: bytes, keys: dict[bytes, bytes]) -> list[Slot]:
    slots = [Slot() for _ in range(frame.count)]
    covered: list[list[int]] = [[], []]
    take, payload = Taker(frame.directory), Taker(frame.payload)
    for _ in range(frame.sections):
        begin = take.at
        kind, name = take.u8(), take(take.u8())
        need(1 <= kind <= 5 and 1 <= len(name) <= 32, "a section of no kind or class")
        count, where = take.u32(), list(range(frame.count))
        if take.u8():
            runs = [(take.u32(), take.u32()) for _ in range(take.u32())]
            need(all(a + n < b for (a, n), (b, _) in pairwise(runs)), "runs out of order")
            where = [first + k for first, length in runs for k in range(length)]
            need(min(length for _, length in runs) > 0 and len(where) < frame.count, "runs that say nothing")
        need(len(where) == count and where[-1] < frame.count, "runs that do not add up")
        key_id, nonce = take(16), take(12)
        label = take.data[begin : take.at]
        erasure, body = take.u64(), payload(take.u32())
        need((kind > 2) == (erasure != NO_ERASURE), "only a husk names an erasure")
        covered[kind in (2, 4)] += where
        if kind == 5:  # section 10: lost
            need(not any(key_id) and not any(nonce) and len(body) == 32 * len(where), "more than entries")
            for number, at in enumerate(where):
                slots[at].lost, slots[at].erasure = body[32 * number : 32 * number + 32], erasure
        elif kind > 2:  # section 10
            fill_husk(kind, [slots[at] for at in where], body, erasure)
        if kind > 2:
            continue
        need(key_id in keys, "a key that is not there")
        plain = AESGCM(keys[key_id]).decrypt(nonce, body, b"graven/section/1\n" + log_id + label)
        fill(kind, [slots[at] for at in where], plain)
    take.end()
    payload.end()
    need(sorted(covered[0]) == list(range(frame.count)), "sections of events that do not cover the block once")
    need(len(set(covered[1])) == len(covered[1]), "sections of raws that overlap")
    return slots


def fill(kind: int, slots: list[Slot], plain: bytes) -> None:  # section 9
    take = Taker(plain)
    form = take.u8()
    need(form in (1, 2), "salts of no form")
    salts = read_salts(take(32), len(slots)) if form == 1 else [take(32) for _ in slots]
    size = take.u32()
    unpacker = zstd.ZstdDecompressor()
    body = Taker(unpacker.decompress(take(len(plain) - take.at)))
    need(unpacker.eof and not unpacker.unused_data and len(body.data) == size, "another body than stated")
    heads: list[bytes] = []
    if kind == 1:
        for _ in range(body.u32()):
            count, source, received = body.u32(), body.u32(), body.u64()
            heads += [b"graven/1 %d %d\n" % (source, received)] * count
        need(len(heads) == len(slots), "heads that do not add up")
    sizes = [body.u32() for _ in slots]
    for number, (slot, salt, length) in enumerate(zip(slots, salts, sizes, strict=True)):
        item = body(length)
        if kind == 1:
            slot.head, slot.event, slot.d_event = heads[number], item, sha(salt, item)
        else:
            slot.raw, slot.d_raw = item, sha(salt, item)
    body.end()


def fill_husk(kind: int, slots: list[Slot], data: bytes, erasure: int) -> None:
    take = Taker(data)
    for slot in slots:
        slot.erasure = erasure
        if kind == 3:
            slot.head, slot.d_event = take(take.u8()), take(32)
        slot.d_raw = take(32)
    take.end()


def read_salts(seed: bytes, count: int) -> list[bytes]:
    stream = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor().update(bytes(32 * count))
    return [stream[32 * k : 32 * k + 32] for k in range(count)]


def read_data_keys(keyring: Path, start: int) -> dict[bytes, bytes]:  # section 13
    kek = base64.b64decode(json.loads((keyring / "keyring.json").read_bytes())["kek"]["plain"])
    keys = {}
    for path in (keyring / "data").glob(f"{start:020d}.*.json"):
        for one in json.loads(path.read_bytes()):
            key_id = bytes.fromhex(one["id"])
            label = b"graven/data-key/1" + key_id + one["class"].encode() + one["kind"].encode()
            nonce, wrapped = base64.b64decode(one["nonce"]), base64.b64decode(one["wrapped"])
            keys[key_id] = AESGCM(kek).decrypt(nonce, wrapped, label)
    return keys


def read_note(data: bytes, vkeys: list[str]) -> tuple[list[str], list[int]]:  # sections 4 and 5
    """The lines of a note's text, and the types of the keys, of those given, that signed it; all else is Wrong."""
    text, _, signatures = data.rpartition(b"\n\n")
    text += b"\n"
    known = {}
    for vkey in vkeys:
        name, key_id, material = vkey.split("+", 2)
        key = base64.b64decode(material)
        need(sha(name.encode(), b"\n", key)[:4].hex() == key_id, "a vkey with another key's id")
        known[name.encode(), bytes.fromhex(key_id)] = key[0], key[1:]
    types = []
    for line in signatures.splitlines():
        dash, name_bytes, encoded = line.split(b" ")
        blob = base64.b64decode(encoded, validate=True)
        need(dash.decode() == "—" and (name_bytes, blob[:4]) in known, "a line by nobody known")
        kind, public = known[name_bytes, blob[:4]]
        if kind == 1:
            Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], text)
        else:
            MLDSA44PublicKey.from_public_bytes(public).verify(blob[12:], subtree_message(name_bytes, blob[4:12], text))
        types.append(kind)
    return text.decode().splitlines(), types


def subtree_message(name: bytes, time: bytes, text: bytes) -> bytes:
    origin, size, root = text.splitlines()
    tree = struct.pack(">QQ", 0, int(size)) + base64.b64decode(root)
    return b"subtree/v1\n\0" + bytes([len(name)]) + name + time + bytes([len(origin)]) + origin + tree


class Taker:
    """Takes bytes off the front; at the end nothing may be left."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __call__(self, count: int) -> bytes:
        need(self.at + count <= len(self.data), "cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self) -> int:
        return self(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self(8), "big")

    def end(self) -> None:
        need(self.at == len(self.data), "bytes are left over")
