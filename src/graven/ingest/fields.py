"""Reading fields of documents whose shape is the sender's choice: a wrong type is an absent field, never an error."""

from collections.abc import Iterable, Mapping
from typing import Any

from graven.event import Actor, Correlation, Origin, Scope

__all__ = [
    "TEXT_MAX",
    "actor_of",
    "at",
    "correlation_of",
    "first",
    "items",
    "loose",
    "mapping",
    "origin_of",
    "rest",
    "scope_of",
    "text",
    "without_port",
]

TEXT_MAX = 4096
"""Characters of a text in the model's own fields; longer ones are cut, and stay whole in the raw record."""

_EMPTY: Mapping[str, Any] = {}


def at(document: object, path: str) -> Any:
    """The value at a dotted path (`a.b.0.c`; a number is an index in a list), or None. A key that itself holds dots
    (`authorization.k8s.io/decision`) is found where the rest of the path, taken as one key, is there."""
    value = document
    while path:
        if isinstance(value, dict):
            if path in value:
                return value[path]
            key, _, path = path.partition(".")
            value = value.get(key)
        elif isinstance(value, list):
            key, _, path = path.partition(".")
            if not (key.isascii() and key.isdigit() and len(key) < 7 and int(key) < len(value)):
                return None
            value = value[int(key)]
        else:
            return None
    return value


def text(value: object) -> str | None:
    """A string, or the digits of an integer; else, and for a blank string, None."""
    if type(value) is str:
        return (value if len(value) <= TEXT_MAX else value[:TEXT_MAX]) if value and not value.isspace() else None
    if type(value) is int and -(10**40) < value < 10**40:
        return str(value)
    return None


def loose(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document under the plain lower case of its keys: `eventTimestamp`, `event_timestamp`, `EventTimestamp` are
    one. Of keys that become the same the first counts."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        found.setdefault(key.replace("_", "").replace("-", "").lower(), value)
    return found


def without_port(address: str | None) -> str | None:
    """`192.0.2.1:35194` → 192.0.2.1, `[2001:db8::1]:443` → 2001:db8::1; anything else as it is."""
    if address is None:
        return None
    if address.startswith("["):
        return address[1:].partition("]")[0] or address
    host, colon, port = address.partition(":")
    return host if colon and port.isdigit() and "." in host else address


def first(document: object, *paths: str) -> str | None:
    """The text at the first path that has one."""
    for path in paths:
        if (found := text(at(document, path))) is not None:
            return found
    return None


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def items(value: object, *, count_max: int = 100) -> list[Mapping[str, Any]]:
    """The objects in a list, at most `count_max`; a single object counts as a list of one."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        return []
    return [one for one in value[:count_max] if isinstance(one, dict)]


def rest(document: Mapping[str, Any], taken: Iterable[str]) -> dict[str, Any] | None:
    """What of a document no field of the model holds: for `data`. None where nothing is left."""
    left = {key: value for key, value in document.items() if key not in taken and value is not None}
    return left or None


def actor_of(**fields: Any) -> Actor | None:
    """An actor, or None where nothing is known."""
    return Actor(**fields) if any(value is not None for value in fields.values()) else None


def origin_of(ip: str | None = None, user_agent: str | None = None, device: str | None = None) -> Origin | None:
    """An origin, or None where nothing is known."""
    return Origin(ip=ip, user_agent=user_agent, device=device) if ip or user_agent or device else None


def scope_of(
    tenant: str | None = None, account: str | None = None, project: str | None = None, region: str | None = None
) -> Scope | None:
    """A scope, or None where nothing is known."""
    if tenant or account or project or region:
        return Scope(tenant=tenant, account=account, project=project, region=region)
    return None


def correlation_of(
    request_id: str | None = None, trace_id: str | None = None, session_id: str | None = None
) -> Correlation | None:
    """Correlation ids, or None where there are none."""
    if request_id or trace_id or session_id:
        return Correlation(request_id=request_id, trace_id=trace_id, session_id=session_id)
    return None
