"""What the doors answer: errors as statuses and JSON, and the answer to an append.

    {"error": {"kind", "what", "place", "mend", ["errors", "expected", "found", "retry_after_s"]}}

`kind` is one of bad_input, disproved, broken, busy: a client rebuilds the error from it (`control_client.error_of`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from graven.core.errors import BadInput, Busy, Disproved, GravenError
from graven.event import Refusal
from graven.log.types import Committed

Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"

_encode = msgspec.json.encode


class Refused(BadInput):
    """The caller is wrong in a way HTTP has a status for."""

    def __init__(
        self, status: int, what: str, *, reason: str, mend: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(what, mend=mend)
        self.status, self.reason, self.headers = status, reason, headers or {}


class Full(Busy):
    """Too much at once: the caller is asked to slow down (429), where `Busy` alone says that we cannot (503)."""


def status_of(error: GravenError) -> int:
    """The HTTP status of an error."""
    match error:
        case Refused():
            return error.status
        case BadInput():
            return 400
        case Full():
            return 429
        case Busy():
            return 503
        case _:
            return 500


def reason_of(error: GravenError) -> str:
    """One word for the metric of refusals."""
    match error:
        case Refused():
            return error.reason
        case BadInput():
            return "bad_event"
        case Full():
            return "full"
        case Busy():
            return "not_ready"
        case _:
            return "broken"


def format_error(error: GravenError) -> tuple[bytes, dict[str, str]]:
    """(body, headers beyond the content type) of an error's answer."""
    row: dict[str, object] = {"kind": _kind(error), "what": error.what, "place": error.place, "mend": error.mend}
    headers: dict[str, str] = {}
    match error:
        case Refusal():
            row["errors"] = error.errors
        case Refused():
            headers |= error.headers
        case Disproved():
            row |= {"expected": error.expected, "found": error.found}
        case Busy():
            row["retry_after_s"] = error.retry_after_s
            headers["Retry-After"] = str(error.retry_after_s)
    return _encode({"error": row}), headers


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a request's events got while it waited. `missing`: why it is not as far as was asked for."""

    state: str
    missing: str = ""
    stamp: Mapping[str, object] | None = None


class AnswerWriter:
    """Writes the answers to appends. Every request of a commit has the same receipt: its JSON is made once."""

    def __init__(self) -> None:
        self._receipt, self._receipt_json = b"", b""

    def write(self, committed: Committed, reached: Reached) -> bytes:
        """The JSON of one answer."""
        if committed.receipt is not self._receipt:
            self._receipt, self._receipt_json = committed.receipt, _encode(committed.receipt.decode())
        first = b"null" if committed.first_index is None else b"%d" % committed.first_index
        duplicates = b"[]"
        if committed.duplicates:
            duplicates = _encode([{"position": position, "index": index} for position, index in committed.duplicates])
        opened = b"" if committed.opened is None else b',"opened":' + _encode(committed.opened)
        more = b"" if not reached.missing else b',"missing":' + _encode(reached.missing)
        if reached.stamp is not None:
            more += b',"timestamp":' + _encode(reached.stamp)
        return b'{"accepted":%d,"first_index":%b,"size":%d,"duplicates":%b,"state":"%b"%b,"receipt":%b%b}\n' % (
            committed.accepted, first, committed.size, duplicates, reached.state.encode(), more, self._receipt_json,
            opened,
        )  # fmt: skip


def _kind(error: GravenError) -> str:
    match error:
        case BadInput():
            return "bad_input"
        case Disproved():
            return "disproved"
        case Busy():
            return "busy"
        case _:
            return "broken"
