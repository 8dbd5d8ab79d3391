"""Google Cloud: audit log entries (`protoPayload`), and other entries of Cloud Logging as far as they say anything.

Source: "LogEntry" and "AuditLog" of the Cloud Logging reference. Mind: `insertId` is unique only together with the
time; a long-running operation gives two entries (`operation.first`, `operation.last`), and the first one's outcome is
not known; no status, or code 0, is success, 7 and 16 are denials; `callerIp` may be `private` or `gce-internal-ip`.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Event, Target
from graven.ingest.fields import (
    actor_of,
    at,
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

TYPE = "gcp-audit"
VERSION = 1
KEYS = frozenset({"protoPayload", "protopayload", "logName", "logname"})

_TAKEN = frozenset(("insertId", "insertid", "logName", "logname", "timestamp", "severity", "textPayload"))
_SEVERITIES = {
    "DEBUG": "informational", "INFO": "informational", "NOTICE": "informational", "WARNING": "medium",
    "ERROR": "high", "CRITICAL": "critical", "ALERT": "critical", "EMERGENCY": "critical",
}  # fmt: skip
_DENIED = (7, 16)  # PERMISSION_DENIED, UNAUTHENTICATED
_VERBS = (
    ("setiampolicy", "grant"), ("generateaccesstoken", "login"), ("generateidtoken", "login"), ("signblob", "execute"),
    ("signjwt", "execute"), ("insertjob", "execute"), ("insert", "create"), ("actas", "grant"), ("login", "login"),
)  # fmt: skip
_CATEGORIES = {
    "iam.googleapis.com": "permission", "iamcredentials.googleapis.com": "authentication",
    "storage.googleapis.com": "data", "bigquery.googleapis.com": "data", "secretmanager.googleapis.com": "data",
    "cloudkms.googleapis.com": "data", "dns.googleapis.com": "network", "login.googleapis.com": "authentication",
    "apikeys.googleapis.com": "authentication", "cloudresourcemanager.googleapis.com": "admin",
    "sts.googleapis.com": "authentication",
}  # fmt: skip
_NETWORK = ("firewall", "network", "route", "subnetwork", "vpn", "address", "forwardingrule")


def recognise(document: Document) -> int:
    """By the payload of an audit log, or what every entry of Cloud Logging has."""
    if not isinstance(document, dict):
        return NO
    payload = document.get("protoPayload") or document.get("protopayload")
    if isinstance(payload, dict) and "methodName" in payload:
        return SURE
    if ("logName" in document or "logname" in document) and "resource" in document:
        return LIKELY
    return NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event an entry."""
    if not isinstance(document, dict):
        raise Unparsed("an entry of Cloud Logging is a JSON object")
    entry = loose(document)
    payload = mapping(entry.get("protopayload"))
    log_name = text(entry.get("logname"))
    method, service = text(payload.get("methodName")), text(payload.get("serviceName"))
    action = method or first(entry, "jsonpayload.event_subtype", "jsonpayload.event") or _log_of(log_name)
    if action is None:
        raise Unparsed("the entry names neither a method nor a log", path="$.protoPayload.methodName")
    insert_id, time = text(entry.get("insertid")), text(entry.get("timestamp"))
    operation = mapping(entry.get("operation"))
    outcome, reason = _outcome(payload, operation)
    meta = mapping(payload.get("requestMetadata"))
    labels = {"gcp.operation": phase} if (phase := _phase(operation)) else None
    return [
        Event(
            id=f"{insert_id}@{time}" if insert_id and time else None,
            time=read_time(entry.get("timestamp")),
            actor=_actor(payload, entry),
            action=action,
            verb=_verb(action),  # type: ignore[arg-type]
            category=_category(action, service or ""),  # type: ignore[arg-type]
            targets=_targets(payload, entry),
            outcome=outcome if payload else None,  # type: ignore[arg-type]
            reason=reason,
            origin=origin_of(
                text(meta.get("callerIp")) or text(meta.get("callerIP")), text(meta.get("callerSuppliedUserAgent"))
            ),
            scope=_scope(entry, log_name),
            severity=_SEVERITIES.get(text(entry.get("severity")) or ""),  # type: ignore[arg-type]
            message=first(entry, "textpayload", "jsonpayload.message", "jsonpayload.content"),
            correlation=correlation_of(text(operation.get("id")), _trace(text(entry.get("trace")))),
            labels=labels,
            data=rest(document, _TAKEN),
        )
    ]


