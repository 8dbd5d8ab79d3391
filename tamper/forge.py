"""The tools of an attacker with root on the log's host and every key there.

What the honest program refuses to do is done here with its parts: cutting, rewriting, signing, and taking out of the
configuration whatever would tell somebody outside.
"""

import json
import shutil
from pathlib import Path
from time import time_ns

import msgspec

from graven.app import Log, open_keyring
from graven.config import format_config, load_config
from graven.core.merkle import prove_consistency
from graven.core.note import Note, format_note, parse_note
from graven.core.tile import tile_nodes
from graven.core.witness_request import format_add_checkpoint
from graven.demo import forgery
from graven.journal.frame import EVENTS
from graven.journal.segment import SegmentReader, list_segments
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE
from tamper import calls
from tamper.house import House, size_of
from tamper.world import Witness


def now_us() -> int:
    return time_ns() // 1000


def blindfold(house: House) -> None:
    """Nobody is asked or told any more: no witnesses, no copy, no time authorities. The server must be stopped."""
    path = house.directory / "graven.toml"
    config = load_config(path)
    config = msgspec.structs.replace(
        config, publish=msgspec.structs.replace(config.publish, witness_policy=None), authorities={},
        worm=msgspec.structs.replace(config.worm, store=None),
    )  # fmt: skip
    path.write_text(format_config(config))
    (house.directory / "policies" / "current").unlink(missing_ok=True)


def show(house: House, **options: object) -> None:
    """Serve what was forged at the log's own address, with nobody asked."""
    house.start(policy=False, **options)  # type: ignore[arg-type]


def rewrite(house: House, index: int, old: bytes, new: bytes) -> None:
    """Another word in one event, everything from there on sealed and signed again."""
    shutil.rmtree(house.directory / "anchors", ignore_errors=True)
    forgery.rewrite_history(house.directory, [index], old, new, now_us=now_us())


def cut_back(house: House, size: int) -> int:
    """Back to the newest published checkpoint of at most `size` entries, signed and cosigned as it was; its size."""
    history = sorted((house.directory / "checkpoints").glob("*/*"), key=lambda path: path.name)
    notes = [path for path in history if path.parent.name != "predecessor" and path.name.isdigit()]
    kept = next(path for path in reversed(notes) if size_of(path.read_bytes()) <= size).read_bytes()
    forgery._cut(house.directory, size_of(kept))
    for path in notes:
        if size_of(path.read_bytes()) > size_of(kept):
            path.unlink()
    shutil.rmtree(house.directory / "anchors", ignore_errors=True)
    shutil.rmtree(house.directory / "log" / "tile")
    shutil.rmtree(house.directory / "state")
    (house.directory / "state").mkdir()
    (house.directory / "log" / "checkpoint").write_bytes(kept)
    note = parse_note(kept)
    own = tuple(one for one in note.signatures if one.name == note.text.split("\n", 1)[0])
    (house.keyring / HIGHEST_FILE).write_bytes(format_note(Note(note.text, own)))
    return size_of(kept)


def ask_witnesses(house: House, note: bytes, tiles: Path | None = None) -> list[int]:
    """Beg each witness for a cosignature on a forged checkpoint, as best a forger can; the statuses they answer."""
    size = size_of(note)
    statuses = []
    for witness in house.witnesses:
        rows = json.loads(house.run("witness", "list", witness.directory, "--json").splitlines()[0])["logs"]
        old = next(row["size"] for row in rows if row["origin"] == f"example.com/{house.root.name}") or 0
        old = min(old, size)
        nodes = tile_nodes(lambda path: ((tiles or house.directory / "log") / path).read_bytes(), size)
        proof = prove_consistency(nodes, old=old, new=size) if 0 < old < size else []
        body = format_add_checkpoint(old, proof, note)
        statuses.append(calls.http(f"{witness.url}/add-checkpoint", body=body)[0])
    return statuses


def segments(house: House) -> list[Path]:
    """The journal's files, oldest first."""
    return [Path(one.path) for one in list_segments(str(house.directory / "journal"))]


def keyring(house: House) -> Keyring:
    return open_keyring(house.directory, load_config(house.directory / "graven.toml"))


def settle_tiles(house: House) -> None:
    """The tiles of a tree that was cut, written again by the log's own program; nothing is signed or appended."""
    with Log.open(house.directory):
        pass


def event_keys(house: House, start: int) -> list[tuple[bytes, str]]:
    """The ids and classes of the keys that a segment's events are sealed under."""
    segment = next(one for one in list_segments(str(house.directory / "journal")) if one.start == start)
    with SegmentReader(segment) as reader:
        return [(key_id, name) for name, kind, key_id in reader.header().keys if kind == EVENTS]


def ask_to_cosign(witness: Witness, note: bytes) -> int:
    """Send a witness a checkpoint as if it were the first; the status it answers."""
    return calls.http(f"{witness.url}/add-checkpoint", body=format_add_checkpoint(0, [], note))[0]
