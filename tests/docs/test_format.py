"""docs/format.md is true: every example printed there is recomputed, and a second implementation reads a real log."""

import base64
import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from docs.second_reader import (
    Log,
    Taker,
    Tree,
    Wrong,
    fill,
    fill_husk,
    read_block,
    read_index,
    read_log,
    read_note,
    read_salts,
    read_segment_header,
    sha,
    split_frames,
    subtree_message,
)
from docs.second_reader import Slot as ReadSlot
from graven import app
from graven.config import load_config
from graven.core.checkpoint import open_checkpoint
from graven.core.merkle import verify_range
from graven.core.note import format_vkey, parse_vkey
from graven.core.receipt import open_receipt
from graven.core.tile import bundle_path, encode_bundle, tile_path
from graven.journal import frame, mark
from graven.journal.frame import HUSK_EVENTS, HUSK_RAWS, Section, SegmentHeader
from graven.journal.segment import SegmentReader, list_segments
from graven.keys.signature import verify_signature
from graven.log.block import encode_husk, open_block
from graven.log.types import Batch

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
HEAD_US = 1767225600000000


def examples() -> dict[str, bytes]:
    """Every value in the page's example blocks: `name = hex`, `name : text`, and lines that go on."""
    found: dict[str, bytes] = {}
    for block in re.findall(r"```example\n(.*?)```", PAGE, re.DOTALL):
        name, hexadecimal = "", True
        for line in block.splitlines():
            start = re.fullmatch(r"(\S.{15}) ([=:]) ?(.*)", line)
            if start is not None:
                name, hexadecimal = start[1].strip(), start[2] == "="
                found[name] = bytes.fromhex(start[3]) if hexadecimal else start[3].encode()
            elif hexadecimal:
                found[name] += bytes.fromhex(line.strip())
            else:
                found[name] += line.strip().removeprefix("|").removeprefix(" ").encode() + b"\n"
    return found


X = examples()
ORIGIN = "example.com/log"


def test_the_page_has_its_examples() -> None:
    assert PAGE.count("```example") == 10
    assert len(X) == 53
    assert all(X.values())


def test_commitments() -> None:
    assert X["head"] == b"graven/1 1 %d\n" % HEAD_US
    salts = read_salts(X["event seed"], 2)
    assert salts == [X["event salt 0"], X["event salt 1"]]
    assert read_salts(X["raw seed"], 1) == [X["raw salt 0"]]
    assert sha(salts[0], X["event 0"]) == X["d_event 0"]
    assert sha(salts[1], X["event 1"]) == X["d_event 1"]
    assert sha(X["raw salt 0"], X["raw 1"]) == X["d_raw 1"]
    assert sha(X["head"], X["d_event 0"], bytes(32)) == X["entry 0"]
    assert sha(X["head"], X["d_event 1"], X["d_raw 1"]) == X["entry 1"]
    assert [sha(b"\0", X[f"entry {k}"]) for k in (0, 1)] == [X["leaf 0"], X["leaf 1"]]
    assert sha(b"\1", X["leaf 0"], X["leaf 1"]) == X["root of 2"]


def test_the_range_proof() -> None:
    tree = Tree()
    entries = [hashlib.sha256(bytes([k])).digest() for k in range(5)]
    for entry in entries:
        tree.add(entry)
    leaves = [sha(b"\0", entry) for entry in entries]
    assert tree.root() == X["root of 5"]
    verify_range(leaves[1:3], [leaves[0], leaves[3], leaves[4]], start=1, size=5, root=X["root of 5"])


def test_keys() -> None:
    log = Ed25519PrivateKey.from_private_bytes(X["log seed"]).public_key().public_bytes_raw()
    receipt = Ed25519PrivateKey.from_private_bytes(X["receipt seed"]).public_key().public_bytes_raw()
    mldsa = MLDSA44PrivateKey.from_seed_bytes(X["ml-dsa seed"]).public_key().public_bytes_raw()
    assert vkey(ORIGIN, 1, log) == X["vkey"].decode()
    assert vkey(ORIGIN + "/receipt", 1, receipt) == X["receipt vkey"].decode()
    assert vkey(ORIGIN, 6, mldsa).split("+")[1] == X["ml-dsa key id"].hex()
    key_id = X["vkey"].decode().split("+")[1]
    assert X["skey"].decode() == f"PRIVATE+KEY+{ORIGIN}+{key_id}+{b64(bytes([1]) + X['log seed'])}"
    assert format_vkey(parse_vkey(X["vkey"].decode())) == X["vkey"].decode()


