"""The doors that speak to shippers, over a real socket."""

import base64
import gzip
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cramjam import snappy

from graven.app import create_log
from graven.config import Config, WebhookConfig, load_config, parse_config
from graven.core.errors import BadInput
from graven.core.receipt import open_receipt
from graven.keys.signature import verify_signature
from ingest.protocol.wire import number, part
from server.running import ORIGIN, STARTED_S_MAX, Answer, GatedFiles, Server
from server.test_intake import small_intake

SECRET = b"a secret of some length"
EVENT = b'{"action":"file.read","actor":{"id":"u-1"}}'
TRAIL = (
    b'{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"%b",'
    b'"eventTime":"2026-03-02T08:14:31Z","awsRegion":"eu-central-1","userIdentity":{"type":"IAMUser","userName":"mara"}}'
)
PUSH = b'{"streams":[{"stream":{"job":"a"},"values":[["1700000000000000001",%b]]}]}'
LOGS = (
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000001",'
    b'"body":{"stringValue":%b}}]}]}]}'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("shippers") / "log"
    create_log(directory, origin=ORIGIN)
    secret = directory / "secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    config = load_config(directory / "graven.toml")
    hooks = {
        "gh": WebhookConfig(kind="github", secret_files=(str(secret),), source="github"),
        "lab": WebhookConfig(kind="gitlab", secret_files=(str(secret),)),
    }
    with Server(directory, msgspec.structs.replace(config, webhooks=hooks)) as running:
        yield running


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.token("ingest", "read")


def post(server: Server, path: str, body: bytes, token: str | None, **headers: str) -> Answer:
    return server.ask("POST", path, body, token=token, headers={key.replace("_", "-"): v for key, v in headers.items()})


def stored(server: Server, token: str, answer: Answer) -> list[Any]:
    """What a request stored."""
    first, count = int(answer.headers["graven-first-index"]), int(answer.headers["graven-accepted"])
    return [server.ask("GET", f"/api/v1/events/{at}", token=token).json() for at in range(first, first + count)]


CREDENTIALS = ["Bearer {}", "Splunk {}", "splunk {}", "ApiKey {}", "ApiKey {b64}", "Basic {b64}", "bearer  {}"]
REQUESTS = [
    ("/services/collector/event", b'{"event":%b}' % EVENT, "application/json"),
    ("/services/collector/raw", EVENT, "text/plain"),
    ("/_bulk", b'{"create":{}}\n%b\n' % EVENT, "application/x-ndjson"),
    ("/logs/_bulk", b'{"index":{}}\n%b\n' % EVENT, "application/x-ndjson"),
    ("/loki/api/v1/push", PUSH % json.dumps(EVENT.decode()).encode(), "application/json"),
    ("/v1/logs", LOGS % json.dumps(EVENT.decode()).encode(), "application/json"),
    ("/ingest", EVENT, "application/json"),
    ("/ingest/graven", b"[%b]" % EVENT, "application/json"),
]


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_the_token_is_the_credential_of_every_client(server: Server, token: str, credential: str) -> None:
    value = credential.format(token, b64=base64.b64encode(b"any:" + token.encode()).decode())
    assert post(server, "/services/collector", b'{"event":%b}' % EVENT, None, Authorization=value).status == 200


@pytest.mark.parametrize(
    "credential",
    ["", "Bearer x", "Splunk", "Basic !!", "Basic eA==", "ApiKey gvn_x", "Splunk " + "x" * 2000, "Bearer é"],
)
@pytest.mark.parametrize(("path", "body", "kind"), REQUESTS, ids=lambda value: str(value)[:20])
def test_without_a_good_token_nothing_is_stored(
    server: Server, path: str, body: bytes, kind: str, credential: str
) -> None:
    before = server.size
    headers = {"Authorization": credential} if credential else {}
    answer = post(server, path, body, None, Content_Type=kind, **headers)
    assert answer.status == 401 and "www-authenticate" in answer.headers
    assert server.size == before


@pytest.mark.parametrize(("path", "body", "kind"), REQUESTS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_every_door_stores_and_gives_a_receipt(
    server: Server, token: str, path: str, body: bytes, kind: str, encoding: str
) -> None:
    sent, headers = (gzip.compress(body), {"Content_Encoding": encoding}) if encoding else (body, {})
    answer = post(server, path, sent, token, Content_Type=kind, **headers)
    assert answer.status in (200, 204), answer.body
    note = base64.b64decode(answer.headers["graven-receipt"])
    certificate = server.ask("GET", "/api/v1/receipt-certificate").body
    receipt = open_receipt(note, certificate, server.keys, verify_signature)
    assert receipt.size == int(answer.headers["graven-size"])
    if "graven-duplicates" not in answer.headers:
        (one,) = stored(server, token, answer)
        assert one["event"] == json.loads(EVENT) and one["head"]["source_name"] == "web"


def test_a_token_of_several_sources_chooses_by_header(server: Server) -> None:
    for name in ("hec-a", "hec-b"):
        server.control.create_token(f"maker-of-{name}", ("ingest",))
    secret = server.token("ingest:maker-of-hec-a", "ingest:maker-of-hec-b", "read", name="two")
    answer = post(server, "/ingest", EVENT, secret, Graven_Source="maker-of-hec-b")
    assert stored(server, secret, answer)[0]["head"]["source_name"] == "maker-of-hec-b"
    assert post(server, "/ingest", EVENT, secret, Graven_Source="web").status == 403


# The HTTP Event Collector


def test_hec_says_what_splunk_says(server: Server, token: str) -> None:
    answer = post(server, "/services/collector/event/1.0", b'{"event":%b}' % EVENT, token)
    assert answer.json() == {"text": "Success", "code": 0}
    assert server.ask("GET", "/services/collector/health").json()["code"] == 17
    assert server.ask("GET", "/services/collector/health/1.0").status == 200
    assert (post(server, "/services/collector", b" ", token).json()["code"]) == 5
    missing, wrong = post(server, "/services/collector", b"{}", None), post(server, "/services/collector", b"{}", "x")
    assert (missing.json()["code"], wrong.json()["code"]) == (2, 3)


def test_one_bad_hec_event_does_not_fail_its_batch(server: Server, token: str) -> None:
    body = b'{"event":%b}\n{"event":{"no":"type"}}\n{"event":%b}' % (EVENT, EVENT)
    answer = post(server, "/services/collector", body, token)
    assert answer.status == 200
    assert answer.json()["invalid-event-number"] == 1 and len(answer.json()["quarantined"]) == 1
    kept = stored(server, token, answer)
    assert kept[1]["event"]["action"] == "graven.quarantined"
    assert base64.b64decode(kept[1]["raw"]) == b'{"no":"type"}'


def test_hec_acknowledges_what_is_durable_and_nothing_else(server: Server, token: str) -> None:
    def ask(channel: str, *ids: int) -> Any:
        return post(
            server, f"/services/collector/ack?channel={channel}", json.dumps({"acks": ids}).encode(), token
        ).json()

    sent = [
        post(server, "/services/collector", b'{"event":%b}' % EVENT, token, X_Splunk_Request_Channel="c-1").json()[
            "ackId"
        ]
        for _ in range(3)
    ]
    assert len(set(sent)) == 3
    assert ask("c-1", *sent, max(sent) + 1) == {"acks": {**{str(one): True for one in sent}, str(max(sent) + 1): False}}
    assert ask("c-2", *sent) == {"acks": {str(one): False for one in sent}}
    other = server.token("ingest", name="other-acker")
    theirs = post(server, "/services/collector/ack?channel=c-1", json.dumps({"acks": sent}).encode(), other).json()
    assert theirs == {"acks": {str(one): False for one in sent}}
    assert post(server, "/services/collector/ack", b'{"acks":[0]}', token).json()["code"] == 10
    assert post(server, "/services/collector/ack?channel=c-1", b"[", token).status == 400


def test_a_hec_batch_sent_again_is_stored_once(server: Server, token: str) -> None:
    body = b'{"event":{"action":"again"},"time":1700000000.25}{"event":{"action":"again"},"time":1700000000.25}'
    first, second = (post(server, "/services/collector", body, token) for _ in range(2))
    assert (first.headers["graven-accepted"], second.headers["graven-accepted"]) == ("2", "0")
    assert second.headers["graven-duplicates"] == "2" and second.json() == {"text": "Success", "code": 0}
    untimed = b'{"event":{"action":"again"}}'
    assert [post(server, "/services/collector", untimed, token).headers["graven-accepted"] for _ in range(2)] == [
        "1",
        "1",
    ]


# Elasticsearch


def test_the_handshake_of_elasticsearch(server: Server, token: str) -> None:
    root = server.ask("GET", "/", token=token)
    assert root.headers["x-elastic-product"] == "Elasticsearch"
    assert root.json()["tagline"] == "You Know, for Search" and root.json()["version"]["number"]
    assert server.ask("HEAD", "/", token=token).status == 200
    assert server.ask("GET", "/_license", token=token).json()["license"]["status"] == "active"
    assert server.ask("GET", "/_cluster/health", token=token).json()["status"] == "green"
    for path in ("/_ilm/policy/filebeat", "/_index_template/filebeat", "/_template/logstash", "/_data_stream/x"):
        assert server.ask("HEAD", path, token=token).status == 404
        assert server.ask("PUT", path, b"{}", token=token).json() == {"acknowledged": True}
    for path in ("/", "/_license", "/_bulk"):
        assert server.ask("GET", path).status == 401
    assert server.ask("GET", "/_search", token=token).status == 404


def test_bulk_answers_item_by_item(server: Server, token: str) -> None:
    body = (
        b'{"index":{"_index":"a","_id":"i-1"}}\n{"action":"one"}\n{"create":{}}\nnot json\n'
        b'{"delete":{"_id":"9"}}\n{"create":{"_id":"i-2"}}\n{"eventVersion":1}\n'
    )
    answer = post(server, "/idx/_bulk", body, token)
    said = answer.json()
    assert said["errors"] is True and isinstance(said["took"], int)
    rows = [
        (name, one["_index"], one["status"], one.get("failure_store"))
        for item in said["items"]
        for name, one in item.items()
    ]
    assert rows == [
        ("index", "a", 201, None), ("create", "idx", 201, "used"), ("delete", "idx", 400, None),
        ("create", "idx", 201, "used"),
    ]  # fmt: skip
    assert said["items"][2]["delete"]["error"]["reason"] == "this log only appends"
    first = int(answer.headers["graven-first-index"])
    assert [next(iter(item.values())).get("_seq_no") for item in said["items"]] == [first, first + 1, None, first + 2]


def test_a_document_with_an_id_is_stored_once(server: Server, token: str) -> None:
    body = b'{"create":{"_id":"trail-1"}}\n' + TRAIL % b"e-77" + b"\n"
    first, second = (post(server, "/_bulk", body, token).json()["items"][0]["create"] for _ in range(2))
    assert (first["status"], first["result"], second["status"], second["result"]) == (201, "created", 200, "noop")
    assert first["_seq_no"] == second["_seq_no"]


def test_a_client_that_drops_at_any_refusal_is_given_none(server: Server, token: str) -> None:
    """rsyslog's omelasticsearch, known by what it sends: it keeps what got no answer, and nothing else."""
    body = b'{"create":{}}\n{"action":"one"}\n'
    for path, method in (("/_bulk", "POST"), ("/_cat/health", "GET")):
        with pytest.raises(ConnectionError):  # closed, or reset where the body was not read yet
            server.ask(method, path, body if method == "POST" else None, token="wrong", headers={"Accept": "*/*"})
        assert server.ask(method, path, body, token="wrong", headers={"Accept": "*/*", "User-Agent": "x"}).status == 401
    assert server.ask("POST", "/_bulk", body, token=token, headers={"Accept": "*/*"}).status == 200
    assert server.ask("GET", "/_cat/health", token=token, headers={"Accept": "*/*"}).status == 200
    assert server.ask("POST", "/_bulk", b"\n", token=token, headers={"Accept": "*/*"}).status == 400


def test_an_empty_bulk_is_refused_as_elasticsearch_does(server: Server, token: str) -> None:
    answer = post(server, "/_bulk", b"\n", token)
    assert answer.status == 400 and answer.json()["error"]["type"] == "parse_exception"


# Loki, OTLP


def test_loki_by_protobuf_and_snappy(server: Server, token: str) -> None:
    entry = part(2, part(1, number(1, 1_700_000_001)), part(2, EVENT))
    block = bytes(snappy.compress_raw(part(1, part(1, b'{job="x"}'), entry)))
    answer = post(server, "/loki/api/v1/push", block, token, Content_Type="application/x-protobuf")
    assert (answer.status, answer.body) == (204, b"") and "content-length" not in answer.headers
    assert stored(server, token, answer)[0]["event"] == json.loads(EVENT)
    again = post(server, "/loki/api/v1/push", block, token, Content_Type="application/x-protobuf")
    assert (again.status, again.headers["graven-accepted"]) == (204, "0")


def test_a_snappy_bomb_is_refused(server: Server, token: str) -> None:
    bomb = b"\xff\xff\xff\xff\x0f" + b"\xfe\x01\x00" * 1000
    assert post(server, "/loki/api/v1/push", bomb, token).status == 413
    assert post(server, "/loki/api/v1/push", b"nonsense", token).status == 400


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_otlp_answers_in_kind(server: Server, token: str, kind: str) -> None:
    if kind == "application/json":
        good = LOGS % b'"user logged in"'
        bad = good.replace(b'"logRecords":[', b'"logRecords":[5,')
    else:
        record = part(2, part(5, part(1, b"user logged in")))
        good = part(1, part(2, record))
        bad = part(1, part(2, part(2, b"\x2a\x7f"), record))
    answer = post(server, "/v1/logs", good, token, Content_Type=kind)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.body == (b"{}" if kind == "application/json" else b"")
    warned = post(server, "/v1/logs", bad, token, Content_Type=kind)
    assert (
        warned.status == 200 and b"1 could not be read" in warned.body and warned.headers["graven-quarantined"] == "1"
    )
    refused = post(server, "/v1/logs", b"\xff", token, Content_Type=kind)
    assert refused.status == 400 and refused.headers["content-type"] == kind
    assert post(server, "/v1/logs", good, token, Content_Type="text/plain").status == 415


def test_an_otlp_record_that_nothing_else_knows_is_an_event(server: Server, token: str) -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    record = {
        "eventName": "user.role.granted", "severityText": "INFO", "traceId": "0a" * 16,
        "attributes": [{"key": "user.id", "value": {"stringValue": "u-9"}}],
    }  # fmt: skip
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    answer = post(server, "/v1/logs", json.dumps(body).encode(), token, Content_Type="application/json")
    event = stored(server, token, answer)[0]["event"]
    assert (event["action"], event["verb"], event["actor"]["id"]) == ("user.role.granted", "grant", "u-9")
    assert event["scope"]["project"] == "shop" and event["correlation"]["trace_id"] == "0a" * 16


# Records by type, CloudEvents


def test_records_of_a_stated_type(server: Server, token: str) -> None:
    container = b'{"Records":[%b,%b]}' % (TRAIL % b"c-1", TRAIL % b"c-2")
    answer = post(server, "/ingest/aws-cloudtrail", container, token)
    assert answer.json()["accepted"] == 2
    assert [one["event"]["id"] for one in stored(server, token, answer)] == ["c-1", "c-2"]
    bad = post(server, "/ingest/aws-cloudtrail", b'{"x":1}', token).json()
    assert bad["accepted"] == 1 and bad["quarantined"][0]["position"] == 0
    assert post(server, "/ingest/nothing-like-that", b"{}", token).status == 404
    assert post(server, "/ingest", b" \n", token).status == 400


def test_cloudevents_by_content_type(server: Server, token: str) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "subject": "order/1"}
    structured = post(
        server, "/api/v1/events", json.dumps(one).encode(), token, Content_Type="application/cloudevents+json"
    )
    assert structured.json()["accepted"] == 1
    event = stored(server, token, structured)[0]["event"]
    assert (event["action"], event["id"], event["targets"]) == ("order.created", "/shop#1", [{"id": "order/1"}])
    batch = json.dumps([one | {"id": "2"}, one | {"id": "3"}]).encode()
    kind = "application/cloudevents-batch+json; charset=utf-8"
    assert post(server, "/api/v1/events", batch, token, Content_Type=kind).json()["accepted"] == 2
    headers = {"ce_specversion": "1.0", "ce_id": "4", "ce_source": "/shop", "ce_type": "order.paid"}
    binary = post(server, "/api/v1/events", b'{"sum":7}', token, Content_Type="application/json", **headers)
    assert stored(server, token, binary)[0]["event"]["data"] == {"sum": 7}
    again = post(server, "/api/v1/events", json.dumps(one).encode(), token, Content_Type="application/cloudevents+json")
    assert again.json()["accepted"] == 0 and again.json()["duplicates"]


# Webhooks


def signed(body: bytes, **headers: str) -> dict[str, str]:
    return {"X_Hub_Signature_256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(), **headers}


def test_a_signed_webhook_needs_no_token(server: Server, token: str) -> None:
    body = b'{"action":"opened","n":1}'
    answer = post(
        server, "/ingest/webhook/gh", body, None, **signed(body, X_GitHub_Event="issues", X_GitHub_Delivery="d1")
    )
    assert answer.status == 200, answer.body
    (one,) = stored(server, token, answer)
    assert one["head"]["source_name"] == "github"


@pytest.mark.parametrize("change", [{"X_Hub_Signature_256": "sha256=" + "0" * 64}, {"X_Hub_Signature_256": ""}])
def test_an_unsigned_webhook_is_refused_even_with_a_token(server: Server, token: str, change: dict[str, str]) -> None:
    before = server.size
    for secret in (None, token):
        assert post(server, "/ingest/webhook/gh", b'{"action":"x"}', secret, **change).status == 401
    assert post(server, "/ingest/webhook/none", b"{}", token).status == 404
    assert server.size == before


def test_a_replay_is_not_stored_again_whatever_unsigned_headers_say(server: Server) -> None:
    body = b'{"action":"deleted","n":2}'
    first = post(
        server, "/ingest/webhook/gh", body, None, **signed(body, X_GitHub_Event="issues", X_GitHub_Delivery="d2")
    )
    size = server.size
    assert first.json()["accepted"] == 1
    for headers in ({"X_GitHub_Delivery": "d2"}, {"X_GitHub_Delivery": "forged", "X_GitHub_Event": "ping"}):
        again = post(server, "/ingest/webhook/gh", body, None, **signed(body, **headers))
        assert again.status == 200 and again.json()["replayed"] is True
    assert server.size == size


def test_a_form_holds_its_document(server: Server, token: str) -> None:
    body = b"payload=%7B%22action%22%3A%22starred%22%7D"
    headers = signed(body, Content_Type="application/x-www-form-urlencoded")
    answer = post(server, "/ingest/webhook/gh", body, None, **headers)
    assert b"starred" in json.dumps(stored(server, token, answer)).encode()


def test_gitlab_by_its_token(server: Server) -> None:
    body = b'{"action":"push"}'
    assert post(server, "/ingest/webhook/lab", body, None, X_Gitlab_Token=SECRET.decode()).status == 200
    assert post(server, "/ingest/webhook/lab", body, None, X_Gitlab_Token="wrong").status == 401


@pytest.mark.parametrize(("mode", "secret"), [(0o644, SECRET), (0o600, b"short"), (0o600, b"")])
def test_a_secret_that_others_may_read_or_that_is_none(tmp_path: Path, mode: int, secret: bytes) -> None:
    from graven.server.shippers.webhooks import load_hooks

    file = tmp_path / "secret"
    file.write_bytes(secret)
    file.chmod(mode)
    with pytest.raises(BadInput) as refused:
        load_hooks({"x": WebhookConfig(kind="github", secret_files=(str(file),))})
    assert SECRET.decode() not in str(refused.value)


# Bounds and refusals


def test_an_oversized_record_is_kept_as_its_beginning(server: Server, token: str) -> None:
    long = b'{"x":"' + b"a" * (1 << 20) + b'"}'
    answer = post(server, "/_bulk", b'{"create":{}}\n%b\n{"create":{}}\n%b\n' % (long, EVENT), token)
    assert answer.json()["errors"] is False
    kept, good = stored(server, token, answer)
    assert good["event"] == json.loads(EVENT)
    assert base64.b64decode(kept["raw"]) == long[: 64 << 10]
    assert kept["event"]["data"]["sha256"] == hashlib.sha256(long).hexdigest()
    assert kept["event"]["data"]["size_bytes"] == len(long)


@pytest.mark.parametrize(("path", "body", "kind"), REQUESTS, ids=lambda value: str(value)[:20])
def test_bodies_are_bounded_once_unpacked(server: Server, token: str, path: str, body: bytes, kind: str) -> None:
    bomb = gzip.compress(bytes(17 << 20))
    answer = post(server, path, bomb, token, Content_Type=kind, Content_Encoding="gzip")
    assert answer.status == 413
    assert post(server, path, b"no gzip", token, Content_Type=kind, Content_Encoding="gzip").status == 400
    assert post(server, path, body, token, Content_Type=kind, Content_Encoding="br").status == 415


def test_very_many_records_in_little_are_refused(server: Server, token: str) -> None:
    before = server.size
    assert post(server, "/services/collector/raw", b"a\n" * 60_000, token).status == 413
    assert post(server, "/ingest", b"[" + b"{}," * 60_000 + b"{}]", token).status == 413
    assert server.size == before


def test_a_class_that_is_not_allowed_is_the_source_s_own_and_said_so(server: Server, token: str) -> None:
    answer = post(server, "/_bulk", b'{"create":{}}\n{"action":"x","class":"erase-me-first"}\n', token)
    assert answer.status == 200 and answer.headers["graven-class-not-allowed"] == "1"
    (one,) = stored(server, token, answer)
    assert one["class"] == "default" and one["event"]["class"] == "erase-me-first"


def test_a_full_log_says_so_in_each_protocol(tmp_path: Path) -> None:
    directory, files = tmp_path / "log", GatedFiles()
    create_log(directory, origin=ORIGIN)
    config = small_intake(directory, max_events=1, group_events=1)
    with Server(directory, config, files) as running:
        token = running.token("ingest", "read")
        files.shut()
        waiting = []
        try:
            for _ in range(2):  # one stands before the disk, and another in the queue
                one = socket.create_connection(running.address)
                one.sendall(
                    b"POST /ingest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (token.encode(), len(EVENT), EVENT)
                )
                waiting.append(one)
                files.wait_until_held()
            until_s = time.monotonic() + STARTED_S_MAX
            while "graven_queue_events 1.0" not in running.ask("GET", "/metrics").body.decode():
                assert time.monotonic() < until_s
            answers = {}
            for path, body, kind in REQUESTS:
                answers[path] = post(running, path, body, token, Content_Type=kind)
        finally:
            files.gate.set()
            for one in waiting:
                one.close()
    assert {answer.status for answer in answers.values()} <= {429, 503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers.values())
    assert answers["/services/collector/event"].json()["code"] == 9
    assert answers["/_bulk"].json()["error"]["type"] == "es_rejected_execution_exception"
    assert answers["/v1/logs"].json()["code"] in (8, 14)


def test_other_paths_stay_what_they_were(server: Server, token: str) -> None:
    assert server.ask("GET", "/nothing").status == 404
    assert server.ask("GET", "/services/other", token=token).status == 404
    assert server.ask("GET", "/health/live").status == 200


WEBHOOK = "[webhooks.x]\nkind = '{}'\nsecret_files = ['s']\n{}\n"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (WEBHOOK.format("hmac", ""), "needs header"),
        (WEBHOOK.format("hmac", "header = 'x'\nsigned = 'v0'"), "does not hold {body}"),
        (WEBHOOK.format("hmac", "header = 'x'\ntimestamp_header = 't'"), "does not hold {timestamp}"),
        (WEBHOOK.format("slack", ""), "not valid"),
        ("[webhooks.x]\nkind = 'github'\n", "not valid"),
        (WEBHOOK.format("github", "colour = 1"), "unknown key 'colour'"),
        (WEBHOOK.format("github", "").replace("[webhooks.x]", "[webhooks.'a b']"), "webhook's name"),
    ],
)
def test_a_webhook_that_is_not_well_configured(server: Server, table: str, says: str) -> None:
    text = (server.directory / "graven.toml").read_text()
    with pytest.raises(BadInput, match=says):
        parse_config(text + "\n" + table)


def test_a_configured_webhook_is_read(server: Server) -> None:
    text = (server.directory / "graven.toml").read_text()
    config: Config = parse_config(text + "\n" + WEBHOOK.format("hmac", "header = 'X-Sig'\nreplay_s = 60"))
    assert config.webhooks["x"].header == "X-Sig" and config.webhooks["x"].tolerance_s == 300
