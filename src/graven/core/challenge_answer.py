"""The operator's answer to a challenge, and what it shows: which of the drawn entries can still be opened.

One JSON document, `graven-challenge-answer/v1`:

    format      "graven-challenge-answer/v1"
    challenge   the signed challenge, a string
    answers     one object for each index answered, each drawn index at most once:
                {"index", "head", "event", "raw", "proof": [base64], "by": index or null}
                {"index", "entry", "proof", "by"}        where nobody knows the head any more
    acts        the log's own events that `by` names: {"index", "head", "event", "raw", "proof"}

Every proof is an inclusion proof in the tree that is challenged, so nothing appended after the draw can excuse
anything. A drawn entry is

    opened    its event is disclosed, and its raw, if it has one (or the raw's erasure is named)
    erased    its event is withheld, and `by` names a `graven.erasure` of events that covers the index
    lost      `by` names a `graven.heal` that lists the index
    missing   everything else: not answered, withheld, not what stands in the tree. It is never drawn anew.

Bounded: 256 MiB, 10,000 answers.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graven.core.challenge import COUNT_MAX, Challenge, draw, open_challenge
from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.commitment import parse_head
from graven.core.disclosed import Disclosed, format_event, format_raw, parse_event, parse_raw
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, GravenError
from graven.core.merkle import hash_leaf, verify_inclusion
from graven.core.note import Key, VerifySignature
from graven.core.policy import Trust
from graven.core.proof import MAX_HASHES
from graven.core.range import Closed, Opened
from graven.core.spelling import decode_hash, encode_base64

FORMAT = "graven-challenge-answer/v1"
MAX_ANSWER_BYTES = 256 << 20
ERASURE, HEAL = "graven.erasure", "graven.heal"

OPENED, ERASED, LOST, MISSING = "opened", "erased", "lost", "missing"


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry of an answer, proved by nobody yet. `by` is the index of the log's own event that accounts for it."""

    index: int
    entry: Opened | Closed
    proof: tuple[bytes, ...]
    by: int | None = None


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """An answer as written. Raises BadInput when an index stands in it twice."""

    challenge: bytes
    answers: tuple[Shown, ...]
    acts: tuple[Shown, ...] = ()

    def __post_init__(self) -> None:
        for rows, what in ((self.answers, "answers"), (self.acts, "acts")):
            if len({row.index for row in rows}) != len(rows):
                raise BadInput("an index is answered twice", place=what)


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer shows. `outcome`: each drawn index, in the order drawn. `why`: of those missing."""

    challenge: Challenge
    auditor: Key
    checkpoint: SignedCheckpoint
    witnesses: tuple[str, ...]
    outcome: Mapping[int, str]
    why: Mapping[int, str]

    def count(self, outcome: str) -> int:
        return sum(one == outcome for one in self.outcome.values())


def parse_answer(data: bytes) -> ChallengeAnswer:
    """Read an answer. Raises BadInput with the path in the document."""
    document = parse_document(data, max_bytes=MAX_ANSWER_BYTES, what="an answer to a challenge")
    fields = as_object(document, "answer", keys=("format", "challenge", "answers", "acts"))
    if fields["format"] != FORMAT:
        raise BadInput("not an answer of a format known here", place="answer.format", mend=f"this version: {FORMAT}")
    return ChallengeAnswer(
        as_text(fields["challenge"], "challenge").encode(),
        tuple(_parse_all(fields["answers"], "answers", _parse_shown)),
        tuple(_parse_all(fields["acts"], "acts", _parse_act)),
    )


def format_answer(answer: ChallengeAnswer) -> bytes:
    """The document, one entry a line. Raises BadInput: an event that is not UTF-8, too large."""
    parts = {
        "format": _dump(FORMAT),
        "challenge": _dump(answer.challenge.decode("utf-8")),
        "answers": _lines(_format_shown(one) | {"by": one.by} for one in answer.answers),
        "acts": _lines(_format_shown(one) for one in answer.acts),
    }
    data = ("{\n" + ",\n".join(f'  "{key}": {value}' for key, value in parts.items()) + "\n}\n").encode()
    if len(data) > MAX_ANSWER_BYTES:
        raise BadInput(f"an answer of more than {MAX_ANSWER_BYTES} bytes", mend="challenge fewer entries at a time")
    return data


def judge(answer: ChallengeAnswer, auditors: Sequence[Key], trust: Trust, verify: VerifySignature) -> Judged:
    """What an answer shows to someone who knows the auditor's key, and trusts keys or follows a policy.

    An entry that does not prove is missing, with the reason; it refutes nothing else. Raises BadInput, Disproved for
    the challenge itself, as `open_challenge`.
    """
    one, auditor, signed, witnesses = open_challenge(answer.challenge, auditors, trust, verify)
    tree = signed.checkpoint
    acts: dict[int, Mapping[str, object]] = {}
    for row in answer.acts:
        found = _act(row, tree)
        if found is not None:
            acts[row.index] = found
    given = {row.index: row for row in answer.answers}
    outcome: dict[int, str] = {}
    why: dict[int, str] = {}
    for index in draw(one.seed, start=one.start, end=one.end, count=one.count):
        outcome[index], reason = _judge_one(given.get(index), tree, acts)
        if reason:
            why[index] = reason
    return Judged(one, auditor, signed, witnesses, outcome, why)


def _judge_one(row: Shown | None, tree: Checkpoint, acts: Mapping[int, Mapping[str, object]]) -> tuple[str, str]:
    if row is None:
        return MISSING, "no answer"
    if not _stands(row, tree):
        return MISSING, "what was answered is not what stands in the tree"
    act = acts.get(row.by) if row.by is not None else None
    if isinstance(row.entry, Closed):
        return (LOST, "") if _heals(act, row.index) else (MISSING, "not opened, and no loss of it is on record")
    if not isinstance(row.entry.event, Disclosed):
        if _erases(act, row.index, "event"):
            return ERASED, ""
        return MISSING, "withheld, and no erasure of it is on record"
    if row.entry.raw is not None and not isinstance(row.entry.raw, Disclosed) and not _erases(act, row.index, "raw"):
        return MISSING, "its raw is withheld, and no erasure of it is on record"
    return OPENED, ""


def _stands(row: Shown, tree: Checkpoint) -> bool:
    """Whether the entry is the one at its index in the tree."""
    try:
        leaf = hash_leaf(row.entry.entry)
        verify_inclusion(leaf, row.proof, index=row.index, size=tree.size, root=tree.root)
    except GravenError:
        return False
    return True


def _act(row: Shown, tree: Checkpoint) -> Mapping[str, object] | None:
    """What one of the log's own events says: its action and data; None when it is none, or not in the tree."""
    entry = row.entry
    if not isinstance(entry, Opened) or not isinstance(entry.event, Disclosed) or not _stands(row, tree):
        return None
    if parse_head(entry.head).source != 0:
        return None
    try:
        event = parse_document(entry.event.data, max_bytes=1 << 20, what="an act")
    except BadInput:
        return None
    return event if isinstance(event, dict) else None


