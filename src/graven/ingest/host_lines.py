"""Lines of a host's programs, straight to what is sealed: what the pipeline's whole way gives, several times as fast.

The lines of one program on one host differ in time, process and message alone. So what the rest of a header says (the
line's type, most of its labels) is worked out once, the whole way, and kept as JSON; a second of time likewise. What a
message means is the source type's to say, as ever (`event_of`).

Where a line is not plainly of that kind (structured data, a process that is no number, a time that takes guessing, the
mark of another type, a door's label that stands in for a header) the answer is None, and the whole way decides. Nothing
is decided here that would be decided otherwise there: tests hold the two to the same bytes.

What is kept follows from its key alone, and is bounded in number and size. A `HostLines` is safe to share between
threads, a `LineReader` is one run's.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import encode

from graven.event import encode_event
from graven.ingest.around import Labels
from graven.ingest.detect import Detector, LineNormaliser
from graven.ingest.normalize.host_line import HostLine, program_of, read_line, time_of
from graven.ingest.protocol.syslog_header import parse_header
from graven.ingest.record import Normalised, Record

__all__ = ["LINE_BYTES_MAX", "HostLines", "LineReader"]

LINE_BYTES_MAX = 2048
"""Of a longer line texts may have to be cut."""

_FRONTS_MAX = 8192
_FRONT_CHARS_MAX = 192
_PROCID_CHARS_MAX = 20
_STARTS = b"<0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BSD_CHARS = 15
_WHOLE = re.compile(
    r"[A-Z][A-Za-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
_PASSED_OVER = frozenset(("syslog.procid", "graven.time_assumed", "syslog.timestamp"))
_OWN_LABELS = _PASSED_OVER | {
    "graven.type", "graven.parser", "syslog.hostname", "syslog.app", "syslog.msgid", "syslog.facility",
    "syslog.severity",
}  # fmt: skip

_Front = tuple[str, str, str, str, bool]
"""What stands in front of a line, as written: priority and version, host, program, message id; is a process named?"""


class _Known(Struct, frozen=True):
    """What all lines with one front share. `before` and `behind` are their labels as JSON, around the process."""

    source: LineNormaliser
    marks: tuple[str, ...]
    type: str
    app: str
    hostname: str
    severity: str
    before: str
    behind: str


_Time = tuple[str, str]
"""A time as JSON, and as JSON the labels that say what was assumed to know it."""


class HostLines:
    """`about`: of each type, (its name, its parser) as labels have them."""

    def __init__(self, detector: Detector, about: Mapping[str, tuple[str, str]]) -> None:
        self._detector, self._about = detector, about
        self.fronts: dict[_Front, _Known] = {}

    def reader(self) -> "LineReader":
        """For the records of one run."""
        return LineReader(self)

    def know(self, front: _Front, stamp: str, procid: str, message: str, text: str) -> _Known | None:
        """Keep what lines with this front share, if `text`, which has it, was cut where the whole way cuts it."""
        head, line = parse_header(text), read_line(Record(b""), text)
        cut = (head.timestamp, head.procid, head.message) == (stamp, procid, message)
        if line is None or not cut or not line.app or sum(map(len, front[:4])) > _FRONT_CHARS_MAX:
            return None
        found = self._detector.of_line(program_of(text))
        if found is None:
            return None
        source, marks = found
        type_, parser = self._about[source.TYPE]
        before, behind = {"graven.type": type_, "graven.parser": parser}, dict[str, str]()
        for key, value in line.labels.items():
            if key not in _PASSED_OVER:
                (before if key in ("syslog.hostname", "syslog.app") else behind)[key] = value
        process = ',"syslog.procid":"' if procid else ""
        known = _Known(
            source, marks, type_, line.app, line.hostname, line.severity,
            f"{{{_members(before)}{process}", ('"' if procid else "") + _more(behind),
        )  # fmt: skip
        if len(self.fronts) >= _FRONTS_MAX:
            self.fronts.clear()
        self.fronts[front] = known
        return known


class LineReader:
    """Reads the lines among the records of one run."""

    def __init__(self, lines: HostLines) -> None:
        self._lines, self._fronts = lines, lines.fronts
        self._around: Mapping[str, str] | None = None
        self._times: dict[str, _Time | None] = {}
        self._labels: str | None = None

    def take(self, record: Record, position: int) -> Normalised | None:
        """What is sealed of a record that is plainly a program's line. Never raises."""
        raw = record.raw
        if raw[:1] not in _STARTS or len(raw) > LINE_BYTES_MAX or record.type or record.id or record.fault:
            return None
        try:
            return self._take(record, raw.decode(), position)
        except Exception:  # whatever it is, the whole way knows what to do about it
            return None

    def _take(self, record: Record, text: str, position: int) -> Normalised | None:
        cut = _cut(text)
        if cut is None:
            return None
        front, stamp, procid, message = cut
        known = self._fronts.get(front) or self._lines.know(front, stamp, procid, message, text)
        if known is None:
            return None
        for mark in known.marks:
            if mark in text:
                return None
        if record.around is not self._around:
            self._look_around(record.around)
        time = self._time(stamp)
        if time is None or self._labels is None:
            return None
        event = known.source.event_of(HostLine(known.app, message, known.hostname, procid, severity=known.severity))
        if event.labels is not None or event.time is not None or event.id is not None:
            return None
        whole: Any = event  # two of its fields are JSON already
        whole.time = Raw(time[0])
        whole.labels = Raw(f"{known.before}{procid}{known.behind}{time[1]}{self._labels}")
        return Normalised(encode_event(event), record.raw, None, known.type, "", event.class_, False, position)

    def _look_around(self, around: Mapping[str, str]) -> None:
        self._around, self._times, self._labels = around, {}, None
        if _OWN_LABELS.isdisjoint(around):
            labels = dict[str, str]()
            for key, value in Labels(around).all:
                labels.setdefault(key, value)
            self._labels = f"{_more(labels)}}}"

    def _time(self, stamp: str) -> _Time | None:
        """The time that `stamp` names."""
        times = self._times
        if stamp in times:
            return times[stamp]
        if stamp[19:20] == ".":  # of a second that others name, too
            zone_at = -1 if stamp[-1] == "Z" else -6
            fraction = stamp[20:zone_at]
            time = self._time(stamp[:19] + stamp[zone_at:]) if _is_number(fraction) and len(fraction) < 10 else None
            micros = fraction[:6].ljust(6, "0")
            return time if time is None or micros == "000000" else (f'{time[0][:-2]}.{micros}Z"', "")
        times[stamp] = time = _read_time(stamp, self._around or {})
        return time


