"""Others judge the same tokens: `rfc3161-client`, and the reader of evidence that is a shell script."""

import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.errors import VerificationError

from anchor.authorities import make_authority, openssl, serving
from anchor.timed import EVENT, make_timed
from core.tokens import Maker, granted, root, stamper
from graven.core.evidence import parse_evidence
from graven.core.note import format_vkey
from graven.core.timestamp import verify_token
from graven.core.timestamp_request import Request, format_request, parse_request, parse_response
from graven.keys.signature import verify_signature

NOTE = b"example.com/log\n7\nroot\n\n"
SCRIPT = Path(__file__).parents[2] / "src" / "graven" / "demo" / "verify-by-hand.sh"


def test_a_request_of_theirs_is_one_of_ours() -> None:
    built = (
        TimestampRequestBuilder()
        .data(NOTE)
        .hash_algorithm(HashAlgorithm.SHA256)
        .cert_request(cert_request=True)
        .build()
    )
    read = parse_request(built.as_bytes())
    assert read == Request(sha256(NOTE).digest(), int(built.nonce or 0)) and format_request(read) == built.as_bytes()


@openssl
def test_both_accept_what_openssl_makes_and_refuse_another_message(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "one")
    request = Request(sha256(NOTE).digest(), 99)
    answer = authority.stamp(format_request(request))
    ca = x509.load_der_x509_certificate(authority.ca.raw)
    verifier = VerifierBuilder(nonce=99).add_root_certificate(ca).build()
    assert verifier.verify_message(decode_timestamp_response(answer), NOTE)
    stamp = verify_token(parse_response(answer), NOTE, roots=[authority.ca.parsed], verify=verify_signature, nonce=99)
    theirs = decode_timestamp_response(answer).tst_info
    assert stamp.time_us == int(theirs.gen_time.timestamp()) * 1_000_000 and stamp.serial == theirs.serial_number
    with pytest.raises(VerificationError):
        verifier.verify_message(decode_timestamp_response(answer), NOTE + b"x")


@pytest.mark.parametrize("kind, digest", [("rsa", "sha256"), ("rsa", "sha512"), ("ec", "sha256")])
def test_tokens_made_here_are_tokens_to_others(kind: str, digest: str) -> None:
    ca = root("Root")
    signer = stamper(ca, "Stamper", kind=kind)
    maker = Maker(signer, digest=digest, nonce=5)
    answer = granted(maker.token(NOTE, datetime.now(UTC)))
    verifier = VerifierBuilder(nonce=5).add_root_certificate(ca.certificate).build()
    assert verifier.verify_message(decode_timestamp_response(answer), NOTE)
    assert x509.load_der_x509_certificate(ca.certificate.public_bytes(Encoding.DER)) == ca.certificate


@openssl
def test_the_shell_script_reads_evidence_that_carries_anchors(tmp_path: Path) -> None:
    with serving(make_authority(tmp_path / "one")) as one, make_timed(tmp_path, one=one).open() as log:
        for _ in range(3):
            log.append(list(EVENT))
            log.publish()
            log.anchoring.stamp()
        index = log.size - 1
        evidence = log.view.evidence(index)
        assert {anchor.type for anchor in parse_evidence(evidence).anchors} == {"rfc3161", "event"}
        vkey = format_vkey(log.keys[0])
    (tmp_path / "evidence.json").write_bytes(evidence)
    done = subprocess.run(
        ["bash", SCRIPT, "evidence.json", vkey], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0 and f"proved   index {index} of" in done.stdout, done.stdout + done.stderr
