"""One line a host's program wrote: who wrote it, when, and what it says; and rules that read what it says.

The line may come as syslog wrote it (any header `parse_header` knows), as journald's JSON, or bare. A `Rule` is a
pattern whose named groups are fields of the event, so that a program's messages are a table:

    user → actor.name      uid → actor.id       credential → actor.credential     session → actor.session
    ip → origin.ip         device → origin.device       reason → reason
    target_user, target_group, target_host, target_file → a target of that type
    word → the action alone      all other groups → data

A line names no year and often no zone. Both are taken from `around` ("time": when the line was met; "zone": an
offset), and the label `graven.time_assumed` says what was assumed; without them such a line has no time, and the label
`syslog.timestamp` keeps what was written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from graven.event.model import Actor, Category, Event, Origin, Outcome, Target, Verb
from graven.ingest.fields import TEXT_MAX, text
from graven.ingest.protocol.syslog_header import Header, parse_header
from graven.ingest.record import LIKELY, NO, SURE, Record
from graven.ingest.times import read_time

__all__ = ["HostLine", "Rule", "apply_rules", "fits_program", "head_of", "plain_event", "read_line", "said"]

_NOTHING = frozenset({"", "-", "?", "(null)", "(none)", "null", "N/A", "n/a", "unset"})
_MONTHS = {
    name: at
    for at, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}
_BSD = re.compile(r"(\w{3}) +(\d{1,2})(?: (\d{4}))? (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII)
_ZONE = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_REPEATED = re.compile(r"message repeated (\d{1,9}) times: \[ ?(.*)\]\Z", re.DOTALL | re.ASCII)
_PAM = re.compile(r"pam_\w{1,64}\(")
_FUTURE_DAYS_MAX = 2
_TARGETS = ("user", "group", "host", "file")
_JOURNAL_LABELS = {
    "_SYSTEMD_UNIT": "journald.unit",
    "_COMM": "journald.comm",
    "_EXE": "journald.exe",
    "_UID": "journald.uid",
    "_BOOT_ID": "journald.boot_id",
    "_TRANSPORT": "journald.transport",
}


@dataclass(frozen=True, slots=True)
class HostLine:
    """What was read of a line, apart from what its message means."""

    app: str
    message: str
    hostname: str = ""
    procid: str = ""
    time: datetime | None = None
    id: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """One message a program writes. `action` and `reason` may name groups in braces."""

    pattern: "re.Pattern[str]"
    action: str
    verb: Verb
    category: Category
    outcome: Outcome | None = None
    reason: str = ""


def said(value: object) -> str | None:
    """`value` as text; None for the many ways programs say nothing (`-`, `?`, `(null)`, `(none)`)."""
    found = text(value)
    return None if found is None or found.strip() in _NOTHING else found


def head_of(document: object) -> Header | None:
    """The header and message of a document that is a host's line (text, or journald's JSON); else None."""
    if isinstance(document, str):
        return _parse(document)
    if isinstance(document, dict) and isinstance(message := document.get("MESSAGE"), str):
        app = document.get("SYSLOG_IDENTIFIER") or document.get("_COMM")
        if isinstance(app, str) or "__REALTIME_TIMESTAMP" in document:
            hostname, procid = document.get("_HOSTNAME"), document.get("_PID") or document.get("SYSLOG_PID")
            return Header("journald", message, None, "", text(hostname) or "", text(app) or "", text(procid) or "")
    return None


def fits_program(document: object, programs: frozenset[str], starts: tuple[str, ...]) -> int:
    """SURE for a line of one of `programs`; LIKELY for a bare message that starts as theirs do."""
    head = head_of(document)
    if head is None:
        return NO
    if head.app:
        return SURE if _base(head.app) in programs and not _PAM.match(head.message) else NO
    return LIKELY if head.form == "" and head.message.startswith(starts) else NO


def read_line(record: Record, document: object) -> HostLine | None:
    """The line, its time in UTC where it names one; None for a document that is no line."""
    head = head_of(document)
    if head is None:
        return None
    around = record.around
    app = head.app or around.get("syslog.app", "")
    hostname = head.hostname or around.get("syslog.hostname", "")
    procid = head.procid or around.get("syslog.procid", "")
    labels = {
        name: value[:TEXT_MAX]
        for name, value in (
            ("syslog.hostname", hostname),
            ("syslog.app", app),
            ("syslog.procid", procid),
            ("syslog.msgid", head.msgid),
            ("syslog.facility", head.facility),
            ("syslog.severity", head.severity),
        )
        if value
    }
    for name, value in head.structured.items():
        labels[f"syslog.sd.{name}"] = value[:TEXT_MAX]
    time, id_ = None, None
    if isinstance(document, dict):
        time = read_time(text(document.get("__REALTIME_TIMESTAMP") or document.get("_SOURCE_REALTIME_TIMESTAMP")))
        id_ = text(document.get("__CURSOR"))
        id_ = id_ if id_ is not None and len(id_) <= 256 else None
        labels |= {label: found for key, label in _JOURNAL_LABELS.items() if (found := text(document.get(key)))}
    elif stamp := head.timestamp or around.get("syslog.timestamp", ""):
        time, assumed = _when(stamp, around.get("time", ""), around.get("zone", ""))
        if assumed:
            labels["graven.time_assumed"] = assumed
        if time is None or assumed:
            labels["syslog.timestamp"] = stamp
    return HostLine(_base(app), head.message, hostname, procid, time, id_, labels)


def apply_rules(rules: Sequence[Rule], line: HostLine, *, message: str | None = None) -> Event | None:
    """The event of the first rule whose pattern the message begins with; None if there is none."""
    said_ = line.message if message is None else message
    count = None
    if repeated := _REPEATED.match(said_):
        count, said_ = int(repeated[1]), repeated[2].rstrip()
    said_ = said_.strip()
    for rule in rules:
        if found := rule.pattern.match(said_):
            event = _event(rule, {name: value for name, value in found.groupdict().items() if value}, line)
            event.count = count
            return event
    return None


def plain_event(line: HostLine, *, category: Category = "system", action: str = "") -> Event:
    """The event of a message that no rule knows: the program's name is all that is known of the action."""
    event = Event(action=action or line.app or "syslog", verb="other", category=category)
    if repeated := _REPEATED.match(line.message.strip()):
        event.count = int(repeated[1])
    return _finish(event, line)


