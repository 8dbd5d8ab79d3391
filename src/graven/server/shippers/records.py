"""Records of one type, however they are listed: `/ingest/TYPE`, `/ingest`, `/ingest/kubernetes`, and CloudEvents.

NDJSON, a JSON array, one object, a container that a producer delivers (CloudTrail's `Records`, a Kubernetes
`EventList`), or lines of text. `/ingest` alone: the type of each record is looked for. The answer is the native API's
own, with the records in quarantine beside it.
"""

import msgspec

from graven.core.errors import GravenError
from graven.ingest.protocol.cloudevents import mode_of, read_binary, read_structured
from graven.ingest.protocol.delivery import Delivery, check_count, check_density, request_keys
from graven.ingest.split import is_container, split_records
from graven.server.answers import AnswerWriter, Reached, Refused, format_error, status_of
from graven.server.shippers.call import Call, Outcome, Parcel, Reply

__all__ = ["CloudEvents", "Records", "refuse_natively", "reply_natively"]

_ALIASES = {"kubernetes": "kubernetes-audit"}
_LISTED_MAX = 100


class Records:
    """`/ingest/TYPE`."""

    name = "ingest"

    def __init__(self, types: tuple[str, ...]) -> None:
        self._types = frozenset(types)

    def take(self, call: Call) -> Parcel | Reply:
        if call.method != "POST":
            raise Refused(405, "records are sent with POST", reason="method", headers={"Allow": "POST"})
        named = call.path.removeprefix("/ingest").strip("/")
        type_ = _ALIASES.get(named, named)
        if type_ and type_ not in self._types:
            raise Refused(
                404, "there is no such source type", reason="path", mend=f"one of: {', '.join(sorted(self._types))}"
            )
        check_count(call.body.count(b"\n"))
        if is_container(call.body):
            check_density(call.body)
        records = split_records(call.body, type_)
        check_count(len(records))
        if not records:
            raise Refused(400, "the body holds no record", reason="bad_event", mend="send at least one")
        body = call.body
        delivery = Delivery(records, lambda: request_keys(body, (_has_time(record.raw) for record in records)))
        return Parcel(delivery, reply_natively)

    def refuse(self, call: Call, error: GravenError) -> Reply:
        return refuse_natively(error)


class CloudEvents:
    """`POST /api/v1/events` with a CloudEvent in it."""

    name = "cloudevents"

    def take(self, call: Call) -> Parcel | Reply:
        if call.method != "POST":
            raise Refused(405, "events are sent with POST", reason="method", headers={"Allow": "POST"})
        mode = mode_of(call.content_type, call.fields)
        if not mode:
            raise Refused(415, "CloudEvents are taken as JSON", reason="bad_type", mend="application/cloudevents+json")
        if mode == "binary":
            delivery = read_binary(call.body, call.fields, {})
        else:
            delivery = read_structured(call.body, {}, batch=mode == "batch")
        if not delivery.records:
            raise Refused(400, "the batch holds no event", reason="bad_event", mend="send at least one")
        return Parcel(delivery, reply_natively)

    def refuse(self, call: Call, error: GravenError) -> Reply:
        return refuse_natively(error)


def reply_natively(outcome: Outcome) -> Reply:
    """The answer of the native API. `quarantined` lists at most 100."""
    assert outcome.committed is not None
    body = AnswerWriter().write(outcome.committed, Reached("committed"))
    if quarantined := outcome.quarantined:
        rows = [{"position": at, "reason": why} for at, why in list(quarantined.items())[:_LISTED_MAX]]
        body = body.rstrip()[:-1] + b',"quarantined":' + msgspec.json.encode(rows) + b"}\n"
    return Reply(200, body)


def refuse_natively(error: GravenError) -> Reply:
    body, _ = format_error(error)
    status = status_of(error)
    return Reply(503 if status == 500 else status, body)


def _has_time(raw: bytes) -> bool:
    return b'Time"' in raw or b'imestamp"' in raw or b'"time"' in raw
