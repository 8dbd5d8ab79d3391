"""One event as lines for a person: who did what to what, with what outcome, from where.

Rows are (label, value); whoever prints them escapes them. An event that is not in the model (from another version, say)
is shown as its text.
"""

import json
from collections.abc import Sequence

from graven.check.words import Row, caution_rows
from graven.core.errors import BadInput
from graven.event import Actor, Change, Event, Scope, Target, decode_event

_LISTED_MAX = 10
_JSON_CHARS_MAX = 500


def event_rows(event: bytes) -> list[Row]:
    """The rows of one event; the last ones flag what a reader must know of its spelling."""
    try:
        decoded = decode_event(event)
    except BadInput as error:
        return [
            ("event", event.decode(errors="backslashreplace")),
            ("caution", f"not in the event model: {error.what}"),
        ]
    rows: list[Row] = [
        ("time", decoded.time and f"{decoded.time.isoformat().replace('+00:00', 'Z')} (as the source claims)"),
        ("who", decoded.actor and who(decoded.actor)),
        ("what", _what(decoded)),
    ]
    origin, correlation = decoded.origin, decoded.correlation
    rows += _listed("to what", [_target(target) for target in decoded.targets or ()])
    rows += [
        ("outcome", ": ".join(part for part in (decoded.outcome, decoded.reason) if part)),
        ("from where", origin and _joined(origin.ip, origin.device, origin.user_agent)),
        ("within", decoded.scope and _scope(decoded.scope)),
        ("message", decoded.message),
    ]
    rows += _listed("changed", [_change(change) for change in decoded.changes or ()])
    rows += [
        ("count", decoded.count),
        ("bytes", decoded.bytes),
        ("labels", decoded.labels and _json(decoded.labels)),
        ("data", None if decoded.data is None else _json(decoded.data)),
        ("belongs to", correlation and _joined(correlation.request_id, correlation.trace_id, correlation.session_id)),
        ("derived", _joined(*map(str, decoded.derived_from or ()))),
        ("redacted", _joined(*(decoded.redacted or ()))),
        ("id", decoded.id),
    ]
    return rows + caution_rows(event)


def who(actor: Actor) -> str:
    """An actor, and for whom it acted."""
    words = []
    one: Actor | None = actor
    while one is not None:
        words.append(_named(one.type, one.name or one.email, one.id))
        one = one.on_behalf_of
    return ", for ".join(words)


def _what(event: Event) -> str:
    kind = _joined(event.verb, event.category, event.severity)
    return f"{event.action} ({kind})" if kind else event.action


def _target(target: Target) -> str:
    named = _named(target.type, target.name, target.id)
    owner = f", owned by {target.owner}" if target.owner else ""
    return f"{named}{owner}{f', in {_scope(target.scope)}' if target.scope else ''}"


def _change(change: Change) -> str:
    return f"{change.path or '(no path)'}: {_json(change.old)} → {_json(change.new)}"


def _listed(label: str, values: Sequence[str]) -> list[Row]:
    """One row a value, the first under the label; a long list is cut."""
    rows: list[Row] = [(label if not at else "", value) for at, value in enumerate(values[:_LISTED_MAX])]
    return rows + ([("", f"and {len(values) - _LISTED_MAX} more")] if len(values) > _LISTED_MAX else [])


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _json(value: object) -> str:
    """A value as JSON, cut where it gets long: `--json` and evidence have all of it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _JSON_CHARS_MAX else f"{text[:_JSON_CHARS_MAX]}… ({len(text)} characters)"


def _scope(scope: Scope) -> str:
    parts: Sequence[tuple[str, str | None]] = (
        ("tenant", scope.tenant), ("account", scope.account), ("project", scope.project), ("region", scope.region),
    )  # fmt: skip
    return ", ".join(f"{label} {value}" for label, value in parts if value)


def _named(kind: str | None, name: str | None, id_: str | None) -> str:
    """`user Anna Example <42>`, with what there is."""
    if name and id_ and name != id_:
        name = f"{name} <{id_}>"
    return " ".join(part for part in (kind, name or id_) if part) or "(not named)"
