"""Anthropic: activities of an organisation, from the Compliance API.

Source: the activity feed of Anthropic's Compliance API. Mind: what an activity is about stands in fields named after
the thing (`claude_chat_id`, `deleted_user_email`); an actor is a user, an API key, or the service itself.
"""

from graven.event import Change, Event, Target
from graven.ingest.fields import first, items, mapping, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "anthropic-compliance"
VERSION = 1
KEYS = frozenset({"created_at"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("type", "created_at", "actor.type")),
    fields={
        "id": ("id",),
        "time": ("created_at",),
        "action": ("type",),
        "actor.id": ("actor.user_id", "actor.api_key_id", "actor.service_account_id", "actor.id"),
        "actor.name": ("actor.name",),
        "actor.email": ("actor.email_address", "actor.unauthenticated_email_address"),
        "actor.credential": ("actor.api_key_id",),
        "origin.ip": ("actor.ip_address",),
        "origin.user_agent": ("actor.user_agent",),
        "scope.tenant": ("organization_id", "organization_uuid"),
        "scope.project": ("claude_project_id", "workspace_id"),
    },
    words={
        "actor.type": Words(
            {"user_actor": "user", "api_actor": "service", "admin_api_key_actor": "service",
             "*service*": "service", "*system*": "system", "anthropic_actor": "system",
             "unauthenticated_user_actor": "anonymous"},
            ["actor.type"],
        ),
        "verb": Words(
            {"sso_login_*": "login", "*_login_*": "login", "*_signed_in*": "login", "*logout*": "logout",
             "*sharing_updated": "grant", "*_shared": "grant", "integration_user_connected": "grant",
             "integration_user_disconnected": "revoke", "*_toggled": "configure",
             "*settings_updated": "configure", "org_user_deleted": "delete", "org_user_invite*": "grant",
             "*_viewed": "read", "*_access_failed": "read", "*_accessed": "read", "*_downloaded": "export",
             "*export*": "export", "*role*": "grant"}
        ),
        "category": Words(
            {"sso_login*": "authentication", "*login*": "authentication", "*logout*": "authentication",
             "*api_key*": "authentication", "org_sso*": "authentication", "*sharing*": "permission",
             "org_user*": "permission", "*role*": "permission", "*invite*": "permission",
             "integration_*": "permission", "mcp_*": "configuration", "*settings*": "configuration",
             "claude_chat*": "data", "claude_file*": "data", "claude_artifact*": "data",
             "claude_project*": "data", "*export*": "data", "org_*": "configuration"}
        ),
        "outcome": Words(
            {"*_access_failed": "denied", "*_failed": "failure", "*_denied": "denied", "*": "success"}
        ),
    },
    taken=frozenset(("id", "created_at", "type", "organization_id")),
)  # fmt: skip


def recognise(document: Document) -> int:
    """By an actor whose type ends in `_actor`."""
    if not isinstance(document, dict) or "created_at" not in document or not isinstance(document.get("type"), str):
        return NO
    kind = mapping(document.get("actor")).get("type")
    if not isinstance(kind, str) or not kind.endswith("_actor"):
        return NO
    return SURE if "organization_id" in document or "organization_uuid" in document else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event. Every `…_id` of the activity itself is a target, with the name or address that goes with it."""
    (event,) = _TABLE.normalise(record, document)
    found = []
    for key, value in document.items():
        if key.endswith("_id") and key not in ("organization_id", "workspace_id") and (id_ := text(value)):
            stem = key.removesuffix("_id")
            kind = stem.removeprefix("deleted_").removeprefix("invited_").removeprefix("target_")
            found.append(Target(type=kind, id=id_, name=first(document, f"{stem}_name", f"{stem}_email")))
    if kind := first(document, "integration_type"):
        found.append(Target(type="integration", name=kind))
    event.targets = found[:32] or None
    changes = [
        Change(path=path, old=one.get("previous_value"), new=one.get("current_value"))
        for one in items(document.get("updates"))
        if (path := text(one.get("type")))
    ]
    if not changes and isinstance(document.get("is_enabled"), bool):
        changes = [Change(path="is_enabled", new=document["is_enabled"])]
    event.changes = changes or None
    return [event]
