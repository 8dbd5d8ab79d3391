"""OneLogin events, whose types are numbers.

Source: "Event types" of OneLogin. An event type that is not in the table is kept under its number.
"""

from graven.event import Event
from graven.ingest.fields import text
from graven.ingest.record import NO, SURE, Document, Record
from graven.ingest.table import Match, Table, TargetRule

TYPE = "onelogin"
VERSION = 1
KEYS = frozenset({"event_type_id"})

_TABLE = Table(
    type=TYPE,
    version=VERSION,
    match=Match(has=("event_type_id",)),
    fields={
        "id": ("uuid", "id"),
        "time": ("event_timestamp", "created_at"),
        "action": ("event_type_id",),
        "actor.id": ("actor_user_id", "user_id"),
        "actor.name": ("actor_user_name", "actor_system", "user_name"),
        "origin.ip": ("ipaddr", "ip_address"),
        "origin.user_agent": ("user_agent",),
        "reason": ("error_description", "notes"),
        "scope.tenant": ("account_id",),
    },
    fixed={"actor.type": "user"},
    targets=(
        TargetRule("user", ("user_id",), ("user_name",)),
        TargetRule("application", ("app_id",), ("app_name",)),
        TargetRule("role", ("role_id",), ("role_name",)),
        TargetRule("factor", (), ("authentication_factor_description", "otp_device_name")),
    ),
    taken=frozenset(("event_timestamp", "created_at", "ipaddr")),
)
_TYPES = {
    "5": ("login", "authentication", "success"), "6": ("login", "authentication", "failure"),
    "7": ("logout", "authentication", "success"), "8": ("login", "authentication", "success"),
    "11": ("update", "authentication", "success"), "13": ("create", "permission", "success"),
    "14": ("update", "permission", "success"), "15": ("revoke", "permission", "success"),
    "16": ("grant", "permission", "success"), "17": ("delete", "permission", "success"),
    "19": ("revoke", "permission", "success"), "24": ("create", "authentication", "success"),
    "72": ("grant", "permission", "success"), "73": ("revoke", "permission", "success"),
    "149": ("other", "authentication", None), "172": ("delete", "authentication", "success"),
}  # fmt: skip


def recognise(document: Document) -> int:
    """By the number of its type beside an actor."""
    if not isinstance(document, dict) or "event_type_id" not in document:
        return NO
    return SURE if "actor_user_id" in document or "user_id" in document or "account_id" in document else NO


def normalise(record: Record, document: Document) -> list[Event]:
    """One event; its action is the number of its type."""
    (event,) = _TABLE.normalise(record, document)
    known = _TYPES.get(text(document.get("event_type_id")) or "")
    event.verb, event.category = (known[0], known[1]) if known else ("other", "other")  # type: ignore[assignment]
    event.outcome = known[2] if known else None  # type: ignore[assignment]
    return [event]
