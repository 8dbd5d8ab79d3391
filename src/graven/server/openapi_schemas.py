"""What the HTTP API's JSON looks like, as schemas of the OpenAPI document."""

from graven.server.openapi_words import JsonObject, listed, maybe, number, object_, ref, text

TOKEN_FIELDS = {
    "name": text("1 to 64 letters, digits and . _ @ -"),
    "scopes": listed(
        text("ingest, ingest:SOURCE, read, admin, enrol, challenge"), "ingest alone: the source named after the token"
    ),
    "owner": text("who answers for it"),
    "expires": maybe(text("RFC 3339; null: never")),
}
SOURCE_FIELDS = {
    "type": text("what kind of producer"),
    "owner": text("who answers for it"),
    "grade": text("provenance grade"),
    "class": text("the class of its events"),
    "classes": listed(text("a class"), "further classes its events may name"),
    "expect_s": maybe(number("seconds within which something is due")),
}
SCHEMAS: dict[str, JsonObject] = {
    "Error": {
        "error": object_(
            {
                "kind": text("bad_input, disproved, broken or busy"),
                "what": text("what is wrong"),
                "place": text("where"),
                "mend": text("what to do"),
                "errors": listed(
                    object_(
                        {
                            "position": maybe(number("0-based among the events sent; null: the body")),
                            "path": text("JSON path"),
                            "what": text("what is wrong"),
                            "mend": text("what to do"),
                        }
                    ),
                    "each bad event, at most 100",
                ),
                "expected": text("of disproved"),
                "found": text("of disproved"),
                "retry_after_s": number("of busy"),
            }
        )
    },
    "Appended": {
        "accepted": number("events newly stored"),
        "first_index": maybe(number("index of the first of them; they stand in a row")),
        "size": number("the tree's size after them"),
        "duplicates": listed(
            object_({"position": number("in the request"), "index": number("of the first copy")}), "stored before"
        ),
        "state": {
            "type": "string", "enum": ["committed", "published", "timestamped"], "description": "the state reached",
        },
        "missing": text("only where the state asked for was not reached: why"),
        "timestamp": object_(
            {"authority": text("its name"), "time": text("RFC 3339"), "size": number("of the stamped tree")}
        ),
        "receipt": text("graven-receipt/v1, a signed note"),
        "opened": {"type": "object", "description": "with receipt=full: what the producer checks the receipt with"},
    },
    "StoredEvent": {
        "index": number("0-based"),
        "state": text("committed or published"),
        "content": text("readable, erased or unreadable"),
        "head": maybe(
            object_(
                {
                    "source": number("its number in the register"),
                    "source_name": text("its name"),
                    "received": text("RFC 3339, the log's clock"),
                    "received_us": number("the same, µs since the epoch"),
                }
            )
        ),
        "class": text("retention class"),
        "event": maybe(ref("Event")),
        "raw": maybe(text("base64: what the producer sent, if that was not the event itself")),
        "entry": maybe(text("hex: the 32-byte commitment in the tree")),
        "proved": maybe(
            object_({"by": text("checkpoint or frame"), "size": number("tree size"), "root": text("base64")})
        ),
        "duplicate_keys": listed(text("JSON path"), "keys that stand twice: other readers may take the other one"),
        "erasure_index": maybe(number("the event that names the erasure")),
    },
    "Status": {
        "origin": text("name of the log"),
        "size": number("committed entries"),
        "published": object_(
            {
                "size": number("entries the checkpoint covers"),
                "root": text("base64"),
                "time": text("when it was signed"),
                "signatures": number("the log's own"),
                "state": text("who vouches for it"),
            }
        ),
        "version": text("of the server"),
        "note": text("what this cannot show"),
        "state": text("working, stopping or stopped"),
        "queue": {"type": "object"},
        "window": {"type": "object"},
        "journal": {"type": "object"},
    },
    "Token": {"id": text("tok_…"), **TOKEN_FIELDS, "sources": listed(text("it may append as")),
              "revoked": {"type": "boolean"}, "last_used": maybe(text("RFC 3339"))},
    "Source": {"number": number("in the head of its events"), "name": text("its name"), **SOURCE_FIELDS,
               "retired": {"type": "boolean"}},
    "SourceState": {
        "number": number("in the head of its events"), "name": text("its name"), **SOURCE_FIELDS,
        "retired": {"type": "boolean"}, "state": text("seen, unseen, missing, gone, revoked or retired"),
        "last_seen": maybe(text("when its last event was received, RFC 3339")), "agent": maybe(ref("Agent")),
        "activity": maybe(ref("Activity")),
    },
    "Activity": {
        "since": text("from when the rest is counted, RFC 3339"), "events": number("newly stored"),
        "rate_1m": {"type": "number"}, "rate_1h": {"type": "number"},
        "lag_ms": maybe(number("from the time an event claims to its receipt, sampled")),
        "clock_ahead_ms": maybe({"type": "integer", "description": "its clock against ours; below 0: behind"}),
        "duplicates": number("stored before"), "quarantined": number("could not be read"),
        "refused": number("requests"), "gaps": number("of an agent's batches"), "replays": number("of batches"),
        "forks": number("other batches under numbers taken"), "forged": number("batches that were not its own"),
        "heartbeat": maybe(text("of its agent, RFC 3339")),
    },
    "Imported": {
        "accepted": number("events newly stored"), "duplicates": number("stored before"),
        "quarantined": number("could not be read"), "size": number("the tree's size after them"),
    },
    "ImportedFile": {
        "records": number("of it that are in the log"), "events": number("that came of them"),
        "quarantined": number("of these"), "done": {"type": "boolean"},
    },
    "Agent": object_({
        "name": text("its name, and its source's"), "vkey": text("its public key"),
        "sequence": number("of its last batch"), "sent": maybe(text("when that was made, RFC 3339")),
        "ended": {"type": "boolean"}, "revoked": {"type": "boolean"},
    }),
    "Position": object_({
        "sequence": number("of the agent's last batch here"), "digest": text("of its statement, base64"),
        "challenge": text("for the next heartbeat, base64"),
    }),
}  # fmt: skip
