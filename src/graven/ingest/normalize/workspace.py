"""Google Workspace: activities of the Admin SDK Reports API, every application.

Source: the `Activity` resource of the Reports API. Mind: one activity holds several events, which become one event each
with the same raw; `uniqueQualifier` is unique only together with time and application; parameters are a list of
`{name, value | multiValue | boolValue | intValue | messageValue}`, but exporters flatten them into an object.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Change, Event, Target
from graven.ingest.fields import actor_of, at, first, items, mapping, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "google-workspace"
VERSION = 1
KEYS = frozenset({"kind", "id"})

_EVENTS_MAX = 1000
_TAKEN = frozenset(("kind", "id", "actor", "ipAddress", "events", "name", "type", "etag", "parameters"))
_VERBS = {
    "login_success": "login", "login_failure": "login", "login_challenge": "login",
    "login_verification": "login", "logout": "logout", "change_owner": "grant", "change_user_access": "grant",
    "change_acl_editors": "grant", "change_document_visibility": "grant",
    "change_document_access_scope": "grant", "edit": "update", "assign_role": "grant", "unassign_role": "revoke",
    "grant_admin_privilege": "grant", "add_group_member": "grant", "revoke_admin_privilege": "revoke",
    "remove_group_member": "revoke", "delivery": "other", "view": "read", "suspicious_login": "login",
    "gov_attack_warning": "other", "authorize": "grant", "2sv_disable": "configure", "2sv_enroll": "configure",
    "print": "export", "download": "export", "trash": "delete", "untrash": "create",
    "toggle_service_enabled": "configure",
}  # fmt: skip
_CATEGORIES = {
    "drive": "data", "gmail": "data", "login": "authentication", "user_accounts": "authentication",
    "saml": "authentication", "token": "permission", "groups": "permission", "groups_enterprise": "permission",
    "chat": "data", "meet": "data", "calendar": "data", "gplus": "data", "keep": "data", "vault": "data",
    "mobile": "configuration", "chrome": "configuration", "rules": "configuration", "admin": "configuration",
    "access_transparency": "data", "context_aware_access": "permission", "data_studio": "data",
    "gcp": "configuration",
}  # fmt: skip
_ADMIN = (("role", "permission"), ("privilege", "permission"), ("group", "permission"), ("user", "permission"),
          ("password", "authentication"), ("2-step", "authentication"))  # fmt: skip
_FAILED = {"login_failure": "failure", "login_success": "success", "suspicious_login": "unknown"}
_TARGETS = (
    ("document", ("doc_id",), ("doc_title",), ("owner",)),
    ("user", ("USER_EMAIL", "target_user", "affected_email_address"), (), ()),
    ("group", ("GROUP_EMAIL", "group_id", "group_email"), (), ()),
    ("role", ("ROLE_ID",), ("ROLE_NAME",), ()),
    ("setting", (), ("SETTING_NAME",), ()),
    ("application", ("client_id", "application_id"), ("app_name", "APPLICATION_NAME"), ()),
    ("device", ("DEVICE_ID", "device_id"), (), ()),
    ("message", ("message_info.rfc2822_message_id",), ("message_info.subject",), ()),
)
_CHANGED = (
    ("OLD_VALUE", "NEW_VALUE"), ("old_value", "new_value"), ("old_visibility", "visibility"), ("owner", "new_owner"),
)  # fmt: skip
_CALLERS = {"USER": "user", "KEY": "service", "APPLICATION": "service"}


def recognise(document: Document) -> int:
    """By the kind, or the application that an id names."""
    if not isinstance(document, dict):
        return NO
    if document.get("kind") == "admin#reports#activity":
        return SURE
    id_ = document.get("id")
    named = "events" in document or ("name" in document and "type" in document)
    return LIKELY if isinstance(id_, dict) and "applicationName" in id_ and named else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event each of `events`, in their order."""
    if not isinstance(document, dict):
        raise Unparsed("an activity is a JSON object")
    listed = document.get("events")
    events = items(listed, count_max=_EVENTS_MAX) if listed else [document]
    if isinstance(listed, list) and len(listed) > _EVENTS_MAX:
        raise Unparsed(f"the activity holds more than {_EVENTS_MAX} events", path="$.events")
    application, time = first(document, "id.applicationName"), at(document, "id.time")
    qualifier = first(document, "id.uniqueQualifier")
    stem = f"{text(time)}/{qualifier}/{application}" if qualifier and time and application else None
    left = rest(document, _TAKEN) or {}
    found = []
    for number, one in enumerate(events):
        name = text(one.get("name"))
        if name is None:
            raise Unparsed("an event of the activity has no name", path=f"$.events[{number}].name")
        parameters = _parameters(one.get("parameters"))
        lower = name.lower()
        found.append(
            Event(
                id=f"{stem}/{number}" if stem and len(events) > 1 else stem,
                time=read_time(time),
                actor=_actor(document),
                action=name,
                verb=_VERBS.get(lower) or verb_of(name),  # type: ignore[arg-type]
                category=_category(application or "", lower, text(one.get("type")) or ""),  # type: ignore[arg-type]
                targets=_targets(parameters),
                changes=_changes(parameters),
                outcome=_outcome(lower, parameters),  # type: ignore[arg-type]
                reason=first(parameters, "login_failure_type", "login_challenge_status"),
                origin=origin_of(first(document, "ipAddress"), first(parameters, "user_agent")),
                scope=scope_of(tenant=first(document, "id.customerId"), project=application),
                data=left | {"type": one.get("type"), "parameters": parameters},
            )
        )
    return found


