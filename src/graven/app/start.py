"""What a start does between recovery and the first answer: the writer's state, witnesses, the acts on record."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from graven.anchor.panel import WitnessPanel
from graven.app.pieces import VERSION, class_names, public_keys
from graven.config import (
    CONFIG_NAME,
    Config,
    config_sha256,
    flatten,
    set_vkeys,
)
from graven.core.errors import Broken
from graven.core.merkle import prove_consistency
from graven.core.note import format_vkey, parse_vkey
from graven.core.spelling import encode_base64
from graven.journal.files import Files, write_atomic
from graven.journal.mark import Mark, MarkFile
from graven.keys.keyring import Keyring
from graven.keys.receipts import ReceiptSigner
from graven.keys.signature import verify_signature
from graven.keys.signer import Signer
from graven.log import acts
from graven.log.anchorings import Anchorings
from graven.log.catchup import load_registers, load_window, self_events
from graven.log.certificates import Certificates
from graven.log.cut import holds_whole_frame
from graven.log.open_segment import OpenSegment
from graven.log.reader import JournalReader, KeyFinder
from graven.log.recover import Recovered
from graven.log.window import Window
from graven.log.writer import WriterState
from graven.runtime.clock import Clock

if TYPE_CHECKING:
    from graven.app.log import Log

WITNESSES_WAIT_S = 10.0
"""How long a command waits at its start for witnesses to say what they have seen; a server waits until it is told."""


def writer_state(
    directory: Path,
    config: Config,
    keyring: Keyring,
    signer: Signer,
    find_key: KeyFinder,
    found: Recovered,
    clock: Clock,
    files: Files,
) -> WriterState:
    size, now_us = found.tail.size, clock.now_us()
    reader = JournalReader(directory / "journal", found.log_id, find_key)
    if found.segment is not None:
        reader.adopt(found.segment.segment_file, found.segment.blocks, found.segment.offset)
    registers = load_registers(
        directory / "state" / "registers.json",
        keyring.window_key,
        reader=reader,
        find_key=find_key,
        log_id=found.log_id,
        tail=found.tail,
        size=size,
    )
    window = Window(
        files,
        directory / "state",
        keyring.window_key,
        ids_max=config.idempotency.max_ids,
        window_us=config.idempotency.window_s * 1_000_000,
    )
    load_window(window, reader=reader, size=size, ids_max=config.idempotency.max_ids, now_us=now_us)
    anchorings = Anchorings(files, directory / "state")
    anchorings.open(size, lambda start, end: self_events(reader, find_key, found.log_id, start, end))
    mark = MarkFile(files, str(directory / "state" / "committed"))
    mark.write(Mark(size, found.tail.range.root()))
    last = reader.read(size - 1).head if size else None
    receipts = ReceiptSigner(keyring, signer)
    return WriterState(
        log_id=found.log_id,
        classes=class_names(config),
        receipts=receipts,
        certificates=Certificates(files, directory, receipts),
        reader=reader,
        tail=found.tail,
        window=window,
        registers=registers,
        mark=mark,
        anchorings=anchorings,
        segment=OpenSegment(
            files,
            directory / "journal",
            keyring,
            origin=signer.origin,
            log_id=found.log_id,
            classes=class_names(config),
            current=found.segment,
        ),
        last_received_us=last.received_us if last else 0,
    )


def check_keys(signer: Signer, config: Config) -> bool:
    """Whether the configuration names the keys that sign now; False where it names those of before a change of keys.

    Raises Broken: they are another log's.
    """
    tenures, named = signer.tenures, public_keys(config)
    if named == tenures.keys and tuple(map(parse_vkey, config.next_vkeys)) == tenures.coming:
        return True
    if named not in (tenures.keys, *(handover.old for handover in tenures.handovers)):
        raise Broken(
            "the keyring holds other signing keys than the log's configuration names",
            place=config.keys.dir or "the keyring",
            mend="give this log its own keyring in [keys] dir",
        )
    return False


def with_keys_of(signer: Signer, config: Config, directory: Path, files: Files) -> Config:
    """The configuration with the keys that sign now, in its file too: a change of keys was cut off before that."""
    if check_keys(signer, config):
        return config
    vkeys, coming = ([format_vkey(key) for key in keys] for keys in (signer.keys, signer.tenures.coming))
    path = directory / CONFIG_NAME
    if path.exists():
        text = set_vkeys(path.read_text(encoding="utf-8"), vkeys, coming)
        write_atomic(files, str(path), text.encode())
    return msgspec.structs.replace(config, vkeys=tuple(vkeys), next_vkeys=tuple(coming))


def ask_witnesses(
    panel: WitnessPanel,
    config: Config,
    signer: Signer,
    found: Recovered,
    *,
    wait_s: float | None,
    give_up: Callable[[], bool] | None,
) -> None:
    """What has each witness seen? Only checkpoints that are signed already are shown to them. Raises Broken."""
    mark = signer.highest()
    assert mark is not None  # recovery has opened it
    panel.learn(
        found.published,
        signer.tenures.open(mark, verify_signature),
        lambda old, new: prove_consistency(found.tail.nodes(new), old=old, new=new),
        go_on=config.publish.witness_start == "go_on",
        wait_s=wait_s,
        give_up=give_up or (lambda: False),
    )


def unnamed_cuts(directory: Path, found: Recovered, named: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Files in journal/torn/ that no event names yet: those cut now, and those a crash left unnamed."""
    rows: dict[str, dict[str, object]] = {
        cut.file: {
            "segment": cut.segment,
            "offset": cut.offset,
            "length": cut.length,
            "sha256": cut.sha256,
            "declared": cut.declared,
        }
        for cut in found.cuts
        if cut.file not in named
    }
    torn = directory / "journal" / "torn"
    for path in sorted(torn.iterdir()) if torn.is_dir() else ():
        if path.name not in named and path.name not in rows and not path.name.endswith(".tmp"):
            segment, _, offset = path.name.rpartition(".")[0].rpartition(".")
            data = path.read_bytes()
            rows[path.name] = {
                "segment": segment,
                "offset": int(offset) if offset.isdecimal() else 0,
                "length": len(data),
                "sha256": sha256(data).hexdigest(),
                "declared": holds_whole_frame(data),  # no other cut may take one
            }
    return rows


