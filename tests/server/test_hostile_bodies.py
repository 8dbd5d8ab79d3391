"""Bodies that pack to a few kilobytes and would decode to gigabytes: refused at every door, in its own words."""

import gzip
import json
from collections.abc import Callable

import pytest

from graven.ingest.protocol.protobuf import FIELDS_MAX
from server.running import Server

COUNT = 400_000
OBJECTS, LISTS = b"{}," * COUNT + b"{}", b"[]," * COUNT + b"[]"
JSON, PROTOBUF = "application/json", "application/x-protobuf"


def length_delimited(field: int, data: bytes) -> bytes:
    size, rest = bytearray(), len(data)
    while rest >= 0x80:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([field << 3 | 2]) + bytes([*size, rest]) + data


def in_scope(data: bytes) -> bytes:
    return length_delimited(1, length_delimited(2, data))


EMPTY = b"\x18\x00"  # a field of two bytes
DENSE: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "hec": ("/services/collector/event", "", lambda: b'{"event":[' + LISTS + b"]}"),
    "hec objects": ("/services/collector/event", "", lambda: b'{"event":"x","fields":{"a":[' + OBJECTS + b"]}}"),
    "loki streams": ("/loki/api/v1/push", JSON, lambda: b'{"streams":[' + OBJECTS + b"]}"),
    "loki values": ("/loki/api/v1/push", JSON, lambda: b'{"streams":[{"values":[' + LISTS + b"]}]}"),
    "otlp": ("/v1/logs", JSON, lambda: b'{"resourceLogs":[' + OBJECTS + b"]}"),
    "cloudevents": ("/api/v1/events", "application/cloudevents-batch+json", lambda: b"[" + OBJECTS + b"]"),
    "records": ("/ingest/aws-cloudtrail", JSON, lambda: b'{"Records":[' + OBJECTS + b"]}"),
    "array": ("/ingest", JSON, lambda: b" [ " + OBJECTS + b"]"),
    "kubernetes": ("/ingest/kubernetes", JSON, lambda: b'{"kind":"EventList","items":[' + OBJECTS + b"]}"),
    "otlp fields of a request": ("/v1/logs", PROTOBUF, lambda: EMPTY * FIELDS_MAX + EMPTY),
    "otlp fields of a scope": ("/v1/logs", PROTOBUF, lambda: in_scope(EMPTY * FIELDS_MAX)),
    "otlp fields of a record": ("/v1/logs", PROTOBUF, lambda: in_scope(length_delimited(2, EMPTY * FIELDS_MAX))),
}


@pytest.mark.parametrize("door", [name for name in DENSE if "fields of" not in name])
def test_a_body_of_brackets_is_refused(shared_server: Server, door: str) -> None:
    check_refused(shared_server, door)


@pytest.mark.slow
@pytest.mark.parametrize("door", [name for name in DENSE if "fields of" in name])
def test_a_message_of_fields_is_refused(shared_server: Server, door: str) -> None:
    check_refused(shared_server, door)


def check_refused(server: Server, door: str) -> None:
    """As a whole, with nothing stored, and the next request is served."""
    path, media, make = DENSE[door]
    token, before = server.token(name="dense-" + door.replace(" ", "-")), server.size
    body = gzip.compress(make(), 9)
    assert len(body) < 40_000
    headers = {"Content-Encoding": "gzip"} | ({"Content-Type": media} if media else {})
    answer = server.ask("POST", path, body, token=token, headers=headers)
    assert (answer.status, server.size) == (413, before)
    assert b"too many" in answer.body or b"too large" in answer.body
    assert server.ask("POST", "/ingest", b"hello", token=token).status == 200


def test_brackets_in_messages_are_no_brackets(shared_server: Server) -> None:
    """Lines of text with as many of them as one likes, at the doors that take JSON."""
    token = shared_server.token(name="bracketed")
    line = "[a] {b} " * 20_000
    hec = "\n".join(json.dumps({"event": line, "time": 1_772_439_271 + n}) for n in range(12))
    assert shared_server.ask("POST", "/services/collector/event", hec.encode(), token=token).status == 200
    loki = {"streams": [{"stream": {"app": "x"}, "values": [[f"{n}", line] for n in range(1, 13)]}]}
    headers = {"Content-Type": JSON}
    pushed = shared_server.ask("POST", "/loki/api/v1/push", json.dumps(loki).encode(), token=token, headers=headers)
    assert pushed.status == 204
