"""Azure activity log, and resource logs of the same form: diagnostic settings, the REST interface, and its SDKs.

Source: "Azure Activity Log event schema" of Azure Monitor. Mind: the same field comes as `eventTimestamp`,
`event_timestamp` or `time`, and as a text or as `{value, localizedValue}`; one action gives Start, Accept and
Success, which share their `correlationId`: only the last says how it ended; a caller's address may carry a port.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Event, Target
from graven.ingest.fields import (
    actor_of,
    at,
    correlation_of,
    first,
    loose,
    mapping,
    origin_of,
    rest,
    scope_of,
    text,
    without_port,
)
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import verb_of

TYPE = "azure-activity"
VERSION = 1
LINES = False

_UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
_MAIL = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
_OBJECT = "http://schemas.microsoft.com/identity/claims/objectidentifier"
_OUTCOMES = {
    "success": "success", "succeeded": "success", "ok": "success", "created": "success", "active": "success",
    "failure": "failure", "failed": "failure", "error": "failure", "start": "unknown", "started": "unknown",
    "accept": "unknown", "accepted": "unknown", "inprogress": "unknown",
}  # fmt: skip
_SEVERITIES = {
    "informational": "informational", "information": "informational", "verbose": "informational",
    "4": "informational", "warning": "medium", "error": "high", "critical": "critical",
}  # fmt: skip
_DENIED = ("forbidden", "unauthorized", "authorizationfailed", "403", "401", "requestdisallowedbypolicy")
_CATEGORIES = (
    ("microsoft.authorization/policy", "configuration"), ("microsoft.authorization/policies", "configuration"),
    ("microsoft.authorization/", "permission"), ("microsoft.managedidentity/", "permission"),
    ("microsoft.network/", "network"), ("microsoft.keyvault/", "data"), ("microsoft.storage/", "data"),
    ("microsoft.sql/", "data"), ("microsoft.resources/subscriptions", "admin"),
)  # fmt: skip


def recognise(document: Document) -> int:
    """By an operation on a resource of a subscription."""
    if not isinstance(document, dict):
        return NO
    names = "".join(document).replace("_", "").replace("-", "").lower()
    if "operationname" not in names or "resourceid" not in names:  # cheaper than to look each key up
        return NO
    entry = loose(document)
    operation, resource = _value(entry.get("operationname")), text(entry.get("resourceid"))
    if operation is None or resource is None:
        return NO
    if "microsoft.aadiam" in resource.lower() or isinstance(at(document, "properties.initiatedBy"), dict):
        return NO
    return SURE if resource.lower().startswith("/subscriptions/") else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a record, so up to three an action."""
    entry = loose(document) if isinstance(document, dict) else {}
    action = _value(entry.get("operationname"))
    if action is None:
        raise Unparsed("the record names no operation", path="$.operationName")
    resource = text(entry.get("resourceid")) or first(entry, "authorization.scope")
    outcome, reason = _outcome(entry)
    claims = mapping(entry.get("claims")) or mapping(at(entry, "identity.claims"))
    ip = first(entry, "calleripaddress", "httprequest.clientIpAddress", "httprequest.client_ip_address")
    times = (read_time(entry.get(key)) for key in ("eventtimestamp", "time", "timestamp"))
    phase = _value(entry.get("eventname")) or text(entry.get("resulttype"))
    subscription, group, kind, name = _taken_apart(resource)
    return [
        Event(
            id=text(entry.get("eventdataid")),
            time=next((time for time in times if time is not None), None),
            actor=_actor(entry, claims),
            action=action,
            verb=_verb(action),  # type: ignore[arg-type]
            category=_category(action, text(entry.get("category")) or ""),  # type: ignore[arg-type]
            targets=[Target(type=kind, id=resource, name=name)] if resource else None,
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            origin=origin_of(
                without_port(ip) or text(claims.get("ipaddr")), first(entry, "properties.userAgentHeader")
            ),
            scope=scope_of(
                tenant=text(entry.get("tenantid")),
                account=text(entry.get("subscriptionid")) or subscription,
                project=text(entry.get("resourcegroupname")) or group,
                region=text(entry.get("location")),
            ),
            severity=_SEVERITIES.get((text(entry.get("level")) or "").lower()),  # type: ignore[arg-type]
            message=text(entry.get("description")) or text(entry.get("resultdescription")),
            correlation=correlation_of(text(entry.get("correlationid")) or text(entry.get("operationid"))),
            labels={"azure.phase": phase} if phase else None,
            data=rest(document, ()),
        )
    ]


