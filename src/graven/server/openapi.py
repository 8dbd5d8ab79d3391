"""The HTTP API as an OpenAPI 3.1 document, written by hand. A test holds it against the endpoints there are.

The control socket's own paths are not in it: they are between `graven` and itself.
"""

from functools import cache
from typing import Any

from starlette.responses import Response

from graven.app import VERSION
from graven.event import json_schema
from graven.server.routes import Ask, Endpoint, json_response

JsonObject = dict[str, Any]


def document(ask: Ask) -> Response:
    """This document."""
    return json_response(openapi(), headers={"Cache-Control": "public, max-age=300"})


ENDPOINT = Endpoint("GET", "/api/v1/openapi.json", document, inline=True, knows_callers=False)


@cache
def openapi() -> JsonObject:
    """The document as built-in values."""
    schemas = {name: _object(properties) for name, properties in _SCHEMAS.items()}
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


def _object(properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties}


def _text(meaning: str) -> JsonObject:
    return {"type": "string", "description": meaning}


def _number(meaning: str) -> JsonObject:
    return {"type": "integer", "minimum": 0, "description": meaning}


def _maybe(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, {"type": "null"}], "description": schema.get("description", "")}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: JsonObject, meaning: str = "") -> JsonObject:
    return {"type": "array", "items": item, "description": meaning}


def _path(name: str, meaning: str, schema: JsonObject | None = None) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema or _text(meaning)}


def _query(name: str, meaning: str, *values: str) -> JsonObject:
    schema: JsonObject = {"type": "string"} | ({"enum": list(values)} if values else {})
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _answer(meaning: str, schema: JsonObject | None = None, media: str = "application/json") -> JsonObject:
    return {"description": meaning, "content": {media: {"schema": schema or {"type": "string"}}}}


