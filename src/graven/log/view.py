"""A log, read-only: what `show`, `prove`, `status` and the HTTP doors ask. Works beside a running writer.

Reads no further than the committed mark. Everything shown comes from the journal; what is published is proved against
the published checkpoint, what is only committed against the root of its own frame (the frame's digest and tag were
checked when it was opened; `verify` re-derives its root).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from graven.anchor.policies import kept_witness_keys
from graven.core.bracket import Bracket
from graven.core.checkpoint import SignedCheckpoint, open_checkpoint
from graven.core.errors import BadInput, Broken
from graven.core.evidence import Anchor
from graven.core.note import Key
from graven.core.x509 import Certificate
from graven.journal.mark import COMMITTED, read_mark
from graven.journal.segment import SegmentReader, list_segments
from graven.keys.keyring import Keyring
from graven.keys.signature import verify_signature
from graven.log.bracket import collect_anchors, read_bracket
from graven.log.catchup import load_registers, self_events
from graven.log.prove import evidence, read_one, state_of, tlog_proof
from graven.log.reader import JournalReader, KeyFinder
from graven.log.registers import Registers
from graven.log.types import Record


class View:
    """One log directory. Threads may share it. `keyring` None: nothing sealed can be read."""

    def __init__(
        self,
        directory: Path,
        keys: Sequence[Key],
        keyring: Keyring | None,
        time_roots: Callable[[], Sequence[Certificate]] = tuple,
    ) -> None:
        """`keys` are the log's public keys, by which its checkpoints are believed; `time_roots` reads the certificates
        that its time authorities lead to.

        Raises:
            BadInput: there is no log. Broken: it has no segment.
        """
        self.directory, self.keys = directory, tuple(keys)
        if not (directory / "journal").is_dir():
            raise BadInput("there is no log here", place=str(directory), mend="graven init DIR makes one")
        segments = list_segments(str(directory / "journal"))
        if not segments:
            raise Broken("the journal has no segment", place=str(directory / "journal"))
        with SegmentReader(segments[0]) as first:
            self.header = first.header()
        self._keyring = keyring
        self._time_roots = time_roots
        self._find_key = KeyFinder(keyring)
        self.reader = JournalReader(directory / "journal", self.header.log_id, self._find_key)
        self._registers: Registers | None = None
        self._published: SignedCheckpoint | None = None

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> "View":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def published(self) -> SignedCheckpoint:
        """The published checkpoint as it is on disk now, signed by each of the log's keys.

        Raises:
            Broken: it cannot be read. Disproved: a signature fails.
        """
        path = self.directory / "log" / "checkpoint"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Broken("the published checkpoint cannot be read", place=f"{path}: {error.strerror}") from None
        if self._published is None or self._published.data != data:
            self._published = open_checkpoint(
                data, self.keys, verify_signature, cosigners=kept_witness_keys(self.directory), require_all=True
            )
        return self._published

    @property
    def size(self) -> int:
        """Committed entries."""
        mark = read_mark(str(self.directory / "state" / "committed"), COMMITTED)
        published = self.published.checkpoint.size
        return max(published, mark.size) if mark else published

    def read(self, index: int) -> Record:
        """The record at `index`. Raises BadInput, Disproved, Broken as `JournalReader.read`."""
        return read_one(self.reader, index, self.size)

    def records(self, start: int, end: int) -> Iterator[Record]:
        """The records [start, end) within the committed size."""
        return self.reader.records(start, min(end, self.size))

    def state_of(self, index: int) -> str:
        return state_of(index, self.published.checkpoint.size)

    def evidence(self, index: int, *, event: bool = True, raw: bool = True) -> bytes:
        """The evidence document of one event, with the anchors that bound it. Raises as `log.prove.prove`."""
        return self.evidence_of(self.read(index), self.published, event=event, raw=raw)

    def evidence_of(
        self, record: Record, published: SignedCheckpoint, *, event: bool = True, raw: bool = True
    ) -> bytes:
        """As `evidence`, of a record and under a checkpoint at hand."""
        anchors: tuple[Anchor, ...] = ()
        if record.index < published.checkpoint.size:
            anchors = self.anchors(record.index, record.index, published)
        return evidence(
            self.directory, record, published, self.keys, disclose_event=event, disclose_raw=raw, anchors=anchors
        )

    def anchors(self, first: int, last: int, published: SignedCheckpoint) -> tuple[Anchor, ...]:
        """What bounds the published events `first` to `last` in time: each proved in the tree of `published`."""
        return collect_anchors(
            self.directory, published, first=first, last=last,
            keys=self.keys, reader=self.reader, self_events=self.self_events, roots=self.time_roots or None,
        )  # fmt: skip

    def bracket(self, index: int) -> Bracket:
        """Between which times a published event was sequenced, and by whose word. Raises as `evidence`, Disproved."""
        return read_bracket(self.directory, self.evidence(index, event=False, raw=False), self.keys, self.time_roots)

    @property
    def time_roots(self) -> tuple[Certificate, ...]:
        """The certificates that the configured time authorities may lead to; none where they cannot be read."""
        try:
            return tuple(self._time_roots())
        except BadInput:
            return ()

    def tlog_proof(self, index: int) -> bytes:
        """The bare proof of one entry, without opening its event. Raises as `log.prove.tlog_proof`."""
        return tlog_proof(self.directory, index, self.published)

    def self_events(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """(index, event) of the log's own events in [start, end)."""
        return self_events(self.reader, self._find_key, self.header.log_id, start, end)

    def registers(self) -> Registers:
        """Sources and tokens as of now. Raises BadInput without a keyring."""
        if self._keyring is None:
            raise BadInput("the registers are sealed", mend="give the keyring: --keys DIR.keys")
        size = self.size
        if self._registers is None or self._registers.size != size:
            self._registers = load_registers(
                self.directory / "state" / "registers.json",
                self._keyring.window_key,
                reader=self.reader,
                find_key=self._find_key,
                log_id=self.header.log_id,
                tail=None,
                size=size,
            )
        return self._registers


def events_only_here(directory: Path, kit_segment: int | None, size: int) -> int:
    """Events that no recovery kit opens: those in segments begun after the newest kit was made (at `kit_segment`)."""
    if kit_segment is None:
        return size
    later = (one.start for one in list_segments(str(directory / "journal")) if one.start > kit_segment)
    return max(0, size - min(later, default=size))
