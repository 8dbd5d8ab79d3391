"""A real time authority (RFC 3161) for the run: `openssl ts` behind HTTP, under a root of its own."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tamper.calls import must
from tamper.model import AbsentError

_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {0}/serial
signer_cert = {0}/signer.pem
signer_key = {0}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""
_PURPOSE = "basicConstraints=critical,CA:false\nextendedKeyUsage=critical,timeStamping\n"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass
class Authority:
    """Where it is asked, and the certificate to believe it by. `away`: it answers nobody."""

    url: str
    root: Path
    folder: Path
    away: bool = False

    def stamp(self, query: bytes) -> bytes:
        """The answer (TimeStampResp) to a request (TimeStampReq)."""
        file = self.folder / f"{threading.get_ident()}.tsq"
        file.write_bytes(query)
        words = ["openssl", "ts", "-reply", "-config", str(self.folder / "tsa.cnf"), "-queryfile", str(file)]
        return subprocess.run(words, capture_output=True, check=True, timeout=30).stdout


@contextmanager
def serving(folder: Path) -> Iterator[Authority]:
    """Make one and serve it. Raises AbsentError without openssl."""
    if shutil.which("openssl") is None:
        raise AbsentError("openssl is not installed")
    folder.mkdir()
    _make_certificates(folder)
    authority = Authority("", folder / "root.pem", folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if authority.away:
                self.send_error(503)
                return
            answer = authority.stamp(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()


def _make_certificates(folder: Path) -> None:
    (folder / "serial").write_text("01\n")
    (folder / "purpose").write_text(_PURPOSE)
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder))
    must(["openssl", "req", "-x509", *_KEY, "-days", "3650", "-subj", "/CN=Root of the matrix",
          "-keyout", folder / "root.key", "-out", folder / "root.pem"])  # fmt: skip
    must(["openssl", "req", *_KEY, "-subj", "/CN=Authority of the matrix",
          "-keyout", folder / "signer.key", "-out", folder / "signer.csr"])  # fmt: skip
    must(["openssl", "x509", "-req", "-in", folder / "signer.csr", "-CA", folder / "root.pem", "-CAkey",
          folder / "root.key", "-CAcreateserial", "-days", "3650", "-extfile", folder / "purpose",
          "-out", folder / "signer.pem"])  # fmt: skip
