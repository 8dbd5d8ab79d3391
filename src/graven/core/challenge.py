"""A challenge: indexes drawn by lot from a signed tree, for the operator to open. Anyone can repeat the draw.

    graven-challenge/v1
    <origin>                       of the log
    <size>                         of the tree that is challenged
    <base64 root>
    range <start> <end>            drawn from [start, end)
    count <k>                      how many distinct indexes
    seed <base64>                  16 bytes to 48 KiB, that nobody knew when the checkpoint was signed
    seed-from <text>               where the seed came from, in the auditor's words
    checkpoint <base64>            the whole checkpoint, as the log and its witnesses signed it

signed (Ed25519, 0x01) by the auditor. The draw: for counter = 0, 1, 2 … x is the first 8 bytes, big-endian, of
SHA-256(seed ‖ counter as 8 bytes, big-endian). With n = end − start, an x that is not below the largest multiple of n
up to 2⁶⁴ is passed over; else start + (x mod n) is drawn, unless it was before. It ends with k distinct indexes. So
every index has the same chance, and there is nothing to choose but the seed: who could choose that could avoid an
index, which is why it must be later than the checkpoint and nobody's own.

`bound` says what an outcome means: with `missing` of k unopened, how many of the n can be so at most, at 95 %. It takes
the binomial tail, which is never below that of drawing without putting back, so the bound errs on the safe side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from hashlib import sha256

from graven.core.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.note import ED25519, Key, VerifySignature, open_note, parse_note
from graven.core.policy import Trust, open_trusted
from graven.core.spelling import check_number, decode_base64, decode_hash, encode_base64, parse_decimal

FIRST_LINE = "graven-challenge/v1"
COUNT_MAX = 10_000
SEED_BYTES_MIN, SEED_BYTES_MAX = 16, 48 << 10
SEED_FROM_CHARS_MAX = 500
CONFIDENCE_PERCENT = 95

_CONTEXT = Context(prec=50, Emin=-(10**8), Emax=10**8)
_ALPHA = Decimal(100 - CONFIDENCE_PERCENT) / 100


@dataclass(frozen=True, slots=True)
class Challenge:
    """A draw as written, verified by nobody yet. `checkpoint` is the whole signed note.

    Raises BadInput for a range, count, seed or words that cannot be, or a `checkpoint` that is none.
    """

    start: int
    end: int
    count: int
    seed: bytes
    seed_from: str
    checkpoint: bytes

    def __post_init__(self) -> None:
        size = self.tree.size
        check_number(self.end, place="range")
        if not 0 <= self.start < self.end <= size:
            raise BadInput(f"[{self.start}, {self.end}) is no range of a tree of {size} entries", place="range")
        if not 1 <= self.count <= min(COUNT_MAX, self.end - self.start):
            raise BadInput(
                f"{self.count} indexes cannot be drawn from {self.end - self.start}",
                place="count", mend=f"1 to {COUNT_MAX}, and no more than there are",
            )  # fmt: skip
        if not SEED_BYTES_MIN <= len(self.seed) <= SEED_BYTES_MAX:
            raise BadInput(f"a seed of {len(self.seed)} bytes", mend=f"{SEED_BYTES_MIN} to {SEED_BYTES_MAX} bytes")
        if not self.seed_from or len(self.seed_from) > SEED_FROM_CHARS_MAX or not self.seed_from.isprintable():
            raise BadInput(
                "a seed whose origin is not stated", place="seed-from", mend="one line that others can look up"
            )

    @property
    def tree(self) -> Checkpoint:
        """The tree that is challenged, believed by nobody yet."""
        return parse_checkpoint(parse_note(self.checkpoint).text)[0]


def draw(seed: bytes, *, start: int, end: int, count: int) -> list[int]:
    """The indexes a challenge draws, in the order drawn. Raises BadInput unless 1 ≤ count ≤ end − start.

    Cost: about count hashes; where nearly all are drawn, up to a factor of ln(count) more.
    """
    among = end - start
    if not 1 <= count <= min(among, COUNT_MAX):
        raise BadInput(f"{count} indexes cannot be drawn from {among}")
    limit = 2**64 // among * among
    chosen: dict[int, None] = {}
    counter = 0
    while len(chosen) < count:
        x = int.from_bytes(sha256(seed + counter.to_bytes(8, "big")).digest()[:8], "big")
        counter += 1
        if x < limit:
            chosen[start + x % among] = None
    return list(chosen)


def bound(*, among: int, count: int, missing: int) -> int:
    """How many of `among` entries cannot be opened, at most, at 95 % confidence, when `missing` of `count` were not.

    0 ≤ missing ≤ count ≤ among. It is the largest number under which an outcome this good still has a chance of 5 %.
    """
    if not 0 <= missing <= count <= among:
        raise BadInput("more missing than drawn, or more drawn than there are")
    least, most = missing, among - (count - missing)  # those that were opened can be opened
    while least < most:
        middle = (least + most + 1) // 2
        if _chance(middle, among, count, missing) >= _ALPHA:
            least = middle
        else:
            most = middle - 1
    return least


def parse_challenge(data: bytes) -> Challenge:
    """Read a signed challenge, believing nobody. Raises BadInput for what `format_challenge` would not write."""
    text = parse_note(data).text
    lines = text.split("\n")
    words = [line.partition(" ") for line in lines]
    names = [word[0] for word in words[4:9]]
    if len(lines) != 10 or lines[0] != FIRST_LINE or names != ["range", "count", "seed", "seed-from", "checkpoint"]:
        raise BadInput("not a challenge", mend=f"{FIRST_LINE}, origin, size, root, range, count, seed, checkpoint")
    values = [word[2] for word in words[4:9]]
    start, _, end = values[0].partition(" ")
    found = Challenge(
        parse_decimal(start, place="range"), parse_decimal(end, place="range"),
        parse_decimal(values[1], place="count"), decode_base64(values[2], place="seed"), values[3],
        decode_base64(values[4], place="checkpoint"),
    )  # fmt: skip
    if Checkpoint(lines[1], parse_decimal(lines[2], place="size"), decode_hash(lines[3], place="root")) != found.tree:
        raise BadInput("a challenge of another tree than its checkpoint's")
    if format_challenge(found) != text:
        raise BadInput("a challenge that is not spelled as it is written here")
    return found


def format_challenge(one: Challenge) -> str:
    """The text an auditor signs."""
    tree = one.tree
    lines = (
        FIRST_LINE, tree.origin, tree.size, encode_base64(tree.root), f"range {one.start} {one.end}",
        f"count {one.count}", f"seed {encode_base64(one.seed)}", f"seed-from {one.seed_from}",
        f"checkpoint {encode_base64(one.checkpoint)}",
    )  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def open_challenge(
    data: bytes, auditors: Sequence[Key], trust: Trust, verify: VerifySignature
) -> tuple[Challenge, Key, SignedCheckpoint, tuple[str, ...]]:
    """A believed challenge: which auditor signed it, the believed checkpoint, the policy's witnesses that count.

    Raises BadInput: no challenge, or no key given. Disproved: not signed by one of `auditors`, or the checkpoint not
    as `trust` demands.
    """
    one = parse_challenge(data)
    key = signed_by(data, auditors, verify, origin=one.tree.origin)
    signed, witnesses = open_trusted(one.checkpoint, trust, verify)
    return one, key, signed, witnesses


def signed_by(data: bytes, auditors: Sequence[Key], verify: VerifySignature, *, origin: str) -> Key:
    """The auditor's key that signed a note; one with the log's own name is no auditor's. Raises as `open_note`."""
    if not auditors:
        raise BadInput("what an auditor signed is checked with the auditor's key", mend="--auditor VKEY")
    signed = open_note(parse_note(data), [key for key in auditors if key.type == ED25519], verify)
    if signed[0].key.name == origin:
        raise Disproved("the log itself signed as its auditor", place=origin)
    return signed[0].key


def _chance(bad: int, among: int, count: int, missing: int) -> Decimal:
    """The chance that at most `missing` of `count` draws hit one of `bad` entries among so many (with putting back)."""
    if bad == among:
        return Decimal(1) if missing >= count else Decimal(0)
    divide, multiply = _CONTEXT.divide, _CONTEXT.multiply
    p = divide(Decimal(bad), Decimal(among))
    odds = divide(Decimal(bad), Decimal(among - bad))
    term = total = _CONTEXT.power(_CONTEXT.subtract(Decimal(1), p), count)
    for hits in range(1, missing + 1):
        term = divide(multiply(multiply(term, Decimal(count - hits + 1)), odds), Decimal(hits))
        total = _CONTEXT.add(total, term)
    return total
