"""Which batch of an agent an event came in, and the document that shows its signature: `core/signed.py`.

The records of a batch are put together from its frame: they stand in order in front of the statement, each as the raw
of its event, or the event itself. A record that gave several events is one. Whether they were put together rightly is
shown by the signed root; where they cannot be (a record was stored before, redacted, cut, or erased), that is said.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from graven.core.errors import BadInput, Disproved
from graven.core.merkle import Nodes, hash_leaves, hash_pairs, prove_inclusion
from graven.core.note import Key
from graven.core.signed import STATEMENT_ACTION, enrolled_key, format_signed, record_of
from graven.core.statement import BatchStatement, open_batch
from graven.keys.signature import verify_signature
from graven.log.types import Record
from graven.log.view import View

_MARK = STATEMENT_ACTION.encode()
_NOTE_START = b"graven-batch/"


def signed_document(view: View, index: int, *, event: bool = True) -> bytes:
    """The document of the event at `index`; with `event` off its text is withheld, if it has a raw.

    Raises:
        BadInput: it did not come in a signed batch, or that cannot be put together any more. As `View.evidence`.
    """
    record = view.read(index)
    if record.head is None or record.event is None:
        raise BadInput("there is nothing left of this event to show", place=f"index {index}")
    batch, statement = _batch(view, record)
    enrolment, key = _enrolment(view, statement)
    said = open_batch(statement.raw or b"", key, verify_signature)
    records, position = _records(batch, said, index)
    leaves = hash_leaves([said.salt + one for one in records])
    return format_signed(
        position,
        prove_inclusion(_nodes(leaves), index=position, size=len(records)),
        event=view.evidence(index, event=event or record.raw is None),
        statement=view.evidence(statement.index),
        enrolment=view.evidence(enrolment),
    )


def _batch(view: View, record: Record) -> tuple[list[Record], Record]:
    """(the events of the batch that a record stands in, the statement behind them)."""
    header = view.reader.place(record.index).header
    batch: list[Record] = []
    for one in view.records(header.start, header.end):
        if one.head != record.head or one.event is None:
            continue
        if one.raw is not None and _MARK in one.event and one.raw.startswith(_NOTE_START):
            if batch and batch[0].index <= record.index < one.index:
                return batch, one
            batch = []
        else:
            batch.append(one)
    raise BadInput(
        f"the event at index {record.index} did not come in a signed batch",
        mend="events of agents did: graven source list",
    )


def _enrolment(view: View, statement: Record) -> tuple[int, Key]:
    """(index of the event that made the key known, the key) that a statement is signed with."""
    for index, event in reversed(view.self_events(0, statement.index)):
        key = enrolled_key(event)
        if key is None:
            continue
        try:
            open_batch(statement.raw or b"", key, verify_signature)
        except (BadInput, Disproved):
            continue
        return index, key
    raise BadInput("no key that this log knows signed the statement", place=f"index {statement.index}")


def _records(batch: Sequence[Record], said: BatchStatement, index: int) -> tuple[list[bytes], int]:
    """(the records that were signed, the position of the event's own). Raises BadInput."""
    for grouped in _groupings([(one.index, record_of(one.event or b"", one.raw)) for one in batch]):
        records = [record for record, _ in grouped]
        try:
            said.verify_records(records)
        except Disproved:
            continue
        return records, next(at for at, (_, indexes) in enumerate(grouped) if index in indexes)
    raise BadInput(
        f"the records of batch {said.sequence} cannot be put together any more",
        place=said.agent,
        mend="some were in the log before it, or were redacted, cut or erased: their digests are not what was signed",
    )


def _groupings(found: Sequence[tuple[int, bytes]]) -> Iterator[list[tuple[bytes, list[int]]]]:
    """Ways in which events may be records: one each; or those of equal raws in a row together."""
    yield [(record, [index]) for index, record in found]
    yield [(record, [index for index, _ in run]) for record, run in groupby(found, key=lambda pair: pair[1])]


def _nodes(leaves: Sequence[bytes]) -> Nodes:
    """The full nodes of the tree over these leaf hashes, by (level, index)."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(hash_pairs(levels[-1]))
    return lambda wanted: [levels[level][index] for level, index in wanted]
