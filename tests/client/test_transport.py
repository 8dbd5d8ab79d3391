"""One exchange: what the wire can do to it, and who sees the token."""

import logging
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab.ports import free_port

from client.scripted import TOKEN, Exchange, ScriptedServer, serving
from graven.client.transport import NoAnswer, Transport
from graven.core.errors import BadInput, Broken

MIB = 1 << 20


def transport(url: str, **changes: Any) -> Transport:
    fields: dict[str, Any] = {
        "token": TOKEN, "token_file": None, "ca_file": None, "timeout_s": 5.0, "allow_http": False,
    }  # fmt: skip
    return Transport(url, **fields | changes)


def ask(to: Transport, path: str = "/api/v1/status", *, answer_bytes_max: int = MIB) -> bytes:
    reply = to.ask("GET", path, answer_bytes_max=answer_bytes_max)
    assert reply.status == 200
    return reply.data


def test_a_connection_is_used_again(server: ScriptedServer) -> None:
    ports: list[int] = []

    def step(exchange: Exchange) -> None:
        ports.append(exchange.client_address[1])
        exchange.honest()

    server.script += [step] * 3
    to = transport(server.url)
    for _ in range(3):
        assert ask(to) == b'{"size": 0}'
    assert len(set(ports)) == 1
    to.close()


def test_the_token_goes_to_the_server_and_nowhere_else(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    to = transport(server.url)
    ask(to)
    assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    server.script.append(Exchange.cut)
    with pytest.raises(NoAnswer) as caught:
        ask(to)
    shown = caplog.text + repr(to) + str(caught.value) + repr(caught.value)
    assert TOKEN not in shown and "GET" in caplog.text
    (tmp_path / "token").write_text("bad\x01token-secret")
    for bad in ({"token": "bad token-secret"}, {"token": None, "token_file": tmp_path / "token"}):
        with pytest.raises(BadInput) as refused:
            transport(server.url, **bad)
        assert "token-secret" not in str(refused.value)


def test_redirects_are_not_followed(server: ScriptedServer) -> None:
    with serving() as elsewhere:
        server.script.append(lambda exchange: exchange.reply(307, b"", headers={"Location": elsewhere.url}))
        assert transport(server.url).ask("GET", "/", answer_bytes_max=MIB).status == 307
        assert elsewhere.requests == []


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "über", "x" * 5000])
def test_what_cannot_be_a_token(token: str) -> None:
    with pytest.raises(BadInput, match="a token is one word"):
        transport("http://127.0.0.1", token=token)


