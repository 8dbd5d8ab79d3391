"""Several files: each judged alone, and all of them held against each other.

Two checkpoints of one size and different roots prove that the log forked; a checkpoint against a receipt, that a
promise was broken; two receipts, that two promises cannot both be kept.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from graven.check.documents import check_document
from graven.check.verdict import Good, Trust
from graven.check.words import error_fields, shown
from graven.core.challenge_answer import parse_answer
from graven.core.challenge_statement import make_statement
from graven.core.checkpoint import SignedCheckpoint, conflicting
from graven.core.errors import Disproved, GravenError
from graven.core.receipt import Receipt, check_promise
from graven.core.spelling import encode_base64


@dataclass(slots=True)
class Verdict:
    """What became of one file: `good`, or why not."""

    name: str
    good: Good | None = None
    error: GravenError | None = None

    @property
    def word(self) -> str:
        """The verdict as a person reads it, on one safe line."""
        if self.good is not None:
            return f"{shown(self.name)}: good {self.good.kind}"
        return f"{shown(self.name)}: {'NOT GOOD' if isinstance(self.error, Disproved) else 'not checked'}"


@dataclass(slots=True)
class Findings:
    """All verdicts, and what the files prove against each other."""

    verdicts: list[Verdict]
    conflicts: list[Disproved]

    @property
    def errors(self) -> list[GravenError]:
        return [one.error for one in self.verdicts if one.error is not None] + list(self.conflicts)

    @property
    def worst(self) -> GravenError | None:
        """The error that decides the exit code; None when all is good."""
        errors = self.errors
        return next((one for one in errors if isinstance(one, Disproved)), errors[0] if errors else None)

    def as_json(self) -> dict[str, object]:
        files: list[dict[str, object]] = []
        for verdict in self.verdicts:
            row: dict[str, object] = {"file": verdict.name, "good": verdict.good is not None}
            if verdict.good is not None:
                row |= {"kind": verdict.good.kind, **verdict.good.fields}
            if verdict.error is not None:
                row["error"] = error_fields(verdict.error)
            files.append(row)
        good = not self.conflicts and all(verdict.good is not None for verdict in self.verdicts)
        return {"good": good, "files": files, "conflicts": [error_fields(error) for error in self.conflicts]}


def check_files(names: Iterable[str], read: Callable[[str], bytes], trust: Trust) -> Findings:
    """Judge each file, read by its name, and then all together. Never raises for what a file holds."""
    verdicts = [_judge(name, read, trust) for name in names]
    return Findings(verdicts, conflicts_of(verdicts))


def _judge(name: str, read: Callable[[str], bytes], trust: Trust) -> Verdict:
    shown_name = "standard input" if name == "-" else name
    try:
        return Verdict(shown_name, good=check_document(read(name), trust))
    except GravenError as error:
        error.place = f"{shown_name}: {error.place}" if error.place and error.place != shown_name else shown_name
        return Verdict(shown_name, error=error)


def conflicts_of(verdicts: Sequence[Verdict]) -> list[Disproved]:
    """What the files prove against each other, each with the names of the two files as its place."""
    found: list[Disproved] = []
    trees: dict[tuple[str, int], tuple[str, SignedCheckpoint]] = {}
    promises: dict[tuple[str, int], tuple[str, Receipt]] = {}
    for name, good in ((verdict.name, verdict.good) for verdict in verdicts if verdict.good is not None):
        for signed in good.checkpoints:
            head = signed.checkpoint
            before = trees.setdefault((head.origin, head.size), (name, signed))
            with _collected(found, before[0], name):
                conflicting(before[1], signed)
        for receipt in good.receipts:
            first = promises.setdefault((receipt.origin, receipt.size), (name, receipt))
            if first[1].root != receipt.root:
                with _collected(found, first[0], name):
                    raise Disproved(
                        f"this log made two promises that cannot both be kept: two trees of size {receipt.size}",
                        expected=f"root {encode_base64(first[1].root)}",
                        found=f"root {encode_base64(receipt.root)}",
                    )
    found += _statements_of(verdicts)
    for tree, (name, receipt) in promises.items():
        if tree in trees:
            with _collected(found, name, trees[tree][0]):
                check_promise(receipt, trees[tree][1])
    return found


def _statements_of(verdicts: Sequence[Verdict]) -> list[Disproved]:
    """Statements of challenges that the answers they judged, given beside them, do not bear out."""
    found: list[Disproved] = []
    goods = [(verdict.name, verdict.good) for verdict in verdicts if verdict.good is not None]
    for name, said in goods:
        for other, answer in goods:
            one, judged = said.statement, answer.judged
            if one is None or judged is None or sha256(answer.data).digest() != one.answer:
                continue
            challenge = parse_answer(answer.data).challenge
            again = make_statement(judged, challenge=challenge, answer=answer.data, time=one.time)
            with _collected(found, name, other):
                if again != one:
                    raise Disproved(
                        "the statement is not what the answer shows",
                        expected=f"{again.opened} opened, {len(again.missing)} missing",
                        found=f"{one.opened} opened, {len(one.missing)} missing",
                    )
                said.rows = [row for row in said.rows if row[0] != "not shown"]
                said.rows.append(("judged", f"again, from {other}: it is so"))
    return found


@contextmanager
def _collected(found: list[Disproved], one: str, other: str) -> Iterator[None]:
    try:
        yield
    except Disproved as error:
        error.place = f"{one} and {other}"
        found.append(error)
