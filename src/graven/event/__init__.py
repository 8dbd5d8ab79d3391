"""The event model at the door: what an event may say, and how its exact bytes are taken from a request.

`model` is the model itself, `decode` one event within limits, `body` a whole request, `explain` the words of a refusal.
"""

from graven.core.doubled import duplicate_keys
from graven.event.body import (
    FAULTS_MAX,
    QUARANTINE_ACTION,
    Fault,
    Parsed,
    Refusal,
    parse_body,
    quarantine,
    split_body,
)
from graven.event.decode import DEPTH_MAX, KEYS_MAX, MAX_EVENT_BYTES, decode_event
from graven.event.model import (
    CATEGORIES,
    ID_BYTES_MAX,
    OUTCOMES,
    SEVERITIES,
    VERBS,
    Actor,
    Change,
    Correlation,
    Event,
    Origin,
    Scope,
    Target,
    encode_event,
    json_schema,
)

__all__ = [
    "CATEGORIES",
    "DEPTH_MAX",
    "FAULTS_MAX",
    "ID_BYTES_MAX",
    "KEYS_MAX",
    "MAX_EVENT_BYTES",
    "OUTCOMES",
    "QUARANTINE_ACTION",
    "SEVERITIES",
    "VERBS",
    "Actor",
    "Change",
    "Correlation",
    "Event",
    "Fault",
    "Origin",
    "Parsed",
    "Refusal",
    "Scope",
    "Target",
    "decode_event",
    "duplicate_keys",
    "encode_event",
    "json_schema",
    "parse_body",
    "quarantine",
    "split_body",
]
