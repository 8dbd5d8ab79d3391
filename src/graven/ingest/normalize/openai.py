"""OpenAI: audit log of an organisation.

Source: "Audit logs" of the OpenAI administration API. Mind: times are seconds since 1970; the details of an event
stand under its own name with underscores (`api_key.created` → `api_key_created`); an actor is a session or an API key.
"""

from graven.event import Change, Event, Target
from graven.ingest.fields import first, items, mapping, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "openai-audit"
VERSION = 1
KEYS = frozenset({"object", "effective_at"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("type", "effective_at")),
    fields={
        "id": ("id",),
        "time": ("effective_at",),
        "action": ("type",),
        "actor.id": ("actor.session.user.id", "actor.api_key.user.id", "actor.api_key.service_account.id",
                     "actor.api_key.id"),
        "actor.name": ("actor.session.user.email", "actor.api_key.user.email"),
        "actor.email": ("actor.session.user.email", "actor.api_key.user.email"),
        "actor.credential": ("actor.api_key.id",),
        "origin.ip": ("actor.session.ip_address",),
        "origin.user_agent": ("actor.session.user_agent",),
        "scope.project": ("project.id",),
    },
    fixed={"actor.type": "user"},
    words={
        "actor.type": Words({"service_account": "service"}, ["actor.api_key.type"]),
        "verb": Words(
            {"login.*": "login", "logout.*": "logout", "role.assignment.created": "grant",
             "role.assignment.deleted": "revoke", "invite.sent": "grant", "invite.accepted": "grant",
             "user.added": "grant", "*.activated": "configure", "*.deactivated": "configure",
             "*.enabled": "configure", "*.disabled": "configure", "organization.updated": "configure",
             "rate_limit.*": "configure"}
        ),
        "category": Words(
            {"login.*": "authentication", "logout.*": "authentication", "api_key.*": "authentication",
             "scim.*": "authentication", "role.*": "permission", "user.*": "permission",
             "invite.*": "permission", "group.*": "permission", "service_account.*": "permission",
             "ip_allowlist.*": "network", "certificate*": "authentication",
             "checkpoint_permission.*": "permission", "*": "configuration"}
        ),
        "outcome": Words({"*.failed": "failure", "*": "success"}),
    },
    taken=frozenset(("id", "effective_at", "type", "object")),
)  # fmt: skip


def recognise(document: Document) -> int:
    """By its object, or a session or key that acted at an `effective_at`."""
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        return NO
    if document.get("object") == "organization.audit_log":
        return SURE
    return LIKELY if "effective_at" in document and "actor" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event."""
    (event,) = _TABLE.normalise(record, document)
    detail = mapping(document.get(event.action.replace(".", "_")))
    kind = event.action.rpartition(".")[0]
    found = []
    if id_ := text(detail.get("id")):
        found.append(Target(type=kind, id=id_, name=first(detail, "data.name", "name", "data.email", "email")))
    for one in items(detail.get("configs"), count_max=32):
        found.append(Target(type=kind, id=text(one.get("id")), name=text(one.get("name"))))
    for stem in ("principal", "resource"):
        if id_ := text(detail.get(f"{stem}_id")):
            found.append(Target(type=text(detail.get(f"{stem}_type")), id=id_))
    event.targets = found or None
    changed = mapping(detail.get("changes_requested"))
    event.changes = [Change(path=path[:256], new=value) for path, value in list(changed.items())[:100]] or None
    if event.outcome == "failure":
        event.reason = first(detail, "error_message", "error_code")
    return [event]