def _operation(
    summary: str,
    answer: JsonObject,
    *errors: int,
    scope: str | None = None,
    parameters: tuple[JsonObject, ...] = (),
    body: JsonObject | None = None,
    status: int = 200,
) -> JsonObject:
    refusals = sorted({*errors, *((401, 403) if scope else ()), 503})
    operation: JsonObject = {
        "summary": summary,
        "responses": {
            str(status): answer,
            **{str(code): _answer(_STATUSES[code], _ref("Error")) for code in refusals},
        },
        "security": [{"token": [scope]}] if scope else [],
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


_ABOUT = (
    "A tamper-evident audit log: events in, proof out. Every error has the same shape; `mend` says what to do. "
    "Requests may be compressed (Content-Encoding: gzip or zstd)."
)
_STATUSES = {
    400: "The request is wrong; with bad events, `errors` lists each.",
    401: "No token, or one that does not hold.",
    403: "The token does not have the scope.",
    404: "There is nothing like that.",
    405: "Not with that method.",
    408: "The body came too slowly.",
    409: "Not published yet: ask again after Retry-After.",
    411: "No body.",
    413: "Larger than max_request_bytes, decompressed.",
    415: "An encoding that is not known.",
    429: "The intake is full: send again after Retry-After, more slowly.",
    500: "Our storage failed, or does not hold what it should.",
    503: "Not ready, stopping, or busy.",
}
_INDEX = _path("index", "0-based position in the log", _number("index"))
_SIZE = _path("size", "entries in a tree: the third line of a receipt", _number("size"))
_TOKEN_FIELDS = {
    "name": _text("1 to 64 letters, digits and . _ @ -"),
    "scopes": _list(
        _text("ingest, ingest:SOURCE, read, admin, enrol"), "ingest alone: the source named after the token"
    ),
    "owner": _text("who answers for it"),
    "expires": _maybe(_text("RFC 3339; null: never")),
}
_SOURCE_FIELDS = {
    "type": _text("what kind of producer"),
    "owner": _text("who answers for it"),
    "grade": _text("provenance grade"),
    "class": _text("the class of its events"),
    "classes": _list(_text("a class"), "further classes its events may name"),
    "expect_s": _maybe(_number("seconds within which something is due")),
}
_SCHEMAS: dict[str, JsonObject] = {
    "Error": {
        "error": _object(
            {
                "kind": _text("bad_input, disproved, broken or busy"),
                "what": _text("what is wrong"),
                "place": _text("where"),
                "mend": _text("what to do"),
                "errors": _list(
                    _object(
                        {
                            "position": _maybe(_number("0-based among the events sent; null: the body")),
                            "path": _text("JSON path"),
                            "what": _text("what is wrong"),
                            "mend": _text("what to do"),
                        }
                    ),
                    "each bad event, at most 100",
                ),
                "expected": _text("of disproved"),
                "found": _text("of disproved"),
                "retry_after_s": _number("of busy"),
            }
        )
    },
    "Appended": {
        "accepted": _number("events newly stored"),
        "first_index": _maybe(_number("index of the first of them; they stand in a row")),
        "size": _number("the tree's size after them"),
        "duplicates": _list(
            _object({"position": _number("in the request"), "index": _number("of the first copy")}), "stored before"
        ),
        "state": {"type": "string", "enum": ["committed", "published"], "description": "the state reached"},
        "receipt": _text("graven-receipt/v1, a signed note"),
        "opened": {"type": "object", "description": "with receipt=full: what the producer checks the receipt with"},
    },
    "StoredEvent": {
        "index": _number("0-based"),
        "state": _text("committed or published"),
        "content": _text("readable, erased or unreadable"),
        "head": _maybe(
            _object(
                {
                    "source": _number("its number in the register"),
                    "source_name": _text("its name"),
                    "received": _text("RFC 3339, the log's clock"),
                    "received_us": _number("the same, µs since the epoch"),
                }
            )
        ),
        "class": _text("retention class"),
        "event": _maybe(_ref("Event")),
        "raw": _maybe(_text("base64: what the producer sent, if that was not the event itself")),
        "entry": _maybe(_text("hex: the 32-byte commitment in the tree")),
        "proved": _maybe(
            _object({"by": _text("checkpoint or frame"), "size": _number("tree size"), "root": _text("base64")})
        ),
        "duplicate_keys": _list(_text("JSON path"), "keys that stand twice: other readers may take the other one"),
        "erasure_index": _maybe(_number("the event that names the erasure")),
    },
    "Status": {
        "origin": _text("name of the log"),
        "size": _number("committed entries"),
        "published": _object(
            {
                "size": _number("entries the checkpoint covers"),
                "root": _text("base64"),
                "time": _text("when it was signed"),
                "signatures": _number("the log's own"),
                "state": _text("who vouches for it"),
            }
        ),
        "version": _text("of the server"),
        "note": _text("what this cannot show"),
        "state": _text("working, stopping or stopped"),
        "queue": {"type": "object"},
        "window": {"type": "object"},
        "journal": {"type": "object"},
    },
    "Token": {"id": _text("tok_…"), **_TOKEN_FIELDS, "sources": _list(_text("it may append as")),
              "revoked": {"type": "boolean"}, "last_used": _maybe(_text("RFC 3339"))},
    "Source": {"number": _number("in the head of its events"), "name": _text("its name"), **_SOURCE_FIELDS,
               "retired": {"type": "boolean"}},
    "Agent": _object({
        "name": _text("its name, and its source's"), "vkey": _text("its public key"),
        "sequence": _number("of its last batch"), "sent": _maybe(_text("when that was made, RFC 3339")),
        "ended": {"type": "boolean"}, "revoked": {"type": "boolean"},
    }),
    "Position": _object({
        "sequence": _number("of the agent's last batch here"), "digest": _text("of its statement, base64"),
        "challenge": _text("for the next heartbeat, base64"),
    }),
}  # fmt: skip
_EVENTS = {"oneOf": [_ref("Event"), _list(_ref("Event"))]}
_YES_NO = ("true", "false")
_PATHS: dict[str, JsonObject] = {
    "/api/v1/events": {
        "post": _operation(
            "Append events", _answer("They are durable.", _ref("Appended")), 400, 405, 408, 411, 413, 415, 429,
            scope="ingest",
            parameters=(
                _query("receipt", "full: open the receipt", "note", "full"),
                _query("wait", "for which state", "committed", "published"),
                _query("on_invalid", "what to do with a bad event", "refuse", "quarantine"),
                _query("source", "append as this source, if the token may"),
            ),
            body={"application/json": {"schema": _EVENTS},
                  "application/x-ndjson": {"schema": _text("one event a line")}},
        )
    },
    "/api/v1/events/{index}": {
        "get": _operation(
            "One event, proved", _answer("The event.", _ref("StoredEvent")), 400, 404, 500, scope="read",
            parameters=(_INDEX,),
        )
    },
    "/api/v1/events/{index}/proof": {
        "get": _operation(
            "Its tlog-proof", _answer("C2SP tlog-proof.", None, "text/plain"), 400, 404, 409, 500, scope="read",
            parameters=(_INDEX,),
        )
    },
    "/api/v1/events/{index}/evidence": {
        "get": _operation(
            "Its evidence", _answer("graven-evidence/v1.", {"type": "object"}), 400, 404, 409, 500, scope="read",
            parameters=(
                _INDEX,
                _query("event", "false: withhold the event", *_YES_NO),
                _query("raw", "false: withhold the raw", *_YES_NO),
            ),
        )
    },
    "/api/v1/status": {
        "get": _operation("Where the log stands; more of it with the scope read", _answer("It.", _ref("Status")), 401)
    },
    "/api/v1/receipt-certificates/{size}": {
        "get": _operation(
            "The kept certificates of receipts of a size",
            _answer("Signed notes, the newest first.", None, "text/plain"), 400, 404,
            parameters=(_SIZE,),
        )
    },
    "/api/v1/receipt-certificate": {
        "get": _operation("The certificate of the receipt key", _answer("A signed note.", None, "text/plain"))
    },
    "/api/v1/openapi.json": {"get": _operation("This document", _answer("It.", {"type": "object"}))},
    "/api/v1/tokens": {
        "get": _operation(
            "Every token", _answer("Them.", _object({"tokens": _list(_ref("Token"))})), scope="admin"
        ),
        "post": _operation(
            "Make a token",
            _answer("Its secret, shown this once.", _object({"secret": _text("gvn_…"), "token": _ref("Token")})), 400,
            scope="admin", body=_json(_object(_TOKEN_FIELDS)), status=201,
        ),
    },
    "/api/v1/tokens/{token}": {
        "delete": _operation(
            "Revoke a token", _answer("It.", _ref("Token")), 400, scope="admin",
            parameters=(_path("token", "id or name"),),
        )
    },
    "/api/v1/sources": {
        "get": _operation(
            "Every source", _answer("Them.", _object({"sources": _list(_ref("Source"))})), scope="admin"
        ),
        "post": _operation(
            "Register a source", _answer("It.", _ref("Source")), 400, scope="admin",
            body=_json(_object({"name": _text("its name"), **_SOURCE_FIELDS})), status=201,
        ),
    },
    "/api/v1/sources/{source}": {
        "patch": _operation(
            "Change a source", _answer("It.", _ref("Source")), 400, scope="admin",
            parameters=(_path("source", "its name"),), body=_json(_object(_SOURCE_FIELDS)),
        ),
        "delete": _operation(
            "Retire a source", _answer("It.", _ref("Source")), 400, scope="admin",
            parameters=(_path("source", "its name"),),
        ),
    },
    "/api/v1/agents/{agent}": {
        "delete": _operation(
            "Revoke the key of an agent", _answer("It.", _ref("Agent")), 400, scope="admin",
            parameters=(_path("agent", "its name"),),
        )
    },
    "/api/v1/agent/enrol": {
        "post": _operation(
            "Make an agent known", _answer("It is.", {"type": "object"}), 400, scope="enrol", status=201,
            body=_json(
                _object({"enrolment": _text("a signed note, base64"), "silent_after_s": _maybe(_number("seconds"))})
            ),
        )
    },
    "/api/v1/agent/batches": {
        "post": _operation(
            "A signed batch of an agent", _answer("It is durable.", _object({"position": _ref("Position")})),
            400, 401, 409, 411, 413, 415, 429,
            body={"application/msgpack": {"schema": _text("the records; docs/format.md")}},
        )
    },
    "/api/v1/agent/heartbeats": {
        "post": _operation(
            "A signed heartbeat of an agent", _answer("It counts.", _object({"position": _ref("Position")})),
            400, 401, 409, body={"text/plain": {"schema": _text("a signed note")}},
        )
    },
    "/log/checkpoint": {
        "get": _operation("The published checkpoint (C2SP)", _answer("A signed note.", None, "text/plain"))
    },
    "/log/anchor": {
        "get": _operation(
            "The newest time stamp, with its checkpoint", _answer("graven-anchor/v1.", None, "text/plain"), 404
        )
    },
    "/log/handover/{number}": {
        "get": _operation(
            "A hand-over of the signing keys", _answer("Evidence of the log's own event.", {"type": "object"}), 404,
            parameters=(_path("number", "from 1"),),
        )
    },
    "/log/tile/{path}": {
        "get": _operation(
            "A tile or entry bundle (C2SP tlog-tiles)", _answer("Bytes.", None, "application/octet-stream"), 404,
            parameters=(_path("path", "L/N[.p/W] or entries/N[.p/W]"),),
        )
    },
    "/anchors": {
        "get": _operation(
            "The newest anchors, by their paths", _answer("Paths.", _object({"anchors": _list(_text("a path"))}))
        )
    },
    "/anchors/{day}/{name}": {
        "get": _operation(
            "An anchored checkpoint, as DIR/anchors/ holds it", _answer("graven-anchor/v1.", None, "text/plain"), 404,
            parameters=(_path("day", "YYYY-MM-DD"), _path("name", "as the list has it")),
        )
    },
    "/logs/{path}": {
        "get": _operation(
            "Kept for further logs", _answer("Nothing yet."), 404, parameters=(_path("path", "anything"),)
        )
    },
    "/health/live": {"get": _operation("Whether the process answers", _answer("It does.", {"type": "object"}))},
    "/health/ready": {"get": _operation("Whether events can be appended", _answer("They can.", {"type": "object"}))},
    "/metrics": {"get": _operation("Prometheus metrics", _answer("Text.", None, "text/plain"))},
}  # fmt: skip
