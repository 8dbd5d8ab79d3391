"""Real senders against the doors: rsyslog, syslog-ng, and the clients that people's programs use.

A program that is not installed skips its test, with its name. Clients run in a process of their own.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lab.processes import end

from graven.app import create_log
from graven.config import SyslogConfig, load_config
from server.certificates import Authority
from server.running import ORIGIN, Server

COUNT = 200
LINE = "sshd[{0}]: Failed password for invalid user u{0} from 203.0.113.9 port 4{0:04d} ssh2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    directory = tmp_path / "log"
    create_log(directory, origin=ORIGIN)
    authority = Authority(tmp_path / "certificates")
    certificate, key = authority.issue("server", "localhost")
    syslog = SyslogConfig(
        listen="127.0.0.1:0", tls_listen="127.0.0.1:0", tls_cert=str(certificate), tls_key=str(key),
        tls_client_ca=str(authority.ca), sources=("cert:web1.example.com=web1",),
    )  # fmt: skip
    authority.issue("web1", "web1.example.com")
    config = msgspec.structs.replace(load_config(directory / "graven.toml"), syslog=syslog)
    with Server(directory, config) as running:
        yield running


@contextmanager
def running(*command: str, **variables: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield
    finally:
        end(process)


def syslog_events(server: Server, token: str, before: int, source: str) -> list[Any]:
    server.wait_for(before + COUNT)
    return [one for one in server.stored(token, before) if one["head"] and one["head"]["source_name"] == source]


def check_ssh_lines(found: list[Any]) -> None:
    """Every line arrived once, and was read as what it is."""
    events = [one["event"] for one in found]
    assert {event["labels"]["graven.type"] for event in events} == {"sshd"}
    assert sorted(int(event["actor"]["name"][1:]) for event in events) == list(range(COUNT))
    assert {event["origin"]["ip"] for event in events} == {"203.0.113.9"}


RSYSLOG = """
{before}
global(workDirectory="{folder}"{tls})
module(load="imfile" mode="polling" pollingInterval="1")
input(type="imfile" File="{lines}" Tag="" ruleset="out")
template(name="line" type="string" string="<86>1 2026-03-02T08:14:31Z web1 sshd 7 - - %msg%")
ruleset(name="out") {{ {action} }}
"""


def rsyslog(server: Server, tmp_path: Path, action: str, tls: str = "", before: str = "") -> Any:
    program = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    if not Path(program).exists():
        pytest.skip("rsyslogd is not installed")
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    lines = folder / "lines"
    lines.write_text("".join(LINE.format(number).partition(": ")[2] + "\n" for number in range(COUNT)))
    config = folder / "rsyslog.conf"
    config.write_text(RSYSLOG.format(folder=folder, lines=lines, action=action, tls=tls, before=before))
    return running(program, "-n", "-f", str(config), "-i", str(folder / "pid"))


@pytest.mark.parametrize("framing", ["octet-counted", "traditional"])
def test_rsyslog_over_tcp(server: Server, tmp_path: Path, framing: str) -> None:
    token, before = server.token("ingest", "read"), server.size
    host, port = server.syslog[0]
    action = (
        f'action(type="omfwd" target="{host}" port="{port}" protocol="tcp" TCP_Framing="{framing}" template="line")'
    )
    with rsyslog(server, tmp_path, action):
        check_ssh_lines(syslog_events(server, token, before, "syslog"))


def test_rsyslog_over_tls_with_its_certificate(server: Server, tmp_path: Path) -> None:
    if not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")):
        pytest.skip("rsyslog-openssl is not installed")
    token, before = server.token("ingest", "read"), server.size
    host, port = server.syslog[1]
    folder = tmp_path / "certificates"
    tls = (
        f' defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{folder}/ca.pem"'
        f' defaultNetstreamDriverCertFile="{folder}/web1.pem" defaultNetstreamDriverKeyFile="{folder}/web1.key"'
    )
    action = (
        f'action(type="omfwd" target="{host}" port="{port}" protocol="tcp" TCP_Framing="octet-counted" template="line"'
        ' StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid")'
    )
    with rsyslog(server, tmp_path, action, tls):
        check_ssh_lines(syslog_events(server, token, before, "web1"))


def test_rsyslog_over_bulk(server: Server, tmp_path: Path) -> None:
    if not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")):
        pytest.skip("rsyslog-elasticsearch is not installed")
    token, before = server.token("ingest", "read"), server.size
    host, port = server.address
    template = (
        'module(load="omelasticsearch")\n'
        'template(name="doc" type="list" option.jsonf="on") {\n'
        '  property(outname="action" name="msg" format="jsonf")\n'
        '  property(outname="message" name="rawmsg" format="jsonf") }\n'
    )
    action = (
        f'action(type="omelasticsearch" server="{host}" serverport="{port}" uid="any" pwd="{token}" bulkmode="on"'
        ' searchType="" searchIndex="syslog" template="doc")'
    )
    with rsyslog(server, tmp_path, action, before=template):
        found = syslog_events(server, token, before, "web")
    events = [one["event"] for one in found]
    assert len(events) == COUNT and {event["action"].partition(" for ")[0] for event in events} == {"Failed password"}


SYSLOG_NG = """@version: 3.35
source s {{ file("{lines}" follow-freq(1) flags(no-parse)); }};
destination d {{ {destination} }};
log {{ source(s); destination(d); }};
"""


@contextmanager
def syslog_ng(tmp_path: Path, destination: str) -> Iterator[None]:
    """Installed, or unpacked by scripts/apt.sh: Debian's package cannot stand beside rsyslog's."""
    root = next(
        (
            one
            for one in (Path("/"), Path(__file__).parents[2] / ".cache/syslog-ng")
            if (one / "usr/sbin/syslog-ng").exists()
        ),
        None,
    )
    if root is None:
        pytest.skip("syslog-ng is not installed")
    modules = next((root / "usr/lib/syslog-ng").glob("[0-9]*"))
    folder = tmp_path / "syslog-ng"
    folder.mkdir()
    lines = folder / "lines"
    lines.write_text("".join(f"Mar  2 08:14:31 web1 {LINE.format(number)}\n" for number in range(COUNT)))
    config = folder / "conf"
    config.write_text(SYSLOG_NG.format(lines=lines, destination=destination))
    with running(
        str(root / "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", str(config), "-R", str(folder / "persist"),
        "-p", str(folder / "pid"), "-c", str(folder / "control"), f"--module-path={modules}",
        LD_LIBRARY_PATH=str(modules.parent),
    ):  # fmt: skip
        yield


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_syslog_ng(server: Server, tmp_path: Path, transport: str) -> None:
    token, before = server.token("ingest", "read"), server.size
    host, port = server.syslog[transport == "tls"]
    folder = tmp_path / "certificates"
    tls = (
        f' tls(ca-file("{folder}/ca.pem") cert-file("{folder}/web1.pem") key-file("{folder}/web1.key"))'
        if transport == "tls"
        else ""
    )
    form = 'template("<86>${MSG}\\n")'
    destination = f'network("{host}" port({port}) transport("{transport}"){tls} {form});'
    with syslog_ng(tmp_path, destination):
        check_ssh_lines(syslog_events(server, token, before, "web1" if transport == "tls" else "syslog"))


def run_client(server: Server, token: str, program: str, needs: str) -> str:
    """Run a program with `url`, `host`, `port` and `token` in its hands."""
    host, port = server.address
    head = f"import json, logging\nurl, host, port, token = {server.url!r}, {host!r}, {port}, {token!r}\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=180,
    )
    if f"No module named {needs!r}" in done.stderr:
        pytest.skip(f"{needs} is not installed")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_elasticsearch_client_and_its_bulk_helper(server: Server) -> None:
    token, before = server.token("ingest", "read"), server.size
    program = """
        from elasticsearch import Elasticsearch, helpers
        client = Elasticsearch(url, api_key=token, retry_on_status=(429, 503), max_retries=5)
        assert client.info()["tagline"] == "You Know, for Search"
        head = {"_op_type": "create", "_index": "audit", "action": "file.read"}
        docs = [head | {"_id": f"d-{n}", "count": n} for n in range(200)]
        for _ in range(2):
            print(helpers.bulk(client, docs, chunk_size=50))
        gone = {"_op_type": "delete", "_index": "audit", "_id": "d-1"}
        ok, errors = helpers.bulk(client, [gone], raise_on_error=False)
        print(ok, errors[0]["delete"]["status"])
    """
    printed = run_client(server, token, program, "elasticsearch")
    assert printed.split("\n")[:3] == ["(200, [])", "(200, [])", "0 400"]
    events = [one["event"] for one in server.stored(token, before)]
    assert sorted(event["count"] for event in events if event["action"] == "file.read") == list(range(200))


def test_the_opentelemetry_sdk(server: Server) -> None:
    token, before = server.token("ingest", "read"), server.size
    program = """
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.resources import Resource
        exporter = OTLPLogExporter(
            endpoint=url + "/v1/logs", headers={"authorization": "Bearer " + token}, compression=Compression.Gzip
        )
        provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = logging.getLogger("shop")
        logger.addHandler(LoggingHandler(logger_provider=provider))
        for n in range(200):
            logger.warning("order %d deleted", n, extra={"user.id": f"u-{n}"})
        provider.shutdown()
    """
    run_client(server, token, program, "opentelemetry")
    events = [one["event"] for one in server.stored(token, before)]
    assert sorted(event["actor"]["id"] for event in events) == sorted(f"u-{number}" for number in range(200))
    assert {event["scope"]["project"] for event in events} == {"shop"} and {event["verb"] for event in events} == {
        "delete"
    }


def test_a_splunk_handler(server: Server) -> None:
    token, before = server.token("ingest", "read"), server.size
    program = """
        from splunk_hec_handler import SplunkHecHandler
        logger = logging.getLogger("hec")
        logger.addHandler(SplunkHecHandler(host, token, port=port, proto="http", source="s", empty_body=True))
        for n in range(50):
            logger.warning({"action": "file.read", "count": n})
    """
    run_client(server, token, program, "splunk_hec_handler")
    events = [one["event"] for one in server.stored(token, before)]
    assert sorted(event["count"] for event in events) == list(range(50))


def test_a_loki_handler(server: Server) -> None:
    token, before = server.token("ingest", "read"), server.size
    program = """
        import logging_loki
        logger = logging.getLogger("loki")
        logger.addHandler(logging_loki.LokiHandler(
            url=url + "/loki/api/v1/push", tags={"app": "shop"}, auth=("any", token), version="1"))
        for n in range(50):
            logger.warning(json.dumps({"action": "file.read", "count": n}))
    """
    run_client(server, token, program, "logging_loki")
    events = [one["event"] for one in server.stored(token, before)]
    assert sorted(event["count"] for event in events) == list(range(50))


def test_the_cloudevents_sdk(server: Server) -> None:
    token, before = server.token("ingest", "read"), server.size
    program = """
        import urllib.request
        from cloudevents.v1.http import CloudEvent, to_binary, to_structured
        for n in range(20):
            event = CloudEvent({"type": "order.deleted", "source": "/shop", "subject": f"order/{n}"}, {"n": n})
            headers, body = (to_binary if n % 2 else to_structured)(event)
            headers = dict(headers) | {"Authorization": "Bearer " + token}
            request = urllib.request.Request(url + "/api/v1/events", body, headers)
            assert json.load(urllib.request.urlopen(request))["accepted"] == 1
    """
    run_client(server, token, program, "cloudevents")
    events = [one["event"] for one in server.stored(token, before)]
    assert [event["data"]["n"] for event in events] == list(range(20))
    assert {event["action"] for event in events} == {"order.deleted"}
