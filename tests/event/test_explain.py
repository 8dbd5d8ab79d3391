"""What a producer reads when an event is refused: what, where, how to mend it, and never a value."""

import json

import pytest

from graven.core.errors import BadInput
from graven.event import decode_event


def refusal_of(slice_: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        decode_event(slice_)
    return caught.value


@pytest.mark.parametrize(
    ("event", "path", "what", "mend"),
    [
        # unknown fields: near names, names others use, names that live elsewhere, and none of these
        ('{"action":"x","acter":{}}', "$.acter", "the field is unknown", "`actor`"),
        ('{"action":"x","actor":{"foo":1}}', "$.actor.foo", "the field is unknown", "`labels` or `data`"),
        ('{"action":"x","actor":{"emial":1}}', "$.actor.emial", "the field is unknown", "`email`"),
        ('{"action":"x","actor":{"on_behalf_of":{"nme":""}}}', "$.actor.on_behalf_of.nme", "unknown", "`name`"),
        ('{"action":"x","targets":[{},{"idd":1}]}', "$.targets[1].idd", "the field is unknown", "`id`"),
        ('{"action":"x","targets":[{"scope":{"zone":1}}]}', "$.targets[0].scope.zone", "unknown", "`data`"),
        ('{"action":"x","changes":[{"before":1}]}', "$.changes[0].before", "the field is unknown", "`data`"),
        ('{"action":"x","timestamp":"now"}', "$.timestamp", "the field is unknown", "`time`"),
        ('{"action":"x","user":"root"}', "$.user", "the field is unknown", "`actor`"),
        ('{"action":"x","ip":"::1"}', "$.ip", "the field is unknown", "`origin`"),
        ('{"action":"x","a b":1}', '$["a b"]', "the field is unknown", "`labels` or `data`"),
        ('{"action":"x","\\u202e\\n":1}', '$["\\u202e\\n"]', "the field is unknown", "`labels` or `data`"),
        # missing and empty
        ('{"id":"1"}', "$.action", "a required field is missing", "say what was done"),
        ("{}", "$.action", "a required field is missing", "say what was done"),
        ('{"action":""}', "$.action", "the value is empty", "write a text"),
        ('{"action":"x","id":""}', "$.id", "the value is empty", "write a text"),
        # types
        ('{"action":1}', "$.action", "expected str, got int", "a string"),
        ('{"action":null}', "$.action", "expected str, got null", "a string"),
        ('{"action":"x","actor":"root"}', "$.actor", "expected object, got str", "an object"),
        ('{"action":"x","targets":{}}', "$.targets", "expected array, got object", "an array"),
        ('{"action":"x","targets":[null]}', "$.targets[0]", "expected object, got null", "an object"),
        ('{"action":"x","labels":{"a":"1","b":2}}', "$.labels.b", "expected str, got int", "labels are strings"),
        ('{"action":"x","labels":{"a b":null}}', '$.labels["a b"]', "expected str, got null", "labels are strings"),
        ('{"action":"x","redacted":["$",1]}', "$.redacted[1]", "expected str, got int", "a string"),
        ('{"action":"x","time":1700000000}', "$.time", "expected a time as a string, got int", "RFC 3339"),
        # words
        ('{"action":"x","verb":"crate"}', "$.verb", "the closed list", "`create`"),
        ('{"action":"x","verb":"READ"}', "$.verb", "the closed list", "`read`"),
        ('{"action":"x","outcome":"ok"}', "$.outcome", "the closed list", "success, failure, denied, unknown"),
        ('{"action":"x","severity":"info"}', "$.severity", "the closed list", "informational"),
        ('{"action":"x","category":"zzz"}', "$.category", "the closed list", "authentication, permission"),
        # numbers
        ('{"action":"x","count":-1}', "$.count", "out of range", "0 to 9223372036854775807"),
        ('{"action":"x","bytes":9223372036854775808}', "$.bytes", "out of range", "0 to 9223372036854775807"),
        ('{"action":"x","count":1.0}', "$.count", "expected int, got float", "an integer"),
        ('{"action":"x","count":true}', "$.count", "expected int, got bool", "an integer"),
        ('{"action":"x","derived_from":[3,-3]}', "$.derived_from[1]", "out of range", "0 to"),
        ('{"action":"x","data":1e999}', "$.data", "out of range", "write it as a string"),
        ('{"action":"x","data":{"a":[0,{"b c":-1e999}]}}', '$.data.a[1]["b c"]', "out of range", "as a string"),
        ('{"action":"x","changes":[{"old":{"n":1%s}}]}' % ("0" * 4300), "$.changes[0].old.n", "range", "as a string"),
        # times
        ('{"action":"x","time":"2026-03-02"}', "$.time", "not RFC 3339", "2026-03-01T08:30:00.123Z"),
        ('{"action":"x","time":"2026-03-02T08:00:00"}', "$.time", "names no zone", "2026-03-01T08:30:00.123Z"),
        ('{"action":"x","time":"2026-03-02T08:00:00+01:00"}', "$.time", "not in UTC", "Z at its end"),
        ('{"action":"x","time":"2016-12-31T23:59:60Z"}', "$.time", "not RFC 3339", "leap second"),
        ('{"action":"x","time":"2026-02-30T08:00:00Z"}', "$.time", "not RFC 3339", "RFC 3339"),
        # syntax
        ('{"action":"x",}', "$", "malformed: trailing comma in object (byte 14)", "well-formed"),
        ('{"action":"x"}}', "$", "malformed: trailing characters", "NDJSON"),
        ('{"action":"x"}{"action":"y"}', "$", "malformed: trailing characters (byte 15)", "NDJSON"),
        ('{"action":"x}', "$", "ends too early", "was it cut?"),
        ('{"action":NaN}', "$", "malformed: invalid character (byte 10)", "NaN and Infinity"),
        ('{"action":"x","data":[-Infinity]}', "$", "malformed", "NaN and Infinity"),
        ('{"action":"\\ud800"}', "$", "", "pair"),
        ('{"action":"x","data":{"\\udc00":1}}', "$", "", "pair"),
        ("\ufeff{}", "$", "a byte order mark", "without a byte order mark"),
        ("[]", "$", "expected object, got array", "one JSON object an event"),
        ("", "$", "ends too early", "was it cut?"),
        (' {"action":"x"}', "$", "white space around", "from { to }"),
        ('{"action":"x"}\n', "$", "white space around", "from { to }"),
    ],
)
def test_what_path_and_mend(event: str, path: str, what: str, mend: str) -> None:
    refused = refusal_of(event.encode())
    assert refused.place == path
    assert what in refused.what
    assert mend in refused.mend
    assert refused.exit_code == 2


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
def test_bytes_that_are_not_utf_8(bad: bytes) -> None:
    for slice_ in (b'{"action":"%s"}' % bad, b'{"action":"x","data":{"k%s":1}}' % bad, b'{"action":"x","%s":1}' % bad):
        refused = refusal_of(slice_)
        assert refused.what == f"the event is not valid UTF-8 (byte {slice_.index(bad)})"
        assert refused.place == "$"


def test_a_long_key_is_cut() -> None:
    refused = refusal_of(json.dumps({"action": "x", "k" * 100_000: 1}).encode())
    assert refused.place == "$[" + json.dumps("k" * 64 + "...") + "]"


@pytest.mark.parametrize("rest", [",,", ',"data":' + "[" * 100_000])
def test_a_label_that_is_no_string_before_worse_things(rest: str) -> None:
    refused = refusal_of(b'{"action":"x","labels":{"a":1}%s}' % rest.encode())
    assert refused.place == "$.labels[...]"


def test_words_never_hold_a_value() -> None:
    for document in (
        {"action": "x", "verb": "hunter2"},
        {"action": "x", "time": "hunter2"},
        {"action": "x", "count": "hunter2"},
        {"action": "x", "labels": {"password": ["hunter2"]}},
        {"action": "x", "actor": "hunter2"},
        {"action": "x", "password": "hunter2"},
        {"action": ["hunter2"]},
    ):
        assert "hunter2" not in str(refusal_of(json.dumps(document).encode()))


def test_a_key_cannot_steer_the_words() -> None:
    """A key that imitates the JSON library's own wording ends up inside a path at worst."""
    for key in (
        "a` - at `$.actor",
        "`",
        "``",
        "\n",
        "a`\n - at `$.b",
        "' - at `$.labels[...]",
        "a` - at `$.labels[...]",
    ):
        refused = refusal_of(json.dumps({"action": "x", key: 1}).encode())
        assert refused.what == "the field is unknown"
        assert refused.place.startswith("$")
        assert refused.place.isprintable()
