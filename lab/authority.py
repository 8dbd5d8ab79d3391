"""A real time authority (RFC 3161): `openssl ts` behind HTTP, under a root of its own."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lab import AbsentError
from lab.http import Reply, replying

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
_PURPOSE = "basicConstraints=critical,CA:false\nextendedKeyUsage=critical,timeStamping\n"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass
class Authority:
    """`openssl ts` with a key and a certificate of its own, in `folder`.

    `url`: where it is asked while it is served. `change` alters what it is asked before it answers; `reply`, if set,
    answers (status, body) in its place.
    """

    folder: Path
    url: str = ""
    asked: int = 0
    reply: Reply | None = None
    change: Callable[[bytes], bytes] = field(default=lambda request: request)

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) to believe it by."""
        return self.folder / "root.pem"

    def stamp(self, request: bytes) -> bytes:
        """The TimeStampResp for a TimeStampReq."""
        query = self.folder / f"{threading.get_ident()}.tsq"
        query.write_bytes(request)
        words = ["openssl", "ts", "-reply", "-config", str(self.folder / "tsa.cnf"), "-queryfile", str(query)]
        done = subprocess.run(words, capture_output=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def answer(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self.asked += 1
        if self.reply is not None:
            return self.reply(request)
        return 200, self.stamp(self.change(request))


def make_authority(folder: Path) -> Authority:
    """A new one, with certificates made by openssl. Raises AbsentError where that is not installed."""
    if shutil.which("openssl") is None:
        raise AbsentError("openssl is not installed")
    folder.mkdir(parents=True)
    (folder / "purpose").write_text(_PURPOSE)
    _openssl(
        "req", "-x509", *_KEY, "-days", "3650", "-subj", "/CN=Root of the authority",
        "-keyout", folder / "root.key", "-out", folder / "root.pem",
    )  # fmt: skip
    _openssl(
        "req", *_KEY, "-subj", "/CN=Authority", "-keyout", folder / "signer.key", "-out", folder / "signer.csr",
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", folder / "signer.csr", "-CA", folder / "root.pem", "-CAkey", folder / "root.key",
        "-CAcreateserial", "-days", "3650", "-extfile", folder / "purpose", "-out", folder / "signer.pem",
    )  # fmt: skip
    return authority_in(folder)


def authority_in(folder: Path) -> Authority:
    """The one whose certificates and key (root.pem, signer.pem, signer.key) lie in `folder`."""
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    return Authority(folder)


AnyAuthority = TypeVar("AnyAuthority", bound=Authority)


@contextmanager
def serving(authority: AnyAuthority, *, delay_s: float = 0.0, drip_s: float = 0.0) -> Iterator[AnyAuthority]:
    """Serve it over HTTP; `url` is where. Answers come after a delay, or a few bytes at a time."""
    kind = "application/timestamp-reply"
    with replying(authority.answer, content_type=kind, delay_s=delay_s, drip_s=drip_s, drop_bytes=16) as base:
        authority.url = f"{base}/tsa"
        try:
            yield authority
        finally:
            authority.reply = None  # who serves it next has an honest one


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=180)
