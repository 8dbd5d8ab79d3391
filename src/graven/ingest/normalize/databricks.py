"""Databricks audit logs, delivered or from the system table.

Source: "Audit log reference" of Databricks. Mind: the service and the action make the name together; `timestamp` counts
milliseconds; a request id stands on several events.
"""

from graven.event import Event, Target
from graven.ingest.fields import at, first
from graven.ingest.record import NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "databricks-audit"
VERSION = 1
KEYS = frozenset({"userIdentity"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("serviceName", "actionName"), score=SURE),
    fields={
        "id": ("event_id", "eventId"),
        "time": ("timestamp", "event_time"),
        "action": ("actionName", "action_name"),
        "actor.id": ("userIdentity.email", "user_identity.email", "userIdentity.subjectName"),
        "actor.email": ("userIdentity.email", "user_identity.email"),
        "actor.session": ("sessionId", "session_id"),
        "origin.ip": ("sourceIPAddress", "source_ip_address"),
        "origin.user_agent": ("userAgent", "user_agent"),
        "reason": ("response.errorMessage", "response.error_message"),
        "scope.account": ("accountId", "account_id"),
        "scope.project": ("workspaceId", "workspace_id"),
        "correlation.request_id": ("requestId", "request_id"),
        "correlation.session_id": ("sessionId", "session_id"),
    },
    fixed={"actor.type": "user"},
    words={
        "verb": Words(
            {"*login*": "login", "logout": "logout", "setAccountAdmin": "grant", "setAdmin": "grant",
             "addPrincipalToGroup": "grant", "addPrincipalsToGroup": "grant",
             "removePrincipalFromGroup": "revoke", "changeAccountOwner": "grant", "generateDbToken": "create",
             "runCommand": "execute", "executeCommand": "execute", "installLibrary*": "create",
             "*download*": "export", "revokeDbToken": "revoke"}
        ),
        "category": Words(
            {"*login*": "authentication", "logout": "authentication", "*token*": "authentication",
             "*admin*": "permission", "*principal*": "permission", "*owner*": "permission",
             "*permission*": "permission", "*command*": "execution", "installLibrary*": "configuration",
             "*recipient*": "permission", "*share*": "permission"}
        ),
        "outcome": Words(
            {"200": "success", "201": "success", "204": "success", "401": "denied", "403": "denied",
             "4*": "failure", "5*": "failure"},
            ["response.statusCode", "response.status_code"],
        ),
    },
    taken=frozenset(("timestamp", "actionName", "sourceIPAddress", "userAgent")),
)  # fmt: skip
_PARAMETERS = (
    ("user", ("targetUserName", "principal", "targetUserId")),
    ("group", ("targetGroupName", "targetGroupId")),
    ("cluster", ("cluster_id", "clusterId", "clusterName")),
    ("token", ("tokenId", "tokenHash")),
    ("object", ("name", "path", "full_name_arg")),
    ("library", ("library.maven.coordinates", "library.pypi.package", "library.jar", "library.whl")),
)


def recognise(document: Document) -> int:
    """By service and action beside the identity of a user."""
    return _TABLE.recognise(document) if isinstance(document, dict) and "userIdentity" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event; its action is `service.action`."""
    (event,) = _TABLE.normalise(record, document)
    service = first(document, "serviceName", "service_name")
    parameters = at(document, "requestParams") or at(document, "request_params")
    found = [Target(type=kind, id=id_) for kind, paths in _PARAMETERS if (id_ := first(parameters, *paths)) is not None]
    event.targets = found or None
    if event.outcome == "success":
        event.reason = None
    if service is not None:
        event.action = f"{service}.{event.action}"
    return [event]
