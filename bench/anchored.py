"""Graven embedded as in `embedded`, while a time authority stamps it every second: 3,600 times as often as by default.

The authority is `openssl ts` behind a small server in this process, so what it takes is counted, too.
"""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench import embedded
from bench.rounds import NotMeasuredError, Turn
from graven.app import Log, create_log
from graven.config import AuthorityConfig, load_config

RATIO_MIN = 0.97
_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {0}/serial
signer_cert = {0}/one.pem
signer_key = {0}/one.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


def run(batches: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Over `batches` (NDJSON), until `seconds` are over or the batches are. Raises NotMeasuredError: no openssl."""
    if shutil.which("openssl") is None:
        raise NotMeasuredError("openssl is not installed")
    directory = Path(tempfile.mkdtemp(dir=place))
    try:
        create_log(directory / "log")
        with _authority(directory) as url:
            config = load_config(directory / "log" / "graven.toml")
            one = AuthorityConfig(url=url, ca_file=str(directory / "one.pem"), interval_s=1)
            with Log.open(directory / "log", msgspec.structs.replace(config, authorities={"one": one})) as log:
                log.anchoring.start()
                turn = embedded.feed(log, batches, seconds)
                if not log.anchoring.states[0].stamps:
                    raise NotMeasuredError(f"no stamp came: {log.anchoring.states[0].why or 'too short'}")
                return turn
    finally:
        shutil.rmtree(directory)


@contextmanager
def _authority(folder: Path) -> Iterator[str]:
    _make_certificate(folder)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            words = ["openssl", "ts", "-reply", "-config", str(folder / "tsa.cnf"), "-queryfile", str(folder / "query")]
            answer = subprocess.run(words, capture_output=True, check=False).stdout
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _make_certificate(folder: Path) -> None:
    """A certificate for stamping time that is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(key, SHA256())
    )
    (folder / "one.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "one.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
