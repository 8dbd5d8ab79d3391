"""Teleport audit events.

Source: "Teleport Audit Events and Records". Mind: `uid` is the event's id, not a user's; keys hold dots
(`addr.remote`, which exporters write `addr_remote`) and the address carries a port; the letter that ends `code` says
how grave it is.
"""

from graven.event import Event, Target
from graven.ingest.fields import first, text, without_port
from graven.ingest.record import LIKELY, NO, SURE, Document, Record
from graven.ingest.table import Match, Table, Words

TYPE = "teleport"
VERSION = 1
KEYS = frozenset({"code"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("event", "code", "uid")),
    fields={
        "id": ("uid",),
        "time": ("time",),
        "action": ("event",),
        "actor.id": ("user", "identity.user"),
        "actor.name": ("user", "identity.user"),
        "actor.session": ("sid",),
        "actor.credential": ("identity.credential_id", "mfa_device.mfa_device_uuid"),
        "behind.id": ("impersonator", "identity.impersonator"),
        "origin.ip": ("addr.remote", "addr_remote", "identity.client_ip"),
        "origin.user_agent": ("user_agent",),
        "reason": ("error", "reason", "message"),
        "scope.tenant": ("cluster_name",),
        "scope.project": ("namespace",),
        "correlation.session_id": ("sid",),
        "bytes": ("tx",),
    },
    fixed={"actor.type": "user", "behind.type": "user"},
    words={
        "verb": Words(
            {"user.login": "login", "auth": "login", "session.start": "login", "session.join": "login",
             "session.end": "logout", "session.leave": "logout", "session.command": "execute", "exec": "execute",
             "cert.create": "login", "session.data": "other", "db.session.start": "login",
             "db.session.end": "logout", "db.session.query*": "execute", "kube.request": "execute",
             "scp": "export", "sftp*": "other", "app.session.*": "login",
             "windows.desktop.session.start": "login", "windows.desktop.session.end": "logout",
             "access_request.create": "create", "access_request.review": "grant", "*.created": "create",
             "*.deleted": "delete", "*.updated": "update", "lock.*": "revoke", "subsystem": "execute",
             "port": "execute"}
        ),
        "category": Words(
            {"user.login": "authentication", "auth": "authentication", "cert.*": "authentication",
             "session.command": "execution", "exec": "execution", "session.*": "authentication",
             "db.session.query*": "data", "db.*": "authentication", "kube.request": "execution",
             "role.*": "permission", "access_request.*": "permission", "user.*": "permission",
             "saml.*": "configuration", "oidc.*": "configuration", "github.*": "configuration",
             "*token*": "authentication", "lock.*": "permission", "scp": "data", "sftp*": "data",
             "mfa.*": "authentication", "*": "other"}
        ),
        "outcome": Words({"true": "success", "false": "failure"}, ["success"]),
    },
    taken=frozenset(("uid", "time", "event", "user", "cluster_name")),
)  # fmt: skip
_SEVERITIES = {"I": "informational", "W": "medium", "E": "high"}
_TARGETS = (
    ("server", ("server_id",), ("server_hostname",)),
    ("database", ("db_service",), ("db_name",)),
    ("kubernetes", ("kubernetes_cluster", "identity.kubernetes_cluster"), ("kubernetes_cluster",)),
    ("desktop", ("desktop_addr",), ("desktop_name",)),
    ("application", ("app_uri",), ("app_name",)),
    ("login", ("login",), ()),
)


def recognise(document: Document) -> int:
    """By its code: a T, letters and digits, and how grave it is."""
    if not isinstance(document, dict) or not isinstance(document.get("event"), str):
        return NO
    code = document.get("code")
    coded = isinstance(code, str) and 4 <= len(code) <= 12 and code[:1] in "Tt" and code[-1:].upper() in "IWEG"
    return (SURE if "ei" in document or "cluster_name" in document else LIKELY) if coded and "uid" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event."""
    (event,) = _TABLE.normalise(record, document)
    code = text(document.get("code")) or ""
    event.severity = _SEVERITIES.get(code[-1:].upper())  # type: ignore[assignment]
    if event.origin is not None:
        event.origin.ip = without_port(event.origin.ip)
    exit_code = first(document, "exitCode", "return_code")
    if event.outcome is None and exit_code is not None:
        event.outcome = "success" if exit_code == "0" else "failure"
    if event.outcome == "failure" and "access denied" in (event.reason or "").lower():
        event.outcome = "denied"
    found = []
    for kind, ids, names in _TARGETS:
        id_, name = first(document, *ids), first(document, *names)
        if id_ or name:
            found.append(Target(type=kind, id=id_, name=name))
    if (made := first(document, "name")) is not None:
        found.append(Target(type=event.action.partition(".")[0], id=made))
    if (path := first(document, "path")) is not None:
        found.append(Target(type="program", id=path))
    event.targets = found or None
    return [event]
