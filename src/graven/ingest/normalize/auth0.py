"""Auth0 tenant logs, from the Management API or a log stream.

Source: "Log Event Type Codes" of Auth0. Mind: the action is a code (`s`, `fp`, `sapi`); a stream puts the event under
`data`; events of the Management API say under `details.request` who called it, and under `details.response` how it
ended.
"""

from graven.event import Event, Target
from graven.ingest.fields import at, first, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "auth0"
VERSION = 1
KEYS = frozenset({"date"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("type", "date")),
    fields={
        "id": ("log_id", "_id"),
        "time": ("date",),
        "action": ("type",),
        "actor.id": ("details.request.auth.user.user_id", "user_id", "details.request.auth.subject", "client_id"),
        "actor.name": ("details.request.auth.user.name", "user_name", "client_name"),
        "actor.email": ("details.request.auth.user.email",),
        "actor.session": ("session_id",),
        "actor.credential": ("details.request.auth.credentials.jti",),
        "origin.ip": ("ip", "details.request.ip"),
        "origin.user_agent": ("user_agent", "details.request.userAgent"),
        "scope.tenant": ("tenant_name", "hostname"),
        "scope.project": ("organization_name", "connection"),
        "message": ("description",),
        "correlation.session_id": ("session_id",),
    },
    fixed={"actor.type": "user"},
    words={
        "verb": Words(
            {"s": "login", "f": "login", "fp": "login", "fu": "login", "fc": "login", "slo": "logout",
             "flo": "logout", "ss": "create", "fs": "create", "se*": "login", "fe*": "login", "scp": "update",
             "fcp": "update", "scpr": "update", "sce": "update", "sv": "update", "sdu": "delete",
             "fdu": "delete", "srrt": "revoke", "limit_*": "revoke", "gd_enrollment_complete": "create",
             "gd_auth_*": "login", "gd_send_*": "other", "gd_unenroll": "delete", "mgmt_api_read": "read",
             "sd": "login", "admin_update_launch": "configure", "pwd_leak": "other", "ublkdu": "grant",
             "s*pi": "update", "*": "other"}
        ),
        "category": Words(
            {"sapi": "configuration", "fapi": "configuration", "mgmt_api_read": "configuration",
             "sdu": "permission", "fdu": "permission", "admin_update_launch": "configuration",
             "*": "authentication"}
        ),
        "outcome": Words(
            {"limit_*": "denied", "pwd_leak": "denied", "gd_auth_rejected": "denied",
             "gd_auth_failed": "failure", "gd_send_*_failure": "failure", "gd_*": "success", "ublkdu": "success",
             "mgmt_api_read": "success", "s": "success", "s*": "success", "f": "failure", "f*": "failure",
             "*": "unknown"}
        ),
    },
    taken=frozenset(("log_id", "_id", "date", "type", "description", "ip", "user_agent")),
)  # fmt: skip
_METHODS = {"get": "read", "post": "create", "put": "update", "patch": "update", "delete": "delete"}
_DENIED = (401, 403)


def recognise(document: Document) -> int:
    """By its log id and a code; the code of nobody else stands beside a client."""
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        return NO
    if "date" not in document or not ("log_id" in document or "_id" in document):
        return NO
    return SURE if "client_id" in document or "tenant_name" in document or "details" in document else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event; a call of the Management API is told by its method, path and answer."""
    (event,) = _TABLE.normalise(record, document)
    method, path = first(document, "details.request.method"), first(document, "details.request.path")
    status = at(document, "details.response.statusCode")
    if event.action in ("sapi", "fapi", "mgmt_api_read") and method:
        event.verb = _METHODS.get(method.lower(), "other")  # type: ignore[assignment]
        if path and any(word in path for word in ("/roles", "/permissions", "/members")):
            event.category = "permission"
    if isinstance(status, int) and status >= 400:
        event.outcome = "denied" if status in _DENIED else "failure"
        event.reason = str(status)
    elif event.outcome in ("failure", "denied"):
        event.reason = event.message
    if event.actor is not None:
        if event.actor.id == text(document.get("client_id")):
            event.actor.type = "service"
        name = text(document.get("user_name"))
        event.actor.email = event.actor.email or (name if name and "@" in name else None)
    found = [Target(type="endpoint", id=path)] if path else []
    if app := first(document, "client_id"):
        found.append(Target(type="application", id=app, name=first(document, "client_name")))
    event.targets = found or None
    return [event]