def test_a_token_in_a_file_may_change(server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    to = transport(server.url, token=None, token_file=file)
    ask(to)
    server.token = "gvn_new-token"
    assert to.ask("GET", "/api/v1/status", answer_bytes_max=MIB).status == 401
    assert len(server.requests) == 2, "the same token is not tried again"
    file.write_text("gvn_new-token\n")
    ask(to)
    assert len(server.requests) == 4


@pytest.mark.parametrize("fields", [{"token_file": "x"}, {"token": None, "token_file": "/nonexistent/token"}])
def test_tokens_that_cannot_be_had(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        transport("http://127.0.0.1", **fields)


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:4780", "ftp://127.0.0.1", "http://", "http://user@127.0.0.1", "http://u:secret@127.0.0.1",
        "http://127.0.0.1/?x=1", "http://127.0.0.1/#x", "http://127.0.0.1:x", "http://127.0.0.1:99999", "http://a b/",
        "http://127.0.0.1/\r\nX: y", "http://[::1", "http://ümlaut.example/", "http://127.0.0.1:0",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadInput, match="not the address") as caught:
        transport(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["audit.example.com", "10.0.0.1", "[2001:db8::1]", "127.0.0.1.example.com", "0.0.0.0"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    with pytest.raises(BadInput, match="plain HTTP"):
        transport(f"http://{host}:4780")
    assert transport(f"http://{host}:4780", allow_http=True).url == f"http://{host}:4780"
    assert transport(f"https://{host}").url == f"https://{host}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_loopback_is_this_machine(host: str) -> None:
    assert transport(f"http://{host}:4780/logs/one/").url == f"http://{host}:4780/logs/one"


def test_a_prefix_is_kept(server: ScriptedServer) -> None:
    transport(server.url + "/logs/one/").ask("GET", "/api/v1/status", answer_bytes_max=MIB)
    assert server.requests[0].path == "/logs/one/api/v1/status"


def test_nobody_listens() -> None:
    port = free_port()
    with pytest.raises(NoAnswer, match="Connection refused") as caught:
        ask(transport(f"http://127.0.0.1:{port}"))
    assert f":{port}" in caught.value.place and "0x" not in str(caught.value)


def cut_before_the_answer(exchange: Exchange) -> None:
    exchange.cut()


def cut_in_the_headers(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    exchange.cut()


def cut_in_the_answer(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    exchange.cut()


def cut_in_a_chunk(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")
    exchange.cut()


def cut_between_chunks(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    exchange.cut()


def no_http(exchange: Exchange) -> None:
    exchange.wfile.write(b"220 mail.example.com ESMTP\r\n")
    exchange.cut()


CUTS = [cut_before_the_answer, cut_in_the_headers, cut_in_the_answer, cut_in_a_chunk, cut_between_chunks, no_http]


@pytest.mark.parametrize("step", CUTS)
def test_half_an_answer_is_none(server: ScriptedServer, step: Any) -> None:
    server.script.append(step)
    to = transport(server.url)
    with pytest.raises(NoAnswer):
        ask(to)
    assert ask(to) == b'{"size": 0}', "and the next exchange is not disturbed"


def test_chunks_are_read(server: ScriptedServer) -> None:
    def step(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")

    server.script.append(step)
    assert ask(transport(server.url)) == b"abcdefg"


def endless(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    exchange.cut()
    while True:
        exchange.wfile.write(b"x" * 65536)


def endless_chunks(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        exchange.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def says_a_huge_length(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        exchange.wfile.write(b"x" * 65536)


def one_huge_chunk(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n")
    while True:
        exchange.wfile.write(b"x" * 65536)


@pytest.mark.parametrize("step", [endless, endless_chunks, says_a_huge_length, one_huge_chunk])
def test_a_huge_answer_is_cut_short(server: ScriptedServer, step: Any) -> None:
    server.script.append(step)
    with pytest.raises(Broken, match="more than 100000 bytes") as caught:
        ask(transport(server.url), answer_bytes_max=100_000)
    assert not isinstance(caught.value, NoAnswer), "asking again would not help"


def test_endless_headers_are_cut_short(server: ScriptedServer) -> None:
    def step(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            exchange.wfile.write(b"X-More: and more\r\n" * 1000)

    server.script.append(step)
    with pytest.raises(NoAnswer):
        ask(transport(server.url))


def test_compression_nobody_asked_for_is_not_undone(server: ScriptedServer) -> None:
    bomb = b"\x1f\x8b not really"
    server.script.append(lambda exchange: exchange.reply(200, bomb, headers={"Content-Encoding": "gzip"}))
    assert ask(transport(server.url)) == bomb
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_server_that_says_nothing_runs_out_of_time(server: ScriptedServer) -> None:
    answered = threading.Event()

    def wait(_: Exchange) -> None:
        answered.wait(90)

    server.script.append(wait)
    with pytest.raises(NoAnswer, match="timed out"):
        ask(transport(server.url, timeout_s=0.2))
    assert not answered.is_set()
    answered.set()


def test_an_answer_that_drips_runs_out_of_time(server: ScriptedServer) -> None:
    stop = threading.Event()

    def step(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.05):
            exchange.wfile.write(b"x")

    server.script.append(step)
    with pytest.raises(NoAnswer, match=r"longer than 1\.5 s"):  # it would never end by itself
        ask(transport(server.url, timeout_s=1.5))
    stop.set()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with authority.pem, another.pem, and server.pem with its key, for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    authority = certificate("authority", key.public_key(), "authority", key, ca=True)
    other_key = ec.generate_private_key(ec.SECP256R1())
    other = certificate("authority", other_key.public_key(), "authority", other_key, ca=True)
    server_key = ec.generate_private_key(ec.SECP256R1())
    own = certificate("server", server_key.public_key(), "authority", key, ca=False)
    secret = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    (directory / "authority.pem").write_bytes(authority.public_bytes(pem))
    (directory / "another.pem").write_bytes(other.public_bytes(pem))
    (directory / "server.pem").write_bytes(secret + own.public_bytes(pem))
    return directory


def certificate(
    name: str, key: ec.EllipticCurvePublicKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    with serving(context) as running:
        yield running


def test_https_with_the_authority_given(tls_server: ScriptedServer, certificates: Path) -> None:
    assert ask(transport(tls_server.url, ca_file=certificates / "authority.pem")) == b'{"size": 0}'


@pytest.mark.parametrize("ca", [None, "another.pem"])
def test_a_certificate_that_is_not_trusted_gets_nothing(
    tls_server: ScriptedServer, certificates: Path, ca: str | None
) -> None:
    with pytest.raises(BadInput, match="certificate is not trusted here") as caught:
        ask(transport(tls_server.url, ca_file=ca and certificates / ca))
    assert "ca_file" in caught.value.mend
    assert tls_server.requests == []


def test_a_certificate_for_another_name_gets_nothing(tls_server: ScriptedServer, certificates: Path) -> None:
    url = tls_server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(BadInput, match="certificate is not trusted here"):
        ask(transport(url, ca_file=certificates / "authority.pem"))
    assert tls_server.requests == []


def test_a_cut_under_tls_may_be_asked_again(tls_server: ScriptedServer, certificates: Path) -> None:
    tls_server.script.append(cut_in_the_answer)
    with pytest.raises(NoAnswer):
        ask(transport(tls_server.url, ca_file=certificates / "authority.pem"))


def test_https_to_a_server_without_it(server: ScriptedServer) -> None:
    with pytest.raises(NoAnswer):
        ask(transport(server.url.replace("http:", "https:")))


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_authorities_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(BadInput, match="certificate authorities"):
        transport("https://127.0.0.1", ca_file=tmp_path / "ca.pem")
