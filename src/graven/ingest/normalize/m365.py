"""Microsoft 365 unified audit log, from the Management Activity API or exported from Purview.

Source: "Office 365 Management Activity API schema". Mind: `CreationTime` is UTC without saying so; `ResultStatus` says
"True", "Succeeded" or "Success" as the workload likes; `ClientIP` may carry a port, with brackets for IPv6; exports
hold the record as a JSON text under `AuditData`; parameters and changes are lists of names and values.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Change, Event, Target
from graven.ingest.fields import (
    actor_of,
    correlation_of,
    first,
    items,
    origin_of,
    rest,
    scope_of,
    text,
    without_port,
)
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "microsoft-365"
VERSION = 1
KEYS = frozenset({"Operation"})

_TAKEN = frozenset(
    ("Id", "CreationTime", "Operation", "UserId", "ResultStatus", "ClientIP", "OrganizationId", "ObjectId")
)
_USER_TYPES = {
    "0": "user", "1": "user", "2": "user", "3": "system", "4": "service", "5": "service", "6": "service",
    "7": "system", "8": "system", "Regular": "user", "Admin": "user", "Application": "service",
    "System": "system", "ServicePrincipal": "service",
}  # fmt: skip
_OUTCOMES = {
    "true": "success", "succeeded": "success", "success": "success", "partiallysucceeded": "success",
    "false": "failure", "failed": "failure", "failure": "failure",
}  # fmt: skip
_VERBS = {
    "UserLoggedIn": "login", "UserLoginFailed": "login", "MailboxLogin": "login", "FileAccessed": "read",
    "FilePreviewed": "read", "FileDownloaded": "export", "FileSyncDownloadedFull": "export",
    "MailItemsAccessed": "read", "Send": "create", "SendAs": "create", "SendOnBehalf": "create",
    "New-InboxRule": "create", "Add-MailboxPermission": "grant", "Add-RecipientPermission": "grant",
    "Add-RoleGroupMember": "grant", "Add-MailboxFolderPermission": "grant", "Remove-MailboxPermission": "revoke",
    "SearchExported": "export", "Add member to role.": "grant", "Remove member from role.": "revoke",
    "Consent to application.": "grant", "AnonymousLinkCreated": "grant", "SharingSet": "grant",
    "SecureLinkCreated": "grant", "ViewReport": "read",
}  # fmt: skip
_VERBS_BY_START = (
    ("Set-", "configure"), ("New-", "create"), ("Remove-", "delete"), ("Enable-", "configure"),
    ("Disable-", "configure"), ("Get-", "read"), ("Add-", "grant"), ("Install-", "create"), ("Update-", "update"),
    ("Export-", "export"), ("Start-", "execute"), ("Search", "read"),
)  # fmt: skip
_CATEGORIES = {
    "SharePoint": "data", "OneDrive": "data", "MicrosoftTeams": "data", "SecurityComplianceCenter": "admin",
    "PowerBI": "data", "Exchange": "configuration",
}  # fmt: skip
_MAILBOX_RECORDS = frozenset(("2", "3", "50"))  # ExchangeItem, ExchangeItemGroup, ExchangeItemAggregated


def recognise(document: Document) -> int:
    """By the three fields that every schema of the API has."""
    if not isinstance(document, dict) or "Operation" not in document or "CreationTime" not in document:
        return NO
    return SURE if "Workload" in document or "RecordType" in document else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a record."""
    operation = text(document.get("Operation")) if isinstance(document, dict) else None
    if operation is None:
        raise Unparsed("the record names no Operation", path="$.Operation")
    workload, status = text(document.get("Workload")), text(document.get("ResultStatus"))
    ip = without_port(first(document, "ClientIP", "ClientIPAddress", "ActorIpAddress"))
    outcome = _OUTCOMES.get(status.lower()) if status else None
    if operation == "UserLoginFailed":
        outcome = "failure"
    reason = first(document, "LogonError", "ErrorNumber") if outcome != "success" else None
    return [
        Event(
            id=text(document.get("Id")),
            time=read_time(document.get("CreationTime")),
            actor=_actor(document),
            action=operation,
            verb=_verb(operation),  # type: ignore[arg-type]
            category=_category(operation, workload or "", text(document.get("RecordType")) or ""),  # type: ignore[arg-type]
            targets=_targets(document),
            changes=_changes(document),
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason or (status if outcome == "failure" else None),
            origin=origin_of(ip, first(document, "UserAgent", "ClientInfoString"), first(document, "DeviceName")),
            scope=scope_of(tenant=text(document.get("OrganizationId")), project=workload),
            correlation=correlation_of(
                first(document, "CorrelationId", "InterSystemsId"), None, first(document, "SessionId")
            ),
            data=rest(document, _TAKEN),
        )
    ]


def _verb(operation: str) -> str:
    if (known := _VERBS.get(operation)) is not None:
        return known
    return next((verb for start, verb in _VERBS_BY_START if operation.startswith(start)), None) or verb_of(operation)


def _category(operation: str, workload: str, record_type: str) -> str:
    if operation in ("UserLoggedIn", "UserLoginFailed", "MailboxLogin"):
        return "authentication"
    if _verb(operation) in ("grant", "revoke"):
        return "permission"
    if workload == "AzureActiveDirectory":
        return category_of(operation)
    if record_type in _MAILBOX_RECORDS:
        return "data"
    return _CATEGORIES.get(workload) or category_of(operation)


def _actor(document: Mapping[str, Any]) -> Actor | None:
    user, key = text(document.get("UserId")), text(document.get("UserKey"))
    kind = _USER_TYPES.get(text(document.get("UserType")) or "")
    email = user if user and "@" in user and " " not in user else None
    return actor_of(
        type=kind if user or key else None,
        id=key if email and key else user or key,
        name=user,
        email=email,
        session=first(document, "SessionId"),
        credential=first(document, "AppId", "ClientAppId"),
    )


def _targets(document: Mapping[str, Any]) -> list[Target] | None:
    found = []
    if id_ := text(document.get("ObjectId")):
        kind = first(document, "ItemType")
        found.append(Target(type=kind, id=id_, name=first(document, "SourceFileName", "ItemName")))
    if owner := first(document, "MailboxOwnerUPN"):
        found.append(Target(type="mailbox", id=first(document, "MailboxGuid"), name=owner))
    if other := first(document, "TargetUserOrGroupName"):
        found.append(Target(type=first(document, "TargetUserOrGroupType"), id=other))
    return found or None


def _changes(document: Mapping[str, Any]) -> list[Change] | None:
    """What was modified, else what a cmdlet was told to set."""
    modified = [
        Change(path=path, old=one.get("OldValue"), new=one.get("NewValue"))
        for one in items(document.get("ModifiedProperties"))
        if (path := text(one.get("Name")))
    ]
    if modified or not (text(document.get("Operation")) or "").startswith("Set-"):
        return modified or None
    named = items(document.get("Parameters"))
    return [Change(path=path, new=one.get("Value")) for one in named if (path := text(one.get("Name")))] or None
