"""One line a host's program wrote: who wrote it, when, and what it says. What it means, `rules` and its program know.

The line may come as syslog wrote it (any header `parse_header` knows), as journald's JSON, or bare.

A line names no year and often no zone. Both are taken from `around` ("time": when the line was met; "zone": an
offset), and the label `graven.time_assumed` says what was assumed; without them such a line has no time, and the label
`syslog.timestamp` keeps what was written.

A busy log's lines come through here one by one, so nothing is looked for that a cheaper look rules out.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from graven.event.model import Category, Event, Target
from graven.ingest.fields import TEXT_MAX, text
from graven.ingest.protocol.syslog_header import PRIORITIES, Header, parse_header
from graven.ingest.record import LIKELY, NO, SURE, Record
from graven.ingest.times import read_time

__all__ = [
    "HostLine",
    "fits_program",
    "head_of",
    "known_texts",
    "message_of",
    "plain_event",
    "program_of",
    "read_line",
    "said",
    "targets_of",
    "time_of",
    "unrepeated",
]

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
_JOURNAL_LABELS = {
    "_SYSTEMD_UNIT": "journald.unit",
    "_COMM": "journald.comm",
    "_EXE": "journald.exe",
    "_UID": "journald.uid",
    "_BOOT_ID": "journald.boot_id",
    "_TRANSPORT": "journald.transport",
}


class HostLine(Struct, frozen=True):
    """What was read of a line, apart from what its message means."""

    app: str
    message: str
    hostname: str = ""
    procid: str = ""
    time: datetime | None = None
    id: str | None = None
    labels: dict[str, str] = {}
    severity: str = ""


def said(value: object) -> str | None:
    """`value` as text; None for the many ways programs say nothing (`-`, `?`, `(null)`, `(none)`)."""
    found = text(value)
    return None if found is None or found.strip() in _NOTHING else found


def known_texts(values: Iterable[str | None]) -> list[str | None]:
    """Each value, None in the place of those for which `said` would give none."""
    nothing = _NOTHING
    return [None if value is None or value[:TEXT_MAX].strip() in nothing else value for value in values]


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


def program_of(line: str) -> str:
    """The program that the header of a text names, without its path; "" where it names none."""
    return _base(_parse(line).app)


def fits_program(document: object, programs: frozenset[str], starts: tuple[str, ...]) -> int:
    """SURE for a line of one of `programs`; LIKELY for a bare message that starts as theirs do."""
    head = head_of(document)
    if head is None:
        return NO
    if app := head.app:
        if (app if "/" not in app else _base(app)) not in programs:
            return NO
        return NO if head.message.startswith("pam_") and _PAM.match(head.message) else SURE
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
    labels, severity = dict[str, str](), ""
    if hostname:
        labels["syslog.hostname"] = hostname[:TEXT_MAX]
    if app:
        labels["syslog.app"] = app[:TEXT_MAX]
    if procid:
        labels["syslog.procid"] = procid[:TEXT_MAX]
    if head.msgid:
        labels["syslog.msgid"] = head.msgid
    if head.priority is not None:
        labels["syslog.facility"], severity = PRIORITIES[head.priority]
        labels["syslog.severity"] = severity
    if head.structured:
        for name, value in head.structured.items():
            labels[f"syslog.sd.{name}"] = value[:TEXT_MAX]
    time, id_ = None, None
    if isinstance(document, dict):
        time = read_time(text(document.get("__REALTIME_TIMESTAMP") or document.get("_SOURCE_REALTIME_TIMESTAMP")))
        id_ = text(document.get("__CURSOR"))
        id_ = id_ if id_ is not None and len(id_) <= 256 else None
        labels |= {label: found for key, label in _JOURNAL_LABELS.items() if (found := text(document.get(key)))}
    elif stamp := head.timestamp or around.get("syslog.timestamp", ""):
        time, assumed = time_of(stamp, around)
        if assumed:
            labels["graven.time_assumed"] = assumed
        if time is None or assumed:
            labels["syslog.timestamp"] = stamp
    return HostLine(_base(app), head.message, hostname, procid, time, id_, labels, severity)


def time_of(stamp: str, around: Mapping[str, str]) -> tuple[datetime | None, str]:
    """(the moment that a header's time names, None for none; what was assumed to know it, "" for nothing)."""
    if stamp[-1] == "Z" and stamp[4:5] == "-":  # says all of it
        return read_time(stamp), ""
    return _when(stamp, around.get("time", ""), around.get("zone", ""))


def unrepeated(message: str) -> tuple[str, int | None]:
    """(what was said, how often, where syslogd says that it was said more than once)."""
    if message.startswith("message repeated ") and (repeated := _REPEATED.match(message)):
        return repeated[2].strip(), int(repeated[1])
    return message.strip(), None


def plain_event(line: HostLine, *, category: Category = "system", action: str = "") -> Event:
    """The event of a message that no rule knows: the program's name is all that is known of the action."""
    return Event(
        id=line.id,
        time=line.time,
        action=action or line.app or "syslog",
        verb="other",
        category=category,
        targets=targets_of(line),
        message=message_of(line),
        count=unrepeated(line.message.strip())[1],
        labels=line.labels or None,
    )


def message_of(line: HostLine) -> str | None:
    """What the line says, as an event has it."""
    return line.message.strip()[:TEXT_MAX] or None


def targets_of(line: HostLine) -> list[Target] | None:
    """The host: what an act on no other thing acted upon."""
    return [Target(type="host", name=line.hostname)] if line.hostname else None


@lru_cache(maxsize=16)
def _parse(line: str) -> Header:
    """Each source type asks for the same line: parse it once."""
    return parse_header(line)


def _base(app: str) -> str:
    return app.rpartition("/")[2]


@lru_cache(maxsize=256)  # a busy log has many lines a second, and writes whole seconds
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
