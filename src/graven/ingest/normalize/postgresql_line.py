"""One entry of PostgreSQL's server log, from any of its three forms: jsonlog, csvlog, and stderr with a line prefix.

All three become the same names, jsonlog's. Of a line prefix, which each site sets for itself, what is recognised is
taken: a time, `[pid]`, `user@database`, and `name=value` pairs.
"""

import csv
import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from graven.ingest.fields import text

__all__ = ["LEVELS", "read_entry"]

LEVELS = (
    "DEBUG",
    "DEBUG1",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "DEBUG5",
    "LOG",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "FATAL",
    "PANIC",
)

_COLUMNS = (
    "timestamp", "user", "dbname", "pid", "connection_from", "session_id", "line_num", "ps", "session_start", "vxid",
    "txid", "error_severity", "state_code", "message", "detail", "hint", "internal_query", "internal_position",
    "context", "statement", "cursor_position", "location", "application_name", "backend_type", "leader_pid", "query_id",
)  # fmt: skip
_COLUMNS_MIN = 23  # PostgreSQL 9.0 to 12; later ones added three
_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? [A-Za-z0-9+:-]{1,8}"
_CSV = re.compile(_STAMP + r',(?:"(?:[^"]|"")*"|[^",]*),(?:"(?:[^"]|"")*"|[^",]*),\d*,')
_LEVEL = re.compile(r"\b(DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC):  ")
_MORE = re.compile(r"\b(DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION|BACKTRACE):  ")
_PREFIX_CHARS_MAX = 512
_PREFIX_TIME = re.compile(_STAMP)
_PREFIX_PID = re.compile(r"\[(\d{1,10})(?:-(\d{1,10}))?\]")
_PREFIX_WHO = re.compile(r"(?<![\w=])([^\s@,:=\[\]]{1,63})@([^\s@,:=\[\]]{1,63})(?![\w=])")
_PREFIX_PAIR = re.compile(r"\b(user|db|database|app|client|host|session|line)=([^\s,]{1,128})")
_PAIR_NAMES = {
    "user": "user", "db": "dbname", "database": "dbname", "app": "application_name", "client": "remote_host",
    "host": "remote_host", "session": "session_id", "line": "line_num",
}  # fmt: skip
_MORE_NAMES = {
    "DETAIL": "detail",
    "HINT": "hint",
    "STATEMENT": "statement",
    "CONTEXT": "context",
    "QUERY": "internal_query",
}


def read_entry(document: object) -> dict[str, Any] | None:
    """The entry by jsonlog's names, what is empty left out; None for a document that is none."""
    if isinstance(document, dict):
        if not (
            "error_severity" in document and "message" in document and ("pid" in document or "timestamp" in document)
        ):
            return None
        return {name: value for name, value in document.items() if value not in (None, "")}
    if not isinstance(document, str):
        return None
    return _from_csv(document) if _CSV.match(document) else _from_text(document)


def _from_csv(line: str) -> dict[str, Any] | None:
    try:
        rows = list(csv.reader(StringIO(line), strict=True))
    except csv.Error:
        return None
    if len(rows) != 1 or len(rows[0]) < _COLUMNS_MIN:
        return None
    entry: dict[str, Any] = {name: value for name, value in zip(_COLUMNS, rows[0], strict=False) if value}
    host, colon, port = entry.pop("connection_from", "").rpartition(":")
    if host if colon else port:
        entry["remote_host"] = host if colon else port
        if colon and port:
            entry["remote_port"] = port
    return entry if entry.get("error_severity") else None


def _from_text(document: str) -> dict[str, Any] | None:
    lines = document.split("\n")
    entry: dict[str, Any] = {}
    name = ""
    for line in lines:
        level = _LEVEL.search(line, 0, _PREFIX_CHARS_MAX)
        more = None if level else _MORE.search(line, 0, _PREFIX_CHARS_MAX)
        if level and "error_severity" not in entry:
            entry |= _prefix(line[: level.start()])
            entry["error_severity"], name = level[1], "message"
            entry[name] = line[level.end() :]
        elif more and (entry or line is lines[0]):
            if not entry:  # a part without its entry
                entry |= _prefix(line[: more.start()])
                entry |= {"error_severity": more[1], "message": line[more.end() :]}
            name = _MORE_NAMES.get(more[1], more[1].lower())
            entry[name] = line[more.end() :]
        elif name:
            entry[name] = f"{entry[name]}\n{line.removeprefix(chr(9))}"
        else:
            return None
    return {key: value for key, value in entry.items() if value}


def _prefix(prefix: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    if stamp := _PREFIX_TIME.search(prefix):
        found["timestamp"] = stamp[0]
        prefix = prefix.replace(stamp[0], " ", 1)
    if pid := _PREFIX_PID.search(prefix):
        found["pid"] = pid[1]
        if pid[2]:
            found["line_num"] = pid[2]
    if who := _PREFIX_WHO.search(prefix):
        found["user"], found["dbname"] = who[1], who[2]
    for name, value in _PREFIX_PAIR.findall(prefix):
        found.setdefault(_PAIR_NAMES[name], value)
    return {name: value for name, value in found.items() if text(value) and not value.startswith("[unknown]")}
