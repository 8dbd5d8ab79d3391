"""What an auditor says came of a challenge, and what that bounds.

    graven-challenge-statement/v1
    <origin>
    <size>                         of the tree that was challenged
    <base64 root>
    challenge <base64>             SHA-256 of the signed challenge
    answer <base64>                SHA-256 of the answer judged, or `none` when there was none
    range <start> <end>
    count <k>                      drawn
    seed-from <text>
    opened <n>
    erased <n>                     their erasure was on record before the draw
    lost <n>                       their loss in a disaster was on record before the draw
    missing <n>
    bound 95 <m>                   at most so many entries of the range that are neither erased nor lost nor can be
                                   opened, at 95 % confidence
    time <RFC 3339, UTC>
    missing-index <index> <why>    one a line, in ascending order

signed (Ed25519, 0x01) by the auditor. `bound` follows from the counts (core/challenge.py), so a reader recomputes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core.challenge import CONFIDENCE_PERCENT, COUNT_MAX, bound, signed_by
from graven.core.challenge_answer import ERASED, LOST, MISSING, OPENED, Judged
from graven.core.checkpoint import Checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.note import Key, VerifySignature, parse_note
from graven.core.spelling import decode_hash, encode_base64, parse_decimal

FIRST_LINE = "graven-challenge-statement/v1"
WHY_CHARS_MAX = 200

_NAMES = (
    "challenge", "answer", "range", "count", "seed-from", OPENED, ERASED, LOST, MISSING, "bound", "time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as written. Raises BadInput when its counts do not add up; Disproved when its bound is not theirs."""

    tree: Checkpoint
    challenge: bytes
    answer: bytes | None
    start: int
    end: int
    count: int
    seed_from: str
    opened: int
    erased: int
    lost: int
    missing: tuple[tuple[int, str], ...]
    time: str
    bound: int

    def __post_init__(self) -> None:
        if self.opened + self.erased + self.lost + len(self.missing) != self.count or self.count > COUNT_MAX:
            raise BadInput("a statement whose counts do not add up")
        indexes = [index for index, _ in self.missing]
        if indexes != sorted(set(indexes)) or not all(self.start <= index < self.end for index in indexes):
            raise BadInput("a statement whose missing indexes are not in ascending order, or not of its range")
        found = bound(among=self.end - self.start, count=self.count, missing=len(self.missing))
        if found != self.bound:
            raise Disproved("the bound does not follow from the counts", expected=str(found), found=str(self.bound))


def make_statement(judged: Judged, *, challenge: bytes, answer: bytes | None, time: str) -> Statement:
    """What is to be signed of a judgement. `challenge` and `answer` are the documents, `time` RFC 3339."""
    one = judged.challenge
    missing = judged.count(MISSING)
    return Statement(
        judged.checkpoint.checkpoint, sha256(challenge).digest(), None if answer is None else sha256(answer).digest(),
        one.start, one.end, one.count, one.seed_from,
        judged.count(OPENED), judged.count(ERASED), judged.count(LOST), tuple(sorted(judged.why.items())), time,
        bound(among=one.end - one.start, count=one.count, missing=missing),
    )  # fmt: skip


def format_statement(one: Statement) -> str:
    """The text to sign."""
    values = (
        encode_base64(one.challenge), "none" if one.answer is None else encode_base64(one.answer),
        f"{one.start} {one.end}", one.count, one.seed_from, one.opened, one.erased, one.lost, len(one.missing),
        f"{CONFIDENCE_PERCENT} {one.bound}", one.time,
    )  # fmt: skip
    lines = [FIRST_LINE, one.tree.origin, str(one.tree.size), encode_base64(one.tree.root)]
    lines += [f"{name} {value}" for name, value in zip(_NAMES, values, strict=True)]
    lines += [f"missing-index {index} {why}" for index, why in one.missing]
    return "".join(f"{line}\n" for line in lines)


def parse_statement(data: bytes) -> Statement:
    """Read a signed statement, believing nobody. Raises BadInput, Disproved (its bound)."""
    text = parse_note(data).text
    lines = text.split("\n")
    words = [line.partition(" ") for line in lines]
    if len(lines) < 16 or lines[0] != FIRST_LINE or tuple(word[0] for word in words[4:15]) != _NAMES:
        raise BadInput("not a statement of a challenge", mend=f"{FIRST_LINE}, as graven challenge judge writes it")
    value = {name: word[2] for name, word in zip(_NAMES, words[4:15], strict=True)}
    start, _, end = value["range"].partition(" ")
    missing: list[tuple[int, str]] = []
    for number, line in enumerate(lines[15:-1], 16):
        name, _, rest = line.partition(" ")
        index, _, why = rest.partition(" ")
        if name != "missing-index" or not why or len(why) > WHY_CHARS_MAX or len(missing) == COUNT_MAX:
            raise BadInput("not a line of a statement", place=f"line {number}")
        missing.append((parse_decimal(index, place=f"line {number}"), why))
    found = Statement(
        Checkpoint(lines[1], parse_decimal(lines[2], place="size"), decode_hash(lines[3], place="root")),
        decode_hash(value["challenge"], place="challenge"),
        None if value["answer"] == "none" else decode_hash(value["answer"], place="answer"),
        parse_decimal(start, place="range"), parse_decimal(end, place="range"),
        parse_decimal(value["count"], place="count"), value["seed-from"],
        parse_decimal(value[OPENED], place=OPENED), parse_decimal(value[ERASED], place=ERASED),
        parse_decimal(value[LOST], place=LOST), tuple(missing), value["time"],
        parse_decimal(value["bound"].removeprefix(f"{CONFIDENCE_PERCENT} "), place="bound"),
    )  # fmt: skip
    if format_statement(found) != text:
        raise BadInput("a statement that is not spelled as it is written here")
    return found


def open_statement(data: bytes, auditors: Sequence[Key], verify: VerifySignature) -> tuple[Statement, Key]:
    """A believed statement, and the auditor who signed it. Raises BadInput, Disproved."""
    one = parse_statement(data)
    return one, signed_by(data, auditors, verify, origin=one.tree.origin)
