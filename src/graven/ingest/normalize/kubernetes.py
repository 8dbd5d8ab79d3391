"""Kubernetes audit events (`audit.k8s.io`, v1 and v1beta1), also as Amazon EKS, GKE and AKS hand them on.

Source: "Auditing" and the `audit.k8s.io/v1` reference of Kubernetes. Mind: one request gives one event a stage, all
with the same `auditID`, so the id is both; `exec` is a create of `pods/exec` answered with 101, which is success;
annotation keys hold dots; a request made under an impersonated name was asked for by `user`.
"""

from collections.abc import Mapping
from typing import Any

from graven.event import Actor, Correlation, Event, Target
from graven.ingest.fields import actor_of, at, first, mapping, origin_of, rest, scope_of, text
from graven.ingest.record import LIKELY, NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time

TYPE = "kubernetes-audit"
VERSION = 1
KEYS = frozenset({"verb"})

_TAKEN = frozenset(
    ("auditID", "stage", "stageTimestamp", "verb", "objectRef", "sourceIPs", "userAgent", "kind", "apiVersion",
     "metadata", "timestamp", "requestReceivedTimestamp")
)  # fmt: skip
_VERBS = {
    "get": "read", "list": "read", "watch": "read", "head": "read", "create": "create", "post": "create",
    "update": "update", "put": "update", "patch": "update", "delete": "delete", "deletecollection": "delete",
    "impersonate": "login", "bind": "grant", "escalate": "grant", "approve": "grant", "connect": "execute",
}  # fmt: skip
_RUNNING = frozenset({"exec", "attach", "portforward", "proxy", "ephemeralcontainers"})
_BINDINGS = frozenset({"rolebindings", "clusterrolebindings"})
_CATEGORIES = {
    "secrets": "data", "configmaps": "data", "persistentvolumes": "data", "persistentvolumeclaims": "data",
    "roles": "permission", "clusterroles": "permission", "rolebindings": "permission",
    "clusterrolebindings": "permission", "serviceaccounts": "permission", "tokenreviews": "authentication",
    "certificatesigningrequests": "authentication", "selfsubjectaccessreviews": "permission",
    "subjectaccessreviews": "permission", "networkpolicies": "network", "services": "network",
    "ingresses": "network", "endpoints": "network", "endpointslices": "network",
}  # fmt: skip


def recognise(document: Document) -> int:
    """By kind and verb; an API object of kind Event has no verb. The items of a list have no kind, but a stage."""
    if not isinstance(document, dict) or "verb" not in document:
        return NO
    if "kind" not in document:
        return SURE if "auditID" in document and "stage" in document else NO
    if document["kind"] != "Event":
        return NO
    return SURE if "auditID" in document or "audit.k8s.io" in str(document.get("apiVersion", "")) else LIKELY


def normalise(record: Record, document: Document) -> list[Event]:
    """One event a stage."""
    verb = text(document.get("verb")) if isinstance(document, dict) else None
    if verb is None:
        raise Unparsed("a Kubernetes audit event names a verb", path="$.verb")
    ref = mapping(document.get("objectRef"))
    resource, sub = text(ref.get("resource")), text(ref.get("subresource"))
    thing = f"{resource}/{sub}" if resource and sub else resource
    audit_id, stage = text(document.get("auditID")), text(document.get("stage"))
    outcome, reason = _outcome(document, stage)
    times = (read_time(document.get(key)) for key in ("stageTimestamp", "requestReceivedTimestamp", "timestamp"))
    target = _target(document, ref, thing)
    return [
        Event(
            id=f"{audit_id}-{stage}" if audit_id and stage else audit_id,
            time=next((time for time in times if time is not None), None),
            actor=_actor(document),
            action=f"{verb} {thing or first(document, 'requestURI') or ''}".rstrip(),
            verb=_verb(verb.lower(), resource, sub),  # type: ignore[arg-type]
            category=_category(resource, sub),  # type: ignore[arg-type]
            targets=[target] if target else None,
            outcome=outcome,  # type: ignore[arg-type]
            reason=reason,
            origin=origin_of(first(document, "sourceIPs.0"), first(document, "userAgent")),
            scope=scope_of(project=text(ref.get("namespace"))),
            correlation=Correlation(request_id=audit_id) if audit_id else None,
            labels={"kubernetes.stage": stage} if stage else None,
            data=rest(document, _TAKEN),
        )
    ]


def _verb(verb: str, resource: str | None, sub: str | None) -> str:
    if sub in _RUNNING and resource in ("pods", "nodes", "services"):
        return "execute"
    if resource in _BINDINGS and verb in ("create", "update", "patch"):
        return "grant"
    if resource in _BINDINGS and verb in ("delete", "deletecollection"):
        return "revoke"
    if sub == "approval":
        return "grant"
    return _VERBS.get(verb, "other")


def _category(resource: str | None, sub: str | None) -> str:
    if sub in _RUNNING:
        return "execution"
    if sub == "token":
        return "authentication"
    return _CATEGORIES.get(resource or "", "configuration" if resource else "other")


def _outcome(document: Mapping[str, Any], stage: str | None) -> tuple[str | None, str | None]:
    notes = mapping(document.get("annotations"))
    why = text(notes.get("authorization.k8s.io/reason"))
    code = at(document, "responseStatus.code")
    said = first(document, "responseStatus.reason", "responseStatus.message")
    if notes.get("authorization.k8s.io/decision") == "forbid" or code in (401, 403):
        return "denied", why or said
    if isinstance(code, int) and not isinstance(code, bool):
        return ("success", None) if code < 400 else ("failure", said or str(code))
    if stage == "Panic":
        return "failure", said
    return ("unknown" if stage == "RequestReceived" else None), None


def _actor(document: Mapping[str, Any]) -> Actor | None:
    asked = _user(mapping(document.get("user")))
    acted = _user(mapping(document.get("impersonatedUser")))
    if acted is None:
        return asked
    acted.on_behalf_of = asked
    return acted


def _user(user: Mapping[str, Any]) -> Actor | None:
    name = text(user.get("username"))
    extra = mapping(user.get("extra"))
    key = "authentication.kubernetes.io/credential-id"
    credential = text((extra.get(key) or [None])[0]) if isinstance(extra.get(key), list) else None
    return actor_of(
        type=_kind(name) if name else None,
        id=name,
        credential=credential or first(extra, "accessKeyId.0"),
        session=first(extra, "sessionName.0"),
    )


def _kind(name: str) -> str:
    if name == "system:anonymous":
        return "anonymous"
    if name.startswith("system:serviceaccount:"):
        return "service"
    return "system" if name.startswith(("system:", "eks:", "aks:")) else "user"


def _target(document: Mapping[str, Any], ref: Mapping[str, Any], thing: str | None) -> Target | None:
    name = text(ref.get("name")) or first(document, "requestObject.metadata.name", "responseObject.metadata.name")
    return Target(type=thing, id=name) if thing or name else None
