"""Receipts: what the log promises a producer before the next checkpoint, and the check that it sealed what was sent.

A receipt is a signed note (0x01) under the key name `<origin>/receipt`; a certificate, signed by the log's own Ed25519
key, says which receipt key counts for which tree sizes, which bounds a thief of that key.

    graven-receipt/v1              graven-receipt-key/v1
    <origin>                       <origin>
    <size>                         <receipt vkey>
    <base64 root>                  <first size>
                                   <last size>

`opened` (asked for with receipt=full) tells the producer the salts of its own events, so that it recomputes their
entries from the bytes it sent and finds them under the receipt's root. A log that sealed another text cannot show such
a path. A receipt is not a checkpoint: losing a disk breaks promises, it does not fork the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graven.core.checkpoint import Checkpoint, SignedCheckpoint
from graven.core.commitment import NO_RAW, digest, entry_of
from graven.core.document import as_list, as_number, as_object, as_text
from graven.core.errors import BadInput, Disproved
from graven.core.merkle import hash_leaf, verify_inclusion, verify_range
from graven.core.note import ED25519, Key, VerifySignature, open_note, parse_note, parse_vkey
from graven.core.opened import MAX_EVENTS, Opened, SentEvent, SentRaw, parse_opened
from graven.core.policy import Succession, log_keys_at
from graven.core.spelling import check_number, decode_hash, encode_base64, parse_decimal

_RECEIPT_LINE = "graven-receipt/v1"
_CERTIFICATE_LINE = "graven-receipt-key/v1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The promise: the tree of `origin` has had the root hash `root` at `size`. Raises BadInput when impossible."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        Checkpoint(self.origin, self.size, self.root)
        if self.size == 0:
            raise BadInput("a receipt for an empty tree")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which key signs receipts of `origin`, for tree sizes `first` to `last` inclusive.

    Raises BadInput when impossible.
    """

    origin: str
    vkey: str
    first: int
    last: int

    def __post_init__(self) -> None:
        key = parse_vkey(self.vkey)
        if key.type != ED25519 or key.name != receipt_key_name(self.origin):
            raise BadInput("a receipt key that is not an Ed25519 key under the receipt name", place=key.name)
        if check_number(self.first, place="first size") > check_number(self.last, place="last size"):
            raise BadInput(f"a receipt key for no size: first {self.first}, last {self.last}")

    @property
    def key(self) -> Key:
        return parse_vkey(self.vkey)


def receipt_key_name(origin: str) -> str:
    """The key name receipts of `origin` are signed under."""
    return f"{origin}/receipt"


def parse_receipt(text: str) -> Receipt:
    """The receipt a note text spells. Raises BadInput unless it is exactly its four lines."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[0] != _RECEIPT_LINE or lines[4]:
        raise BadInput("not a receipt", mend=f"four lines: {_RECEIPT_LINE}, origin, size, base64 root hash")
    return Receipt(
        lines[1], parse_decimal(lines[2], place="receipt size"), decode_hash(lines[3], place="receipt root hash")
    )


def format_receipt(receipt: Receipt) -> str:
    """The four lines the receipt key signs."""
    return f"{_RECEIPT_LINE}\n{receipt.origin}\n{receipt.size}\n{encode_base64(receipt.root)}\n"


def parse_certificate(text: str) -> Certificate:
    """The certificate a note text spells. Raises BadInput unless it is exactly its five lines."""
    lines = text.split("\n")
    if len(lines) != 6 or lines[0] != _CERTIFICATE_LINE or lines[5]:
        raise BadInput(
            "not a certificate of a receipt key", mend=f"{_CERTIFICATE_LINE}, origin, vkey, first size, last size"
        )
    first, last = (
        parse_decimal(line, place=f"certificate line {number}") for number, line in ((4, lines[3]), (5, lines[4]))
    )
    return Certificate(lines[1], lines[2], first, last)


def format_certificate(certificate: Certificate) -> str:
    """The five lines the log's Ed25519 key signs."""
    lines = (_CERTIFICATE_LINE, certificate.origin, certificate.vkey, certificate.first, certificate.last)
    return "".join(f"{line}\n" for line in lines)


