"""CloudEvents: the envelope as an event, where nothing knows better what is in it.

Source: CloudEvents 1.0.2, its extensions for distributed tracing and authentication. `type` is the action, `subject`
(within `source`) the target; `source` and `id` together are unique by the specification, and are the id. In binary mode
the attributes surround the record (`ce.NAME`) and the record is the data.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Event, Target
from graven.ingest.fields import actor_of, correlation_of, mapping, text
from graven.ingest.record import MAYBE, NO, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "cloudevents"
VERSION = 1

_PREFIX = "ce."
_TAKEN = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "data", "data_base64", "datacontenttype", "dataschema"}
)
_ACTOR_TYPES = {
    "app_user": "user", "user": "user", "service_account": "service", "api_key": "service", "system": "system",
    "unauthenticated": "anonymous",
}  # fmt: skip


def recognise(document: Document, /) -> int:
    """A structured CloudEvent; never more than maybe, since what it carries may be known better."""
    if not isinstance(document, dict) or "specversion" not in document:
        return NO
    return MAYBE if {"id", "source", "type"} <= document.keys() else NO


def normalise(record: Record, document: Document, /) -> list[Event]:
    said = {key[len(_PREFIX) :]: value for key, value in record.around.items() if key.startswith(_PREFIX)}
    attributes: Mapping[str, Any] = said or mapping(document)
    action, source = text(attributes.get("type")), text(attributes.get("source"))
    id_ = text(attributes.get("id"))
    if action is None or source is None or id_ is None:
        raise Unparsed("a CloudEvent needs id, source and type", mend="set them as the specification says")
    subject = text(attributes.get("subject"))
    data = document if said else _data(attributes)
    labels = {
        f"ce.{name}": value
        for name, one in attributes.items()
        if name not in _TAKEN and (value := text(one)) is not None
    }
    trace = text(attributes.get("traceparent"))
    verb: Any = verb_of(action)
    category: Any = category_of(action)
    return [
        Event(
            id=f"{source}#{id_}",
            time=read_time(attributes.get("time")),
            action=action,
            verb=verb,
            category=category,
            actor=actor_of(
                type=_ACTOR_TYPES.get(text(attributes.get("authtype")) or ""), id=text(attributes.get("authid"))
            ),
            targets=[Target(id=subject or source, scope=None)],
            correlation=correlation_of(None, trace.split("-")[1] if trace and trace.count("-") == 3 else None, None),
            labels={"ce.source": source, **labels},
            data=data,
        )
    ]


def _data(attributes: Mapping[str, Any]) -> Any:
    data = attributes.get("data")
    if data is None and isinstance(encoded := attributes.get("data_base64"), str):
        return {"data_base64": encoded}
    return data
