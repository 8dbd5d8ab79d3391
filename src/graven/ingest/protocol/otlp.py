"""OTLP logs over HTTP: ExportLogsServiceRequest, as protobuf or as JSON, and the answers to it.

The record is the body of a log record: a text as it is, anything else as the JSON of its value; without a body, the
JSON of its event name and attributes. The same record gives the same bytes in both encodings. Resource, scope,
attributes, severity and trace surround it.

Source: the OpenTelemetry Protocol specification 1.x, logs.proto, common.proto.
"""

import base64
import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from graven.core.errors import BadInput
from graven.ingest.protocol.delivery import (
    Delivery,
    TooMany,
    add_label,
    check_count,
    check_density,
    count_repeats,
    faulty,
    format_ns,
)
from graven.ingest.protocol.protobuf import Walk, fields, text_of, write_text, write_varint
from graven.ingest.record import Record

__all__ = ["FALLBACK_TYPE", "format_answer", "format_status", "read_json", "read_protobuf"]

FALLBACK_TYPE = "otel"
"""The source type of a log record whose body no other type recognises."""

_DEPTH_MAX = 32
_SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_protobuf(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The records of a protobuf request. Raises BadInput when it is none; TooMany."""
    gathered, walk = _Gathered(around), Walk()
    for number, _, resource_logs in fields(body, walk):
        if number != 1 or not isinstance(resource_logs, bytes):
            continue
        parts = _first_two(resource_logs, walk)
        resource: Mapping[str, Any] = {}
        for field, value in parts:
            if field == 1:
                resource = _pairs([one for n, _, one in fields(value, walk) if n == 1], walk)
        for field, scope_logs in parts:
            if field == 2:
                inner = _first_two(scope_logs, walk)
                name = next((_strings(one, walk).get(1, "") for n, one in inner if n == 1), "")
                gathered.begin(resource, name)
                for n, record in inner:
                    if n == 2:
                        gathered.add(record, lambda one=record: _log_of_protobuf(one, walk))  # type: ignore[misc]
    return gathered.delivery()


def read_json(body: bytes, around: Mapping[str, str]) -> Delivery:
    """The records of a JSON request. Raises BadInput when it has not that shape as a whole; TooMany."""
    check_density(body)
    try:
        request = _decode(body)
    except (ValueError, RecursionError):
        raise _not_otlp() from None
    if not isinstance(request, dict) or not isinstance(request.get("resourceLogs", []), list):
        raise _not_otlp()
    gathered = _Gathered(around)
    for resource_logs in _objects(request.get("resourceLogs")):
        resource = _attributes(_object(resource_logs.get("resource")).get("attributes"))
        for scope_logs in _objects(resource_logs.get("scopeLogs")):
            gathered.begin(resource, str(_object(scope_logs.get("scope")).get("name") or ""))
            records = scope_logs.get("logRecords")
            for record in records if isinstance(records, list) else ():
                gathered.add(_encode(record), lambda record=record: _log_of_json(record))  # type: ignore[misc]
    return gathered.delivery()


def format_answer(*, as_json: bool, message: str = "") -> bytes:
    """The answer to a request that is stored: nothing is ever rejected, but a `message` may warn."""
    if as_json:
        return _encode({"partialSuccess": {"errorMessage": message}}) if message else b"{}"
    return write_text(1, write_text(2, message)) if message else b""


def format_status(code: int, message: str, *, as_json: bool) -> bytes:
    """A google.rpc.Status: what a refusal says."""
    return _encode({"code": code, "message": message}) if as_json else write_varint(1, code) + write_text(2, message)


class _Log(msgspec.Struct):
    """A log record in either encoding, decoded."""

    time_ns: int = 0
    observed_ns: int = 0
    severity: str = ""
    number: int = 0
    body: Any = None
    attributes: Mapping[str, Any] = {}
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class _Gathered:
    """Records of one request, as they are found."""

    def __init__(self, around: Mapping[str, str]) -> None:
        self._around = around
        self._records: list[Record] = []
        self._keys: list[str] = []
        self._resource: Mapping[str, Any] = {}
        self._scope, self._context = "", b""

    def begin(self, resource: Mapping[str, Any], scope: str) -> None:
        """What follows is of this resource and scope."""
        self._resource, self._scope = resource, scope
        self._context = _encode([resource, scope])

    def add(self, raw: bytes, read: Callable[[], _Log]) -> None:
        """One log record: its own bytes, and how to read them. Raises TooMany."""
        check_count(len(self._records) + 1)
        try:
            log = read()
            inside = _inside(log)
        except TooMany:
            raise
        except (BadInput, ValueError, RecursionError):
            self._records.append(faulty(raw, "the log record cannot be read", self._around))
            self._keys.append("")
            return
        said = dict(self._around)
        time_ns = log.time_ns or log.observed_ns
        for name, value in (
            ("time", format_ns(time_ns)), ("otel.event_name", log.event_name), ("otel.severity", _severity(log)),
            ("otel.trace_id", log.trace_id), ("otel.span_id", log.span_id), ("otel.scope", self._scope),
        ):  # fmt: skip
            add_label(said, name, value)
        for prefix, attributes in (("otel.attribute.", log.attributes), ("otel.resource.", self._resource)):
            for name, value in attributes.items():
                add_label(said, prefix + name, value if isinstance(value, str) else _encode(value).decode())
        key = ""
        if time_ns:
            hash_ = hashlib.blake2b(self._context, digest_size=16)
            hash_.update(raw)
            key = f"otlp:{hash_.hexdigest()}"
        self._records.append(Record(inside, around=said, otherwise=FALLBACK_TYPE))
        self._keys.append(key)

    def delivery(self) -> Delivery:
        return Delivery(self._records, count_repeats(self._keys))


def _inside(log: _Log) -> bytes:
    if isinstance(log.body, str) and log.body:
        return log.body.encode("utf-8", "surrogatepass")
    if log.body is not None and log.body != "":
        return _encode(log.body)
    return _encode({"event_name": log.event_name, "attributes": log.attributes})


def _severity(log: _Log) -> str:
    if log.severity or not 1 <= log.number <= 24:
        return log.severity
    return _SEVERITIES[(log.number - 1) // 4]


def _first_two(message: bytes, walk: Walk) -> list[tuple[int, bytes]]:
    """The messages that are its fields 1 and 2."""
    return [(n, value) for n, _, value in fields(message, walk) if n in (1, 2) and isinstance(value, bytes)]


def _log_of_protobuf(record: bytes, walk: Walk) -> _Log:
    log = _Log()
    attributes: list[int | bytes] = []
    for number, _, value in fields(record, walk):
        if isinstance(value, int):
            if number == 1:
                log.time_ns = value
            elif number == 11:
                log.observed_ns = value
            elif number == 2:
                log.number = value
        elif number == 5:
            log.body = _value(value, walk, _DEPTH_MAX)
        elif number == 6:
            attributes.append(value)
        elif number == 3:
            log.severity = text_of(value)
        elif number == 9:
            log.trace_id = value.hex()
        elif number == 10:
            log.span_id = value.hex()
        elif number == 12:
            log.event_name = text_of(value)
    log.attributes = _pairs(attributes, walk)
    return log


def _pairs(messages: list[int | bytes], walk: Walk, depth: int = _DEPTH_MAX) -> dict[str, Any]:
    """KeyValue messages as a dictionary. Raises BadInput."""
    found: dict[str, Any] = {}
    for message in messages:
        if not isinstance(message, bytes):
            continue
        key, value = "", None
        for number, _, part in fields(message, walk):
            if number == 1:
                key = text_of(part)
            elif number == 2 and isinstance(part, bytes):
                value = _value(part, walk, depth)
        found[key] = value
    return found


def _value(message: bytes, walk: Walk, depth: int) -> Any:
    """An AnyValue. Raises BadInput, also for one nested too deep."""
    if not depth:
        raise BadInput("a value is nested too deep")
    value: Any = None
    for number, _, part in fields(message, walk):
        if isinstance(part, int):
            if number == 2:
                value = bool(part)
            elif number == 3:
                value = part - (1 << 64) if part >> 63 else part
            elif number == 4:
                value = struct.unpack("<d", part.to_bytes(8, "little"))[0]
        elif number == 1:
            value = text_of(part)
        elif number == 5:
            value = [
                _value(one, walk, depth - 1) for n, _, one in fields(part, walk) if n == 1 and isinstance(one, bytes)
            ]
        elif number == 6:
            value = _pairs([one for n, _, one in fields(part, walk) if n == 1], walk, depth - 1)
        elif number == 7:
            value = base64.b64encode(part).decode()
    return value


def _strings(message: bytes, walk: Walk) -> dict[int, str]:
    return {number: text_of(part) for number, _, part in fields(message, walk) if isinstance(part, bytes)}


def _log_of_json(record: Any) -> _Log:
    """Raises ValueError for what is no log record."""
    if not isinstance(record, dict):
        raise ValueError
    return _Log(
        _integer(record.get("timeUnixNano")),
        _integer(record.get("observedTimeUnixNano")),
        _text(record.get("severityText")),
        _integer(record.get("severityNumber")),
        _json_value(record.get("body"), _DEPTH_MAX),
        _attributes(record.get("attributes")),
        _text(record.get("traceId")).lower(),
        _text(record.get("spanId")).lower(),
        _text(record.get("eventName")),
    )


def _attributes(listed: Any, depth: int = _DEPTH_MAX) -> dict[str, Any]:
    return {_text(one.get("key")): _json_value(one.get("value"), depth) for one in _objects(listed)}


def _json_value(value: Any, depth: int) -> Any:
    """An AnyValue in JSON. Raises ValueError for one nested too deep, or a number that is none."""
    if not depth:
        raise ValueError
    if not isinstance(value, dict):
        return None
    for name, inner in value.items():
        match name:
            case "stringValue" | "bytesValue":
                return _text(inner)
            case "boolValue":
                return inner is True
            case "intValue":
                return _integer(inner)
            case "doubleValue":
                return float(inner) if isinstance(inner, int | float | str) else None
            case "arrayValue":
                return [_json_value(one, depth - 1) for one in _objects(_object(inner).get("values"))]
            case "kvlistValue":
                return _attributes(_object(inner).get("values"), depth - 1)
            case _:
                pass
    return None


def _integer(value: Any) -> int:
    """64-bit integers stand in strings in JSON; both are taken. Raises ValueError."""
    if value is None or isinstance(value, bool):
        return 0
    if isinstance(value, str) and len(value) > 20:
        raise ValueError
    number = int(value) if isinstance(value, int | str) else 0
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError
    return number


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _not_otlp() -> BadInput:
    return BadInput("the body is no OTLP logs request", place="body", mend='send {"resourceLogs": […]}, or protobuf')
