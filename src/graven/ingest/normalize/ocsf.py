"""Events in OCSF, the Open Cybersecurity Schema Framework: class, activity, status and the objects around them.

What a `type_uid` means is its class and its activity; classes that are not in the table are taken all the same, by
category.
"""

from collections.abc import Mapping
from typing import Any

from graven.event.model import Actor, Category, Event, Outcome, Severity, Target, Verb
from graven.ingest.fields import (
    TEXT_MAX,
    actor_of,
    at,
    correlation_of,
    first,
    items,
    mapping,
    origin_of,
    rest,
    scope_of,
    text,
)
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "ocsf"
VERSION = 1
KEYS = frozenset({"class_uid"})

_CATEGORIES: dict[int, Category] = {
    1: "system",
    2: "other",
    3: "authentication",
    4: "network",
    5: "configuration",
    6: "data",
    7: "admin",
}
_CLASSES: dict[int, Category] = {
    1001: "data", 1005: "system", 1006: "execution", 1007: "execution",  # file, module, scheduled job, process
    3001: "permission", 3002: "authentication", 3003: "authentication", 3004: "permission", 3005: "permission",
    3006: "permission",  # account change, authentication, authorize session, entity, user access, group
    6001: "data", 6002: "system", 6003: "data", 6004: "data", 6005: "data",
    # web resources, applications, API, web, store
}  # fmt: skip
_CRUD: dict[int, Verb] = {1: "create", 2: "read", 3: "update", 4: "delete"}
_VERBS: dict[int, dict[int, Verb]] = {
    1001: {1: "create", 2: "read", 3: "update", 4: "delete", 5: "update", 6: "update", 7: "update", 14: "read"},
    1007: {1: "execute", 2: "other", 3: "read"},
    3001: {1: "create", 2: "update", 3: "update", 4: "update", 5: "revoke", 6: "delete",
           7: "grant", 8: "revoke", 9: "revoke"},
    3002: {1: "login", 2: "logout", 3: "login", 4: "login"},
    3003: {1: "grant", 2: "grant"},
    3004: {1: "create", 2: "read", 3: "update", 4: "delete"},
    3005: {1: "grant", 2: "revoke"},
    3006: {1: "grant", 2: "revoke", 3: "grant", 4: "revoke", 5: "delete", 6: "create"},
    6002: {1: "create", 2: "delete", 3: "execute", 4: "execute", 5: "execute", 6: "configure",
           7: "configure", 8: "update"},
    6003: _CRUD,
    6005: {1: "read", 2: "update", 3: "configure", 4: "read", 5: "create", 6: "delete"},
}  # fmt: skip
_SEVERITIES: dict[int, Severity] = {1: "informational", 2: "low", 3: "medium", 4: "high", 5: "critical", 6: "critical"}
_OUTCOMES: dict[int, Outcome] = {1: "success", 2: "failure"}
_USER_TYPES = {"User": "user", "Admin": "user", "System": "system", "Service": "service"}
_DENIED = frozenset({2, 4})  # disposition: blocked, dropped… ; action_id 2: denied
_TAKEN = frozenset({
    "actor", "api", "cloud", "message", "metadata", "severity", "severity_id", "src_endpoint", "status", "status_id",
    "time", "time_dt", "user", "count",
})  # fmt: skip


