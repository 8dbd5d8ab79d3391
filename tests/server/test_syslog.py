"""The doors for syslog, over real sockets."""

import base64
import contextlib
import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graven.app import create_log
from graven.config import Config, SyslogConfig, load_config, parse_config
from graven.config.doors import parse_senders
from graven.core.errors import BadInput
from graven.ingest import audit_messages
from graven.runtime import sockets
from graven.server import serve
from graven.server.syslog.losses import Losses
from server.certificates import Authority
from server.running import ORIGIN, STARTED_S_MAX, GatedFiles, Server

SSHD = b"<86>Mar 11 22:55:%02d web1 sshd[%d]: Failed password for root from 188.124.3.41 port %d ssh2"


def configured(directory: Path, **knobs: Any) -> Config:
    """A new log's configuration, with syslog on a free port."""
    if not directory.exists():
        create_log(directory, origin=ORIGIN)
    config = load_config(directory / "graven.toml")
    syslog = msgspec.structs.replace(SyslogConfig(listen="127.0.0.1:0"), **knobs)
    return msgspec.structs.replace(config, syslog=syslog)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "log", configured(tmp_path / "log", max_message_bytes=2_000)) as running:
        yield running


def send(server: Server, data: bytes, *, at: int = 0) -> None:
    with socket.create_connection(server.syslog[at]) as sender:
        sender.sendall(data)


def metric(server: Server, name: str) -> float:
    lines = server.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def lines(count: int) -> list[bytes]:
    return [SSHD % (number % 60, number, number % 60_000) for number in range(count)]


@pytest.mark.parametrize("framing", ["lines", "counts"])
def test_a_stream_of_messages(server: Server, framing: str) -> None:
    messages, before = lines(3_000), server.size
    if framing == "lines":
        send(server, b"".join(one + b"\n" for one in messages))
    else:
        send(server, b"".join(b"%d %b" % (len(one), one) for one in messages))
    server.wait_for(before + len(messages))
    token = server.token("ingest", "read")
    stored = [server.ask("GET", f"/api/v1/events/{index}", token=token).json() for index in range(before, before + 20)]
    assert [base64.b64decode(one["raw"]) for one in stored] == messages[:20]
    assert stored[0]["head"]["source_name"] == "syslog"
    assert stored[0]["event"]["labels"]["syslog.peer"] == "127.0.0.1"
    assert metric(server, 'graven_syslog_messages_total{transport="tcp"}') == len(messages)


