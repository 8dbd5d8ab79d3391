"""What an agent's HTTP door speaks: the collector of Splunk's, OTLP logs, and records of any kind.

    POST /services/collector[/event|/raw]     GET /services/collector/health
    POST /v1/logs
    POST /ingest, /ingest/TYPE

Pure: a request to records (by the same parsers as the server's doors) and how to answer in the protocol's own words.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from graven.core.errors import BadInput
from graven.ingest.protocol import hec, otlp
from graven.ingest.protocol.delivery import Delivery, check_density, request_keys
from graven.ingest.split import is_container, split_records

__all__ = ["COLLECTOR", "Asked", "Spoken", "find_spoken"]

COLLECTOR = "/services/collector"

_TYPE = re.compile(r"[a-z0-9._-]{1,64}")
_TIMES = (b'Time"', b'imestamp"', b'"time"')
_CODES = {401: 16, 405: 12, 413: 8, 415: 3, 429: 8, 503: 14}  # google.rpc.Code
_JSON, _PROTOBUF = "application/json", "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, its body clear and bounded. `media`: the content type without parameters, in lower case."""

    path: str
    media: str
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Spoken:
    """One protocol. `read` raises BadInput, TooMany; `stored` is told how many records are kept; bodies are bytes."""

    media: str
    read: Callable[[Asked], Delivery]
    stored: Callable[[int], bytes]
    refused: Callable[[int, str], bytes]


def find_spoken(path: str, media: str) -> Spoken | None:
    """Who answers a path; None where nothing is."""
    if path in (COLLECTOR, f"{COLLECTOR}/event", f"{COLLECTOR}/event/1.0", f"{COLLECTOR}/raw", f"{COLLECTOR}/raw/1.0"):
        return _HEC
    if path == "/v1/logs":
        return _OTLP_JSON if media == _JSON else _OTLP
    if path == "/ingest" or (path.startswith("/ingest/") and _TYPE.fullmatch(path[8:])):
        return _RECORDS
    return None


def _read_hec(asked: Asked) -> Delivery:
    around = {
        f"hec.{name}": asked.query[name][:1024]
        for name in ("host", "source", "sourcetype", "index")
        if asked.query.get(name)
    }
    return (hec.read_lines if "/raw" in asked.path else hec.read_events)(asked.body, around)


def _read_otlp(asked: Asked) -> Delivery:
    if asked.media not in (_JSON, _PROTOBUF):
        raise BadInput("the content type is none of OTLP", mend=f"{_JSON} or {_PROTOBUF}")
    return (otlp.read_json if asked.media == _JSON else otlp.read_protobuf)(asked.body, {})


def _read_records(asked: Asked) -> Delivery:
    if is_container(asked.body):
        check_density(asked.body)
    records = split_records(asked.body, asked.path[8:])
    timed = (any(word in record.raw for word in _TIMES) for record in records)
    return Delivery(records, request_keys(asked.body, timed))


def _otlp(media: str) -> Spoken:
    as_json = media == _JSON
    return Spoken(
        media, _read_otlp,
        lambda _: otlp.format_answer(as_json=as_json),
        lambda status, what: otlp.format_status(_CODES.get(status, 3), what, as_json=as_json),
    )  # fmt: skip


_OTLP, _OTLP_JSON = _otlp(_PROTOBUF), _otlp(_JSON)
_HEC = Spoken(_JSON, _read_hec, lambda _: hec.SUCCESS, hec.format_refusal)
_RECORDS = Spoken(
    _JSON,
    _read_records,
    lambda count: b'{"spooled":%d}\n' % count,
    lambda _, what: msgspec.json.encode({"error": {"what": what}}) + b"\n",
)
