"""The HTTP API as an OpenAPI 3.1 document, written by hand. A test holds it against the endpoints there are.

The control socket's own paths are not in it: they are between `graven` and itself.
"""

from functools import cache
from typing import Any

from starlette.responses import Response

from graven.app import VERSION
from graven.event import json_schema
from graven.server.openapi_schemas import SCHEMAS, SOURCE_FIELDS, TOKEN_FIELDS
from graven.server.openapi_words import (
    JsonObject,
    answer,
    as_json,
    listed,
    maybe,
    number,
    number_part,
    object_,
    operation,
    path_part,
    query_part,
    ref,
    text,
)
from graven.server.register import SOURCES_MAX
from graven.server.routes import Ask, Endpoint, json_response


def document(ask: Ask) -> Response:
    """This document."""
    return json_response(openapi(), headers={"Cache-Control": "public, max-age=300"})


ENDPOINT = Endpoint("GET", "/api/v1/openapi.json", document, inline=True, knows_callers=False)


@cache
def openapi() -> JsonObject:
    """The document as built-in values."""
    schemas = {name: object_(properties) for name, properties in SCHEMAS.items()}
    event = json_schema()
    definitions = event.pop("$defs", {})
    schemas |= {f"event.{name}": _rename(one) for name, one in definitions.items()}
    schemas["Event"] = {"$ref": "#/components/schemas/event.Event"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Graven", "version": VERSION, "description": _ABOUT},
        "paths": {path: dict(methods) for path, methods in _PATHS.items()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "graven token create"}},
        },
    }


def _rename(schema: Any) -> Any:
    """A schema whose references lead to where its definitions stand in this document."""
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/event.") if key == "$ref" else _rename(value)
            for key, value in schema.items()
        }
    return [_rename(one) for one in schema] if isinstance(schema, list) else schema


