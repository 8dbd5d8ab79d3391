"""Recovery: what the writer does before its first signature, at every start.

It learns the largest tree ever shown (the published checkpoint, the high-water mark beside the signing key, the
committed mark), finds the journal's end, cuts at most one unfinished frame, replays the blocks since the last tree that
is surely on disk, and refuses to sign anything if its own tree is smaller than, or another than, what was shown.
Opening costs what lies behind the last published checkpoint, not the length of the log.

The rules are those of docs/format.md, "Recovery". Whatever does not fit raises `Broken` with the exact place; nothing
is mended silently: what was cut is kept in `journal/torn/` and named by an event.
"""

from dataclasses import dataclass, field
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.merkle import compact_range_at
from graven.core.note import parse_note
from graven.journal import frame
from graven.journal.files import Files
from graven.journal.mark import COMMITTED, read_mark
from graven.journal.segment import SegmentReader, SegmentWriter
from graven.keys.signature import verify_signature
from graven.keys.signer import Signer
from graven.log.cut import REMEDY, Cut, Limits
from graven.log.journal_end import find_end, resume, write_again
from graven.log.reader import JournalReader, KeyFinder
from graven.log.replay import replay
from graven.log.tail import Tail, remove_larger


@dataclass(slots=True)
class Recovered:
    """The log's tree as the journal holds it. `on_disk` is the size whose tiles are surely written."""

    log_id: bytes
    published: SignedCheckpoint
    tail: Tail
    on_disk: int
    segment: SegmentWriter | None
    committed_before: int
    cuts: list[Cut] = field(default_factory=list)
    unsaid_loss: tuple[int, int] | None = None
    """Lost slots [start, end) at the journal's end, put back by a heal and not yet named by an event."""


def recover(
    directory: Path, *, files: Files, signer: Signer, find_key: KeyFinder, declare_loss: bool = False
) -> Recovered:
    """Open a log for writing. The caller holds its lock.

    Raises:
        Broken: see the module; nothing was changed but, at most, bytes kept in `torn/` and cut.
        Disproved: a signature that should be the log's own is not.
    """
    published = read_published(directory, signer)
    highest = _read_highest(signer)
    try:
        return _recover(directory, files, signer, find_key, published, highest, declare_loss)
    except Disproved as error:
        raise Broken(f"the journal does not fit: {error}", mend=REMEDY) from None


def _recover(
    directory: Path,
    files: Files,
    signer: Signer,
    find_key: KeyFinder,
    published: SignedCheckpoint,
    highest: SignedCheckpoint,
    declare_loss: bool,
) -> Recovered:
    mark = read_mark(str(directory / "state" / "committed"), COMMITTED)
    shown = max(published.checkpoint.size, highest.checkpoint.size)
    signed = max(shown, mark.size if mark else 0)
    journal = str(directory / "journal")
    cuts: list[Cut] = []
    limits = Limits(published.checkpoint.size, shown, signed, declare_loss)
    end = find_end(files, journal, limits, cuts)
    if end.size < (shown if declare_loss else signed):
        raise Broken(
            f"the journal ends at {end.size}, but a tree of {signed} entries was "
            + ("signed" if end.size < shown else "acknowledged"),
            place=end.segment.path,
            mend=REMEDY,
        )
    with SegmentReader(end.segment) as reader:
        header = reader.header()
    if header.origin != signer.origin:
        raise Broken(
            f"the journal is of another log: {header.origin!r}, the keyring of {signer.origin!r}",
            place=end.segment.path,
        )
    reader_ = JournalReader(Path(journal), header.log_id, find_key)
    try:
        tail, on_disk = replay(directory, reader_, header.log_id, find_key, published, end.size)
        checks = [("the published checkpoint", published.checkpoint.size, published.checkpoint.root)]
        checks.append(("the highest checkpoint ever signed", highest.checkpoint.size, highest.checkpoint.root))
        if mark is not None and mark.size <= end.size:  # else its loss was declared
            checks.append(("the committed mark", mark.size, mark.root))
        for what, size, root in checks:
            if compact_range_at(tail.nodes(end.size), size).root() != root:
                raise Broken(
                    f"the journal's tree of {size} entries has another root than {what}: signing would fork the log",
                    place=journal,
                    mend=REMEDY,
                )
        write_again(files, journal, published.checkpoint.size, end)
        remove_larger(files, directory / "log", end.size, published.checkpoint.size)
        unsaid = unsaid_loss(reader_, end.size)
    finally:
        reader_.close()
    segment = None if end.closed else resume(files, end)
    committed = mark.size if mark else published.checkpoint.size
    return Recovered(header.log_id, published, tail, on_disk, segment, committed, cuts, unsaid)


def unsaid_loss(reader: JournalReader, size: int) -> tuple[int, int] | None:
    """The lost slots at the end of a journal of `size`, whose event is yet to come; None where there are none."""
    start = size
    while start > 0:
        place = reader.place(start - 1)
        if not any(one.kind == frame.LOST and one.erasure == size for one in reader.sections(place)):
            break
        start = place.header.start
    return (start, size) if start < size else None


def read_published(directory: Path, signer: Signer) -> SignedCheckpoint:
    """The published checkpoint, signed by each of the log's keys."""
    path = directory / "log" / "checkpoint"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Broken(
            "the published checkpoint cannot be read", place=f"{path}: {error.strerror}", mend=REMEDY
        ) from None
    try:
        return signer.tenures.open(data, verify_signature)
    except BadInput as error:
        raise Broken(f"the published checkpoint does not parse: {error.what}", place=str(path)) from None


def _read_highest(signer: Signer) -> SignedCheckpoint:
    data = signer.highest()
    if data is None:
        raise Broken(
            "the largest checkpoint ever signed is not known",
            place="highest-checkpoint in the keyring",
            mend="name one from outside this host: graven keys seen CHECKPOINT_FILE --dir DIR",
        )
    must, may = signer.tenures.at(parse_checkpoint(parse_note(data).text)[0].size)
    return open_checkpoint(data, must, verify_signature, cosigners=may, only_known=True)