def _value(value: object) -> str | None:
    return text(value.get("value")) if isinstance(value, dict) else text(value)


def _verb(action: str) -> str:
    lower = action.lower()
    last = lower.rpartition("/")[2]
    if "/roleassignments/" in lower:
        return {"write": "grant", "delete": "revoke"}.get(last, "read")
    if last == "action":
        words = lower.split("/")
        if any(word in lower for word in ("runcommand", "/start/", "/restart/", "/deallocate/", "/poweroff/")):
            return "execute"
        if "elevateaccess" in lower:
            return "grant"
        return "read" if words[-2].startswith(("list", "get", "audit")) else verb_of(words[-2])
    return {"write": "update", "delete": "delete", "read": "read"}.get(last) or verb_of(action)


def _category(action: str, category: str) -> str:
    lower = action.lower()
    if "runcommand" in lower:
        return "execution"
    if category.startswith("Storage") or category in ("AuditEvent", "DataPlane"):
        return "data"
    return next((found for start, found in _CATEGORIES if lower.startswith(start)), "configuration")


def _outcome(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    status = _value(entry.get("status")) or text(entry.get("resulttype")) or first(
        entry, "properties.metricResponseType", "statustext"
    )  # fmt: skip
    detail = _value(entry.get("substatus")) or text(entry.get("resultsignature")) or text(entry.get("statuscode"))
    if status is None:
        return None, detail
    outcome = _OUTCOMES.get(status.lower().replace(" ", ""), "unknown")
    why = f"{status} {detail or ''}".lower()
    if outcome != "success" and any(word in why for word in _DENIED):
        outcome = "denied"
    return outcome, (detail if outcome in ("failure", "denied") else None)


def _actor(entry: Mapping[str, Any], claims: Mapping[str, Any]) -> Actor | None:
    caller = text(entry.get("caller")) or text(claims.get(_UPN)) or text(claims.get(_MAIL)) or text(claims.get("name"))
    object_id = text(claims.get(_OBJECT))
    email = next((one for one in (caller, text(claims.get(_UPN)), text(claims.get(_MAIL))) if one and "@" in one), None)
    app = claims.get("idtyp") == "app" or (claims.get("appid") is not None and email is None)
    who = object_id or caller
    return actor_of(
        type=None if who is None else "service" if app else "user",
        id=who,
        name=text(claims.get("name")) or caller,
        email=email,
        credential=text(claims.get("uti")),
    )


def _taken_apart(resource: str | None) -> tuple[str | None, str | None, str | None, str | None]:
    """(subscription, resource group, type, name) of a resource id."""
    parts = (resource or "").strip("/").split("/")
    lower = [part.lower() for part in parts]
    found: list[str | None] = [None, None, None, None]
    for number, word in enumerate(("subscriptions", "resourcegroups")):
        if word in lower and (at_ := lower.index(word)) + 1 < len(parts):
            found[number] = parts[at_ + 1] or None
    if "providers" in lower:
        rest_ = parts[lower.index("providers") + 1 :]
        kinds = rest_[1::2]
        found[2] = "/".join(rest_[:1] + kinds) or None
        found[3] = rest_[-1] if len(rest_) > 2 and len(rest_) % 2 else None
    return found[0], found[1], found[2], found[3]