_ABOUT = (
    "A tamper-evident audit log: events in, proof out. Every error has the same shape; `mend` says what to do. "
    "Requests may be compressed (Content-Encoding: gzip or zstd)."
)
_INDEX = path_part("index", "0-based position in the log", number("index"))
_SIZE = path_part("size", "entries in a tree: the third line of a receipt", number("size"))
_EVENTS = {"oneOf": [ref("Event"), listed(ref("Event"))]}
_YES_NO = ("true", "false")
_PATHS: dict[str, JsonObject] = {
    "/api/v1/events": {
        "post": operation(
            "Append events", answer("They are durable.", ref("Appended")), 400, 405, 408, 411, 413, 415, 429,
            scope="ingest",
            parameters=(
                query_part("receipt", "full: open the receipt", "note", "full"),
                query_part("wait", "for which state", "committed", "published", "timestamped"),
                query_part("on_invalid", "what to do with a bad event", "refuse", "quarantine"),
                query_part("source", "append as this source, if the token may"),
            ),
            body={"application/json": {"schema": _EVENTS},
                  "application/x-ndjson": {"schema": text("one event a line")}},
        )
    },
    "/api/v1/events/{index}": {
        "get": operation(
            "One event, proved", answer("The event.", ref("StoredEvent")), 400, 404, 500, scope="read",
            parameters=(_INDEX,),
        )
    },
    "/api/v1/events/{index}/proof": {
        "get": operation(
            "Its tlog-proof", answer("C2SP tlog-proof.", None, "text/plain"), 400, 404, 409, 500, scope="read",
            parameters=(_INDEX,),
        )
    },
    "/api/v1/events/{index}/evidence": {
        "get": operation(
            "Its evidence", answer("graven-evidence/v1.", {"type": "object"}), 400, 404, 409, 500, scope="read",
            parameters=(
                _INDEX,
                query_part("event", "false: withhold the event", *_YES_NO),
                query_part("raw", "false: withhold the raw", *_YES_NO),
            ),
        )
    },
    "/api/v1/challenges": {
        "post": operation(
            "Answer an auditor's challenge: the entries it draws, opened",
            answer("graven-challenge-answer/v1.", {"type": "object"}), 400, 403, 411, 413, 500, 503,
            scope="challenge", body={"text/plain": {"schema": text("graven-challenge/v1, a signed note")}},
        )
    },
    "/api/v1/status": {
        "get": operation("Where the log stands; more of it with the scope read", answer("It.", ref("Status")), 401)
    },
    "/api/v1/receipt-certificates/{size}": {
        "get": operation(
            "The kept certificates of receipts of a size",
            answer("Signed notes, the newest first.", None, "text/plain"), 400, 404,
            parameters=(_SIZE,),
        )
    },
    "/api/v1/receipt-certificate": {
        "get": operation("The certificate of the receipt key", answer("A signed note.", None, "text/plain"))
    },
    "/api/v1/openapi.json": {"get": operation("This document", answer("It.", {"type": "object"}))},
    "/api/v1/tokens": {
        "get": operation(
            "Every token", answer("Them.", object_({"tokens": listed(ref("Token"))})), scope="admin"
        ),
        "post": operation(
            "Make a token",
            answer("Its secret, shown this once.", object_({"secret": text("gvn_…"), "token": ref("Token")})), 400,
            scope="admin", body=as_json(object_(TOKEN_FIELDS)), status=201,
        ),
    },
    "/api/v1/tokens/{token}": {
        "delete": operation(
            "Revoke a token", answer("It.", ref("Token")), 400, scope="admin",
            parameters=(path_part("token", "id or name"),),
        )
    },
    "/api/v1/sources": {
        "get": operation(
            "Sources in the order of their numbers, and how each is",
            answer(
                "A page of them.",
                object_({
                    "sources": listed(ref("SourceState")),
                    "next": maybe(number("there are more: `after` of the next page")),
                }),
            ),
            400,
            scope="read",
            parameters=(
                number_part("limit", "at most so many", minimum=1, maximum=SOURCES_MAX, default=SOURCES_MAX),
                number_part("after", "only those with larger numbers", minimum=0, default=0),
            ),
        ),
        "post": operation(
            "Register a source", answer("It.", ref("Source")), 400, scope="admin",
            body=as_json(object_({"name": text("its name"), **SOURCE_FIELDS})), status=201,
        ),
    },
    "/api/v1/sources/{source}": {
        "get": operation(
            "A source, and how it is", answer("It.", ref("SourceState")), 404, scope="read",
            parameters=(path_part("source", "its name"),),
        ),
        "patch": operation(
            "Change a source", answer("It.", ref("Source")), 400, scope="admin",
            parameters=(path_part("source", "its name"),), body=as_json(object_(SOURCE_FIELDS)),
        ),
        "delete": operation(
            "Retire a source", answer("It.", ref("Source")), 400, scope="admin",
            parameters=(path_part("source", "its name"),),
        ),
    },
    "/api/v1/history/{source}": {
        "post": operation(
            "Take parts of files of history", answer("They are durable.", ref("Imported")), 400, 409, 413,
            scope="ingest",
            parameters=(path_part("source", "a source of imported history"),),
            body={"application/msgpack": {"schema": {"type": "string", "format": "binary"}}},
        )
    },
    "/api/v1/history/{source}/positions": {
        "post": operation(
            "How far files of history are",
            answer("In the order asked.", object_({"positions": listed(ref("ImportedFile"))})), 400, scope="ingest",
            parameters=(path_part("source", "a source of imported history"),),
            body=as_json(object_({"files": listed(text("SHA-256 of a file, hex"))})),
        )
    },
    "/api/v1/agents/{agent}": {
        "delete": operation(
            "Revoke the key of an agent", answer("It.", ref("Agent")), 400, scope="admin",
            parameters=(path_part("agent", "its name"),),
        )
    },
    "/api/v1/agent/enrol": {
        "post": operation(
            "Make an agent known", answer("It is.", {"type": "object"}), 400, scope="enrol", status=201,
            body=as_json(
                object_({"enrolment": text("a signed note, base64"), "silent_after_s": maybe(number("seconds"))})
            ),
        )
    },
    "/api/v1/agent/batches": {
        "post": operation(
            "A signed batch of an agent", answer("It is durable.", object_({"position": ref("Position")})),
            400, 401, 409, 411, 413, 415, 429,
            body={"application/msgpack": {"schema": text("the records; docs/format.md")}},
        )
    },
    "/api/v1/agent/heartbeats": {
        "post": operation(
            "A signed heartbeat of an agent", answer("It counts.", object_({"position": ref("Position")})),
            400, 401, 409, body={"text/plain": {"schema": text("a signed note")}},
        )
    },
    "/log/checkpoint": {
        "get": operation("The published checkpoint (C2SP)", answer("A signed note.", None, "text/plain"))
    },
    "/log/anchor": {
        "get": operation(
            "The newest time stamp, with its checkpoint", answer("graven-anchor/v1.", None, "text/plain"), 404
        )
    },
    "/log/handover/{number}": {
        "get": operation(
            "A hand-over of the signing keys", answer("Evidence of the log's own event.", {"type": "object"}), 404,
            parameters=(path_part("number", "from 1"),),
        )
    },
    "/log/tile/{path}": {
        "get": operation(
            "A tile or entry bundle (C2SP tlog-tiles)", answer("Bytes.", None, "application/octet-stream"), 404,
            parameters=(path_part("path", "L/N[.p/W] or entries/N[.p/W]"),),
        )
    },
    "/anchors": {
        "get": operation(
            "The newest anchors, by their paths", answer("Paths.", object_({"anchors": listed(text("a path"))}))
        )
    },
    "/anchors/{day}/{name}": {
        "get": operation(
            "An anchored checkpoint, as DIR/anchors/ holds it", answer("graven-anchor/v1.", None, "text/plain"), 404,
            parameters=(path_part("day", "YYYY-MM-DD"), path_part("name", "as the list has it")),
        )
    },
    "/logs/{path}": {
        "get": operation(
            "Kept for further logs", answer("Nothing yet."), 404, parameters=(path_part("path", "anything"),)
        )
    },
    "/health/live": {"get": operation("Whether the process answers", answer("It does.", {"type": "object"}))},
    "/health/ready": {"get": operation("Whether events can be appended", answer("They can.", {"type": "object"}))},
    "/metrics": {"get": operation("Prometheus metrics", answer("Text.", None, "text/plain"))},
}  # fmt: skip
