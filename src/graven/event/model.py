"""The event model, version 1: what an audit event may say, closed and small.

The shape follows CADF (who did what to which target, with what outcome, from where); names follow ECS where it has one.
docs/event-model.md is the normative meaning of every field; docs/event.schema.json is `json_schema()`.

Invariants: every structure refuses fields it does not know; only `action` is required; `null` and absent mean the same.
Who sent an event and when it arrived are the log's words: they stand in the head, never here.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field
from msgspec.json import Encoder, schema

__all__ = [
    "CATEGORIES",
    "ID_BYTES_MAX",
    "OUTCOMES",
    "SEVERITIES",
    "VERBS",
    "Actor",
    "Change",
    "Correlation",
    "Event",
    "Origin",
    "Scope",
    "Target",
    "encode_event",
    "json_schema",
]

ID_BYTES_MAX = 256
COUNT_MAX = 2**63 - 1

Verb = Literal[
    "create",
    "read",
    "update",
    "delete",
    "grant",
    "revoke",
    "login",
    "logout",
    "execute",
    "export",
    "configure",
    "other",
]
Category = Literal[
    "authentication", "permission", "configuration", "data", "execution", "network", "admin", "system", "other"
]
Outcome = Literal["success", "failure", "denied", "unknown"]
Severity = Literal["informational", "low", "medium", "high", "critical"]

VERBS: tuple[str, ...] = get_args(Verb)
CATEGORIES: tuple[str, ...] = get_args(Category)
OUTCOMES: tuple[str, ...] = get_args(Outcome)
SEVERITIES: tuple[str, ...] = get_args(Severity)

_UTC = {"pattern": r"(Z|[+-]00:00)$"}
_Id = Annotated[
    str, Meta(min_length=1, max_length=ID_BYTES_MAX, description="The producer's own id; 1 to 256 bytes of UTF-8.")
]
_Time = Annotated[
    datetime,
    Meta(tz=True, description="When it happened, as the source claims: RFC 3339, UTC.", extra_json_schema=_UTC),
]
_Action = Annotated[str, Meta(min_length=1, description="What was done, in the source's own words, verbatim.")]
_Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
_Index = Annotated[int, Meta(ge=0, le=COUNT_MAX)]


class Scope(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """Where in the producer's world: the tenant, account, project, region."""

    tenant: str | None = None
    account: str | None = None
    project: str | None = None
    region: str | None = None


class Actor(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """Who acted. `on_behalf_of` is the actor it acted for: a tool for an agent, the agent for a human."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    email: str | None = None
    session: str | None = None
    credential: str | None = None
    on_behalf_of: "Actor | None" = None


class Target(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """What was acted upon; `scope` when it is not the event's own."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    owner: str | None = None
    scope: Scope | None = None


class Change(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """One value that changed: where it is, what it was, what it is now."""

    path: str | None = None
    old: Any = None
    new: Any = None


class Origin(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """Where the act came from, as the source saw it."""

    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None


class Correlation(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """Ids that tie this event to others of the same request, trace or session."""

    request_id: str | None = None
    trace_id: str | None = None
    session_id: str | None = None


class Event(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """One audit event: who did what to which targets, with what outcome, from where."""

    id: _Id | None = None
    time: _Time | None = None
    actor: Actor | None = None
    action: _Action
    verb: Verb | None = None
    category: Category | None = None
    targets: list[Target] | None = None
    changes: list[Change] | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    origin: Origin | None = None
    scope: Scope | None = None
    severity: Severity | None = None
    message: str | None = None
    count: _Count | None = None
    bytes: _Count | None = None
    correlation: Correlation | None = None
    class_: str | None = field(default=None, name="class")  # `class` in JSON: the word is taken in Python
    labels: dict[str, str] | None = None
    data: Any = None
    redacted: list[str] | None = None
    derived_from: list[_Index] | None = None


_ENCODE = Encoder().encode


def encode_event(event: Event) -> bytes:
    """The event as JSON bytes, absent fields left out; for events Graven writes itself, never for a producer's."""
    return _ENCODE(event)


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of the model; docs/event.schema.json is exactly this."""
    found = schema(Event)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Graven event, version 1",
        **found,
    }
