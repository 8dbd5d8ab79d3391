"""What an insider might do to a log, done to copies of one: a byte flipped, a name changed and the tree signed again.

Every function here takes a copy made by `copy_for_tampering`; none must ever be given the log itself. A forger here
has the disk, and in the worst case root and every key of the log: what is left then is what others have kept.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from graven.app import Log, keys_dir, open_keyring, open_view
from graven.config import CONFIG_NAME, load_config
from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.merkle import EMPTY_ROOT
from graven.core.note import format_vkey
from graven.journal.segment import list_segments
from graven.keys.keyring import Keyring
from graven.keys.rootkeys import HIGHEST_FILE, SIGNING_FILES, nothing_signed
from graven.keys.signer import LogSigner
from graven.log.backup import copy_log
from graven.log.types import Batch, Record
from graven.runtime.clock import FixedClock

_COPY = "copy"


@dataclass(frozen=True, slots=True)
class Flip:
    """Where a byte was flipped, and the indexes [start, end) of the block it lies in."""

    file: str
    offset: int
    start: int
    end: int


def copy_for_tampering(directory: Path, folder: Path, *, keys: bool = True) -> Path:
    """A copy of the log and, with `keys`, of its keyring, in a new `folder`. The log may be running.

    Raises:
        BadInput: the configuration says where the keys are: the copy would share them. And as `copy_log`.
    """
    config = load_config(directory / CONFIG_NAME)
    if config.keys.dir or config.keys.replicas:
        raise BadInput(
            "a log whose keys are elsewhere is not copied to be tampered with: the copy would use the same keys",
            place=f"{directory / CONFIG_NAME}, [keys]",
        )
    folder.mkdir(mode=0o700)
    copy = folder / _COPY
    with open_view(directory) as view:
        copy_log(directory, copy, view.keys)
    if keys:
        shutil.copytree(keys_dir(directory, config), keys_dir(copy))
    return copy


def flip_byte(copy: Path, index: int) -> Flip:
    """Flip one bit in the middle of the frame that holds the event at `index`."""
    with open_view(copy) as view:
        place = view.reader.place(index)
    path = Path(place.segment.path)
    offset = place.offset + place.header.size // 2
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x01
    path.write_bytes(data)
    return Flip(f"journal/{path.name}", offset, place.header.start, place.header.end)


def rewrite_history(copy: Path, indexes: list[int], old: bytes, new: bytes, *, now_us: int) -> None:
    """Change `old` to `new` in the events at `indexes`, and make everything fit again, with the log's own keys.

    The journal is cut before the first of them and written again, heads and order as they were. Tiles, marks and
    history go; what remembers the largest tree ever signed is made to forget it. The result is a log in perfect order.
    """
    first, rest = _cut(copy, min(indexes))
    clock = FixedClock(now_us)
    keyring = open_keyring(copy, load_config(copy / CONFIG_NAME))
    (keys_dir(copy) / HIGHEST_FILE).write_bytes(nothing_signed(keyring.origin))
    note = LogSigner(keyring).sign_checkpoint(Checkpoint(keyring.origin, *first), now_us // 1_000_000)
    (copy / "log" / "checkpoint").write_bytes(note)
    for folder in ("log/tile", "checkpoints", "state"):
        shutil.rmtree(copy / folder)
    for folder in ("checkpoints", "state"):
        (copy / folder).mkdir()
    with Log.open(copy, clock=clock) as log:
        for batch in _batches(rest, frozenset(indexes), old, new):
            log.commit(batch)


def sign_with_another_key(copy: Path, *, now_us: int) -> None:
    """Sign the tree again with new keys under the log's name, and put them where the log's own are.

    The published checkpoint, the signing keys and the configuration are changed, and the history goes.
    """
    config = load_config(copy / CONFIG_NAME)
    with open_view(copy) as view:
        checkpoint = view.published.checkpoint
    made = keys_dir(copy).with_name("made")
    signer = LogSigner(Keyring.create(str(made), origin=config.origin))
    (copy / "log" / "checkpoint").write_bytes(signer.sign_checkpoint(checkpoint, now_us // 1_000_000))
    for name in (*SIGNING_FILES, HIGHEST_FILE):
        (made / name).replace(keys_dir(copy) / name)
    shutil.rmtree(made)
    text = (copy / CONFIG_NAME).read_text()
    for ours, theirs in zip(config.vkeys, signer.keys, strict=True):
        text = text.replace(ours, format_vkey(theirs))
    (copy / CONFIG_NAME).write_text(text)
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").mkdir()


def _cut(copy: Path, index: int) -> tuple[tuple[int, bytes], list[Record]]:
    """Cut the journal before the block that holds `index`: (size, root) of what is left, and the records cut off."""
    with open_view(copy) as view:
        place = view.reader.place(index)
        start = place.header.start
        root = view.reader.place(start - 1).header.root if start else EMPTY_ROOT
        rest = list(view.records(start, view.size))
    for segment in list_segments(str(copy / "journal")):
        if segment.start > place.segment.start:
            Path(segment.path).unlink()
    with Path(place.segment.path).open("r+b") as file:
        file.truncate(place.offset)
    return (start, root), rest


def _batches(records: list[Record], indexes: frozenset[int], old: bytes, new: bytes) -> Iterator[Batch]:
    """The records as requests again, one for each run of equal heads."""
    for head, run in groupby(records, key=lambda record: record.head):
        chosen = list(run)
        if head is None:
            raise Broken("an event cannot be opened, so its head cannot be forged", place=f"index {chosen[0].index}")
        events = [record.event or b"" for record in chosen]
        events = [
            event.replace(old, new) if record.index in indexes else event
            for record, event in zip(chosen, events, strict=True)
        ]
        yield Batch(
            events, [None] * len(events), head.source, head.received_us, [record.class_name for record in chosen]
        )
