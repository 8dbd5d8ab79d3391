"""Documents that only carry another: what is inside is what gets normalised, the raw record stays the whole.

Known: EventBridge (`detail`), CloudTrail's LookupEvents (`CloudTrailEvent`, a JSON text), Microsoft 365 exports
(`AuditData`, a JSON text), Pub/Sub push (`message.data`, base64), Auth0 log streams (`data` beside `log_id`),
container runtimes and Fluent Bit (`log`, a JSON text). One layer at a time, at most three.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = ["unwrap"]

_LAYERS_MAX = 3
_DECODE = msgspec.json.Decoder().decode


def unwrap(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """(the innermost document, what the envelopes said of it)."""
    said: dict[str, str] = {}
    for _ in range(_LAYERS_MAX):
        if document.keys().isdisjoint(_KEYS):  # looks six keys up, however many the document has
            break
        for key, open_ in _ENVELOPES.items():
            if key in document and (inside := open_(document)) is not None:
                if key == "detail":
                    said |= {f"eventbridge.{name}": document[name] for name in ("detail-type", "source")}
                document = inside
                break
        else:
            break
    return document, said


def _eventbridge(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    detail = document["detail"]
    named = isinstance(document.get("detail-type"), str) and isinstance(document.get("source"), str)
    return detail if named and isinstance(detail, dict) else None


def _looked_up(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return _json(document["CloudTrailEvent"])


def _audit_data(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inside = document["AuditData"]
    return inside if isinstance(inside, dict) else _json(inside)


def _pubsub(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    message = document["message"]
    if not isinstance(message, dict) or not isinstance(message.get("data"), str) or "subscription" not in document:
        return None
    try:
        return _json(base64.b64decode(message["data"], validate=True))
    except ValueError:
        return None


def _auth0(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inside = document["data"]
    return inside if isinstance(inside, dict) and "type" in inside and "log_id" in document else None


def _container_log(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return _json(document["log"])


def _json(text: object) -> Mapping[str, Any] | None:
    if not isinstance(text, str | bytes):
        return None
    try:
        inside = _DECODE(text)
    except (ValueError, RecursionError):
        return None
    return inside if isinstance(inside, dict) else None


_ENVELOPES: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any] | None]] = {
    "detail": _eventbridge,
    "CloudTrailEvent": _looked_up,
    "AuditData": _audit_data,
    "message": _pubsub,
    "data": _auth0,
    "log": _container_log,
}
_KEYS = frozenset(_ENVELOPES)
