"""Starting, stopping, and being killed."""

import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab.ports import free_port

from graven.app import Log, create_log, open_view
from graven.config import ServerConfig, load_config
from graven.core.errors import BadInput, Broken
from graven.core.merkle import compact_range_at
from graven.core.receipt import open_receipt
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature
from graven.log.lock import Lock
from graven.server.control_client import ControlClient, NoServer
from graven.server.sockets import bind, bind_control, tls_context
from server.running import ORIGIN, STARTED_S_MAX, Server

SERVE = """
import sys
from pathlib import Path
from graven.server.serve import run
run(Path(sys.argv[1]), listen=sys.argv[2], lock_wait_s=90)
"""
EVENT = b'{"action":"x"}'


@contextmanager
def process(directory: Path, listen: str = "127.0.0.1:0") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`run` in a process of its own, and what it prints when it listens."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(directory), listen],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


class Load:
    """Producers that append without pause, and note what was acknowledged."""

    def __init__(self, url: str, token: str, workers: int = 6) -> None:
        self.acknowledged: list[tuple[int, list[bytes], str]] = []
        self.other: list[int] = []
        self._address, self._token = urlsplit(url), token
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(workers)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, requests: int) -> None:
        """Until so many were acknowledged."""
        until_s = time.monotonic() + STARTED_S_MAX
        while len(self.acknowledged) < requests:
            assert time.monotonic() < until_s
            time.sleep(0.01)

    def join(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()

    def _work(self, number: int) -> None:
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port, timeout=180)
        for turn in range(100_000):
            if self._over.is_set():
                return
            events = [b'{"action":"x","id":"%d-%d-%d"}' % (number, turn, k) for k in range(1 + turn % 7)]
            try:
                connection.request(
                    "POST", "/api/v1/events", b"\n".join(events), {"Authorization": f"Bearer {self._token}"}
                )
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException):
                return
            if response.status == 200:
                said = json.loads(body)
                assert said["accepted"] == len(events)
                self.acknowledged.append((said["first_index"], events, said["receipt"]))
            else:
                self.other.append(response.status)


def stored(directory: Path, source: str) -> dict[int, bytes]:
    """Every event of a source, by index."""
    with open_view(directory) as view:
        number = view.registers().source(source).number
        return {
            record.index: record.event
            for record in view.records(0, view.size)
            if record.head is not None and record.head.source == number and record.event is not None
        }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", origin=ORIGIN)
    return tmp_path / "log"


def test_it_says_where_it_listens_and_stops_when_told(directory: Path) -> None:
    with process(directory) as (child, said):
        assert said.startswith("listening on http://127.0.0.1:"), child.communicate()
        child.send_signal(signal.SIGTERM)
        assert child.wait(90) == 0
        assert child.stderr is not None
        lines = [json.loads(line) for line in child.stderr.read().splitlines()]
    assert [line["message"] for line in lines] == ["listening", "stopping"]
    assert not (directory / "state" / "control.sock").exists()
    with open_view(directory) as view:
        acts = [json.loads(record.event or b"") for record in view.records(0, view.size)]
        assert view.published.checkpoint.size == view.size
    assert [act["action"] for act in acts] == ["graven.genesis", "graven.start", "graven.stop"]
    assert acts[-1]["data"] == {"reason": "SIGTERM"}


def test_an_interrupt_stops_it_too(directory: Path) -> None:
    with process(directory) as (child, _):
        child.send_signal(signal.SIGINT)
        assert child.wait(90) == 0