def config_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, object]]:
    return [
        {"path": path, "old": old.get(path), "new": new.get(path)}
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def record_start(log: "Log", found: Recovered, *, serve: bool, reason: str | None) -> None:
    if found.unsaid_loss is not None:  # first: the event right behind lost slots names them
        _say_lost(log, *found.unsaid_loss)
    registers = log.registers
    rows = unnamed_cuts(log.directory, found, registers.torn)
    for name, row in rows.items():
        action = acts.LOSS if row.pop("declared") else acts.RECOVERY
        extra = {"known_size": found.committed_before, "reason": reason or ""} if action == acts.LOSS else {}
        log.append_act(action, {"file": name, "size": found.tail.size, **row, **extra})
        log.loss_recorded |= action == acts.LOSS
    if reason is not None and found.committed_before > found.tail.size and not rows:  # nothing is left of it
        data = {"size": found.tail.size, "known_size": found.committed_before, "reason": reason}
        log.append_act(acts.LOSS, data)
        log.loss_recorded = True
    if log.writer.size and registers.running_since is not None:
        log.append_act(acts.UNCLEAN_STOP, {"start": registers.running_since})
    digest = config_sha256(log.config)
    if log.writer.size and registers.config_sha256 and registers.config_sha256 != digest:
        new = flatten(log.config)
        log.append_act(
            acts.CONFIG,
            {"config_sha256": digest, "before_sha256": registers.config_sha256, "config": new},
            changes=config_changes(registers.config, new),
        )
    if serve:
        published, panel = log.published, log.publisher.panel  # another may follow while this is appended
        shown = published.checkpoint
        start: dict[str, object] = {
            "version": VERSION,
            "config_sha256": digest,
            "checkpoint": {"size": shown.size, "root": encode_base64(shown.root)},
        }
        if panel is not None:
            start["witness_policy_sha256"] = panel.sha256
        log.append_act(acts.START, start)
        log.publisher.history.pin(shown.size, published.data)


def record_keys(log: "Log", signer: Signer) -> None:
    """The acts of a change of the signing keys that no event names yet."""
    coming = tuple(format_vkey(key) for key in signer.tenures.coming)
    named = {one.note.encode() for one in log.registers.handovers}
    for note in signer.handovers:
        if note not in named:
            log.append_act(acts.KEYS_HANDOVER, {"handover": note.decode()})
    if coming and log.registers.coming != coming:
        vkeys = [format_vkey(key) for key in signer.keys]
        log.append_act(acts.KEYS_ROTATE, {"vkeys": vkeys, "next_vkeys": list(coming)})


def _say_lost(log: "Log", start: int, end: int) -> None:
    root = encode_base64(log.writer.state.tail.range.root())
    log.append_act(acts.HEAL, {"lost": [[start, end]], "size": end, "root": root})
    if log.published.checkpoint.size == end:
        log.publisher.history.pin(end, log.published.data)