@lru_cache(maxsize=16)
def _parse(line: str) -> Header:
    """Each source type asks for the same line: parse it once."""
    return parse_header(line)


def _event(rule: Rule, groups: dict[str, str], line: HostLine) -> Event:
    left = {name: value for name, value in groups.items() if said(value) is not None}
    action = rule.action.format_map(_Named(groups))
    actor: dict[str, Any] = {"name": left.pop("user", None), "id": left.pop("uid", None)}
    actor |= {"credential": left.pop("credential", None), "session": left.pop("session", None)}
    if any(actor.values()):
        actor["type"] = "user"
    ip, device = left.pop("ip", None), left.pop("device", None)
    if ip is None and device is not None and (":" in device or device.replace(".", "").isdigit()):
        ip, device = device, None
    left.pop("word", None)  # stands in the action
    reason = left.pop("reason", None) or rule.reason.format_map(_Named(groups)) or None
    targets = [
        Target(type=kind, name=name) for kind in _TARGETS if (name := left.pop(f"target_{kind}", None)) is not None
    ]
    event = Event(
        action=action,
        verb=rule.verb,
        category=rule.category,
        outcome=rule.outcome,
        actor=Actor(**actor) if any(actor.values()) else None,
        targets=targets or None,
        origin=Origin(ip=ip, device=device) if ip or device else None,
        reason=reason,
        data=left or None,
    )
    return _finish(event, line)


def _finish(event: Event, line: HostLine) -> Event:
    event.id, event.time, event.labels = line.id, line.time, line.labels or None
    event.message = line.message.strip()[:TEXT_MAX] or None
    if event.targets is None and line.hostname:
        event.targets = [Target(type="host", name=line.hostname)]
    return event


class _Named(dict[str, str]):
    """A group that did not take part is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _base(app: str) -> str:
    return app.rpartition("/")[2]


def _when(stamp: str, met: str, zone: str) -> tuple[datetime | None, str]:
    """(the moment, what was assumed to know it)."""
    offset = _offset(zone)
    if (found := _BSD.fullmatch(stamp)) is None:
        time = read_time(stamp)
        if time is None or stamp.endswith("Z") or _ZONE.search(stamp[-6:]):
            return time, ""
        return time - offset, "zone"
    month, reference = _MONTHS.get(found[1]), read_time(met)
    if month is None or (found[3] is None and reference is None):
        return None, ""
    micros = int((found[7] or "0")[:6].ljust(6, "0"))
    clock = (int(found[4]), int(found[5]), int(found[6]), micros)
    try:
        if found[3] is not None:
            return datetime(int(found[3]), month, int(found[2]), *clock, UTC) - offset, "zone"
        assert reference is not None
        latest = reference + timedelta(days=_FUTURE_DAYS_MAX)
        for year in range(latest.year, latest.year - 9, -1):  # a 29 February may be eight years back
            if month == 2 and int(found[2]) == 29 and (year % 4 or (not year % 100 and year % 400)):
                continue
            time = datetime(year, month, int(found[2]), *clock, UTC) - offset
            if time <= latest:
                return time, "year, zone"
    except (ValueError, OverflowError):
        pass
    return None, ""


def _offset(zone: str) -> timedelta:
    if (found := _ZONE.fullmatch(zone)) is None:
        return timedelta(0)
    away = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return away if found[1] == "+" else -away
