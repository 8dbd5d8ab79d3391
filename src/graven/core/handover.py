"""The hand-over from a log's keys to their successors, and which keys are in office at a size.

    graven-handover/v1
    <origin>
    <last size>              the largest tree the old keys sign
    old <vkey>               one or two, the Ed25519 key first
    new <vkey>               one or two, the Ed25519 key first; none of the old ones

It is a note signed by every key it names, and by no other. An Ed25519 key (0x01) signs the text. An ML-DSA-44 key
(0x06) signs `"graven-handover/v1\\n" ‖ 0x00 ‖ u64 time ‖ text`: no checkpoint's message begins so.

A hand-over says whom the old keys name. By itself it moves nobody's trust: that takes its place in the log, proved
(`core/succession.py`). Sizes up to the last one stay the old keys' for ever, so what they signed stays good; above it
only the new ones count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from graven.core.checkpoint import LOG_KEY_TYPES, SignedCheckpoint, open_checkpoint, parse_checkpoint
from graven.core.errors import BadInput, Disproved
from graven.core.note import (
    COSIG_MLDSA44,
    ED25519,
    Key,
    VerifySignature,
    format_vkey,
    open_note,
    parse_note,
    parse_vkey,
)
from graven.core.spelling import check_number, parse_decimal

FIRST_LINE = "graven-handover/v1"
MAX_HANDOVERS = 64
"""How many times a log may change its keys, as far as a reader follows."""

_MLDSA_LABEL = FIRST_LINE.encode() + b"\n\0"
_MEND = f"{FIRST_LINE}, origin, last size, then `old <vkey>` and `new <vkey>` lines"


@dataclass(frozen=True, slots=True)
class Handover:
    """What the note says: of `origin`, `old` sign trees of up to `last` entries, `new` those above.

    Raises BadInput for keys that cannot be a log's: another name, no Ed25519 key or one too many, one key in both.
    """

    origin: str
    last: int
    old: tuple[Key, ...]
    new: tuple[Key, ...]

    def __post_init__(self) -> None:
        check_number(self.last, place="hand-over last size")
        for what, keys in (("old", self.old), ("new", self.new)):
            if any(key.name != self.origin for key in keys):
                raise BadInput(f"a hand-over whose {what} keys are not named as its log", place=self.origin)
            if tuple(key.type for key in keys) not in (LOG_KEY_TYPES, LOG_KEY_TYPES[:1]):
                raise BadInput(f"the {what} keys of a hand-over are an Ed25519 key, and perhaps an ML-DSA-44 key")
        if set(self.old) & set(self.new):
            raise BadInput("a hand-over from a key to itself", place=self.origin)


def parse_handover(text: str) -> Handover:
    """The hand-over a note text spells. Raises BadInput for any other text, or spelling."""
    lines = text.split("\n")
    if lines[0] != FIRST_LINE or not 6 <= len(lines) <= 8 or lines[-1]:
        raise BadInput("not a hand-over", mend=_MEND)
    keys: dict[str, list[Key]] = {"old": [], "new": []}
    for line in lines[3:-1]:
        word, _, vkey = line.partition(" ")
        if word not in keys:
            raise BadInput("not a hand-over", mend=_MEND)
        keys[word].append(parse_vkey(vkey))
    last = parse_decimal(lines[2], place="hand-over last size")
    handover = Handover(lines[1], last, tuple(keys["old"]), tuple(keys["new"]))
    if format_handover(handover) != text:
        raise BadInput("a hand-over that is not spelled as it is written here", mend=_MEND)
    return handover


def format_handover(handover: Handover) -> str:
    """The text that every key named in it signs."""
    named = [f"old {format_vkey(key)}" for key in handover.old] + [f"new {format_vkey(key)}" for key in handover.new]
    return "".join(f"{line}\n" for line in (FIRST_LINE, handover.origin, handover.last, *named))


def message_of_handover(key: Key, time: int | None, text: str) -> bytes:
    """The exact bytes `key` signs of the hand-over `text`. `time`: POSIX seconds for 0x06, None for 0x01.

    Raises BadInput for a key of another type, or a time missing or not wanted.
    """
    if key.type not in LOG_KEY_TYPES or (time is None) is not (key.type == ED25519):
        raise BadInput(f"a key of type 0x{key.type:02x} does not sign a hand-over so", place=key.name)
    if time is None:
        return text.encode()
    return _MLDSA_LABEL + check_number(time, place="time").to_bytes(8, "big") + text.encode()


def open_handover(data: bytes, verify: VerifySignature) -> Handover:
    """What the note says, when each key it names signed it and nobody else did. It moves no trust by itself.

    Raises BadInput when it is no hand-over, Disproved when a signature is missing, fails or does not belong there.
    """
    note = parse_note(data)
    handover = parse_handover(note.text)
    keys = (*handover.old, *handover.new)
    open_note(note, keys, verify, require_all=True, only_known=True, message=message_of_handover)
    return handover


@dataclass(frozen=True, slots=True)
class Tenures:
    """Which of a log's own keys are in office at which size, as the log itself knows it: for its own files.

    `keys` are in office now; `handovers`, oldest first, lead to them. `coming` sign beside `keys` until a hand-over
    puts them in office. `pinned` are keys that must have signed at every size, whatever the log says.
    """

    keys: tuple[Key, ...]
    handovers: tuple[Handover, ...] = ()
    coming: tuple[Key, ...] = ()
    pinned: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        last, keys = -1, self.handovers[0].old if self.handovers else self.keys
        for handover in self.handovers:
            if handover.last <= last or handover.old != keys:
                raise Disproved("the hand-overs of this log do not follow one another", place=handover.origin)
            last, keys = handover.last, handover.new
        if keys != self.keys:
            raise Disproved("the hand-overs of this log do not lead to its keys", expected=_ids(self.keys))

    @property
    def first_keys(self) -> tuple[Key, ...]:
        """Those the log began with."""
        return self.handovers[0].old if self.handovers else self.keys

    @property
    def every(self) -> tuple[Key, ...]:
        """All keys the log has or had, or will have, each once."""
        named = [key for handover in self.handovers for key in handover.old]
        return tuple(dict.fromkeys((*named, *self.keys, *self.coming, *self.pinned)))

    def at(self, size: int) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
        """(the keys that must have signed a tree of `size`, those that may have besides)."""
        for handover in self.handovers:
            if size <= handover.last:
                return self._with_pinned(handover.old), handover.new
        return self._with_pinned(self.keys), self.coming

    def open(
        self, data: bytes, verify: VerifySignature, *, cosigners: Sequence[Key] = (), only_known: bool = False
    ) -> SignedCheckpoint:
        """A checkpoint of this log's own: each key in office at its size signed it.

        With `only_known`, nobody did but those, the coming ones and `cosigners`. Raises as `open_checkpoint`.
        """
        must, may = self.at(parse_checkpoint(parse_note(data).text)[0].size)
        return open_checkpoint(
            data, must, verify, cosigners=(*may, *cosigners), require_all=True, only_known=only_known
        )

    def _with_pinned(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        return tuple(dict.fromkeys((*keys, *self.pinned)))


def sort_keys(keys: Sequence[Key]) -> tuple[Key, ...]:
    """Keys in the order a hand-over names them: Ed25519, then ML-DSA-44."""
    return tuple(sorted(keys, key=lambda key: key.type == COSIG_MLDSA44))


def _ids(keys: Sequence[Key]) -> str:
    return ", ".join(f"{key.name}+{key.id.hex()}" for key in keys)