def test_the_checkpoint() -> None:
    lines, types = read_note(X["checkpoint"], [X["vkey"].decode()])
    assert (lines, types) == ([ORIGIN, "2", b64(X["root of 2"])], [1])
    text = X["checkpoint"].partition(b"\n\n")[0] + b"\n"
    assert subtree_message(ORIGIN.encode(), struct.pack(">Q", 1767225601), text) == X["0x06 message"]
    signed = open_checkpoint(X["checkpoint"], [parse_vkey(X["vkey"].decode())], verify_signature)
    assert signed.checkpoint.root == X["root of 2"]


def test_the_block_by_the_second_implementation() -> None:
    frames = split_frames(X["segment header"] + X["block frame"] + X["index frame"])
    log = Log("", b"", [], Tree(), {}, [])
    read_segment_header(log, frames[0], 0)
    assert (log.origin, log.log_id) == (ORIGIN, X["log id"])
    keys = {X["event key id"]: X["event key"], X["raw key id"]: X["raw key"]}
    slots = read_block(frames[1], X["log id"], keys)
    assert [slot.event for slot in slots] == [X["event 0"], X["event 1"]]
    assert [slot.raw for slot in slots] == [None, X["raw 1"]]
    assert [slot.entry for slot in slots] == [X["entry 0"], X["entry 1"]]
    assert frames[1].root == X["root of 2"] == frames[2].root
    read_index(frames[2], frames, 0)


def test_the_parts_of_the_block() -> None:
    slots = [ReadSlot(), ReadSlot()]
    fill(1, slots, X["event plaintext"])
    assert [slot.event for slot in slots] == [X["event 0"], X["event 1"]]
    fill(2, slots[1:], X["raw plaintext"])
    assert [slot.entry for slot in slots] == [X["entry 0"], X["entry 1"]]
    assert X["event aad"] == b"graven/section/1\n" + X["log id"] + X["event label"]
    for part in ("event", "raw"):
        aad = b"graven/section/1\n" + X["log id"] + X[f"{part} label"]
        sealed = AESGCM(X[f"{part} key"]).encrypt(X[f"{part} nonce"], X[f"{part} plaintext"], aad)
        assert sealed in X["block frame"]
        assert X[f"{part} label"] in X["block frame"]


def test_the_block_by_graven() -> None:
    """The bytes on the page are of this format for ever: whatever changes, they must be read."""
    header = frame.decode_header(X["block frame"], place="")
    frame.check_digest(X["block frame"], place="")
    sections = frame.decode_block(X["block frame"], header, place="")
    ciphers = {X[f"{part} key id"]: AESGCM(X[f"{part} key"]) for part in ("event", "raw")}
    opened = open_block(sections, header.count, ciphers.get, X["log id"], "")
    assert opened.entries == [X["entry 0"], X["entry 1"]]
    again = frame.encode_block(start=header.start, count=header.count, root=header.root, sections=sections)
    assert again == X["block frame"]
    segment = frame.decode_segment_header(X["segment header"], place="")
    keys = (("default", 1, X["event key id"]), ("default", 2, X["raw key id"]))
    assert segment == SegmentHeader(ORIGIN, X["log id"], 0, 0, HEAD_US, sha(), (), keys)
    assert frame.encode_segment_header(segment) == X["segment header"]
    _, blocks = frame.decode_index(X["index frame"], segment_start=0, place="")
    assert blocks == [(0, len(X["segment header"]))]
    assert frame.index_offset(X["index frame"][-40:]) == len(X["segment header"] + X["block frame"])