def _cut(text: str) -> tuple[_Front, str, str, str] | None:
    """(the front, the time, the process or "", the message) of a line in a usual form; None for others."""
    at = text.find(">", 0, 5) + 1
    if text[at : at + 2] == "1 ":
        priority, stamp, hostname, app, procid, msgid, rest = text.split(" ", 6)
        if rest[:2] != "- " or (procid != "-" and not _is_number(procid)):
            return None
        named = procid != "-"
        return (priority, hostname, app, msgid, named), stamp, procid if named else "", rest[2:].removeprefix("\ufeff")
    if text[at + 10 : at + 11] == "T":
        stamp, hostname, tag, message = text[at:].split(" ", 3)
    else:
        end = at + _BSD_CHARS
        if text[end : end + 1] != " ":
            return None
        stamp = text[at:end]
        hostname, tag, message = text[end + 1 :].split(" ", 2)
    app, bracket, procid = tag.removesuffix(":").partition("[")
    if bracket:
        if procid[-1:] != "]" or not _is_number(procid[:-1]):
            return None
        procid = procid[:-1]
    if tag[-1:] != ":":
        return None
    return (text[:at], hostname, app, "", bool(bracket)), stamp, procid, message.removeprefix(" ")


def _is_number(procid: str) -> bool:
    return len(procid) <= _PROCID_CHARS_MAX and procid.isascii() and procid.isdigit()


def _read_time(stamp: str, around: Mapping[str, str]) -> _Time | None:
    """The time of `stamp`, a whole second; None unless it is as syslogd writes it or says its zone."""
    if not _WHOLE.fullmatch(stamp):
        return None
    time, assumed = time_of(stamp, around)
    if time is None:
        return None
    labels = {"graven.time_assumed": assumed, "syslog.timestamp": stamp} if assumed else {}
    return encode(time).decode(), _more(labels)


def _members(labels: Mapping[str, str]) -> str:
    """Labels as JSON, without the braces."""
    return encode(labels).decode()[1:-1]


def _more(labels: Mapping[str, str]) -> str:
    """Labels as JSON, behind others."""
    return f",{_members(labels)}" if labels else ""