def test_audit_records_of_one_event_are_one_event(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they come over several datagrams and connections, and the last of them never comes."""
    monkeypatch.setattr(audit_messages, "WAIT_S", 4.0)  # however busy the machine is
    head = b"<13>Nov 22 05:00:00 web audispd: type=%b msg=audit(1364481363.243:%d): "
    event = [
        head % (b"SYSCALL", 7) + b"arch=c000003e syscall=2 success=yes exit=3 auid=1000 uid=1000",
        head % (b"PATH", 7) + b'item=0 name="/etc/shadow" inode=1',
        head % (b"EOE", 7),
    ]
    unfinished = [one.replace(b":7)", b":8)") for one in event[:2]]
    before = server.size
    for number, one in enumerate((*event[:2], *unfinished, event[2])):
        send(server, one + b"\n")
        until_s = time.monotonic() + STARTED_S_MAX
        while metric(server, "graven_syslog_messages_total") <= number:  # connections are not read in their order
            assert time.monotonic() < until_s
    server.wait_for(before + 2)
    token = server.token("read", name="reader")
    assert sorted(server.raws(token, before)) == sorted([b"\n".join(event), b"\n".join(unfinished)])
    assert metric(server, "graven_syslog_messages_total") == 5


def test_datagrams(server: Server) -> None:
    before = server.size
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(50):
            sender.sendto(b"<13>hello %d\n" % number, server.syslog[0])
        sender.sendto(b"", server.syslog[0])
        sender.sendto(b"<13>" + b"x" * 5_000, server.syslog[0])
    server.wait_for(before + 51)
    token = server.token("ingest", "read")
    raws = server.raws(token, before)
    assert raws[:50] == [b"<13>hello %d" % number for number in range(50)]
    assert metric(server, "graven_syslog_lost_total") == 0


def test_datagrams_that_the_kernel_dropped_are_told_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "UDP_BUFFER_BYTES", 4_096)
    monkeypatch.setattr(serve, "SWEEP_S", 0.05)
    sent = 0
    with Server(tmp_path / "log", configured(tmp_path / "log")) as server:
        token = server.token("ingest", "read")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def lose_some() -> None:
                nonlocal sent
                before, until_s = metric(server, "graven_syslog_lost_total"), time.monotonic() + STARTED_S_MAX
                while metric(server, "graven_syslog_lost_total") == before:
                    assert time.monotonic() < until_s
                    for _ in range(300):  # the loop has no turn in between
                        sender.sendto(b"<13>" + b"x" * 500, server.syslog[0])
                    sent += 300

            lose_some()
            until_s = time.monotonic() + STARTED_S_MAX
            while not (told := lost_events(server, token)):
                assert time.monotonic() < until_s
                time.sleep(0.02)
            lose_some()  # within the minute: said at the stop
            time.sleep(0.2)
            assert len(lost_events(server, token)) == len(told) == 1
    with Server(tmp_path / "log", configured(tmp_path / "log")) as server:
        told = lost_events(server, server.token("ingest", "read", name="again"))
        stored = sum(one["head"]["source_name"] == "syslog" for one in server.stored(token))
    assert len(told) == 2 and all(one["full"] == 0 and one["kernel"] > 0 for one in told)
    # the kernel says what it dropped beside the next datagram: the last drops may not have been said
    assert 0 < sum(one["kernel"] for one in told) <= sent - stored


def lost_events(server: Server, token: str) -> list[dict[str, Any]]:
    stored = [one["event"] for one in server.stored(token)]
    return [event["data"] for event in stored if event["action"] == "graven.syslog.lost"]


def test_losses_are_told_once_a_minute_and_at_the_end() -> None:
    losses = Losses()
    assert losses.due(0.0) is None
    losses.note("kernel", 2, 1_000_000)
    losses.note("full", 1, 2_000_000)
    assert losses.due(10.0) == {"kernel": 2, "full": 1, "since": "1970-01-01T00:00:01.000000Z"}
    assert losses.due(1_000.0) is None
    losses.note("kernel", 5, 3_000_000)
    assert losses.due(1_001.0) is not None
    losses.note("kernel", 7, 4_000_000)
    assert losses.due(1_060.9) is None
    assert losses.due(1_060.9, last=True) == {"kernel": 7, "full": 0, "since": "1970-01-01T00:00:04.000000Z"}


def test_a_stream_that_stops_in_the_middle_of_a_line(server: Server) -> None:
    before = server.size
    send(server, b"<13>whole\n<13>the la")
    server.wait_for(before + 2)
    assert server.raws(server.token("ingest", "read"), before) == [b"<13>whole", b"<13>the la"]


def test_hostile_streams_harm_no_other(server: Server) -> None:
    """Endless lines, broken counts, NULs, invalid UTF-8, escapes: kept, and the rest of the stream goes on."""
    before = server.size
    long = b"<13>" + b"A" * 300_000
    data = b"\n".join([b"<13>first", long, b"<13>\xff\xfe\x1b[31m\xe2\x80\xae", b"<13>a\0<13>b", b"<13>last"]) + b"\n"
    send(server, data)
    counted = b"9 <13>first" + b"junk without a count\n" + b"%d %b" % (len(long), long) + b"8 <13>last"
    send(server, counted)
    server.wait_for(before + 10)
    token = server.token("ingest", "read")
    stored = server.stored(token, before)[:10]
    raws = [base64.b64decode(one["raw"]) for one in stored]
    assert sorted(raws) == sorted(
        [b"<13>first", long[: 64 << 10], b"<13>\xff\xfe\x1b[31m\xe2\x80\xae", b"<13>a", b"<13>b", b"<13>last",
         b"<13>first", b"junk without a count", long[: 64 << 10], b"<13>last"]
    )  # fmt: skip
    kept = [one["event"]["data"] for one in stored if base64.b64decode(one["raw"]) == long[: 64 << 10]]
    assert [one["sha256"] for one in kept] == [hashlib.sha256(long).hexdigest()] * 2
    assert [one["size_bytes"] for one in kept] == [len(long)] * 2


def test_one_line_is_one_event(server: Server) -> None:
    """What looks like another message, inside one, forges nothing."""
    before = server.size
    evil = b"<13>user=bob\r<86>Mar 11 22:55:30 web1 sshd[1]: Accepted password for root from 203.0.113.9 port 1 ssh2"
    send(server, b"%d %b" % (len(evil) + 5, evil + b"\n<0>x"))
    server.wait_for(before + 1)
    time.sleep(0.1)
    assert server.size == before + 1


def test_a_slow_sender_holds_up_nobody(server: Server) -> None:
    before = server.size
    with socket.create_connection(server.syslog[0]) as slow:
        slow.sendall(b"<13>not yet a li")
        send(server, b"<13>quick\n")
        server.wait_for(before + 1)
        slow.sendall(b"ne\n")
        server.wait_for(before + 2)


def test_too_many_connections_are_turned_away(tmp_path: Path) -> None:
    with Server(tmp_path / "log", configured(tmp_path / "log", max_connections=2)) as server:
        held = [socket.create_connection(server.syslog[0]) for _ in range(2)]
        for one in held:
            one.sendall(b"<13>x\n")
        server.wait_for(2)
        with socket.create_connection(server.syslog[0]) as third:
            third.settimeout(90)
            with contextlib.suppress(ConnectionError):
                assert third.recv(1) == b""
        assert metric(server, 'graven_syslog_lost_total{why="connections"}') == 1
        for one in held:
            one.close()


def test_trickling_connections_make_way_for_those_that_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow-loris: bytes keep coming, a message never does."""
    monkeypatch.setattr("graven.server.syslog.door.QUIET_S", 0.3)
    with Server(tmp_path / "log", configured(tmp_path / "log", max_connections=3)) as server:
        before = server.size
        held = [socket.create_connection(server.syslog[0]) for _ in range(3)]
        until_s = time.monotonic() + STARTED_S_MAX
        while metric(server, "graven_syslog_connections") < 3:
            assert time.monotonic() < until_s
        for _ in range(8):
            for one in held:
                one.sendall(b"x")
            time.sleep(0.05)
        send(server, b"<13>here is somebody who speaks\n")
        server.wait_for(before + 2)  # this, and what the one that made way had said
        assert b"<13>here is somebody who speaks" in server.raws(server.token("ingest", "read"), before)
        assert metric(server, 'graven_syslog_lost_total{why="made_way"}') == 1
        for one in held:
            one.close()


def test_an_idle_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graven.server.serve.SWEEP_S", 0.2)
    config = configured(tmp_path / "log", idle_s=1)
    with Server(tmp_path / "log", config) as server, socket.create_connection(server.syslog[0], timeout=180) as idle:
        assert idle.recv(1) == b""


def test_unfinished_messages_have_a_bound_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless lines over many connections: the one that is over the bound is closed, and what it said is kept."""
    monkeypatch.setattr("graven.server.syslog.stream.HELD_BYTES_MAX", 100_000)
    monkeypatch.setattr("graven.server.syslog.stream.HELD_BYTES_FREE", 30_000)
    config = configured(tmp_path / "log", max_message_bytes=64_000)
    with Server(tmp_path / "log", config) as server:
        before = server.size
        held = [socket.create_connection(server.syslog[0], timeout=180) for _ in range(3)]
        for one in held:
            one.sendall(b"<13>" + b"A" * 50_000)
        server.wait_for(before + 1)
        assert metric(server, 'graven_syslog_lost_total{why="unfinished"}') >= 1
        send(server, b"<13>and others go on\n")
        server.wait_for(before + 2)
        for one in held:
            one.close()


def test_what_was_read_when_the_server_stops_is_durable(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    with Server(directory, configured(directory)) as server:
        before = server.size
        sender = socket.create_connection(server.syslog[0])
        sender.sendall(b"".join(one + b"\n" for one in lines(5_000)))
        until_s = time.monotonic() + STARTED_S_MAX
        while metric(server, "graven_syslog_messages_total") < 5_000:
            assert time.monotonic() < until_s
    with Server(directory, configured(directory)) as again:
        assert again.size >= before + 5_000
    sender.close()


def test_a_disk_that_stands_still_is_waited_for(tmp_path: Path) -> None:
    directory, files = tmp_path / "log", GatedFiles()
    with Server(directory, configured(directory), files) as server:
        before = server.size
        files.shut()
        messages = [b"<13>%d " % number + b"x" * 500 for number in range(30_000)]
        with socket.create_connection(server.syslog[0]) as sender:
            sender.settimeout(0.5)
            sent = 0
            data = b"".join(one + b"\n" for one in messages)
            with contextlib.suppress(TimeoutError):
                while sent < len(data):
                    sent += sender.send(data[sent : sent + 65_536])
            assert metric(server, "graven_syslog_messages_total") < len(messages)  # the rest waits with the sender
            files.gate.set()
            sender.settimeout(90)
            sender.sendall(data[sent:])
        server.wait_for(before + len(messages))
        assert server.size - before < len(messages) + 5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def over_tls(address: tuple[str, int], authority: Authority, who: tuple[Path, Path] | None, data: bytes) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    if who is not None:
        context.load_cert_chain(*who)
    with socket.create_connection(address) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as sender:
        sender.sendall(data)


def test_tls_with_certificates_of_the_senders(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("server", "localhost")
    config = configured(
        tmp_path / "log", listen=None, tls_listen="127.0.0.1:0", tls_cert=str(certificate), tls_key=str(key),
        tls_client_ca=str(authority.ca), sources=("cert:web1.example.com=web-servers", "cert:db1=databases"),
    )  # fmt: skip
    stranger = Authority(tmp_path / "stranger", "another authority").issue("db1", "web1.example.com")
    with Server(tmp_path / "log", config) as server:
        token, before = server.token("ingest", "read"), server.size
        message = b"<13>over tls"
        over_tls(
            server.syslog[0], authority, authority.issue("w", "web1.example.com"), b"%d %b" % (len(message), message)
        )
        over_tls(server.syslog[0], authority, authority.issue("db1"), message + b"\n")
        over_tls(server.syslog[0], authority, authority.issue("other", "else.example.com"), message + b"\n")
        server.wait_for(before + 3)
        for bad in (None, stranger):
            with contextlib.suppress(OSError):  # the refusal may come after the first bytes were sent
                over_tls(server.syslog[0], authority, bad, message + b"\n")
        found = {
            one["event"]["labels"]["syslog.certificate"]: one["head"]["source_name"]
            for one in server.stored(token, before)
        }
        assert found == {"web1.example.com": "web-servers", "db1": "databases", "else.example.com": "syslog"}
        assert server.size == before + 3
        grades = {one["name"]: one["grade"] for one in server.control.sources()}
        assert (grades["web-servers"], grades["syslog"]) == ("authenticated sender", "network")


def test_handshakes_have_a_bound_and_a_time(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that never say hello: turned away beyond a number, gone after a time, and in nobody's way then."""
    monkeypatch.setattr("graven.server.syslog.door.HANDSHAKE_S_MAX", 1.0)
    certificate, key = authority.issue("server", "localhost")
    config = configured(
        tmp_path / "log", listen=None, tls_listen="127.0.0.1:0", tls_cert=str(certificate), tls_key=str(key),
        max_connections=3,
    )  # fmt: skip
    with Server(tmp_path / "log", config) as server:
        before = server.size
        silent = [socket.create_connection(server.syslog[0], timeout=180) for _ in range(5)]
        until_s = time.monotonic() + STARTED_S_MAX
        for one in silent:
            with contextlib.suppress(ConnectionError):
                assert one.recv(1) == b""
        ways = [f'graven_syslog_lost_total{{why="{why}"}}' for why in ("connections", "made_way", "handshake")]
        while sum(metric(server, way) for way in ways) < len(silent):  # each is counted
            assert time.monotonic() < until_s
        while server.size == before:  # as senders do
            assert time.monotonic() < until_s
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                over_tls(server.syslog[0], authority, None, b"<13>over tls\n")
            time.sleep(0.1)
        for one in silent:
            one.close()


def test_a_source_by_address(tmp_path: Path) -> None:
    config = configured(tmp_path / "log", sources=("127.0.0.0/8=this-host", "10.0.0.0/8=elsewhere"))
    with Server(tmp_path / "log", config) as server:
        token, before = server.token("ingest", "read"), server.size
        send(server, b"<13>x\n")
        server.wait_for(before + 1)
        assert server.stored(token, before)[0]["head"]["source_name"] == "this-host"


@pytest.mark.parametrize("line", ["", "x", "cert:=a", "10.0.0.1", "10.0.0.0/33=a", "host=a", "10.0.0.1=a b", "cert:x="])
def test_senders_that_name_nobody(line: str) -> None:
    with pytest.raises(BadInput, match="names nobody"):
        parse_senders([line])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen = 'nowhere'", "not an address"),
        ("tls_listen = '127.0.0.1:0'", "needs tls_cert and tls_key"),
        ("sources = ['x']", "names nobody"),
        ("max_message_bytes = 10", "not valid"),
        ("port = 514", "unknown key"),
    ],
)
def test_syslog_that_is_not_well_configured(tmp_path: Path, text: str, says: str) -> None:
    create_log(tmp_path / "log", origin=ORIGIN)
    whole = (tmp_path / "log" / "graven.toml").read_text().replace("[syslog]\n", f"[syslog]\n{text}\n")
    with pytest.raises(BadInput, match=says):
        parse_config(whole)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match="is taken"):
            Server(tmp_path / "log", configured(tmp_path / "log", listen=f"127.0.0.1:{port}")).__enter__()
