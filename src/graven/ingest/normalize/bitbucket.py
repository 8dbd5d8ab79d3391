"""Bitbucket Data Center: the audit log file of older versions (fields between bars), and audit events as JSON.

Source: "Audit log events in Bitbucket" and "View and configure the audit log" of Atlassian. Line: addresses | event |
user | milliseconds | entity | details | request id | session id, with `-` for nothing. JSON: the `auditType` form of
newer versions.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from graven.event import Change, Event, Target
from graven.ingest.fields import actor_of, correlation_of, first, items, mapping, origin_of, rest, scope_of, text
from graven.ingest.record import MAYBE, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

TYPE = "bitbucket-audit"
VERSION = 1
KEYS = frozenset({"auditType"})
LINES = True
MARKS = (" | ",)

_FIELDS = 8
_DECODE = msgspec.json.Decoder().decode
_VERBS = {
    "UserLoggedInEvent": "login", "AuthenticationSuccessEvent": "login", "AuthenticationFailureEvent": "login",
    "UserLoggedOutEvent": "logout", "RestrictedRefAddedEvent": "configure",
    "RestrictedRefRemovedEvent": "configure", "GlobalPermissionGrantedEvent": "grant",
    "ProjectPermissionGrantedEvent": "grant", "RepositoryPermissionGrantedEvent": "grant",
    "GlobalPermissionRevokedEvent": "revoke", "ProjectPermissionRevokedEvent": "revoke",
    "RepositoryPermissionRevokedEvent": "revoke",
}  # fmt: skip
_CATEGORIES = {
    "UserLoggedInEvent": "authentication", "AuthenticationSuccessEvent": "authentication",
    "AuthenticationFailureEvent": "authentication", "RestrictedRefAddedEvent": "configuration",
    "RestrictedRefRemovedEvent": "configuration", "UserCreatedEvent": "permission",
    "UserDeletedEvent": "permission",
}  # fmt: skip


def recognise(document: Document) -> int:
    """By eight fields between bars, the second an event's name; JSON by its audit type."""
    if isinstance(document, str):
        parts = document.split(" | ", _FIELDS)
        return SURE if len(parts) == _FIELDS and parts[1].endswith("Event") and parts[3].strip().isdigit() else NO
    if not isinstance(document, dict):
        return NO
    kind = document.get("auditType")
    if isinstance(kind, dict) and "action" in kind:
        return SURE if "bitbucket" in str(document.get("system", "")).lower() else MAYBE
    return NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a line or object."""
    if isinstance(document, str):
        return [_line(document)]
    if isinstance(document, dict) and isinstance(document.get("auditType"), dict):
        return [_object(document)]
    raise Unparsed("neither a line of eight fields nor an object with an auditType")


def _line(line: str) -> Event:
    parts = [None if part.strip() in ("-", "") else part.strip() for part in line.split(" | ")]
    action = parts[1] if len(parts) >= _FIELDS else None
    if action is None:
        raise Unparsed(f"the line has not {_FIELDS} fields", mend="see the audit log file of Bitbucket")
    addresses, _, user, stamp, entity = parts[:5]
    details = " | ".join(part or "-" for part in parts[5:-2])  # details may hold bars themselves
    request, session = parts[-2], parts[-1]
    kind, _, name = (entity or "").partition("/")
    return Event(
        time=read_time(stamp),
        actor=actor_of(type="user" if user else None, id=user, session=session),
        action=action,
        verb=_VERBS.get(action) or verb_of(action.removesuffix("Event")),  # type: ignore[arg-type]
        category=_CATEGORIES.get(action) or category_of(action),  # type: ignore[arg-type]
        targets=[Target(type=kind.lower(), id=name)] if entity and name else None,
        outcome="failure" if "Failure" in action else "success",
        origin=origin_of((addresses or "").split(",")[0] or None),
        scope=scope_of(project=name or None),
        correlation=correlation_of(request, None, session),
        data={"details": _opened(details), "addresses": addresses} if details != "-" else None,
    )


def _object(document: Mapping[str, Any]) -> Event:
    kind, author = mapping(document.get("auditType")), mapping(document.get("author"))
    action = text(kind.get("action"))
    if action is None:
        raise Unparsed("the object names no action", path="$.auditType.action")
    targets = [
        Target(type=text(one.get("type")), id=text(one.get("id")) or text(one.get("name")), name=text(one.get("name")))
        for one in items(document.get("affectedObjects"))
    ]
    changes = [
        Change(path=path, old=one.get("from"), new=one.get("to"))
        for one in items(document.get("changedValues"))
        if (path := first(one, "key", "i18nKey"))
    ]
    user = text(author.get("id")) or text(author.get("name"))
    return Event(
        time=read_time(document.get("timestamp")) or _instant(document.get("timestamp")),
        actor=actor_of(type=_author(author) if user else None, id=user, name=text(author.get("name"))),
        action=action,
        verb=verb_of(action),  # type: ignore[arg-type]
        category=category_of(f"{kind.get('category')} {action}"),  # type: ignore[arg-type]
        targets=[target for target in targets if target.id or target.name] or None,
        changes=changes or None,
        outcome="failure" if "fail" in action.lower() else "success",
        origin=origin_of((first(document, "source") or "").split(",")[0] or None),
        scope=scope_of(tenant=first(document, "system")),
        data=rest(document, ("timestamp", "author", "affectedObjects", "changedValues", "source", "system")),
    )


def _author(author: Mapping[str, Any]) -> str:
    kind = (text(author.get("type")) or "").lower()
    return kind if kind in ("anonymous", "system") else "service" if kind == "service" else "user"


def _instant(value: object) -> Any:
    """`{epochSecond, nano}`, as Java writes an instant."""
    whole, part = mapping(value).get("epochSecond"), mapping(value).get("nano", 0)
    if type(whole) is not int or type(part) is not int:
        return None
    return read_time(whole * 1_000_000_000 + part)


def _opened(details: str) -> Any:
    try:
        return _DECODE(details)
    except (ValueError, RecursionError):
        return details
