"""Secrets are gone from event and raw; everything else is as it was; and it takes time in proportion to the length."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graven.config.ingest import build_redactor
from graven.config.model import RedactionConfig
from graven.core.errors import BadInput
from graven.event import Event, decode_event
from graven.ingest import Pipeline, Record
from graven.ingest.detectors import DETECTORS
from graven.ingest.redact import REDACTED_MAX, SecretRedactor
from graven.ingest.redact_paths import parse_path

ALL = SecretRedactor(detect=DETECTORS)
KEY = b"k" * 32
TRAIL: dict[str, Any] = {
    "eventVersion": "1.10", "eventID": "e1", "eventTime": "2026-03-02T08:14:31Z", "eventSource": "rds.amazonaws.com",
    "eventName": "CreateDBInstance", "awsRegion": "eu-central-1", "recipientAccountId": "111122223333",
    "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/mara", "accessKeyId": "AKIAEXAMPLE"},
    "requestParameters": {
        "masterUserPassword": "Zt9!kk\\u00e9-x", "note": "a", "size": 3, "nested": {"deep": [1, {"pin": "4711"}]},
    },
}  # fmt: skip
SECRETS = {
    "private-key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\nabc\n-----END RSA PRIVATE KEY-----",
    "aws": "aws_secret_access_key=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12",
    "azure": "AccountKey=abcdEFGH0123456789abcdEFGH0123456789abcdEFGH==",
    "google": "AIza" + "x" * 35,
    "github": "ghp_" + "A1b2" * 9,
    "slack": "xoxb-1234567890-abcdefghij",
    "anthropic": "sk-ant-api03-abcdefghijklmnop_0123",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl",
    "bearer": "Authorization: Bearer abcdef0123456789ABCDEF",
    "url": "postgres://app:s3cr3t-pw@db01/prod",
    "flag": "backup --password s3cr3t-pw --to x",
    "assigned": "PGPASSWORD=s3cr3t-pw psql",
    "sql": "CREATE ROLE x PASSWORD 's3cr3t-pw'",
    "json in text": '{\\"password\\": \\"s3cr3t-pw\\"}',
    "card": "paid with 4111 1111 1111 1111 today",
}
GONE = (
    "MIIEow", "wJalrX", "abcdEFGH0", "AIzax", "ghp_A", "xoxb-1", "sk-ant-api", "eyJzdWIi", "abcdef0123456789A",
    "s3cr3t-pw",     "1111 1111",
)  # fmt: skip


LEAVES = st.none() | st.integers() | st.text(max_size=10) | st.sampled_from(list(SECRETS.values()))
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "a", "b.c", "token", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)


def run(raw: bytes, redactor: SecretRedactor, type_: str = "") -> tuple[dict[str, Any], bytes, bool]:
    (made,) = Pipeline(redactor=redactor).run([Record(raw, type_)])
    assert made.raw is not None
    decode_event(made.event)
    return json.loads(made.event), made.raw, made.redacted


@pytest.mark.parametrize("name", SECRETS)
def test_each_kind_in_a_line_and_in_json(name: str) -> None:
    for raw in (
        f"<86>Mar  2 08:14:31 web01 sudo: mara : TTY=a ; PWD=/ ; USER=root ; COMMAND=/bin/x {SECRETS[name]}".encode(),
        json.dumps(TRAIL | {"requestParameters": {"text": f"see {SECRETS[name]} there"}}).encode(),
    ):
        event, sealed, redacted = run(raw, ALL)
        whole = json.dumps(event) + sealed.decode()
        assert redacted and event["redacted"]
        assert not [gone for gone in GONE if gone in whole], whole
        assert "redacted:" in whole


def test_nothing_found_is_the_same_object() -> None:
    event, raw = Event(action="a", message="Failed password for root; the token was renewed"), b"plain"
    assert ALL.apply(event, raw) == (event, raw)
    assert ALL.apply(event, raw)[0] is event and ALL.apply(event, raw)[1] is raw
    assert ALL.apply_raw(raw) is raw


def test_a_json_raw_changes_in_the_value_alone() -> None:
    raw = json.dumps(TRAIL, indent=1).encode()
    event, sealed, _ = run(raw, SecretRedactor(rules=[parse_path("**.masterUserPassword")]))
    before, after = raw.split(b'"masterUserPassword": ')
    rest = after[after.index(b",") :]
    assert sealed == before + b'"masterUserPassword": "[redacted:rule]"' + rest
    assert event["data"]["requestParameters"]["masterUserPassword"] == "[redacted:rule]"
    assert event["redacted"] == [
        "$.data.requestParameters.masterUserPassword", "raw:$.requestParameters.masterUserPassword",
    ]  # fmt: skip


def test_members_with_telling_names() -> None:
    event, sealed, _ = run(json.dumps(TRAIL).encode(), SecretRedactor(detect=["password"]))
    assert event["data"]["requestParameters"]["masterUserPassword"] == "[redacted:password]"
    assert json.loads(sealed)["requestParameters"] == TRAIL["requestParameters"] | {
        "masterUserPassword": "[redacted:password]"
    }


def test_drop_and_hash() -> None:
    rules = [parse_path("**.nested", "drop"), parse_path("raw:userIdentity.accessKeyId", "hash")]
    event, sealed, _ = run(json.dumps(TRAIL).encode(), SecretRedactor(rules=rules, key=KEY))
    found = json.loads(sealed)
    assert found["requestParameters"]["nested"] is None
    assert "nested" not in event["data"]["requestParameters"]
    stand_in = found["userIdentity"]["accessKeyId"]
    assert stand_in.startswith("[hmac:") and len(stand_in) == 6 + 32 + 1
    assert event["actor"]["credential"] == stand_in, "the event quotes the raw, so the value is gone there, too"
    assert run(json.dumps(TRAIL).encode(), SecretRedactor(rules=rules, key=b"o" * 32))[1] != sealed


def test_audit_records_hide_a_secret_in_hexadecimal() -> None:
    command = "mysql --password=s3cr3t-pw"
    fields = f"cmd={command.encode().hex().upper()} res=success"
    raw = f"type=USER_CMD msg=audit(1.000:1): pid=1 uid=0 auid=1000 ses=1 msg='{fields}'"
    event, sealed, _ = run(raw.encode(), SecretRedactor(detect=["password"]))
    assert event["message"] == "mysql --password=[redacted:password]"
    assert b"s3cr3t-pw".hex().upper().encode() not in sealed and b"cmd=" in sealed


@pytest.mark.parametrize(
    "spelled",
    [r"x --password\u003ds3cr3t-pw", r"x --password=s3cr3t\u002dpw", r"x \u002d-password=s3cr3t-pw",
     r"PGPASSWORD\u003d\u0073\u0033cr3t-pw y"],
)  # fmt: skip
def test_escapes_hide_no_secret(spelled: str) -> None:
    """Some libraries write `=` and quotes as escapes; what is read there is the same secret."""
    raw = json.dumps(TRAIL | {"requestParameters": {"cmd": "HERE"}}).replace("HERE", spelled).encode()
    event, sealed, _ = run(raw, SecretRedactor(detect=["password"]))
    assert "s3cr3t" not in json.dumps(event) + json.dumps(json.loads(sealed))


def test_an_escaped_name_is_that_name() -> None:
    raw = json.dumps(TRAIL).replace('"masterUserPassword"', '"masterUserPass\\u0077ord"').encode()
    event, sealed, _ = run(raw, SecretRedactor(detect=["password"]))
    assert TRAIL["requestParameters"]["masterUserPassword"] not in json.dumps(event) + json.dumps(json.loads(sealed))


def test_of_a_member_that_stands_twice_both_go() -> None:
    raw = json.dumps(TRAIL).replace('"note": "a"', '"password": "s3cr3t-1", "password": "s3cr3t-2"').encode()
    _, sealed, _ = run(raw, SecretRedactor(detect=["password"]))
    assert b"s3cr3t" not in sealed


def test_the_model_stays_whole() -> None:
    """Rules cannot take a required or closed field out, and the event stays an event."""
    rules = [
        parse_path(path, "drop")
        for path in ("action", "event:verb", "event:time", "event:actor", "event:**.name", "event:labels.*")
    ]
    event, _, _ = run(json.dumps(TRAIL).encode(), SecretRedactor(rules=rules))
    assert event["action"] and event["verb"] == "create" and event["time"] and event["actor"]


def test_a_quarantined_record_is_redacted_and_its_hash_is_not_told() -> None:
    raw = b'{"broken": true, "password": "s3cr3t-pw"'
    (made,) = Pipeline(redactor=ALL).run([Record(raw)])
    assert made.quarantined and made.raw is not None and b"s3cr3t" not in made.raw
    event = json.loads(made.event)
    assert event["redacted"] == ["raw"]
    assert hashlib.sha256(raw).hexdigest() not in made.event.decode()


def test_what_is_redacted_twice_is_redacted_once() -> None:
    raw = json.dumps(TRAIL | {"requestParameters": {"a": SECRETS["url"], "token": "abcdefgh1"}}).encode()
    _, once, _ = run(raw, ALL)
    _, twice, redacted = run(once, ALL)
    assert twice == once and not redacted


def test_the_list_is_bounded() -> None:
    many = {f"k{number}": {"password": f"s3cr3t-{number}"} for number in range(REDACTED_MAX * 2)}
    event, _, _ = run(json.dumps(TRAIL | {"requestParameters": many}).encode(), ALL)
    assert len(event["redacted"]) == REDACTED_MAX and event["redacted"][-1].endswith("more")


def test_ids_that_are_no_secrets_stay() -> None:
    raw = json.dumps(
        TRAIL | {"requestParameters": {"id": "4111111111111112", "sha": "a" * 40, "uuid": "0b1c-22"}}
    ).encode()
    assert run(raw, ALL)[1] == raw


@pytest.mark.parametrize("path", ["", "a..b", "**", "*.*", "a.", 'a."b', "event:", "raw:**"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(BadInput, match="not a path"):
        parse_path(path)


def test_configuration(tmp_path: Any) -> None:
    assert build_redactor(RedactionConfig()) is None
    with pytest.raises(BadInput, match="no key"):
        build_redactor(RedactionConfig(hash=("a.b",)))
    key = tmp_path / "key"
    with pytest.raises(BadInput, match="cannot be read"):
        build_redactor(RedactionConfig(hash=("a.b",), key_file=str(key)))
    key.write_bytes(b"short")
    key.chmod(0o600)
    with pytest.raises(BadInput, match="fewer than 32"):
        build_redactor(RedactionConfig(hash=("a.b",), key_file=str(key)))
    key.write_bytes(KEY)
    key.chmod(0o644)
    with pytest.raises(BadInput, match="read by others"):
        build_redactor(RedactionConfig(hash=("a.b",), key_file=str(key)))
    key.chmod(0o600)
    assert build_redactor(RedactionConfig(hash=("a.b",), key_file=str(key))) is not None


@pytest.mark.parametrize(
    "piece",
    ["-", "a", "1", "1 ", "4", "=", ":", "://", "://a:", "a@", "\"", "\\\"", "{", "[",
     "password", "password=", "token ", "eyJ", "eyJa.", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
     "--password ", "secret_", " ", "\\", "A_", "Bearer ", "é"],
)  # fmt: skip
def test_long_texts_take_little_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    hinted = text + " password=x1y2z3 token=secret_key -----BEGIN PRIVATE KEY----- ://a:b@ bearer eyJ sig= 4111"
    ALL.apply_raw(hinted.encode())
    ALL.apply_raw(json.dumps({"a": hinted, "password": text}).encode())
    ALL.apply(Event(action="a", message=hinted[:1000], data={"t": hinted}), b"x")


@given(VALUES, st.booleans())
@settings(max_examples=150)
def test_any_json_stays_json(value: Any, ascii_only: bool) -> None:
    rules = [parse_path("**.a"), parse_path("raw:b.*", "drop")]
    raw = json.dumps({"x": value}, ensure_ascii=ascii_only).encode()
    sealed = SecretRedactor(detect=DETECTORS, rules=rules).apply_raw(raw)
    json.loads(sealed, strict=False)
    changed, _ = SecretRedactor(detect=DETECTORS, rules=rules).apply(Event(action="x", data=value), raw)
    assert changed.action == "x"


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    redactor = SecretRedactor(detect=DETECTORS, rules=[parse_path("**.a")])
    assert redactor.apply_raw(raw) == raw or b"redacted" in redactor.apply_raw(raw)
    redactor.apply_raw(b'{"a": ' + raw + b"}")