def recognise(document: Document) -> int:
    if not isinstance(document, dict) or not isinstance(document.get("class_uid"), int):
        return NO
    if isinstance(document.get("metadata"), dict) and ("activity_id" in document or "type_uid" in document):
        return SURE
    return LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    if not isinstance(document, dict) or type(document.get("class_uid")) is not int:
        raise Unparsed("not an OCSF event", path="$.class_uid", mend="keep class_uid, activity_id and metadata")
    class_uid: int = document["class_uid"]
    activity = document.get("activity_id")
    activity = activity if type(activity) is int else 0
    acting = _actor(document, class_uid)
    event = Event(
        action=_action(document, class_uid, activity),
        verb=_VERBS.get(class_uid, {}).get(activity, "other"),
        category=_CLASSES.get(class_uid) or _CATEGORIES.get(class_uid // 1000, "other"),
        outcome=_outcome(document),
        reason=first(document, "status_detail", "status_code"),
        id=first(document, "metadata.uid"),
        time=read_time(document.get("time")) or read_time(document.get("time_dt")),
        actor=acting,
        targets=_targets(document, class_uid) or None,
        origin=origin_of(
            ip=first(document, "src_endpoint.ip", "device.ip"),
            user_agent=first(document, "http_request.user_agent"),
            device=first(document, "src_endpoint.hostname", "src_endpoint.name", "device.hostname", "device.name"),
        ),
        scope=scope_of(
            tenant=first(document, "metadata.tenant_uid", "cloud.org.uid"),
            account=first(document, "cloud.account.uid", "actor.user.account.uid"),
            project=first(document, "cloud.project_uid"),
            region=first(document, "cloud.region"),
        ),
        severity=_SEVERITIES.get(document.get("severity_id", 0)) if type(document.get("severity_id")) is int else None,
        message=text(document.get("message")),
        count=count if type(count := document.get("count")) is int and 0 <= count < 2**63 else None,
        correlation=correlation_of(
            request_id=first(document, "api.request.uid"),
            trace_id=first(document, "metadata.trace_uid"),
            session_id=first(document, "actor.session.uid", "session.uid", "metadata.correlation_uid"),
        ),
        data=rest(document, _TAKEN),
    )
    product = first(document, "metadata.product.name")
    if product:
        event.labels = {"ocsf.product": product}
    return [event]


def _action(document: Mapping[str, Any], class_uid: int, activity: int) -> str:
    operation = first(document, "api.operation")
    if operation:
        service = first(document, "api.service.name")
        return f"{service}:{operation}"[:TEXT_MAX] if service else operation
    named = first(document, "type_name")
    if named:
        return named
    class_name, activity_name = text(document.get("class_name")), text(document.get("activity_name"))
    return f"{class_name or class_uid}: {activity_name or activity}"


def _actor(document: Mapping[str, Any], class_uid: int) -> Actor | None:
    user = mapping(at(document, "actor.user"))
    if not user and class_uid in (3002, 3003):
        user = mapping(document.get("user"))
    process = mapping(at(document, "actor.process"))
    kind = _USER_TYPES.get(text(user.get("type")) or "", "user" if user else None)
    found = actor_of(
        type=kind,
        id=first(user, "uid", "credential_uid"),
        name=first(user, "name", "full_name"),
        email=first(user, "email_addr"),
        session=first(document, "actor.session.uid"),
        credential=first(user, "credential_uid") or first(document, "actor.session.credential_uid"),
    )  # fmt: skip
    if found is not None and (found.id or found.name or found.email):
        return found
    if service := first(document, "actor.invoked_by", "actor.app_name"):
        return Actor(type="service", name=service)
    return (
        Actor(type="system", name=first(process, "name", "file.path")) if first(process, "name", "file.path") else None
    )


def _targets(document: Mapping[str, Any], class_uid: int) -> list[Target]:
    found = [_resource(one) for one in items(document.get("resources"))] + [
        _resource(one) for one in items(document.get("resource"))
    ]
    if class_uid in (3001, 3002, 3003, 3005, 3006) and (user := mapping(document.get("user"))):
        found.append(Target(type="user", id=first(user, "uid"), name=first(user, "name", "email_addr")))
    for key, kind in (
        ("group", "group"),
        ("file", "file"),
        ("process", "process"),
        ("entity", "entity"),
        ("app", "application"),
        ("web_resource", "resource"),
    ):
        if one := mapping(document.get(key)):
            id_ = first(one, "uid", "path") if key != "process" else first(one, "uid", "pid")
            name = first(one, "name", "path", "file.path", "cmd_line")
            if id_ or name:
                found.append(Target(type=first(one, "type") if key == "entity" else kind, id=id_, name=name))
    if endpoint := mapping(document.get("dst_endpoint")):
        name = first(endpoint, "hostname", "ip", "svc_name", "name")
        found += [Target(type="host", name=name)] if name else []
    return [one for one in found if one.id or one.name]


def _resource(one: Mapping[str, Any]) -> Target:
    return Target(
        type=first(one, "type") or "resource",
        id=first(one, "uid"),
        name=first(one, "name"),
        owner=first(one, "owner.name", "owner.uid"),
    )


def _outcome(document: Mapping[str, Any]) -> Outcome | None:
    if document.get("disposition_id") in _DENIED or document.get("action_id") == 2:
        return "denied"
    status = document.get("status_id")
    if type(status) is int and status in _OUTCOMES:
        return _OUTCOMES[status]
    return "unknown" if status is not None else None
