"""Microsoft Entra ID: sign-ins of every kind and directory audits, from diagnostic settings or Microsoft Graph.

Source: the `signIn` and `directoryAudit` resources of Microsoft Graph, and "Microsoft Entra sign-in and audit logs in
Azure Monitor". Mind: diagnostic settings put the Graph resource under `properties`; error code 0 is success;
conditional access that fails is a denial, a wrong password is not; old and new values are JSON inside a text.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from graven.event import Actor, Change, Event, Target
from graven.ingest.fields import (
    actor_of,
    correlation_of,
    first,
    items,
    loose,
    mapping,
    origin_of,
    rest,
    scope_of,
    text,
)
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "entra-id"
VERSION = 1
KEYS = frozenset({"resourceId", "category", "properties", "initiatedBy", "createdDateTime"})

_CHANGES_MAX = 100
_SIGN_INS = frozenset(
    ("SignInLogs", "NonInteractiveUserSignInLogs", "ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs",
     "ADFSSignInLogs", "MicrosoftServicePrincipalSignInLogs")
)  # fmt: skip
_OPERATIONS = {
    "add": "create", "create": "create", "update": "update", "delete": "delete", "assign": "grant",
    "unassign": "revoke", "invite": "grant", "resetpassword": "update",
}  # fmt: skip
_ACTIONS = (
    ("add member to role", "grant"), ("add eligible member to role", "grant"), ("add member to group", "grant"),
    ("add app role assignment", "grant"), ("add delegated permission grant", "grant"), ("consent to", "grant"),
    ("add owner to", "grant"), ("remove member from", "revoke"), ("remove role assignment", "revoke"),
    ("delete role assignment", "revoke"), ("remove owner from", "revoke"), ("remove app role assignment", "revoke"),
    ("add service principal credentials", "create"),
)  # fmt: skip
_BLOCKED = frozenset(("53000", "53001", "53002", "53003", "53004", "50053", "50057", "50105", "530032", "65001"))
_RISKS = {"low": "low", "medium": "medium", "high": "high"}
_DECODE = msgspec.json.Decoder().decode


def recognise(document: Document) -> int:
    """By the directory's provider, its categories, or the shape of the Graph resources."""
    if not isinstance(document, dict):
        return NO
    resource = (text(document.get("resourceId")) or "").lower()
    if "microsoft.aadiam" in resource or text(document.get("category")) in _SIGN_INS:
        return SURE
    inner = mapping(document.get("properties")) or document
    if isinstance(inner.get("initiatedBy"), dict) and ("activityDisplayName" in inner or "targetResources" in inner):
        return SURE
    if "createdDateTime" in inner and "appDisplayName" in inner and "userPrincipalName" in inner:
        return SURE
    return LIKELY if "createdDateTime" in inner and "servicePrincipalId" in inner and "ipAddress" in inner else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a sign-in or act."""
    if not isinstance(document, dict):
        raise Unparsed("a record of Entra ID is a JSON object")
    outer = loose(document)
    inner = mapping(document.get("properties")) or document
    if isinstance(inner.get("initiatedBy"), dict) or "activityDisplayName" in inner:
        return [_audit(document, outer, inner)]
    return [_sign_in(document, outer, inner)]


def _sign_in(document: Mapping[str, Any], outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Event:
    code = first(inner, "status.errorCode") or text(outer.get("resulttype"))
    outcome, reason = None, None
    if code is not None:
        why = first(inner, "status.failureReason", "status.additionalDetails") or text(outer.get("resultdescription"))
        barred = code in _BLOCKED or inner.get("conditionalAccessStatus") == "failure"
        outcome = "success" if code == "0" else "denied" if barred else "failure"
        reason = None if code == "0" else f"{code}: {why}" if why else code
    service, user = first(inner, "servicePrincipalId"), first(inner, "userId")
    app, app_name = first(inner, "resourceId"), first(inner, "resourceDisplayName")
    if app is None and app_name is None:
        app, app_name = first(inner, "appId"), first(inner, "appDisplayName")
    risk = first(inner, "riskLevelDuringSignIn")
    event = _common(document, outer, inner)
    event.action = text(outer.get("operationname")) or "Sign-in activity"
    event.verb, event.category = "login", "authentication"
    event.time = read_time(inner.get("createdDateTime")) or read_time(outer.get("time"))
    event.actor = actor_of(
        type="service" if service and not user else "user" if user or first(inner, "userPrincipalName") else None,
        id=user or service,
        name=first(inner, "userDisplayName", "servicePrincipalName", "userPrincipalName"),
        email=first(inner, "userPrincipalName"),
        session=first(inner, "sessionId"),
        credential=first(inner, "uniqueTokenIdentifier", "servicePrincipalCredentialKeyId"),
        on_behalf_of=None,
    )
    event.targets = [Target(type="application", id=app, name=app_name)] if app or app_name else None
    event.outcome, event.reason = outcome, reason  # type: ignore[assignment]
    event.severity = _RISKS.get(risk or "")  # type: ignore[assignment]
    return event


def _audit(document: Mapping[str, Any], outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Event:
    action = first(inner, "activityDisplayName", "operationName") or text(outer.get("operationname"))
    if action is None:
        raise Unparsed("the record names no activity", path="$.properties.activityDisplayName")
    said = (first(inner, "result") or text(outer.get("resultsignature")) or "").lower()
    operation = (first(inner, "operationType") or "").lower()
    lower = action.lower()
    verb = next((verb for start, verb in _ACTIONS if lower.startswith(start)), None)
    event = _common(document, outer, inner)
    event.action = action
    event.verb = verb or _OPERATIONS.get(operation) or verb_of(action)  # type: ignore[assignment]
    event.category = _category(lower)  # type: ignore[assignment]
    event.time = read_time(inner.get("activityDateTime")) or read_time(outer.get("time"))
    event.actor = _initiator(mapping(inner.get("initiatedBy")))
    event.targets, event.changes = _targets(inner)
    event.outcome = {"success": "success", "failure": "failure", "timeout": "failure"}.get(said)  # type: ignore[assignment]
    event.reason = first(inner, "resultReason", "resultDescription")
    if event.origin is None or event.origin.ip is None:
        event.origin = origin_of(first(inner, "initiatedBy.user.ipAddress"), first(inner, "userAgent"))
    return event


def _common(document: Mapping[str, Any], outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Event:
    ip = text(outer.get("calleripaddress")) or first(inner, "ipAddress")
    device = first(inner, "deviceDetail.displayName", "deviceDetail.deviceId")
    correlation = first(inner, "correlationId") or text(outer.get("correlationid"))
    return Event(
        id=first(inner, "id"),
        action="?",
        origin=origin_of(ip, first(inner, "userAgent"), device),
        scope=scope_of(tenant=text(outer.get("tenantid")) or first(inner, "tenantId", "homeTenantId")),
        correlation=correlation_of(request_id=correlation, session_id=first(inner, "sessionId")),
        data=rest(document, ()),
    )


def _category(lower: str) -> str:
    if any(word in lower for word in ("password", "credential", "authentication", "mfa", "strong auth", "sign-in")):
        return "authentication"
    if any(word in lower for word in ("role", "member", "consent", "permission", "owner", "user", "group")):
        return "permission"
    return (
        "configuration"
        if "policy" in lower or "application" in lower or "service principal" in lower
        else (category_of(lower))
    )


def _initiator(by: Mapping[str, Any]) -> Actor | None:
    user, app = mapping(by.get("user")), mapping(by.get("app"))
    if any(text(user.get(key)) for key in ("id", "userPrincipalName", "displayName")):
        mail = text(user.get("userPrincipalName"))
        return actor_of(
            type="user", id=text(user.get("id")) or mail, name=text(user.get("displayName")) or mail, email=mail
        )
    id_ = text(app.get("servicePrincipalId")) or text(app.get("appId"))
    name = text(app.get("displayName")) or text(app.get("servicePrincipalName"))
    return actor_of(type="service", id=id_, name=name) if id_ or name else None


def _targets(inner: Mapping[str, Any]) -> tuple[list[Target] | None, list[Change] | None]:
    targets, changes = [], []
    for one in items(inner.get("targetResources")):
        id_, name = text(one.get("id")), first(one, "displayName", "userPrincipalName")
        if id_ or name:
            targets.append(Target(type=text(one.get("type")), id=id_, name=name))
        for changed in items(one.get("modifiedProperties")):
            if path := text(changed.get("displayName")):
                old, new = _opened(changed.get("oldValue")), _opened(changed.get("newValue"))
                changes.append(Change(path=path, old=old, new=new))
    return targets or None, changes[:_CHANGES_MAX] or None


def _opened(value: object) -> Any:
    """The JSON that a text holds, or the text."""
    if not isinstance(value, str):
        return value
    try:
        return _DECODE(value)
    except (ValueError, RecursionError):
        return value
