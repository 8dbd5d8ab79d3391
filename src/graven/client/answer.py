"""The answer to an append, believed only because its receipt opens to the bytes that were sent.

The checks are those of `core/receipt.py`: the receipt is signed by the key that the log's own key certified, and the
entries recomputed from the bytes sent stand in the promised tree, every one of them. An answer that does not show this
is a `WrongReceipt`, and its bytes with the bytes sent are what convicts the log, or clears it, in front of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Broken, Disproved
from graven.core.note import Key
from graven.core.policy import Succession
from graven.core.receipt import Receipt, verify_opened
from graven.keys.signature import verify_signature

ANSWER_BYTES_BASE = 64 << 10  # receipt, certificate, one range proof
ANSWER_BYTES_PER_EVENT = 4 << 10  # a duplicate at its largest: head, salts, 63 hashes

STATES = ("committed", "published", "witnessed", "timestamped", "replicated")


@dataclass(frozen=True, slots=True)
class Answer:
    """Events that the log provably promised to hold, in the bytes they were sent in.

    `accepted` were new and stand at consecutive indexes from `first_index` (None if there was none); `duplicates` are
    (position in the request, index of the first copy). `size` is the size the server names; `receipt` the believed
    promise. `state` is how far the server says they are, `missing` why they are not as far as was asked for, by its own
    word ("" where they are). `data` are the bytes of the answer, `body` those of the
    request, uncompressed: with them anyone who trusts the log's key can check again.
    """

    accepted: int
    first_index: int | None
    duplicates: tuple[tuple[int, int], ...]
    size: int
    state: str
    receipt: Receipt
    data: bytes
    body: bytes
    missing: str = ""

    @property
    def indexes(self) -> tuple[int, ...]:
        """The index in the log of each event of the request, in the order sent."""
        known = dict(self.duplicates)
        fresh = iter(range(self.first_index or 0, (self.first_index or 0) + self.accepted))
        return tuple(
            known[position] if position in known else next(fresh) for position in range(self.accepted + len(known))
        )


class WrongReceipt(Disproved):
    """The server's answer does not prove that the log holds what was sent.

    `answer` and `body` are the bytes received and sent. `answer_file` and `body_file` hold them (None where they could
    not be written): `graven check ANSWER_FILE --events BODY_FILE --vkey VKEY` judges them again, anywhere.
    """

    def __init__(
        self,
        error: Disproved,
        *,
        answer: bytes,
        body: bytes,
        files: tuple[Path, Path] | None,
        trouble: str = "",
    ) -> None:
        kept = f"kept in {files[0]} and {files[1]}" if files else f"the evidence could not be kept: {trouble}"
        super().__init__(
            error.what,
            expected=error.expected,
            found=error.found,
            place="; ".join(filter(None, (error.place, kept))),
            mend="send this log nothing more until you know why; anyone can judge the two files: "
            "graven check ANSWER --events SENT --vkey VKEY",
        )
        self.answer, self.body = answer, body
        self.answer_file: Path | None = files[0] if files else None
        self.body_file: Path | None = files[1] if files else None


def open_answer(data: bytes, *, body: bytes, sent: Sequence[bytes], keys: Sequence[Key] | Succession) -> Answer:
    """Believe an answer to `sent`, the events of `body` in order. `keys` are the log's own.

    Raises:
        Disproved: it is an answer, and does not hold. Broken: it is none that can be judged.
    """
    try:
        document = parse_document(data, max_bytes=answer_bytes_max(len(sent)), what="the server's answer")
        fields = as_object(document, "answer", keys=(*_KEYS, "receipt", "opened"), more=None)
        receipt = verify_opened(fields, sent, keys, verify_signature)
        duplicates = as_list(fields["duplicates"], "duplicates", count_max=len(sent))
        state = as_text(fields["state"], "state")
        if state not in STATES:
            raise BadInput("no state that is known here", place="state")
        return Answer(
            as_number(fields["accepted"], "accepted"),
            None if fields["first_index"] is None else as_number(fields["first_index"], "first_index"),
            tuple(_pair(one, f"duplicates[{number}]") for number, one in enumerate(duplicates)),
            as_number(fields["size"], "size"),
            state,
            receipt,
            data,
            body,
            as_text(fields["missing"], "missing") if "missing" in fields else "",
        )
    except BadInput as error:
        raise Broken(
            f"the server's answer is none that can be checked: {error.what}",
            place=error.place,
            mend="the events may be stored; send them again with the same ids, or look what answers at this address",
        ) from None


def answer_bytes_max(events: int) -> int:
    """The largest answer an honest server gives to a request of so many events."""
    return ANSWER_BYTES_BASE + ANSWER_BYTES_PER_EVENT * events


_KEYS = ("accepted", "first_index", "size", "duplicates", "state")


def _pair(value: object, place: str) -> tuple[int, int]:
    fields = as_object(value, place, keys=("position", "index"))
    return as_number(fields["position"], f"{place}.position"), as_number(fields["index"], f"{place}.index")
