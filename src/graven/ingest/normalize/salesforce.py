"""Salesforce Event Monitoring: real-time events and event log files, as JSON.

Source: "Real-Time Event Monitoring Objects" and "EventLogFile Supported Event Types". Mind: the same field comes as
`UserId` and `USER_ID`; there is no field for the outcome, each event type has its own; log files repeat `REQUEST_ID`.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Event, Target
from graven.ingest.fields import actor_of, correlation_of, first, loose, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "salesforce"
VERSION = 1
KEYS = frozenset({"EVENT_TYPE", "EventIdentifier", "EventDate"})

_ACTIONS = {
    "login": ("login", "authentication"), "loginas": ("login", "authentication"),
    "logout": ("logout", "authentication"), "loginevent": ("login", "authentication"),
    "logoutevent": ("logout", "authentication"), "loginasevent": ("login", "authentication"),
    "api": ("read", "data"), "apievent": ("read", "data"), "apianomalyeventstore": ("other", "data"),
    "reportexport": ("export", "data"), "reportevent": ("read", "data"),
    "reportanomalyeventstore": ("other", "data"), "report": ("read", "data"), "listviewevent": ("read", "data"),
    "urievent": ("read", "data"), "uri": ("read", "data"), "bulkapi": ("export", "data"),
    "bulkapiresultevent": ("export", "data"), "bulkapiresulteventstore": ("export", "data"),
    "permissionsetevent": ("grant", "permission"), "permissionseteventstore": ("grant", "permission"),
    "connectedappusageeventstore": ("login", "authentication"), "apiconnectedapp": ("read", "data"),
    "oauthtokenrevoked": ("revoke", "authentication"), "sessionhijackingeventstore": ("other", "authentication"),
    "credentialstuffingeventstore": ("other", "authentication"),
    "setupaudittrail": ("configure", "configuration"), "contentdocumentlink": ("grant", "data"),
    "contenttransfer": ("export", "data"), "apexexecution": ("execute", "execution"),
    "apexcallout": ("execute", "execution"), "identityverificationevent": ("login", "authentication"),
    "identityproviderevent": ("login", "authentication"),
}  # fmt: skip
_BULK = {
    "delete": "delete", "harddelete": "delete", "insert": "create", "update": "update", "upsert": "update",
    "query": "export", "queryall": "export",
}  # fmt: skip
_TARGETS = (
    ("connected_app", ("connectedappid",), ("connectedappname",)),
    ("entity", (), ("entityname", "queriedentities")),
    ("report", ("reportid",), ("reportname",)),
    ("user", ("delegatedusername", "targetuserid"), ("delegatedusername",)),
    ("permission_set", (), ("permissionsetname",)),
    ("page", ("uri", "requesteduri"), ("pageurl",)),
)


def recognise(document: Document) -> int:
    """By an event type beside an organisation or a Salesforce user id (005…)."""
    if not isinstance(document, dict):
        return NO
    entry = loose(document)
    user = text(entry.get("userid")) or ""
    if "EVENT_TYPE" in document and ("ORGANIZATION_ID" in document or "USER_ID_DERIVED" in document):
        return SURE
    if "EventIdentifier" in document and (user.startswith("005") or "LoginKey" in document):
        return SURE
    return LIKELY if ("EventDate" in document or "EVENT_TYPE" in document) and user.startswith("005") else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event."""
    entry = loose(document) if isinstance(document, dict) else {}
    action = first(entry, "eventtype", "attributes.type") or _kind(entry)
    if action is None:
        raise Unparsed("the record names no event type", path="$.EVENT_TYPE")
    verb, category = _ACTIONS.get(action.lower().replace("_", ""), (verb_of(action), category_of(action)))
    if (operation := text(entry.get("operationtype"))) is not None:
        verb = _BULK.get(operation.lower(), verb)
    name, user = first(entry, "username"), first(entry, "userid", "useridderived")
    times = (read_time(entry.get(key)) for key in ("timestampderived", "eventdate", "timestamp", "createddate"))
    outcome, reason = _outcome(entry)
    session = first(entry, "sessionkey", "loginkey")
    anomaly = entry.get("score")
    return [
        Event(
            id=first(entry, "eventidentifier", "eventuuid"),
            time=next((time for time in times if time is not None), None),
            actor=actor_of(
                type="user" if user or name else None,
                id=user or name,
                name=name,
                email=name if name and "@" in name else None,
                session=session,
                credential=first(entry, "clientid"),
            ),
            action=action,
            verb=verb,  # type: ignore[arg-type]
            category=category,  # type: ignore[arg-type]
            targets=_targets(entry),
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            origin=origin_of(
                first(entry, "sourceip", "clientip", "ipaddress"), first(entry, "useragent", "browsertype", "browser")
            ),
            scope=scope_of(tenant=first(entry, "organizationid", "orgid")),
            severity=_severity(anomaly),  # type: ignore[arg-type]
            message=first(entry, "summary", "display"),
            count=_count(entry),
            correlation=correlation_of(first(entry, "requestid", "requestidentifier"), None, session),
            data=rest(document, ()),
        )
    ]


def _kind(entry: Mapping[str, Any]) -> str | None:
    """Real-time events without a type: what their own fields say."""
    return "LoginEvent" if "logintype" in entry or "loginurl" in entry else None


def _outcome(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    status = first(entry, "loginstatus", "status")
    if status is None:
        success = text(entry.get("requeststatus"))
        return ({"S": "success", "F": "failure", "A": "denied"}.get(success or ""), None)
    if status.upper() in ("LOGIN_NO_ERROR", "SUCCESS", "0"):
        return "success", None
    denied = any(word in status.upper() for word in ("RESTRICTED", "LOCKED", "BLOCKED", "DENIED", "NOT_ALLOWED"))
    return ("denied" if denied else "failure"), status


def _severity(score: object) -> str | None:
    """Of an anomaly's score, which runs to 100."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return "high" if score >= 80 else "medium" if score >= 50 else "low"


def _count(entry: Mapping[str, Any]) -> int | None:
    for key in ("recordsprocessed", "rowsprocessed", "rowcount"):
        digits = text(entry.get(key))
        if digits is not None and digits.isascii() and digits.isdigit() and len(digits) < 19:
            return int(digits)
    return None


def _targets(entry: Mapping[str, Any]) -> list[Target] | None:
    found = []
    for kind, ids, names in _TARGETS:
        id_, name = first(entry, *ids), first(entry, *names)
        if id_ or name:
            found.append(Target(type=kind, id=id_, name=name))
    return found or None
