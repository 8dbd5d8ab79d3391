"""The header of one syslog message, in the shapes people really send; the message is what follows it.

RFC 5424, RFC 3164 (BSD) and the dated forms of rsyslog and syslog-ng, each with or without the priority in front, as
senders put it on the wire and as daemons write it into files. Lenient: a line without any header is a message. What
a header claims (host, program, time) is the sender's claim and is never trusted further than that.

Pure, and linear in the length of the line.
"""

import re

from msgspec import Struct

__all__ = ["FACILITIES", "PRIORITIES", "SEVERITIES", "Header", "parse_header"]

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

PRIORITIES = tuple((facility, severity) for facility in FACILITIES for severity in SEVERITIES)
"""(facility, severity) of each priority."""

_PRIORITY_MAX = 191
_STRUCTURED_MAX = 64

_PRIORITY = re.compile(r"<(\d{1,3})>", re.ASCII)
_RFC5424 = re.compile(r"<([0-9]{1,3})>1 (\S{1,64}) (\S{1,255}) (\S{1,255}) (\S{1,128}) (\S{1,255})(?: |\Z)")
_BSD_TIME = re.compile(r"([A-Z][A-Za-z]{2} [ \d]?\d(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?)(?: |:|\Z)", re.ASCII)
_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)(?: |:|\Z)", re.ASCII)
_HOST = re.compile(r"([A-Za-z0-9_.:%\[\]-]{1,255}) ")
_TAG = re.compile(r"([A-Za-z0-9_./()@\\+-]{1,128})(?:\[([^\]\s]{1,64})\])?(?: <[A-Za-z]{3,9}>)?: ?")
_FORWARDED_TAG = re.compile(r"([A-Za-z0-9_./-]{1,128}) ")
_PARAM = re.compile(r' ([^\s="\]]{1,64})="((?:[^"\\\]]|\\.)*)"')
_ELEMENT = re.compile(r"\[([^\s=\"\]]{1,64})")
_ESCAPE = re.compile(r'\\(["\\\]])')


class Header(Struct, frozen=True):
    """What stands in front of a message. `form`: "rfc5424", "bsd", "iso" or "" (no header: all of it is message).

    `timestamp` is verbatim: a BSD one has no year and no zone. `structured`: SD-ID.name → value, of RFC 5424.
    """

    form: str
    message: str
    priority: int | None = None
    timestamp: str = ""
    hostname: str = ""
    app: str = ""
    procid: str = ""
    msgid: str = ""
    structured: dict[str, str] = {}

    @property
    def facility(self) -> str:
        return "" if self.priority is None else FACILITIES[self.priority >> 3]

    @property
    def severity(self) -> str:
        return "" if self.priority is None else SEVERITIES[self.priority & 7]


def parse_header(line: str) -> Header:
    """The header of `line` and its message. Never raises: what is no header is message."""
    if (modern := _RFC5424.match(line)) and int(modern[1]) <= _PRIORITY_MAX:
        return _rfc5424(modern, line[modern.end() :])
    rest, priority = line, None
    if (found := _PRIORITY.match(rest)) and int(found[1]) <= _PRIORITY_MAX:
        priority = int(found[1])
        rest = rest[found.end() :]
    form = "bsd"
    stamp = _BSD_TIME.match(rest)
    if stamp is None:
        form, stamp = "iso", _ISO_TIME.match(rest)
    if stamp is None:
        return Header("bsd", rest, priority) if priority is not None else Header("", line)
    return _after_time(form, priority, stamp[1], rest[stamp.end() :], separated=rest[stamp.end() - 1 : stamp.end()])


def _rfc5424(head: "re.Match[str]", rest: str) -> Header:
    structured: dict[str, str] = {}
    if rest.startswith("["):
        structured, rest = _structured(rest)
    elif rest.startswith("-"):
        rest = rest[1:]
    priority, stamp, hostname, app, procid, msgid = head.groups()
    return Header(
        "rfc5424",
        rest.removeprefix(" ").removeprefix("\ufeff"),
        int(priority),
        "" if stamp == "-" else stamp,
        "" if hostname == "-" else hostname,
        "" if app == "-" else app,
        "" if procid == "-" else procid,
        "" if msgid == "-" else msgid,
        structured,
    )


def _structured(rest: str) -> tuple[dict[str, str], str]:
    """The elements in front of a message, and the message. A broken element is left in the message."""
    found: dict[str, str] = {}
    at = 0
    while element := _ELEMENT.match(rest, at):
        inner, params = element.end(), {}
        while param := _PARAM.match(rest, inner):
            params[f"{element[1]}.{param[1]}"] = _ESCAPE.sub(r"\1", param[2])
            inner = param.end()
        if rest[inner : inner + 1] != "]":
            break
        for name, value in params.items():
            if len(found) < _STRUCTURED_MAX:
                found[name] = value
        at = inner + 1
    return found, rest[at:]


def _after_time(form: str, priority: int | None, stamp: str, rest: str, *, separated: str) -> Header:
    """`HOST TAG[PID]: MESSAGE`, where each of the three may be missing."""
    if separated == ":":  # syslogd's own "last message repeated" lines name nobody
        return Header(form, rest.removeprefix(" "), priority, stamp)
    hostname = ""
    host = _HOST.match(rest)
    if host is not None and not host[1].endswith(":"):
        hostname, rest = host[1], rest[host.end() :]
    tag = _TAG.match(rest)
    if tag is None and priority is not None:  # rsyslog's forward format may lack the colon
        tag = _FORWARDED_TAG.match(rest)
    if tag is None:
        return Header(form, rest, priority, stamp, hostname)
    procid = tag[2] if tag.re is _TAG and tag[2] else ""
    return Header(form, rest[tag.end() :].removeprefix(" "), priority, stamp, hostname, tag[1], procid)
