"""The judge: whatever a crash left, does the log still stand by all it said?"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from crash.disk import RecordingFiles, Step
from crash.story import Ack, Teller
from graven.app import Log, open_keyring, open_view, public_keys
from graven.config import load_config
from graven.core.checkpoint import open_checkpoint
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.merkle import CompactRange, hash_leaves
from graven.core.note import parse_note
from graven.core.receipt import parse_receipt
from graven.journal.mark import COMMITTED, decode_mark
from graven.keys.signature import verify_signature
from graven.log import acts
from graven.log.catchup import load_registers
from graven.log.reader import KeyFinder
from graven.log.types import Batch
from graven.log.verify import verify_directory
from graven.runtime.clock import FixedClock


@dataclass
class Promises:
    """What the world has heard: answers, published checkpoints, committed marks (which followers read by)."""

    acks: list[Ack] = field(default_factory=list)
    notes: list[bytes] = field(default_factory=list)
    seen: dict[int, bytes] = field(default_factory=dict)
    renamed: bool = False
    created: bool = False
    _written: bytes = b""

    def hear(self, steps: Iterable[Step]) -> None:
        """Take in the promises of these steps. A checkpoint counts from the moment its name is there."""
        for step in steps:
            if step.kind == "promise" and isinstance(step.promise, Ack):
                self.acks.append(step.promise)
            elif step.kind == "write":
                if step.path.endswith("log/checkpoint.tmp"):
                    self._written = step.data
                mark = decode_mark(COMMITTED, step.data)
                if mark is not None and mark.size:
                    self.seen[mark.size] = mark.root
            elif step.kind == "rename" and step.target.endswith("log/checkpoint"):
                self.notes.append(self._written)
            elif step.kind == "rename" and step.target == "log":
                self.renamed = True
            elif step.kind == "sync_dir" and step.path == "." and self.renamed:
                self.created = True

    def copy(self) -> "Promises":
        return Promises(list(self.acks), list(self.notes), dict(self.seen), self.renamed, self.created, self._written)


def judge(
    directory: Path, promises: Promises, *, now_us: int, files: RecordingFiles | None = None, whole: bool = True
) -> None:
    """Open the log in `directory` with the real code and hold it to the promises; then go on with it, and close it.

    `whole` False: something beside the crash is missing, which the verifier would tell.
    """
    if whole:
        _verify(directory)  # a log that recovery would accept verifies
    _read_before_recovery(directory, promises)
    with Log.open(directory, clock=FixedClock(now_us), files=files) as log:
        _hold(log, promises)
        _go_on(log, promises, files)
    view = open_view(directory)
    with view:
        assert view.published.checkpoint.size == view.size
        roots = _roots(view.records(0, view.size))
        _check_roots(roots, promises, view.keys)
        for ack in promises.acks:
            for index in ack.indexes[:1] + ack.indexes[-1:]:
                proof = parse_evidence(view.evidence(index))
                assert verify_evidence(proof, keys=view.keys, verify=verify_signature).index == index
    _verify(directory)


def _read_before_recovery(directory: Path, promises: Promises) -> None:
    """A reader beside the log sees whole events only, and nothing it was not promised."""
    with open_view(directory) as view:
        records = list(view.records(0, view.size))
        for ack in promises.acks:
            for index, event in zip(ack.indexes, ack.batch.events, strict=True):
                assert index >= view.size or records[index].event == event


def _hold(log: Log, promises: Promises) -> None:
    records = list(log.view.records(0, log.size))
    assert [record.index for record in records] == list(range(log.size))
    for ack in promises.acks:
        raws = ack.batch.raws or [None] * len(ack.indexes)
        for index, event, raw in zip(ack.indexes, ack.batch.events, raws, strict=True):
            record = records[index]
            assert (record.event, record.raw) == (event, raw)
            assert record.head is not None and record.head.source == ack.batch.source
    _check_roots(_roots(records), promises, log.keys)
    _check_torn(log)
    _check_registers(log)


def _check_roots(roots: list[bytes], promises: Promises, keys: tuple[object, ...]) -> None:
    for ack in promises.acks:
        receipt = parse_receipt(parse_note(ack.receipt).text)
        assert roots[receipt.size] == receipt.root, "a receipt is broken"
    for note in promises.notes:
        shown = open_checkpoint(note, keys, verify_signature).checkpoint  # type: ignore[arg-type]
        assert roots[shown.size] == shown.root, "the log forked"
    for size, root in promises.seen.items():
        assert roots[size] == root, "a follower saw what did not last"


def _check_torn(log: Log) -> None:
    """Every file in torn/ is named by an event with its hash."""
    torn = log.directory / "journal" / "torn"
    kept = [path for path in torn.iterdir() if path.suffix != ".tmp"] if torn.is_dir() else []
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in kept}
    named: dict[str, str] = {}
    for record in log.view.records(0, log.size):
        assert record.event is not None
        body = msgspec.json.decode(record.event)
        if body["action"] in (acts.RECOVERY, acts.LOSS):
            named[body["data"]["file"]] = body["data"]["sha256"]
    assert files == named


def _check_registers(log: Log) -> None:
    keyring = open_keyring(log.directory, load_config(log.directory / "graven.toml"))
    fresh = load_registers(
        Path("/nowhere"), keyring.window_key, reader=log.view.reader, find_key=KeyFinder(keyring),
        log_id=log.view.header.log_id, tail=None, size=log.size,
    )  # fmt: skip
    held = log.registers
    assert (held.sources, held.tokens, held.torn) == (fresh.sources, fresh.tokens, fresh.torn)
    assert (held.running_since, held.config_sha256) == (fresh.running_since, fresh.config_sha256)


def _go_on(log: Log, promises: Promises, files: RecordingFiles | None) -> None:
    """Ids that were acknowledged are still duplicates; new events are taken and published."""
    again: dict[tuple[int, bytes], tuple[Batch, int, int]] = {}
    for ack in promises.acks:
        for position, index in enumerate(ack.indexes):
            if ack.batch.ids[position] is not None:
                again.setdefault((ack.batch.source, ack.batch.events[position]), (ack.batch, position, index))
    for batch, position, index in list(again.values())[:6] + list(again.values())[-6:]:
        raws = [batch.raws[position]] if batch.raws else None
        name = batch.class_name if isinstance(batch.class_name, str) else batch.class_name[position]
        one = Batch([batch.events[position]], [batch.ids[position]], batch.source, log.clock.now_us(), name, raws)
        answer = log.commit(one)
        assert answer.duplicates == ((0, index),), "an acknowledged id was forgotten"
    size = log.size
    answer = Teller(log, files).append((None, "after the crash"))
    assert (answer.first_index, answer.accepted) == (size, 1)
    assert log.publish().checkpoint.size == log.size


def _roots(records: Iterable[object]) -> list[bytes]:
    """The root of the tree of every size, derived again from the opened events."""
    entries = [record.entry for record in records]  # type: ignore[attr-defined]
    assert None not in entries
    at = CompactRange.EMPTY
    roots = [at.root()]
    for leaf in hash_leaves(entries):
        at, _ = at.extend([leaf])
        roots.append(at.root())
    return roots


def _verify(directory: Path) -> None:
    config = load_config(directory / "graven.toml")
    keyring = open_keyring(directory, config)
    report = verify_directory(directory, keys=public_keys(config), keyring=keyring, processes=1)
    assert report.exit_code == 0, report.problems
