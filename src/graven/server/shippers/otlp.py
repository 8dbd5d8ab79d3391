"""OTLP logs over HTTP: `POST /v1/logs`, protobuf or JSON, answered in kind.

A record in quarantine is stored, so it is not counted as rejected: a client would take it for lost. The answer warns of
it, as the protocol allows with a full success.
"""

from graven.core.errors import GravenError
from graven.ingest.protocol.otlp import format_answer, format_status, read_json, read_protobuf
from graven.server.answers import JSON, Refused, status_of
from graven.server.shippers.call import Call, Outcome, Parcel, Reply

__all__ = ["PATH", "Otlp"]

PATH = "/v1/logs"

_PROTOBUF = "application/x-protobuf"
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 411: 3, 413: 8, 415: 3, 429: 8}  # google.rpc.Code
_UNAVAILABLE = 14


class Otlp:
    """The logs service."""

    name = "otlp"

    def take(self, call: Call) -> Parcel | Reply:
        if call.method != "POST":
            raise Refused(405, "logs are exported with POST", reason="method", headers={"Allow": "POST"})
        as_json = call.media == "application/json"
        if not as_json and call.media != _PROTOBUF:
            mend = f"application/json or {_PROTOBUF}"
            raise Refused(415, "the content type is none of OTLP", reason="bad_type", mend=mend)
        delivery = (read_json if as_json else read_protobuf)(call.body, {})

        def reply(outcome: Outcome) -> Reply:
            count = len(outcome.quarantined)
            message = f"stored; {count} could not be read and are in quarantine" if count else ""
            return _reply(200, format_answer(as_json=as_json, message=message), as_json=as_json)

        return Parcel(delivery, reply)

    def refuse(self, call: Call, error: GravenError) -> Reply:
        as_json = call.media == "application/json"
        status = status_of(error)
        what = error.what if status != 500 else "the log is not ready"
        status = 503 if status == 500 else status
        body = format_status(_CODES.get(status, _UNAVAILABLE), what, as_json=as_json)
        return _reply(status, body, as_json=as_json)


def _reply(status: int, body: bytes, *, as_json: bool) -> Reply:
    """An empty protobuf message has no bytes, but still its type."""
    kind = JSON if as_json else _PROTOBUF.encode()
    return Reply(status, body, kind, [] if body else [(b"content-type", kind)])
