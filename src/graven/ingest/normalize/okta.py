"""Okta System Log events, from the API, log streaming or event hooks.

Source: the `LogEvent` object of the Okta System Log API. Mind: several targets of several types; the actor may be a
`SystemPrincipal`; `debugContext.debugData` is free-form; some exporters write every top-level key in lower case.
"""

from graven.event import Event
from graven.ingest.fields import mapping, text
from graven.ingest.record import NO, SURE, Document, Record
from graven.ingest.table import Match, Table, TargetRule, Words

TYPE = "okta"
VERSION = 1
KEYS = frozenset({"eventType", "eventtype"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("uuid",)),
    fields={
        "id": ("uuid",),
        "time": ("published",),
        "action": ("eventType", "eventtype"),
        "actor.type": ("actor.type",),
        "actor.id": ("actor.id",),
        "actor.name": ("actor.displayName",),
        "actor.session": (
            "authenticationContext.externalSessionId", "authenticationcontext.externalSessionId",
            "authenticationContext.rootSessionId",
        ),
        "origin.ip": ("client.ipAddress", "request.ipChain.0.ip"),
        "origin.user_agent": ("client.userAgent.rawUserAgent",),
        "reason": ("outcome.reason",),
        "message": ("displayMessage", "displaymessage"),
        "correlation.request_id": (
            "debugContext.debugData.requestId", "debugcontext.debugData.requestId", "transaction.id",
        ),
        "correlation.session_id": (
            "authenticationContext.externalSessionId", "authenticationcontext.externalSessionId",
        ),
        "correlation.trace_id": ("debugContext.debugData.traceId",),
    },
    words={
        "actor.type": Words(
            {"User": "user", "SystemPrincipal": "system", "PublicClientApp": "service", "OAuth2Client": "service"},
            ["actor.type"],
        ),
        "outcome": Words(
            {"SUCCESS": "success", "ALLOW": "success", "FAILURE": "failure", "DENY": "denied", "*": "unknown"},
            ["outcome.result"],
        ),
        "severity": Words(
            {"DEBUG": "informational", "INFO": "informational", "WARN": "medium", "ERROR": "high"}, ["severity"]
        ),
        "verb": Words(
            {"user.session.start": "login", "user.session.end": "logout",
             "user.session.impersonation.*": "login", "user.session.*": "other",
             "user.authentication.*": "login", "policy.evaluate_sign_on": "login",
             "app.oauth2.*token.grant*": "login", "user.account.update_password": "update",
             "user.account.lock*": "revoke", "*.privilege.grant": "grant", "*.privilege.revoke": "revoke",
             "group.user_membership.add": "grant", "group.user_membership.remove": "revoke",
             "application.user_membership.add": "grant", "application.user_membership.remove": "revoke",
             "user.mfa.factor.activate": "create", "user.mfa.factor.deactivate": "delete",
             "user.mfa.factor.reset_all": "delete", "user.lifecycle.create": "create",
             "user.lifecycle.delete*": "delete", "user.lifecycle.activate": "grant",
             "user.lifecycle.deactivate": "revoke", "user.lifecycle.suspend": "revoke",
             "user.lifecycle.unsuspend": "grant", "system.api_token.create": "create",
             "system.api_token.revoke": "revoke"}
        ),
        "category": Words(
            {"user.session.*": "authentication", "user.authentication.*": "authentication",
             "user.mfa.*": "authentication", "user.credential.*": "authentication",
             "user.account.*password": "authentication", "user.account.privilege.*": "permission",
             "user.account.*": "permission", "user.lifecycle.*": "permission", "group.*": "permission",
             "*user_membership*": "permission", "iam.*": "permission",
             "policy.evaluate_sign_on": "authentication", "policy.*": "configuration", "app.*": "permission",
             "application.*": "configuration", "system.api_token.*": "authentication", "zone.*": "network",
             "system.*": "configuration"}
        ),
    },
    targets=(TargetRule(each="target", type_paths=("type",), id=("id",), name=("displayName", "alternateId")),),
    taken=frozenset(("uuid", "published", "eventType", "eventtype", "displayMessage", "displaymessage", "version")),
)  # fmt: skip


def recognise(document: Document) -> int:
    """By the outcome beside a type of event and its legacy name or target."""
    if not isinstance(document, dict) or not ("eventType" in document or "eventtype" in document):
        return NO
    outcome = document.get("outcome")
    if isinstance(outcome, dict) and "result" in outcome and ("uuid" in document or "legacyEventType" in document):
        return SURE
    return SURE if "debugContext" in document and "authenticationContext" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event. The actor's address is its e-mail where it is one."""
    (event,) = _TABLE.normalise(record, document)
    if event.actor is not None:
        address = text(mapping(document.get("actor")).get("alternateId"))
        event.actor.email = address if address and "@" in address else None
    if event.reason is not None and event.outcome == "success":
        event.reason = None
    return [event]