def open_certificate(
    certificate_note: bytes, log_keys: Sequence[Key] | Succession, verify: VerifySignature
) -> Certificate:
    """Believe a certificate because the log's Ed25519 key (type 0x01, named as the origin) signed it: with a
    `Succession`, the one in office at its first size.

    Raises BadInput when it is no certificate or no such key was given, Disproved when the key did not sign it.
    """
    note = parse_note(certificate_note)
    certificate = parse_certificate(note.text)
    if isinstance(log_keys, Succession):
        log_keys = log_keys_at(log_keys, certificate.first)
    if not any(key.type == ED25519 for key in log_keys):
        raise BadInput("no Ed25519 log key was given", mend="receipts are checked with the log's Ed25519 verifier key")
    keys = [key for key in log_keys if key.type == ED25519 and key.name == certificate.origin]
    if not keys:
        raise Disproved("a certificate of a log whose key is not trusted", found=certificate.origin)
    open_note(note, keys, verify)
    return certificate


def open_receipt(
    receipt_note: bytes, certificate_note: bytes, log_keys: Sequence[Key] | Succession, verify: VerifySignature
) -> Receipt:
    """Believe a receipt because the certified receipt key, and no other, signed it for a size the certificate allows.

    With a `Succession`, the certificate must be signed by the log key in office at the receipt's size: one that an old
    key signed says nothing above that key's last size.

    Raises BadInput for bytes that are no receipt or certificate, Disproved when either signature is missing or fails,
    when they are of two logs, or when the size is outside the certificate's.
    """
    note = parse_note(receipt_note)
    receipt = parse_receipt(note.text)
    if isinstance(log_keys, Succession):
        log_keys = log_keys_at(log_keys, receipt.size)
    certificate = open_certificate(certificate_note, log_keys, verify)
    if receipt.origin != certificate.origin:
        raise Disproved(
            "a receipt of another log than its certificate", expected=certificate.origin, found=receipt.origin
        )
    open_note(note, [certificate.key], verify)
    if not certificate.first <= receipt.size <= certificate.last:
        raise Disproved(
            "a receipt for a size its key was not certified for",
            expected=f"{certificate.first} to {certificate.last}",
            found=str(receipt.size),
        )
    return receipt


def check_promise(receipt: Receipt, signed: SignedCheckpoint) -> Literal["kept", "undecided"]:
    """Whether a checkpoint keeps a receipt's promise: "undecided" for another size, which needs a consistency proof.

    Raises Disproved when the roots differ: the log broke its promise. BadInput for two different logs.
    """
    head = signed.checkpoint
    if receipt.origin != head.origin:
        raise BadInput(f"a receipt of {receipt.origin!r} and a checkpoint of {head.origin!r}")
    if receipt.size != head.size:
        return "undecided"
    if receipt.root != head.root:
        raise Disproved(
            f"this log broke its promise: receipt and checkpoint are of two different trees of size {head.size}",
            expected=f"root {encode_base64(receipt.root)}",
            found=f"root {encode_base64(head.root)}",
        )
    return "kept"


