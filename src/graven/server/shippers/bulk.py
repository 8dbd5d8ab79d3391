"""Elasticsearch as its shippers use it: `_bulk`, and as much of a handshake as they insist on.

Templates, policies and the like are accepted and mean nothing here: there are no indexes, only the log. Reading them
back says that there are none, so that a client goes on to set them up. A document in quarantine is answered as
Elasticsearch answers one that went to its failure store: created, `"failure_store": "used"`.
"""

import re
from time import monotonic

import msgspec

from graven.core.errors import Busy, GravenError
from graven.ingest.protocol.bulk import Operation, read_bulk
from graven.server.answers import Refused, status_of
from graven.server.shippers.call import Call, Outcome, Parcel, Reply

__all__ = ["Elastic"]

VERSION = "8.17.0"
"""The version we say we are: what this door speaks is that one's."""

_PRODUCT = (b"x-elastic-product", b"Elasticsearch")
_JSON = b"application/json"
_SETUP = re.compile(
    r"/(_ilm/policy|_template|_index_template|_component_template|_data_stream|_ingest/pipeline|_alias)(/[^/]+)?"
)
_TYPES = {401: "security_exception", 403: "security_exception", 413: "content_too_long_exception",
          429: "es_rejected_execution_exception", 503: "es_rejected_execution_exception"}  # fmt: skip
_SHARDS = b'"_shards":{"total":1,"successful":1,"failed":0}'


class Elastic:
    """Every path of Elasticsearch that is known here."""

    name = "elasticsearch"

    def __init__(self, origin: str) -> None:
        self._root = msgspec.json.encode(
            {
                "name": "graven",
                "cluster_name": origin,
                "cluster_uuid": "graven",
                "version": {
                    "number": VERSION, "build_flavor": "default", "build_type": "docker", "build_hash": "graven",
                    "build_date": "2025-01-01T00:00:00.000Z", "build_snapshot": False, "lucene_version": "9.12.0",
                    "minimum_wire_compatibility_version": "7.17.0",
                    "minimum_index_compatibility_version": "7.0.0",
                },
                "tagline": "You Know, for Search",
            }
        )  # fmt: skip
        self._health = msgspec.json.encode({"cluster_name": origin, "status": "green", "timed_out": False})

    def take(self, call: Call) -> Parcel | Reply:
        path, reading = call.path, call.method in ("GET", "HEAD")
        if path.endswith("/_bulk"):
            if call.method not in ("POST", "PUT"):
                raise Refused(405, "_bulk takes POST", reason="method", headers={"Allow": "POST, PUT"})
            return self._bulk(call)
        if path == "/" and reading:
            return _reply(self._root)
        if path == "/_cluster/health" and reading:
            return _reply(self._health)
        if path == "/_license" and reading:
            return _reply(b'{"license":{"status":"active","uid":"graven","type":"basic","mode":"basic"}}')
        if path == "/_xpack" and reading:
            return _reply(b'{"license":{"status":"active","uid":"graven","type":"basic","mode":"basic"},"features":{}}')
        if path == "/_cat/health" and reading:
            return Reply(200, b"graven green\n", b"text/plain; charset=utf-8", [_PRODUCT])
        if _SETUP.fullmatch(path):
            if reading:
                return _error(404, "resource_not_found_exception", "there are none: this is a log")
            return _reply(b'{"acknowledged":true}')
        raise Refused(404, "this log speaks as much of Elasticsearch as shippers need", reason="path")

    def refuse(self, call: Call, error: GravenError) -> Reply:
        status = 429 if isinstance(error, Busy) and status_of(error) == 429 else status_of(error)
        if status == 500:
            status = 503
        reply = _error(status, _TYPES.get(status, "illegal_argument_exception"), error.what)
        final = status in (401, 403, 429, 503) and _takes_any_answer_as_final(call)
        return Reply(reply.status, reply.body, reply.content_type, reply.headers, hang_up=final)

    def _bulk(self, call: Call) -> Parcel | Reply:
        index = call.path.removesuffix("/_bulk").removeprefix("/")
        bulk = read_bulk(call.body, {}, index=index)
        if not bulk.operations:
            return _error(400, "parse_exception", "request body is required")
        started_s = monotonic()

        def reply(outcome: Outcome) -> Reply:
            items, refused = _items(bulk.operations, outcome)
            took_ms = round((monotonic() - started_s) * 1000)
            head = b'{"took":%d,"errors":%b,"items":[' % (took_ms, b"true" if refused else b"false")
            return _reply(head + b",".join(items) + b"]}")

        return Parcel(bulk.delivery, reply)


def _takes_any_answer_as_final(call: Call) -> bool:
    """Whether this is rsyslog's omelasticsearch, which drops what it sent at every answer but success, and sends again
    where there was none. It is known by naming no program, and by what curl accepts.
    """
    return "user-agent" not in call.headers and call.headers.get("accept") == "*/*"


def _items(operations: list[Operation], outcome: Outcome) -> tuple[list[bytes], bool]:
    """(the items of the answer, whether any was refused)."""
    first: dict[int, int] = {}
    for one, index in zip(outcome.normalised, outcome.indexes(), strict=True):
        first.setdefault(one.position, index)
    fresh = outcome.committed.first_index if outcome.committed is not None else None
    quarantined = outcome.quarantined
    items: list[bytes] = []
    names: dict[tuple[str, str], bytes] = {}
    for operation in operations:
        key = operation.name, operation.index
        if (start := names.get(key)) is None:
            start = names[key] = b'{"%b":{"_index":%b' % (operation.name.encode(), msgspec.json.encode(operation.index))
        if operation.record is None:
            error = {"type": "illegal_argument_exception", "reason": operation.refused}
            items.append(
                start
                + b',"_id":%b,"status":400,"error":%b}}'
                % (msgspec.json.encode(operation.id or None), msgspec.json.encode(error))
            )
            continue
        index = first[operation.record]
        id_ = msgspec.json.encode(operation.id) if operation.id else b'"%d"' % index
        is_new = fresh is not None and index >= fresh
        failure = b',"failure_store":"used"' if operation.record in quarantined else b""
        items.append(
            start
            + b',"_id":%b,"_version":1,"result":"%b",%b,"_seq_no":%d,"_primary_term":1%b,"status":%d}}'
            % (id_, b"created" if is_new else b"noop", _SHARDS, index, failure, 201 if is_new else 200)
        )
    return items, any(operation.record is None for operation in operations)


def _reply(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body, _JSON, [_PRODUCT])


def _error(status: int, type_: str, reason: str) -> Reply:
    cause = {"type": type_, "reason": reason}
    return _reply(msgspec.json.encode({"error": {"root_cause": [cause], **cause}, "status": status}), status)