def test_what_was_acknowledged_survives_a_kill(directory: Path) -> None:
    with process(directory) as (child, said):
        token = ControlClient(directory).create_token("web", ["ingest"])["secret"]
        load = Load(said.removeprefix("listening on "), token)
        load.wait_for(50)
        child.kill()
        child.wait(90)
        load.join()
    assert len(load.acknowledged) > 20
    with Log.open(directory, serve=True) as log:
        tail = log.writer.state.tail
        certificate = log.writer.certificate
        assert certificate is not None
        assert log.size >= max(first + len(events) for first, events, _ in load.acknowledged)
        for _, _, receipt in load.acknowledged[:: max(1, len(load.acknowledged) // 20)]:
            size, root = int(receipt.split("\n")[2]), receipt.split("\n")[3]
            found = compact_range_at(tail.nodes(log.size), size).root()
            assert encode_base64(found) == root
    kept = stored(directory, "web")
    for first, events, _ in load.acknowledged:
        assert [kept[first + offset] for offset in range(len(events))] == events
    with open_view(directory) as view:
        acts = [json.loads(r.event or b"")["action"] for r in view.records(0, view.size) if r.class_name == "graven"]
    assert "graven.unclean_stop" in acts


def test_a_graceful_stop_loses_nothing_and_leaves_nothing_unsaid(directory: Path) -> None:
    with process(directory) as (child, said):
        token = ControlClient(directory).create_token("web", ["ingest"])["secret"]
        load = Load(said.removeprefix("listening on "), token)
        load.wait_for(50)
        child.send_signal(signal.SIGTERM)
        assert child.wait(90) == 0
        load.join()
    assert set(load.other) <= {503}
    kept = stored(directory, "web")
    acknowledged = {
        first + offset: event for first, events, _ in load.acknowledged for offset, event in enumerate(events)
    }
    assert kept == acknowledged
    assert len(kept) > 20


def test_receipts_hold_after_a_restart(directory: Path) -> None:
    with Server(directory) as server:
        token = server.token("ingest")
        certificate = server.ask("GET", "/api/v1/receipt-certificate").body
        receipt = server.append(EVENT, token).json()["receipt"].encode()
    with Server(directory) as server:
        kept = open_receipt(receipt, certificate, server.keys, verify_signature)
        assert server.append(EVENT, token).json()["size"] > kept.size


def test_a_taken_port_is_said_before_anything_is_signed(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} of 127.0.0.1 is taken") as caught:
            bind(f"127.0.0.1:{port}")
        assert "--listen" in caught.value.mend
        before = sorted(path.stat().st_mtime_ns for path in directory.rglob("*"))
        with process(directory, f"127.0.0.1:{port}") as (child, said):
            assert (said, child.wait(90)) == ("", 1)
        assert sorted(path.stat().st_mtime_ns for path in directory.rglob("*")) == before


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:http", "203.0.113.9:0", "no-such-host.invalid:0", "::1:80"])
def test_an_address_that_is_none(listen: str) -> None:
    with pytest.raises(BadInput):
        bind(listen)


def test_an_address_of_ipv6() -> None:
    try:
        listener = bind("[::1]:0")
    except BadInput:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.getsockname()[0] == "::1"


def test_intake_answers_503_until_the_log_is_checked(directory: Path) -> None:
    lock = Lock(directory)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(directory), f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:

            def ask(method: str, target: str, body: bytes | None = None) -> tuple[int, str | None]:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=180)
                connection.request(method, target, body)
                response = connection.getresponse()
                response.read()
                return response.status, response.getheader("retry-after")

            until_s = time.monotonic() + STARTED_S_MAX
            while True:
                try:
                    assert ask("GET", "/health/live") == (200, None)
                    break
                except OSError:
                    assert time.monotonic() < until_s
                    time.sleep(0.1)
            for method, target, body in (
                ("POST", "/api/v1/events", EVENT), ("GET", "/api/v1/status", None), ("GET", "/health/ready", None),
                ("GET", "/log/checkpoint", None), ("GET", "/api/v1/events/0", None),
            ):  # fmt: skip
                assert ask(method, target, body) == (503, "1"), target
            assert ask("GET", "/metrics")[0] == 200
            with pytest.raises(NoServer):
                ControlClient(directory).status()
            lock.release()
            assert child.stdout is not None
            assert child.stdout.readline().startswith("listening on ")
            assert ask("GET", "/health/ready") == (200, None)
            assert ask("POST", "/api/v1/events", EVENT)[0] == 401
        finally:
            child.terminate()
            assert child.wait(90) == 0


def test_a_log_that_cannot_be_opened_stops_the_server(directory: Path) -> None:
    seg = next((directory / "journal").glob("*.seg"))
    data = bytearray(seg.read_bytes())
    data[100] ^= 1
    seg.write_bytes(data)
    server = Server(directory)
    with pytest.raises(Exception, match=r".") as caught, server:
        pass
    assert caught.type.__name__ in ("Broken", "Disproved")
    server.stop()


def test_requests_at_work_are_finished_and_late_ones_refused(directory: Path) -> None:
    """A request that waits for a checkpoint gets its answer at the stop; a half-sent one is refused with 503."""
    config = load_config(directory / "graven.toml")
    slow = msgspec.structs.replace(config, publish=msgspec.structs.replace(config.publish, interval_ms=3_600_000))
    with Server(directory, slow) as server:
        token = server.token("ingest")
        server.control.publish()
        before = server.size
        answers: list[dict[str, object]] = []
        waiting = threading.Thread(target=lambda: answers.append(server.append(EVENT, token, "?wait=published").json()))
        waiting.start()
        half = socket.create_connection(server.address, timeout=180)
        half.sendall(
            b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: 99\r\n\r\n{"
            % token.encode()
        )
        idle = socket.create_connection(server.address, timeout=180)
        until_s = time.monotonic() + STARTED_S_MAX
        while server.size == before or b"graven_bodies_in_flight_bytes 0.0" in server.ask("GET", "/metrics").body:
            assert time.monotonic() < until_s
        server.stop()
        waiting.join(90)
        assert answers[0]["state"] == "published"
        assert half.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert idle.recv(10) == b""
        half.close()
        idle.close()
    assert server.failure is None


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_tls_by_files(directory: Path, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    config = load_config(directory / "graven.toml")
    secure = msgspec.structs.replace(config, server=ServerConfig(tls_cert=str(cert), tls_key=str(key)))
    with Server(directory, secure) as server:
        assert server.url.startswith("https://127.0.0.1:")
        token = server.token("ingest")
        context = ssl.create_default_context(cafile=str(cert))
        with (
            socket.create_connection(server.address) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
            wrapped.sendall(
                b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
                % (token.encode(), len(EVENT), EVENT)
            )
            assert wrapped.recv(4096).startswith(b"HTTP/1.1 200 ")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(server.address) as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)


def test_tls_files_that_do_not_fit(directory: Path, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    config = load_config(directory / "graven.toml")
    for one, other in ((cert, cert), (key, key), (cert, tmp_path / "none.pem")):
        with pytest.raises(BadInput, match="cannot be used"):
            tls_context(msgspec.structs.replace(config, server=ServerConfig(tls_cert=str(one), tls_key=str(other))))


def test_the_control_socket_is_the_owner_s_alone(server: Server) -> None:
    path = server.directory / "state" / "control.sock"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_control_socket_left_behind_is_replaced(directory: Path) -> None:
    bind_control(directory / "state").close()  # its name stays, as after a kill
    with pytest.raises(NoServer):
        ControlClient(directory).status()
    with Server(directory) as server:
        assert server.control.status()["origin"] == ORIGIN


def test_a_path_longer_than_a_socket_s_name_may_be(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with Server(deep / "log") as server:
        assert server.control.status()["size"] == 2


def test_another_user_is_not_let_in(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2].split(os.pathsep); from pathlib import Path; "
        "from graven.server.control_client import ControlClient; os.setuid(65534)\n"
        "try: ControlClient(Path(sys.argv[1])).status()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "else: print('let in')"
    )

    def ask() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, str(directory), os.pathsep.join(sys.path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    with Server(directory):
        assert "let in" not in ask()
        state = directory / "state"
        for path in (state / "control.sock", state, *directory.parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/") and path != Path("/tmp"):
                path.chmod(path.stat().st_mode | 0o777)
        directory.chmod(0o777)
        said = ask()
        assert "BadInput" in said
        assert "own user and root" in said


def test_nothing_sent_over_tcp_looks_local(server: Server) -> None:
    for target in ("/control/v1/publish", "/control/v1/acts", "/control/v1/stamp", "/control/v1/anchors"):
        assert server.ask("POST", target, b"{}", token=server.token("admin", name=target[-4:])).status == 404
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Host"):
        answer = server.ask("GET", "/api/v1/tokens", headers={header: "127.0.0.1; uid=0"})
        assert answer.status == 401


def test_two_servers_of_one_log_cannot_be(directory: Path) -> None:
    with Server(directory):
        second = Server(directory, lock_wait_s=0.3)
        with pytest.raises(Broken, match="another process"), second:
            pass
        second.stop()
        assert ControlClient(directory).status()["state"] == "working"  # its control socket was not taken over
