"""Proving events against the published checkpoint: tlog-proofs and evidence.

Every proof is verified before it leaves: a log whose tiles are damaged says so here, not at the auditor's.
"""

from collections.abc import Sequence
from pathlib import Path

from graven.core.checkpoint import SignedCheckpoint
from graven.core.commitment import NO_RAW, format_head
from graven.core.errors import BadInput, Broken
from graven.core.evidence import Anchor, Disclosed, Evidence, Withheld, format_evidence
from graven.core.merkle import hash_leaf, prove_inclusion, verify_inclusion
from graven.core.note import Key, format_vkey
from graven.core.proof import TlogProof, format_proof
from graven.core.tile import Fetch, tile_nodes
from graven.log.reader import JournalReader
from graven.log.tail import disk_fetch, entry_at
from graven.log.types import Record


def prove(directory: Path, record: Record, published: SignedCheckpoint) -> TlogProof:
    """The inclusion proof of a record in the published tree, from its tiles; `extra` is the entry.

    Raises:
        BadInput: the index is not published yet. Broken: the entry cannot be derived, its key is gone.
        Disproved: the tiles or the journal do not lead to the published root.
    """
    _check_published(record.index, published)
    if record.entry is None:
        raise Broken(
            f"index {record.index} cannot be proved here: its data key is not in the keyring",
            mend="restore the keyring: graven keys restore",
        )
    return _prove(disk_fetch(directory / "log"), record.index, record.entry, published)


def tlog_proof(directory: Path, index: int, published: SignedCheckpoint) -> bytes:
    """A `.tlog-proof` file of an index, from tiles and the entry bundle alone: no event is opened, no key is needed.

    Raises: as `prove`; Broken for a missing file.
    """
    _check_published(index, published)
    fetch = disk_fetch(directory / "log")
    try:
        entry = entry_at(fetch, index, published.checkpoint.size)
    except OSError as error:
        raise Broken("an entry bundle cannot be read", place=f"{error.filename}: {error.strerror}") from None
    return format_proof(_prove(fetch, index, entry, published))


def evidence(
    directory: Path,
    record: Record,
    published: SignedCheckpoint,
    keys: Sequence[Key],
    *,
    disclose_event: bool = True,
    disclose_raw: bool = True,
    anchors: Sequence[Anchor] = (),
) -> bytes:
    """A `graven-evidence/v1` document; what is not disclosed is shown as its digest. Raises as `prove`."""
    if record.state == "lost":
        raise BadInput(
            f"index {record.index} was lost, as event {record.erasure_index} says: there is nothing to disclose",
            mend="its bare proof shows that an entry stands there: --tlog-proof",
        )
    proof = prove(directory, record, published)
    assert record.head is not None and record.event_digest is not None
    event: Disclosed | Withheld = Withheld(record.event_digest)
    if disclose_event and record.event is not None and record.event_salt is not None:
        event = Disclosed(record.event, record.event_salt)
    raw: Disclosed | Withheld | None = None
    if record.raw_digest is not None and record.raw_digest != NO_RAW:
        raw = Withheld(record.raw_digest)
        if disclose_raw and record.raw is not None and record.raw_salt is not None:
            raw = Disclosed(record.raw, record.raw_salt)
    return format_evidence(
        Evidence(
            record.index,
            format_head(record.head),
            event,
            raw,
            proof,
            tuple(format_vkey(key) for key in keys),
            tuple(anchors),
        )
    )


def state_of(index: int, published_size: int) -> str:
    """The state an event has reached, as answers name it."""
    return "published" if index < published_size else "committed"


def read_one(reader: JournalReader, index: int, size: int) -> Record:
    """A record within the first `size` entries. Raises as `JournalReader.read`."""
    if not 0 <= index < size:
        raise BadInput(f"the log has no index {index}: it holds {size} entries", mend=f"indexes are 0 to {size - 1}")
    return reader.read(index)


def _check_published(index: int, published: SignedCheckpoint) -> None:
    size = published.checkpoint.size
    if index < 0:
        raise BadInput(f"an index is not negative, {index} is", mend="indexes begin at 0")
    if index >= size:
        raise BadInput(
            f"index {index} is not published yet: the published tree has {size} entries",
            mend="ask again after the next checkpoint",
        )


def _prove(fetch: Fetch, index: int, entry: bytes, published: SignedCheckpoint) -> TlogProof:
    """The proof, verified. Raises Disproved if entry and tiles do not lead to the root."""
    checkpoint = published.checkpoint
    hashes = prove_inclusion(tile_nodes(fetch, checkpoint.size), index=index, size=checkpoint.size)
    verify_inclusion(hash_leaf(entry), hashes, index=index, size=checkpoint.size, root=checkpoint.root)
    return TlogProof(entry, index, tuple(hashes), published.data)
