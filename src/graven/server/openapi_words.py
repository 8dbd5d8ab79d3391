"""The words of the OpenAPI document: what an operation, a parameter, a schema is spelled like."""

from typing import Any

JsonObject = dict[str, Any]

STATUSES = {
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


def object_(properties: JsonObject) -> JsonObject:
    return {"type": "object", "properties": properties}


def text(meaning: str) -> JsonObject:
    return {"type": "string", "description": meaning}


def number(meaning: str) -> JsonObject:
    return {"type": "integer", "minimum": 0, "description": meaning}


def maybe(schema: JsonObject) -> JsonObject:
    return {"anyOf": [schema, {"type": "null"}], "description": schema.get("description", "")}


def ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def listed(item: JsonObject, meaning: str = "") -> JsonObject:
    return {"type": "array", "items": item, "description": meaning}


def path_part(name: str, meaning: str, schema: JsonObject | None = None) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema or text(meaning)}


def query_part(name: str, meaning: str, *values: str) -> JsonObject:
    schema: JsonObject = {"type": "string"} | ({"enum": list(values)} if values else {})
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def number_part(name: str, meaning: str, **bounds: int) -> JsonObject:
    return {"name": name, "in": "query", "description": meaning, "schema": {"type": "integer", **bounds}}


def answer(meaning: str, schema: JsonObject | None = None, media: str = "application/json") -> JsonObject:
    return {"description": meaning, "content": {media: {"schema": schema or {"type": "string"}}}}


def operation(
    summary: str,
    good: JsonObject,
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
            str(status): good,
            **{str(code): answer(STATUSES[code], ref("Error")) for code in refusals},
        },
        "security": [{"token": [scope]}] if scope else [],
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def as_json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}
