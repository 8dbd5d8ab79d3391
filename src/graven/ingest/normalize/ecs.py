"""Events in ECS, the Elastic Common Schema: nested, as Elastic's agents write them, or with dotted keys."""

from collections.abc import Mapping
from typing import Any, cast

from graven.event.model import Actor, Category, Event, Outcome, Severity, Target, Verb
from graven.ingest.fields import actor_of, at, correlation_of, first, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, MAYBE, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "ecs"
VERSION = 1
KEYS = frozenset({"@timestamp"})

_CATEGORIES: dict[str, Category] = {
    "authentication": "authentication", "session": "authentication", "iam": "permission",
    "configuration": "configuration",
    "api": "data", "database": "data", "file": "data", "web": "data", "email": "data", "process": "execution",
    "network": "network", "intrusion_detection": "network", "host": "system", "driver": "system", "package": "system",
    "registry": "configuration", "malware": "system", "threat": "system", "vulnerability": "system",
    "library": "system",
}  # fmt: skip
_VERBS: dict[str, Verb] = {
    "creation": "create", "deletion": "delete", "change": "update", "access": "read", "start": "execute",
    "end": "other",
    "admin": "configure", "installation": "create", "allowed": "other", "denied": "other",
}  # fmt: skip
_OUTCOMES: dict[str, Outcome] = {"success": "success", "failure": "failure", "unknown": "unknown"}
_TAKEN = frozenset({"@timestamp", "message", "ecs"})


def recognise(document: Document) -> int:
    if not isinstance(document, dict) or "@timestamp" not in document:
        return NO
    if at(document, "ecs.version") is not None:
        return (
            SURE if at(document, "event.action") is not None or at(document, "event.category") is not None else LIKELY
        )
    return (
        MAYBE
        if isinstance(at(document, "event.action"), str) or isinstance(at(document, "event.category"), str | list)
        else NO
    )


def normalise(record: Record, document: Document) -> list[Event]:
    if not isinstance(document, dict):
        raise Unparsed("not an ECS document", mend="send JSON with @timestamp and event.*")
    action = first(document, "event.action", "event.code", "event.dataset", "event.module", "event.kind")
    if action is None:
        raise Unparsed("the document names no action", path="$.event.action", mend="keep event.action")
    categories, types = _words(at(document, "event.category")), _words(at(document, "event.type"))
    category = next((_CATEGORIES[word] for word in categories if word in _CATEGORIES), None) or category_of(action)
    denied = "denied" in types
    outcome = _OUTCOMES.get(first(document, "event.outcome") or "")
    event = Event(
        action=action,
        verb=_verb(action, categories, types),
        category=category,  # type: ignore[arg-type]
        outcome="denied" if denied and outcome != "success" else outcome,
        reason=first(document, "event.reason", "error.message", "error.code"),
        id=first(document, "event.id"),
        time=read_time(document.get("@timestamp")),
        actor=_actor(document),
        targets=_targets(document) or None,
        origin=origin_of(
            ip=first(document, "source.ip", "client.ip", "source.address", "client.address"),
            user_agent=first(document, "user_agent.original", "user_agent.name"),
            device=first(document, "source.domain", "client.domain", "host.name", "host.hostname"),
        ),
        scope=scope_of(
            tenant=first(document, "organization.id", "organization.name"),
            account=first(document, "cloud.account.id"),
            project=first(document, "cloud.project.id", "orchestrator.namespace"),
            region=first(document, "cloud.region"),
        ),
        severity=_severity(document),
        message=text(document.get("message")),
        correlation=correlation_of(
            request_id=first(document, "http.request.id", "transaction.id"),
            trace_id=first(document, "trace.id"),
            session_id=first(document, "session.id", "network.community_id"),
        ),
        data=rest(document, _TAKEN),
    )
    dataset = first(document, "event.dataset")
    event.labels = {"ecs.dataset": dataset} if dataset else None
    return [event]


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value[:16] if isinstance(one, str)) if isinstance(value, list) else ()


def _verb(action: str, categories: tuple[str, ...], types: tuple[str, ...]) -> Verb:
    found = cast(Verb, verb_of(action))
    if "authentication" in categories or "session" in categories:
        if "end" in types or found == "logout":
            return "logout"
        return "login" if "start" in types or found == "other" else found
    if "iam" in categories and found in ("grant", "revoke"):
        return found
    if "network" in categories:
        found = "other"
    return next((_VERBS[word] for word in types if _VERBS.get(word, "other") != "other"), found)


def _actor(document: Mapping[str, Any]) -> Actor | None:
    name = first(document, "user.name", "user.full_name", "client.user.name", "source.user.name")
    id_ = first(document, "user.id", "client.user.id", "source.user.id")
    email = first(document, "user.email", "client.user.email", "source.user.email")
    behind = first(document, "user.effective.name")
    if name or id_ or email:
        return actor_of(type="user", id=id_, name=name, email=email, credential=first(document, "client.user.hash"))
    if behind:
        return Actor(type="user", name=behind)
    service = first(document, "service.name", "process.name")
    return Actor(type="service", name=service) if service and at(document, "event.kind") != "metric" else None


def _targets(document: Mapping[str, Any]) -> list[Target]:
    found = []
    for kind, ids, names in (
        ("user", ("user.target.id", "user.changes.id"), ("user.target.name", "user.target.email", "user.changes.name")),
        ("group", ("group.id", "user.target.group.id"), ("group.name", "user.target.group.name")),
        ("file", ("file.path",), ("file.name", "file.path")),
        ("process", ("process.entity_id",), ("process.executable", "process.name")),
        ("registry", (), ("registry.path",)),
        ("resource", ("orchestrator.resource.id", "cloud.target.resource.id"),
         ("orchestrator.resource.name", "cloud.target.resource.name")),
        ("url", (), ("url.full", "url.original", "url.path")),
        ("host", ("destination.ip",), ("destination.domain", "destination.address")),
    ):  # fmt: skip
        id_, name = first(document, *ids) if ids else None, first(document, *names)
        if id_ or name:
            found.append(Target(type=kind, id=id_, name=name))
    return found


def _severity(document: Mapping[str, Any]) -> Severity | None:
    level = (first(document, "log.level") or "").lower()
    return {
        "emergency": "critical",
        "critical": "critical",
        "fatal": "critical",
        "error": "high",
        "warning": "medium",
        "warn": "medium",
        "info": "informational",
        "debug": "informational",
    }.get(level)  # type: ignore[return-value]
