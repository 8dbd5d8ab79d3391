"""What a server refuses, as one of the three branches, in its own words.

The words come from elsewhere, so they are cut to a length and made safe to show. Only the status and the error object
`{"error": {"kind", "what", "place", "mend", "errors"?, "retry_after_s"?}}` are looked at.
"""

from typing import Any

import msgspec

from graven.client.transport import NoAnswer, Reply
from graven.core.errors import BadInput, Broken, Busy, Disproved, GravenError
from graven.event import FAULTS_MAX, Fault, Refusal
from graven.runtime.terminal import escape_for_terminal

_WORDS_CHARS_MAX = 1000

_MENDS = {
    401: "the token is unknown, expired or revoked: graven token create makes one",
    403: "the token lacks the scope: ingest to append, read to read",
    404: "compare the address with the server's: it may be served under a prefix",
    413: "send fewer events in one request",
}


def error_of(reply: Reply, place: str, *, of_events: bool = False) -> GravenError:
    """The error that `reply`, which is no success, stands for. `place` names the exchange.

    BadInput for 3xx and 4xx, with `of_events` a `Refusal` where it is about the events (413, and 400 or 422 in Graven's
    own words); Busy for 429, 503, and a 409 that says when to ask again; NoAnswer for 408, and for 502 and 504, which
    a proxy says when the server is away; else Broken, or Disproved when the server says so of its own store.
    """
    row = _error_object(reply.data)
    what = _words(row.get("what")) or f"the server answers {reply.status} without saying why"
    place = ": ".join(filter(None, (place, _words(row.get("place")))))
    mend = _words(row.get("mend")) or _MENDS.get(reply.status, "")
    status = reply.status
    if status in (429, 503) or (status == 409 and reply.retry_after):
        return Busy(what, retry_after_s=_seconds(reply.retry_after, row.get("retry_after_s")), place=place, mend=mend)
    if status in (408, 502, 504):
        return NoAnswer(what, place=place, mend=mend)
    if 300 <= status < 400:
        mend = "give the address itself: a token is sent to no other"
        return BadInput(f"the server sends to another address ({status})", place=place, mend=mend)
    if 400 <= status < 500:
        if of_events and (status == 413 or (status in (400, 422) and row)):
            return _refusal(_faults(row.get("errors")), what, place, mend)
        return BadInput(what, place=place, mend=mend)
    if row.get("kind") == "disproved":
        return Disproved(
            what, expected=_words(row.get("expected")), found=_words(row.get("found")), place=place, mend=mend
        )
    return Broken(what, place=place, mend=mend)


def _refusal(faults: list[Fault], what: str, place: str, mend: str) -> Refusal:
    if faults:
        return Refusal(faults)
    error = Refusal([{"position": None, "path": "", "what": what, "mend": mend}])
    error.place = place  # the server's own words, which may name an event
    return error


def _error_object(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
    row = found.get("error")
    return row if isinstance(row, dict) else {}


def _faults(value: object) -> list[Fault]:
    """What the server says of single events; entries of another shape are left out."""
    found: list[Fault] = []
    for one in value[:FAULTS_MAX] if isinstance(value, list) else ():
        if isinstance(one, dict):
            position = one.get("position")
            found.append(
                {
                    "position": position if isinstance(position, int) else None,
                    "path": _words(one.get("path")),
                    "what": _words(one.get("what")),
                    "mend": _words(one.get("mend")),
                }
            )
    return found


def _words(value: object) -> str:
    return escape_for_terminal(value[:_WORDS_CHARS_MAX]) if isinstance(value, str) else ""


def _seconds(header: str, said: object) -> int:
    if header.isascii() and header.isdecimal():
        return int(header[:9])
    return said if isinstance(said, int) and said >= 0 else 1