def _erases(act: Mapping[str, object] | None, index: int, kind: str) -> bool:
    data = act.get("data") if act is not None and act.get("action") == ERASURE else None
    if not isinstance(data, dict) or data.get("kind") != kind:
        return False
    first, last = data.get("first"), data.get("last")
    return isinstance(first, int) and isinstance(last, int) and first <= index <= last


def _heals(act: Mapping[str, object] | None, index: int) -> bool:
    data = act.get("data") if act is not None and act.get("action") == HEAL else None
    rows = data.get("lost") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return False
    return any(
        isinstance(row, list)
        and len(row) == 2
        and all(isinstance(one, int) for one in row)
        and row[0] <= index < row[1]
        for row in rows
    )


def _parse_all(value: object, place: str, parse: Callable[[object, str], Shown]) -> list[Shown]:
    rows = as_list(value, place, count_max=COUNT_MAX)
    return [parse(row, f"{place}[{number}]") for number, row in enumerate(rows)]


def _parse_shown(value: object, place: str) -> Shown:
    closed = isinstance(value, dict) and "entry" in value
    keys = ("index", "entry", "proof", "by") if closed else ("index", "head", "event", "raw", "proof", "by")
    fields = as_object(value, place, keys=keys)
    by = None if fields["by"] is None else as_number(fields["by"], f"{place}.by")
    return _parse_row(fields, place, by)


def _parse_act(value: object, place: str) -> Shown:
    return _parse_row(as_object(value, place, keys=("index", "head", "event", "raw", "proof")), place, None)


def _parse_row(fields: Mapping[str, object], place: str, by: int | None) -> Shown:
    hashes = as_list(fields["proof"], f"{place}.proof", count_max=MAX_HASHES)
    entry: Opened | Closed
    if "entry" in fields:
        entry = Closed(decode_hash(as_text(fields["entry"], f"{place}.entry"), place=f"{place}.entry"))
    else:
        try:
            entry = Opened(
                as_text(fields["head"], "head").encode(), parse_event(fields["event"]), parse_raw(fields["raw"])
            )
        except BadInput as error:
            error.place = f"{place}.{error.place or 'head'}"
            raise
    return Shown(
        as_number(fields["index"], f"{place}.index"), entry,
        tuple(decode_hash(as_text(one, f"{place}.proof"), place=f"{place}.proof") for one in hashes), by,
    )  # fmt: skip


def _format_shown(one: Shown) -> dict[str, object]:
    entry: dict[str, object]
    if isinstance(one.entry, Closed):
        entry = {"entry": encode_base64(one.entry.entry)}
    else:
        event, raw = format_event(one.entry.event), format_raw(one.entry.raw)
        entry = {"head": one.entry.head.decode("ascii"), "event": event, "raw": raw}
    return {"index": one.index, **entry, "proof": [encode_base64(node) for node in one.proof]}


def _lines(rows: Iterable[Mapping[str, object]]) -> str:
    lines = ",\n".join(f"    {_dump(row)}" for row in rows)
    return f"[\n{lines}\n  ]" if lines else "[]"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