def test_husks() -> None:
    slots = [ReadSlot(), ReadSlot()]
    fill_husk(3, slots, X["events husk"], 7)
    assert [slot.entry for slot in slots] == [X["entry 0"], X["entry 1"]]
    fill_husk(4, slots[1:], X["raws husk"], 7)
    assert slots[1].d_raw == X["d_raw 1"]
    parts = [(X["head"], X["d_event 0"], bytes(32)), (X["head"], X["d_event 1"], X["d_raw 1"])]
    assert encode_husk(HUSK_EVENTS, parts) == X["events husk"]
    assert encode_husk(HUSK_RAWS, parts[1:]) == X["raws husk"]


def test_the_mark() -> None:
    fixed = b"GRVNMARK" + struct.pack(">Q", 2) + X["root of 2"]
    assert fixed + sha(fixed)[:16] == X["committed mark"]
    assert mark.decode_mark(mark.COMMITTED, X["committed mark"]) == mark.Mark(2, X["root of 2"])


def test_the_keyring() -> None:
    label = b"graven/data-key/1" + X["event key id"] + b"default" + b"event"
    kek = AESGCM(X["kek"])
    assert kek.decrypt(b"\xb1" * 12, X["wrapped data key"], label) == X["event key"]
    assert kek.decrypt(b"\xb2" * 12, X["wrapped window"], b"graven/window-key/1" + ORIGIN.encode()) == X["window key"]
    derived = Scrypt(salt=b"\xb3" * 16, length=32, n=1024, r=8, p=1).derive(X["passphrase"])
    purpose = b"graven-sealed/v1\nkeyring.json of " + ORIGIN.encode()
    assert AESGCM(derived).decrypt(b"\xb4" * 12, X["sealed kek"], purpose) == X["kek"]


def test_the_receipt() -> None:
    lines, _ = read_note(X["certificate"], [X["vkey"].decode()])
    assert lines == ["graven-receipt-key/v1", ORIGIN, X["receipt vkey"].decode(), "1", "16777217"]
    lines, _ = read_note(X["receipt"], [X["receipt vkey"].decode()])
    assert lines == ["graven-receipt/v1", ORIGIN, "2", b64(X["root of 2"])]
    receipt = open_receipt(X["receipt"], X["certificate"], [parse_vkey(X["vkey"].decode())], verify_signature)
    assert (receipt.size, receipt.root) == (2, X["root of 2"])