def _log_of(log_name: str | None) -> str | None:
    return log_name.rpartition("/logs/")[2].replace("%2F", "/") or None if log_name else None


def _verb(action: str) -> str:
    last = action.rpartition(".")[2]
    lower = last.lower()
    return next((verb for word, verb in _VERBS if lower.startswith(word)), None) or verb_of(last)


def _category(action: str, service: str) -> str:
    lower = action.lower()
    if "iampolicy" in lower:
        return "permission"
    if "serviceaccountkey" in lower:
        return "authentication"
    if service == "compute.googleapis.com":
        return "network" if any(word in lower for word in _NETWORK) else "configuration"
    return _CATEGORIES.get(service) or category_of(action)


def _outcome(payload: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[str, str | None]:
    status = mapping(payload.get("status"))
    code = status.get("code")
    said = text(status.get("message"))
    if isinstance(code, int) and code:
        return ("denied" if code in _DENIED else "failure"), said or str(code)
    refused = next((one for one in items(payload.get("authorizationInfo")) if one.get("granted") is False), None)
    if refused is not None:
        return "denied", text(refused.get("permission"))
    if operation.get("first") and not operation.get("last") and "status" not in payload:
        return "unknown", None
    return "success", None


def _phase(operation: Mapping[str, Any]) -> str | None:
    first_, last = bool(operation.get("first")), bool(operation.get("last"))
    return "whole" if first_ and last else "first" if first_ else "last" if last else None


def _actor(payload: Mapping[str, Any], entry: Mapping[str, Any]) -> Actor | None:
    """The service account that acted; whoever it was delegated from stands behind it, the next one first."""
    who = mapping(payload.get("authenticationInfo"))
    email, subject = text(who.get("principalEmail")), text(who.get("principalSubject"))
    name = email or subject or first(entry, "jsonpayload.actor.user", "jsonpayload.actor.email")
    actor = _principal(name, subject)
    if actor is None:
        return None
    actor.credential = text(who.get("serviceAccountKeyName"))
    behind = None
    chain = who.get("serviceAccountDelegationInfo")
    for one in reversed(items(chain, count_max=16)) if isinstance(chain, list) else ():
        next_ = _principal(first(one, "firstPartyPrincipal.principalEmail", "principalSubject"), None)
        if next_ is not None:
            next_.on_behalf_of, behind = behind, next_
    actor.on_behalf_of = behind
    return actor


def _principal(name: str | None, subject: str | None) -> Actor | None:
    if name is None:
        return None
    service = name.endswith(".gserviceaccount.com") or (subject or name).startswith("serviceAccount:")
    email = name if "@" in name and ":" not in name else None
    return actor_of(type="service" if service else "user" if email else None, id=name, email=email)


def _targets(payload: Mapping[str, Any], entry: Mapping[str, Any]) -> list[Target] | None:
    kind, name = first(entry, "resource.type"), text(payload.get("resourceName"))
    found = [Target(type=kind, id=name)] if name else []
    for one in items(payload.get("authorizationInfo"), count_max=16):
        other = first(one, "resourceAttributes.name", "resource")
        if other and all(other != target.id for target in found):
            found.append(Target(type=first(one, "resourceAttributes.type"), id=other))
    return found or None


def _scope(entry: Mapping[str, Any], log_name: str | None) -> Any:
    labels = mapping(at(entry, "resource.labels"))
    root, _, owner = (log_name or "").partition("/logs/")[0].partition("/")
    project = text(labels.get("project_id")) or (owner if root == "projects" else None)
    place = text(labels.get("location")) or text(labels.get("zone")) or text(labels.get("region"))
    return scope_of(tenant=owner or None if root == "organizations" else None, project=project, region=place)


def _trace(name: str | None) -> str | None:
    """`projects/P/traces/ID` → ID."""
    return name.rpartition("/")[2] or None if name else None
