"""Real time authorities: `openssl ts` behind a small HTTP server, with certificates made here."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.tokens import Issued, root, stamper

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

Reply = Callable[[bytes], tuple[int, bytes]]

_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.5.6
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """`openssl ts` with a key and certificate of its own. `change` alters what it is asked, before it answers."""

    folder: Path
    ca: Issued
    signer: Issued
    url: str = ""
    asked: int = 0
    reply: Reply | None = None
    change: Callable[[bytes], bytes] = field(default=lambda request: request)

    @property
    def ca_file(self) -> Path:
        return self.folder / "root.pem"

    def stamp(self, request: bytes) -> bytes:
        """The TimeStampResp for a TimeStampReq."""
        query = self.folder / f"{threading.get_ident()}.tsq"
        query.write_bytes(request)
        done = subprocess.run(
            ["openssl", "ts", "-reply", "-config", str(self.folder / "tsa.cnf"), "-queryfile", str(query)],
            capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def answer(self, request: bytes) -> tuple[int, bytes]:
        self.asked += 1
        if self.reply is not None:
            return self.reply(request)
        return 200, self.stamp(self.change(request))


def make_authority(folder: Path, name: str = "Authority", *, ca: Issued | None = None, **options: object) -> Authority:
    """An authority's files. `options` are those of its certificate (`core.tokens.issue`)."""
    folder.mkdir(parents=True)
    ca = ca or root(f"Root of {name}")
    signer = stamper(ca, name, **({"kind": "rsa"} | options))
    (folder / "root.pem").write_bytes(ca.pem)
    (folder / "signer.pem").write_bytes(signer.pem)
    (folder / "signer.key").write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    return Authority(folder, ca, signer)


@contextmanager
def serving(authority: Authority, *, delay_s: float = 0.0, drip_s: float = 0.0) -> Iterator[Authority]:
    """Serve it over HTTP; `url` is where. Answers come after a delay, or a few bytes at a time."""
    stop = threading.Event()
    one = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with one:
                status, data = authority.answer(body)
            stop.wait(delay_s)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                step = 16 if drip_s else max(1, len(data))
                for at in range(0, len(data), step):
                    self.wfile.write(data[at : at + step])
                    if drip_s and stop.wait(drip_s):
                        return
            except OSError:
                return  # the log has hung up

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
    try:
        yield authority
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        authority.reply = None  # who serves it next has an honest one