@dataclass
class Made:
    """A log on disk, closed, with its keyring."""

    directory: Path
    keyring: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three segments, two classes in one block, raws beside events, several sources in one section."""
    directory = tmp_path_factory.mktemp("format") / "log"
    app.create_log(directory, origin=ORIGIN)
    config = directory / "graven.toml"
    config.write_text(config.read_text().replace("[classes.default]", "[classes.hr]\n\n[classes.default]"))
    for turn in range(2):
        with app.Log.open(directory) as log:
            log.append([{"action": f"turn {turn} number {k}", "data": {"pad": "x" * k}} for k in range(300)])
            raws: list[bytes | None] = [None, b"<13>a line", None, b"", b"\xff\x00"]
            events = [b'{"action":"read %d"}' % k for k in range(5)]
            classes = ["default", "hr", "hr", "default", "hr"]
            log.commit(Batch(events, [None] * 5, 1, HEAD_US + turn, classes, raws))
            roll = log.writer.state.segment.current
            assert roll is not None
            log.writer._limits = type(log.writer._limits)(segment_bytes=roll.offset)
            log.append([{"action": "the first of a segment"}])
    return Made(directory, directory.with_name("log.keys"))


def test_a_second_implementation_reads_a_log(made: Made) -> None:
    log = read_log(made.directory, made.keyring)
    vkeys = list(load_config(made.directory / "graven.toml").vkeys)
    lines, types = read_note((made.directory / "log" / "checkpoint").read_bytes(), vkeys)
    assert lines == [ORIGIN, str(log.tree.size), b64(log.tree.root())]
    assert types == [1, 6]
    assert log.kinds.count(b"H") >= 3
    assert log.kinds.count(b"X") == log.kinds.count(b"H") - 1
    with app.open_view(made.directory) as view:
        records = list(view.records(0, view.size))
    assert len(records) == len(log.slots) == log.tree.size > 600
    for slot, record in zip(log.slots, records, strict=True):
        assert (slot.event, slot.raw) == (record.event, record.raw)
        assert (slot.d_event, slot.d_raw, slot.entry) == (record.event_digest, record.raw_digest, record.entry)
    assert {slot.raw for slot in log.slots} == {None, b"<13>a line", b"", b"\xff\x00"}


def test_history_and_marks(made: Made) -> None:
    log = read_log(made.directory, made.keyring)
    vkeys = list(load_config(made.directory / "graven.toml").vkeys)
    notes = list((made.directory / "checkpoints").glob("????-??-??/*"))
    assert len(notes) > 2
    for path in [*notes, made.keyring / "highest-checkpoint"]:
        lines, types = read_note(path.read_bytes(), vkeys)
        assert lines == [ORIGIN, lines[1], b64(log.roots[int(lines[1])])]
        assert types == [1, 6]
        assert path.name in (f"{int(lines[1]):020d}", "highest-checkpoint")
    for name, magic in (("committed", b"GRVNMARK"), ("synced", b"GRVNSYNC")):
        fixed = magic + struct.pack(">Q", log.tree.size) + log.tree.root()
        assert (made.directory / "state" / name).read_bytes() == fixed + sha(fixed)[:16]


def test_the_published_tree(made: Made) -> None:
    log = read_log(made.directory, made.keyring)
    entries = [slot.entry for slot in log.slots]
    size = len(entries)
    leaves = [sha(b"\0", entry) for entry in entries]
    for index in range((size + 255) // 256):
        width = min(256, size - 256 * index)
        part = slice(256 * index, 256 * index + width)
        assert (made.directory / "log" / tile_path(0, index, width)).read_bytes() == b"".join(leaves[part])
        bundle = b"".join(b"\x00\x20" + entry for entry in entries[part])
        assert bundle == encode_bundle(entries[part])
        assert (made.directory / "log" / bundle_path(index, width)).read_bytes() == bundle
    tree = Tree()
    for entry in entries[:256]:
        tree.add(entry)
    tile = (made.directory / "log" / tile_path(1, 0, size // 256)).read_bytes()
    assert tile[:32] == tree.root()
    assert len(tile) == 32 * (size // 256)


def test_modes(made: Made) -> None:
    for path in [made.directory, made.keyring, *made.directory.rglob("*"), *made.keyring.rglob("*")]:
        below_tiles = made.directory / "log" / "tile" in (path, *path.parents)
        expected = (0o755 if below_tiles else 0o700) if path.is_dir() else 0o600
        assert path == made.directory / "graven.toml" or path.stat().st_mode & 0o777 == expected, path


@pytest.mark.parametrize("at", [3, 70, 200, -1, -20, -200])
def test_the_second_implementation_refuses_a_flipped_bit(made: Made, tmp_path: Path, at: int) -> None:
    for number, segment in enumerate(list_segments(str(made.directory / "journal"))):
        copy = tmp_path / str(number) / "journal"
        copy.mkdir(parents=True)
        for path in (made.directory / "journal").glob("*.seg"):
            (copy / path.name).write_bytes(path.read_bytes())
        changed = bytearray(Path(segment.path).read_bytes())
        changed[at] ^= 4
        (copy / segment.name).write_bytes(changed)
        with pytest.raises(Wrong):
            read_log(copy.parent, made.keyring)


def test_a_rewritten_segment_with_husks_keeps_every_root(made: Made, tmp_path: Path) -> None:
    """Class `hr` of a closed segment is erased: its slots become husks under a new generation."""
    before = read_log(made.directory, made.keyring)
    journal = tmp_path / "log" / "journal"
    journal.mkdir(parents=True)
    chosen = None
    for segment in list_segments(str(made.directory / "journal")):
        (journal / segment.name).write_bytes(Path(segment.path).read_bytes())
        with SegmentReader(segment) as reader:
            header = reader.header()
            if any(name == "hr" for name, _, _ in header.keys) and reader.closed() is not None:
                chosen = chosen or segment
    assert chosen is not None
    with SegmentReader(chosen) as reader:
        old = reader.header()
        kept = tuple(key for key in old.keys if key[0] != "hr")
        new = SegmentHeader(old.origin, old.log_id, old.start, 1, old.created_us, old.root, old.hashes, kept)
        data = frame.encode_segment_header(new)
        blocks: list[tuple[int, int]] = []
        for offset, one in reader.walk():
            if one.kind == frame.BLOCK:
                sections = frame.decode_block(reader.frame(offset, one), one, place="")
                husked = [husk(section, before, one.start) for section in sections]
                blocks.append((one.start, len(data)))
                data += frame.encode_block(start=one.start, count=one.count, root=one.root, sections=husked)
        closed = reader.closed()
        assert closed is not None
        data += frame.encode_index(
            segment_start=old.start, end=closed.end, root=closed.root, frames=blocks, offset=len(data)
        )
    (journal / chosen.name.replace(".0000.", ".0001.")).write_bytes(data)
    after = read_log(tmp_path / "log", made.keyring)
    assert (after.tree.root(), after.roots) == (before.tree.root(), before.roots)
    erased = [slot for slot in after.slots if slot.event is None]
    assert len(erased) == 3
    assert {slot.erasure for slot in erased} == {2}
    assert all(slot.raw is None for slot in erased)


def husk(section: Section, log: Log, start: int) -> Section:
    if section.class_name != "hr":
        return section
    slots = [log.slots[start + position] for position in section.indexes()]
    parts = [(slot.head, slot.d_event, slot.d_raw) for slot in slots]
    kind = section.kind + 2
    return Section(
        kind,
        section.class_name,
        section.positions,
        section.count,
        section.key_id,
        section.nonce,
        2,
        encode_husk(kind, parts),
    )


def test_the_reader_takes_no_more_than_there_is() -> None:
    with pytest.raises(Wrong):
        Taker(b"abc").u32()
    with pytest.raises(Wrong):
        Taker(b"abc").end()


def vkey(name: str, kind: int, public: bytes) -> str:
    material = bytes([kind]) + public
    key_id = sha(name.encode() + b"\n" + material)[:4].hex()
    return f"{name}+{key_id}+{b64(material)}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_an_empty_segment_is_begun_again_under_the_next_generation(tmp_path: Path) -> None:
    """Section 11: the open segment has no block yet, and its keys are gone."""
    app.create_log(tmp_path / "log", origin=ORIGIN)
    config = load_config(tmp_path / "log" / "graven.toml")
    with app.Log.open(tmp_path / "log") as log:
        state = log.writer.state
        state.segment.roll(state.tail.range, log.clock.now_us())  # a crash before its first block leaves it so
        assert log.writer.state.segment.current is not None
        keyring = app.open_keyring(tmp_path / "log", config)
        assert all(keyring.destroy(key_id, 1) for _, _, key_id in log.writer.state.segment.current.header.keys)
    with app.Log.open(tmp_path / "log") as log:
        log.append([{"action": "a"}])
    names = sorted(path.name for path in (tmp_path / "log" / "journal").iterdir())
    assert names == [f"{0:020d}.0000.seg", f"{1:020d}.0001.seg"]
    read = read_log(tmp_path / "log", tmp_path / "log.keys")
    lines, _ = read_note((tmp_path / "log" / "log" / "checkpoint").read_bytes(), list(config.vkeys))
    assert lines[1:] == [str(read.tree.size), b64(read.tree.root())] == ["2", b64(read.tree.root())]


def test_a_new_class_begins_a_segment(made: Made) -> None:
    """Section 11: `hr` was declared when the log had one segment."""
    with SegmentReader(list_segments(str(made.directory / "journal"))[0]) as reader:
        first = reader.header()
    assert {name for name, _, _ in first.keys} == {"graven", "default"}
    with SegmentReader(list_segments(str(made.directory / "journal"))[-1]) as reader:
        assert {name for name, _, _ in reader.header().keys} == {"graven", "default", "hr"}