def verify_opened(
    answer: Mapping[str, object],
    sent: Sequence[bytes],
    log_keys: Sequence[Key] | Succession,
    verify: VerifySignature,
    *,
    normalised: bool = False,
) -> Receipt:
    """The believed receipt of an answer with `receipt=full`, when the log sealed exactly the bytes of `sent` in order.

    `answer` is the whole JSON answer; keys it has besides the known ones are not looked at. Every event of `sent` must
    be accounted for: as one of the new ones, which stand in a row from `first_index`, or as a duplicate, each found
    under the receipt's root. `normalised` is for producers whose records a normaliser (or quarantine) turns into
    events; anyone else must see the bytes sealed as the event itself, or a log could pair them with an event of its
    own making. Raises Disproved, naming the position where one event alone can be blamed; BadInput for an answer that
    has not the shape.
    """
    if not sent:
        raise BadInput("nothing was sent, so there is nothing to check")
    fields = as_object(answer, "answer", keys=_ANSWER_KEYS, more=None)
    opened = parse_opened(fields["opened"])
    receipt = open_receipt(as_text(fields["receipt"], "receipt").encode(), opened.certificate, log_keys, verify)
    new_positions = _account(fields, opened, sent, receipt)
    if not normalised:
        _refuse_raws(opened, new_positions)
    for one in opened.duplicates:
        place = f"event at position {one.position}, a duplicate of index {one.index}"
        leaf = _leaf(one.head, one.opening, sent[one.position])
        if one.index >= receipt.size:
            raise Disproved("a duplicate beyond the tree of the receipt", expected=f"below {receipt.size}", place=place)
        try:
            verify_inclusion(leaf, one.proof, index=one.index, size=receipt.size, root=receipt.root)
        except Disproved as error:
            raise Disproved(f"the log does not hold the bytes that were sent: {error.what}", place=place) from error
    if opened.first_index is not None:
        leaves = [
            _leaf(opened.head, opening, sent[position])
            for position, opening in zip(new_positions, opened.events, strict=True)
        ]
        try:
            verify_range(leaves, opened.proof, start=opened.first_index, size=receipt.size, root=receipt.root)
        except Disproved as error:
            place = f"event at position {new_positions[0]}"
            if len(leaves) > 1:
                place = f"events at positions {new_positions[0]} to {new_positions[-1]}"
            raise Disproved(f"the log did not seal the bytes that were sent: {error.what}", place=place) from error
    return receipt


_ANSWER_KEYS = ("accepted", "first_index", "size", "duplicates", "receipt", "opened")


def _account(fields: Mapping[str, object], opened: Opened, sent: Sequence[bytes], receipt: Receipt) -> list[int]:
    """The positions of the new events, when the numbers of the answer agree with each other and with what was sent."""
    accepted = as_number(fields["accepted"], "accepted")
    first_index = None if fields["first_index"] is None else as_number(fields["first_index"], "first_index")
    listed = [
        _position_and_index(one, f"duplicates[{number}]")
        for number, one in enumerate(as_list(fields["duplicates"], "duplicates", count_max=MAX_EVENTS))
    ]
    positions = [one.position for one in opened.duplicates]
    agree = [
        (accepted == len(opened.events), "the answer does not open every event it accepted"),
        (accepted + len(positions) == len(sent), "the answer does not account for every event that was sent"),
        (
            listed == [(one.position, one.index) for one in opened.duplicates],
            "the answer does not open every duplicate it names",
        ),
        (
            sorted(set(positions)) == positions and all(position < len(sent) for position in positions),
            "the positions of the duplicates are not in order or not among those sent",
        ),
        (first_index == opened.first_index, "the answer names two different first indexes"),
        (
            (opened.first_index is None) == (accepted == 0),
            "a first index without new events, or new events without one",
        ),
        (accepted > 0 or not opened.proof, "a range proof without new events"),
        ((opened.first_index or 0) + accepted <= receipt.size, "the new events do not fit in the tree of the receipt"),
        (as_number(fields["size"], "size") >= receipt.size, "the answer names a smaller tree than its receipt"),
    ]
    for good, what in agree:
        if not good:
            raise Disproved(what, expected=f"{len(sent)} events", found=f"{accepted} new, {len(positions)} duplicates")
    taken = set(positions)
    return [position for position in range(len(sent)) if position not in taken]


def _refuse_raws(opened: Opened, new_positions: Sequence[int]) -> None:
    openings = [
        *zip(new_positions, opened.events, strict=True),
        *((one.position, one.opening) for one in opened.duplicates),
    ]
    raws = [position for position, opening in openings if isinstance(opening, SentRaw)]
    if raws:
        raise Disproved(
            "the log paired the bytes that were sent with an event of its own making",
            place=f"event at position {min(raws)}",
        )


def _leaf(head: bytes, opening: SentEvent | SentRaw, data: bytes) -> bytes:
    if isinstance(opening, SentEvent):
        return hash_leaf(entry_of(head, digest(opening.salt, data), NO_RAW))
    return hash_leaf(entry_of(head, opening.event_digest, digest(opening.raw_salt, data)))


def _position_and_index(value: object, place: str) -> tuple[int, int]:
    fields = as_object(value, place, keys=("position", "index"))
    return as_number(fields["position"], f"{place}.position"), as_number(fields["index"], f"{place}.index")