def _parameters(value: object) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for one in items(value, count_max=500):
        if (name := text(one.get("name"))) is not None:
            given = (one[key] for key in _VALUES if key in one)
            found[name] = next(given, None)
            if isinstance(found[name], dict) and "parameter" in found[name]:
                found[name] = dict(_parameters(found[name]["parameter"]))
    return found


_VALUES = ("value", "multiValue", "boolValue", "intValue", "multiIntValue", "messageValue", "multiMessageValue")


def _actor(document: Mapping[str, Any]) -> Actor | None:
    who = mapping(document.get("actor"))
    email, profile = text(who.get("email")), text(who.get("profileId"))
    key = text(who.get("key"))
    if not (email or profile or key):
        return None
    kind = _CALLERS.get(text(who.get("callerType")) or "USER", "user")
    return actor_of(type=kind, id=profile or email or key, name=email or key, email=email, credential=key)


def _category(application: str, name: str, kind: str) -> str:
    if kind == "acl_change":
        return "permission"
    if application == "admin" or application not in _CATEGORIES:
        found = next((category for word, category in _ADMIN if word in name), None)
        return found or _CATEGORIES.get(application) or category_of(name)
    return _CATEGORIES[application]


def _outcome(name: str, parameters: Mapping[str, Any]) -> str | None:
    if name in _FAILED:
        return _FAILED[name]
    said = at(parameters, "event_info.success")
    if isinstance(said, bool):
        return "success" if said else "failure"
    return "denied" if name.endswith(("_denied", "_blocked")) else None


def _targets(parameters: Mapping[str, Any]) -> list[Target] | None:
    found = []
    for kind, ids, names, owners in _TARGETS:
        id_, name = first(parameters, *ids), first(parameters, *names)
        if id_ or name:
            found.append(Target(type=kind, id=id_, name=name, owner=first(parameters, *owners)))
    return found or None


def _changes(parameters: Mapping[str, Any]) -> list[Change] | None:
    for old, new in _CHANGED:
        if old in parameters and new in parameters:
            path = first(parameters, "SETTING_NAME", "setting_name") or new.lower().removeprefix("new_")
            return [Change(path=path, old=parameters[old], new=parameters[new])]
    return None
