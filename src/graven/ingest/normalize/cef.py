"""Events in CEF (ArcSight's Common Event Format) and LEEF (QRadar's Log Event Extended Format), bare or behind syslog.

    CEF:0|vendor|product|version|signature id|name|severity|key=value key=value …
    LEEF:1.0|vendor|product|version|event id|key=value<tab>key=value …
    LEEF:2.0|vendor|product|version|event id|delimiter|key=value<delimiter>key=value …

A value may hold spaces; in CEF it ends where the next `key=` begins. `\\=`, `\\|`, `\\\\`, `\\n` are escapes.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from graven.event.model import Actor, Event, Outcome, Severity, Target
from graven.ingest.fields import TEXT_MAX, actor_of, correlation_of, origin_of, scope_of, text
from graven.ingest.normalize.host_line import said
from graven.ingest.protocol.syslog_header import parse_header
from graven.ingest.record import NO, SURE, Document, Record, Unparsed
from graven.ingest.times import read_time
from graven.ingest.words import category_of, verb_of, words_of

__all__ = ["TYPE", "VERSION", "normalise", "recognise"]

TYPE = "cef"
VERSION = 1
KEYS: frozenset[str] = frozenset()
LINES = True
MARKS = ("CEF:", "LEEF:")

_FIELDS_MAX = 512
_START_WITHIN = 300
_START = re.compile(r"(?<![A-Za-z])(CEF:[01]|LEEF:[12](?:\.0)?)\|")
_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_KEY = re.compile(r"(?:\A|(?<=\s))([A-Za-z0-9_.\[\]-]{1,64})=")
_ESCAPE = re.compile(r"\\([\\|=nrt])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_WORD_SEVERITIES: dict[str, Severity] = {
    "low": "low", "medium": "medium", "high": "high", "very-high": "critical", "critical": "critical",
    "unknown": "informational",
}  # fmt: skip
_OUTCOMES: dict[str, Outcome] = {
    "success": "success", "succeeded": "success", "successful": "success", "allow": "success", "allowed": "success",
    "permitted": "success", "accept": "success", "accepted": "success", "pass": "success", "0": "success",
    "failure": "failure", "failed": "failure", "fail": "failure", "error": "failure", "1": "failure",
    "deny": "denied", "denied": "denied", "block": "denied", "blocked": "denied", "drop": "denied", "dropped": "denied",
    "reject": "denied", "rejected": "denied", "unauthorized": "denied",
}  # fmt: skip
_AUTHENTICATION = frozenset({"auth", "authentication"})
_MONTHS = {
    name: at
    for at, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}
_CEF_TIME = re.compile(
    r"([A-Z][a-z]{2}) (\d{1,2}) (\d{4}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?: (UTC|GMT|Z))?", re.ASCII
)


def recognise(document: Document) -> int:
    return SURE if isinstance(document, str) and _START.search(document, 0, _START_WITHIN) else NO


def normalise(record: Record, document: Document) -> list[Event]:
    start = _START.search(document, 0, _START_WITHIN) if isinstance(document, str) else None
    if start is None:
        raise Unparsed("not a CEF or LEEF event", mend="send CEF:0|… or LEEF:1.0|…")
    leef = start[1].startswith("LEEF")
    two = leef and start[1].startswith("LEEF:2")
    parts = _split(document[start.end() :], 5 if two else 4 if leef else 6)
    if parts is None:
        raise Unparsed("the event's header has too few fields", mend="keep all fields between the bars")
    if leef:
        vendor, product, version, signature = parts[:4]
        name, severity = signature, ""
        fields = _leef_fields(parts[-1], parts[4] if two else "\t")
        severity = fields.pop("sev", "")
    else:
        vendor, product, version, signature, name, severity = parts[:6]
        fields = _cef_fields(parts[6])
    hostname = parse_header(document[: start.start()]).hostname if start.start() else ""
    return [_event(fields, vendor, product, version, signature, name, severity, hostname)]


def _split(text_: str, count: int) -> list[str] | None:
    """The first `count` fields between bars, and what follows them."""
    parts, at = [], 0
    for _ in range(count):
        bar = _PIPE.search(text_, at)
        if bar is None:
            return None
        parts.append(_unescape(text_[at : bar.end() - 1]).strip())
        at = bar.end()
    return [*parts, text_[at:]]


def _cef_fields(extension: str) -> dict[str, str]:
    keys: list[re.Match[str]] = []
    for found in _KEY.finditer(extension):
        keys.append(found)
        if len(keys) > _FIELDS_MAX:
            break
    fields: dict[str, str] = {}
    for place, key in enumerate(keys[:_FIELDS_MAX]):
        end = keys[place + 1].start() if place + 1 < len(keys) else len(extension)
        fields.setdefault(key[1], _unescape(extension[key.end() : end].strip()))
    for base, label in [
        (name.removesuffix("Label"), value) for name, value in fields.items() if name.endswith("Label")
    ]:
        if base in fields and label:  # cs1=… cs1Label=…: the label is the field's name
            fields.setdefault(f"{base}.{label}"[:128], fields[base])
    return fields


def _leef_fields(extension: str, delimiter: str) -> dict[str, str]:
    if delimiter[:2].lower() in ("0x", "x0") or delimiter[:1] == "x":
        code = delimiter.lower().removeprefix("0x").removeprefix("x")
        try:
            delimiter = chr(int(code, 16))
        except ValueError:
            delimiter = "\t"
    fields: dict[str, str] = {}
    for pair in extension.strip("\r\n").split(delimiter or "\t", _FIELDS_MAX):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            fields.setdefault(name.strip()[:128], value.strip())
    return fields


def _unescape(value: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value) if "\\" in value else value


def _event(
    fields: Mapping[str, str],
    vendor: str,
    product: str,
    version: str,
    signature: str,
    name: str,
    severity: str,
    hostname: str,
) -> Event:
    def get(*names: str) -> str | None:
        return next((value for one in names if (value := said(fields.get(one))) is not None), None)

    words = " ".join(one for one in (name, get("act", "cat", "deviceAction", "categoryBehavior")) if one)
    outcome = next(
        (
            _OUTCOMES[word]
            for one in ("outcome", "categoryOutcome", "act", "deviceAction", "action")
            if (word := fields.get(one, "").strip("/ ").lower()) in _OUTCOMES
        ),
        None,
    )
    who = actor_of(id=get("suid", "usrId"), name=get("suser", "usrName", "spriv"), email=None, session=get("sessionId"))
    if who is not None:
        who.type = "user"
    elif process := get("sproc", "sourceServiceName"):
        who = Actor(type="service", name=process)
    targets = [
        Target(type=kind, id=id_, name=name_)
        for kind, id_, name_ in (
            ("user", get("duid"), get("duser")),
            ("file", get("fileId"), get("filePath", "fname", "resource")),
            ("host", get("dst"), get("dhost", "dstHostName")),
            ("service", None, get("destinationServiceName", "dproc")),
            ("url", None, get("request", "url")),
        )
        if id_ or name_
    ]
    verb = verb_of(words)
    if verb == "other" and not _AUTHENTICATION.isdisjoint(words_of(words)):
        verb = "login"
    labels = {"cef.vendor": vendor, "cef.product": product, "cef.version": version, "cef.signature": signature}
    if hostname:
        labels["syslog.hostname"] = hostname
    return Event(
        action=(name or signature or "CEF")[:TEXT_MAX],
        verb=verb,  # type: ignore[arg-type]
        category=category_of(words),  # type: ignore[arg-type]
        outcome=outcome,
        reason=get("reason", "deviceCustomReason"),
        id=get("externalId", "eventId"),
        time=_time(get("rt", "devTime", "end", "start", "deviceReceiptTime")),
        actor=who,
        targets=targets or None,
        origin=origin_of(
            ip=get("src", "sourceAddress", "c6a2"),
            user_agent=get("requestClientApplication"),
            device=get("shost", "srcHostName"),
        ),
        scope=scope_of(tenant=get("customerURI", "cn"), account=None),
        severity=_severity(severity),
        message=text(fields.get("msg")) or None,
        count=int(count)
        if (count := fields.get("cnt", "")).isdecimal() and count.isascii() and len(count) < 18
        else None,
        bytes=int(size) if (size := fields.get("out", "")).isdecimal() and size.isascii() and len(size) < 18 else None,
        correlation=correlation_of(request_id=get("requestId"), session_id=get("sessionId")),
        labels={key: value[:TEXT_MAX] for key, value in labels.items() if value} or None,
        data=dict(fields) or None,
    )


def _severity(value: str) -> Severity | None:
    value = value.strip().lower()
    if value in _WORD_SEVERITIES:
        return _WORD_SEVERITIES[value]
    if not (value.isascii() and value.isdecimal() and len(value) < 3):
        return None
    number = int(value)
    return "low" if number <= 3 else "medium" if number <= 6 else "high" if number <= 8 else "critical"


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    if (found := _CEF_TIME.fullmatch(value)) is None or found[1] not in _MONTHS:
        return read_time(value)
    micros = int((found[7] or "0").ljust(6, "0"))
    try:
        return datetime(
            int(found[3]), _MONTHS[found[1]], int(found[2]), int(found[4]), int(found[5]), int(found[6]), micros, UTC
        )
    except ValueError:
        return None
