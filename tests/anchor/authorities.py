"""Real time authorities as `lab.authority` serves them, under certificates made here: of any kind, good or bad."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import lab.authority
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lab.authority import authority_in, serving

from core.tokens import Issued, root, stamper

__all__ = ["Authority", "make_authority", "openssl", "serving"]

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@dataclass(kw_only=True)
class Authority(lab.authority.Authority):
    """One whose certificates a test can look into."""

    ca: Issued
    signer: Issued


def make_authority(folder: Path, name: str = "Authority", *, ca: Issued | None = None, **options: object) -> Authority:
    """An authority's files. `options` are those of its certificate (`core.tokens.issue`)."""
    folder.mkdir(parents=True)
    ca = ca or root(f"Root of {name}")
    signer = stamper(ca, name, **({"kind": "rsa"} | options))
    (folder / "root.pem").write_bytes(ca.pem)
    (folder / "signer.pem").write_bytes(signer.pem)
    (folder / "signer.key").write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    authority_in(folder)
    return Authority(folder=folder, ca=ca, signer=signer)
