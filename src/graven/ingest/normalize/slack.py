"""Slack Audit Logs API (Enterprise Grid).

Source: "Audit Logs API" of Slack. Mind: the entity stands under its own type (`entity.type` = app → `entity.app`); the
location is the workspace or the organisation.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Event, Target
from graven.ingest.fields import first, mapping, text
from graven.ingest.record import NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "slack-audit"
VERSION = 1
KEYS = frozenset({"entity"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("action", "entity", "context")),
    fields={
        "id": ("id",),
        "time": ("date_create",),
        "action": ("action",),
        "actor.type": ("actor.type",),
        "actor.id": ("actor.user.id", "actor.id"),
        "actor.name": ("actor.user.name",),
        "actor.email": ("actor.user.email",),
        "origin.ip": ("context.ip_address",),
        "origin.user_agent": ("context.ua",),
        "scope.tenant": ("actor.user.team",),
        "scope.account": ("context.location.id",),
        "scope.project": ("context.location.name",),
        "correlation.session_id": ("context.session_id",),
        "actor.session": ("context.session_id",),
    },
    words={
        "actor.type": Words({"user": "user", "app": "service", "bot": "service"}, ["actor.type"]),
        "verb": Words(
            {"user_login": "login", "user_login_failed": "login", "user_logout*": "logout",
             "file_downloaded": "export", "role_change_to_user": "revoke", "role_change_to_guest": "revoke",
             "role_change_to_*": "grant", "app_restricted": "revoke", "app_approved": "grant",
             "app_installed": "create", "org_app_workspace_added": "grant",
             "org_app_workspace_removed": "revoke", "app_resources_granted": "grant",
             "app_scopes_expanded": "grant", "anomaly": "other", "private_channel_converted_to_public": "grant",
             "pref.*": "configure", "user_channel_join": "grant", "user_channel_leave": "revoke",
             "user_deactivated": "revoke", "user_reactivated": "grant", "ekm_*": "configure"}
        ),
        "category": Words(
            {"user_log*": "authentication", "user_session*": "authentication", "role_*": "permission",
             "*scopes*": "permission", "app_resources_*": "permission", "app_*": "configuration",
             "org_app_*": "configuration", "file_*": "data", "*export*": "data", "message_*": "data",
             "user_channel_*": "permission", "*_channel_*": "configuration", "pref.*": "configuration",
             "user_*": "permission", "guest_*": "permission", "ekm_*": "configuration", "workspace_*": "admin",
             "anomaly": "other"}
        ),
        "outcome": Words({"user_login_failed": "failure"}),
    },
    taken=frozenset(("id", "date_create", "action")),
)  # fmt: skip


def recognise(document: Document) -> int:
    """By an actor, an entity and a context, each of a type."""
    if not isinstance(document, dict) or not isinstance(document.get("action"), str):
        return NO
    entity, actor = document.get("entity"), document.get("actor")
    typed = isinstance(entity, dict) and "type" in entity and isinstance(actor, dict) and "type" in actor
    return SURE if typed and "context" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event."""
    (event,) = _TABLE.normalise(record, document)
    event.targets = _targets(mapping(document.get("entity")))
    return [event]


def _targets(entity: Mapping[str, Any]) -> list[Target] | None:
    kind = text(entity.get("type"))
    thing = entity.get(kind) if kind else None
    id_, name = first(thing, "id"), first(thing, "name", "title", "email")
    return [Target(type=kind, id=id_, name=name)] if id_ or name else None
