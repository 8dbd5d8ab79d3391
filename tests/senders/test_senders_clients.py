"""The clients that people's programs use, through kills of either side and a cut wire: every event in the log once.

A client library keeps nothing on disk. So the program around it does what it must: it remembers which events were
answered, and sends the others again. What makes the repeat known is the protocol's own: `_id`, a CloudEvent's
`source` and `id`, a log record's time, an event's `time` or `id`.
"""

import sys
import textwrap
import time

import pytest

from senders.ground import Ground, wait_for

COUNT = 150
HEAD = """
import json, logging, pathlib, sys, time
logging.raiseExceptions = False
url, token, count, done = {url!r}, {token!r}, {count}, pathlib.Path({done!r})
host, port = "127.0.0.1", {port}
def event(n):
    return {{"action": "file.read", "actor": {{"id": f"u{{n:05d}}"}}, "data": {{"n": n}}}}
def at(n):
    return 1772439271 + n
def send_all(send, step=1):
    sent = int(done.read_text()) if done.exists() else 0
    while sent < count:
        some = range(sent, min(sent + step, count))
        try:
            send(some)
        except Exception as error:
            print(type(error).__name__, str(error)[:200], file=sys.stderr, flush=True)
            time.sleep(0.1)
            continue
        sent = some[-1] + 1
        new = done.with_suffix(".new")
        new.write_text(str(sent))
        new.replace(done)
        time.sleep(0.01 * step)
"""
ELASTICSEARCH = """
from elasticsearch import Elasticsearch, helpers
client = Elasticsearch(url, api_key=token, retry_on_status=(429, 503), max_retries=2, request_timeout=10)
def send(some):
    docs = [event(n) | {"_op_type": "create", "_index": "audit", "_id": f"d-{n}"} for n in some]
    ok, errors = helpers.bulk(client, docs, max_retries=1)
    assert ok == len(some) and not errors
send_all(send, 10)
"""
HEC = """
from splunk_hec_handler import SplunkHecHandler
def send(some):
    handler = SplunkHecHandler(host, token, port=port, proto="http", source="s", hostname="web1", empty_body=True)
    for n in some:  # the field `time` is the event's own: the same bytes each time
        record = logging.makeLogRecord({"msg": event(n) | {"time": f"2026-03-02T08:14:{n % 60:02d}Z", "id": f"h-{n}"}})
        handler.emit(record)
send_all(send)
"""
LOKI = """
import logging_loki
push = url + "/loki/api/v1/push"
handler = logging_loki.LokiHandler(url=push, tags={"app": "shop"}, auth=("any", token), version="1")
def send(some):
    for n in some:  # it stamps when it sends, so the event has an id of its own
        record = logging.makeLogRecord({"levelname": "INFO", "name": "shop"})
        handler.emitter(record, json.dumps(event(n) | {"id": f"l-{n}"}))
send_all(send)
"""
CLOUDEVENTS = """
import urllib.request
from cloudevents.v1.http import CloudEvent, to_binary, to_structured
def send(some):
    for n in some:
        said = {"type": "file.read", "source": "/shop", "id": f"c-{n}", "time": "2026-03-02T08:14:31Z"}
        headers, body = (to_binary if n % 2 else to_structured)(CloudEvent(said, {"n": f"u{n:05d}"}))
        request = urllib.request.Request(
            url + "/api/v1/events", body, dict(headers) | {"Authorization": "Bearer " + token})
        assert json.load(urllib.request.urlopen(request, timeout=10))["size"]
send_all(send)
"""
OPENTELEMETRY = """
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
exporter = OTLPLogExporter(
    endpoint=url + "/v1/logs", headers={"authorization": "Bearer " + token}, timeout=3)
resource, scope = Resource({"service.name": "shop"}), InstrumentationScope("shop")
def send(some):
    batch = [
        ReadableLogRecord(
            LogRecord(  # both times are the event's own: the same bytes each time
                timestamp=at(n) * 10**9 + n, observed_timestamp=at(n) * 10**9 + n,
                body=f"order u{n:05d} deleted", severity_number=SeverityNumber.INFO),
            resource=resource, instrumentation_scope=scope)
        for n in some
    ]
    assert exporter.export(batch) is LogRecordExportResult.SUCCESS
send_all(send, 10)
"""
PROGRAMS = {
    "elasticsearch": ("elasticsearch", ELASTICSEARCH), "hec": ("splunk_hec_handler", HEC),
    "loki": ("logging_loki", LOKI), "cloudevents": ("cloudevents", CLOUDEVENTS),
    "opentelemetry": ("opentelemetry.sdk", OPENTELEMETRY),
}  # fmt: skip


class Client:
    """A program of PROGRAMS, which may be killed and started again."""

    def __init__(self, ground: Ground, name: str, count: int = COUNT) -> None:
        needs, body = PROGRAMS[name]
        pytest.importorskip(needs)
        self._ground, self.done = ground, ground.folder / "done"
        head = HEAD.format(
            url=ground.url, token=ground.log.token, count=count, done=str(self.done), port=ground.http.port
        )
        path = ground.folder / "client.py"
        path.write_text(head + textwrap.dedent(body))
        self._command = [sys.executable, "-W", "ignore", str(path)]
        self.process = ground.start(*self._command)

    @property
    def answered(self) -> int:
        """How many events were answered."""
        return int(self.done.read_text()) if self.done.exists() else 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self._ground.start(*self._command)

    def wait(self, more: int) -> None:
        """Until so many more were answered."""
        target = self.answered + more
        wait_for(lambda: self.answered >= target, lambda: (self._ground.folder / "senders.log").read_text()[-500:])


@pytest.mark.slow
@pytest.mark.parametrize("which", ["server killed", "wire cut", "sender killed"])
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_each_event_once_whatever_breaks(ground: Ground, name: str, which: str) -> None:
    """What breaks does so twice, and not at the same moment of a request."""
    client = Client(ground, name)
    for moment in (0.0, 0.007):
        client.wait(30)
        time.sleep(moment)
        {"server killed": ground.kill_server, "wire cut": lambda: cut(ground), "sender killed": client.kill}[which]()
    client.wait(20)
    assert client.process.wait(180) == 0
    ground.check_each_once(COUNT)


def cut(ground: Ground) -> None:
    """Connections that break one after the other, and then none for a while."""
    for _ in range(3):
        ground.http.cut()
        time.sleep(0.1)
    ground.http.down(0.5)


def test_one_client_whatever_breaks(ground: Ground) -> None:
    """The short form: a server killed under a client that is cut off as well."""
    client = Client(ground, "elasticsearch", 60)
    client.wait(10)
    ground.http.cut()
    ground.kill_server()
    client.kill()
    assert client.process.wait(180) == 0
    ground.check_each_once(60)
