"""CloudTrail digest files: what they say, and whether CloudTrail signed it.

Source: "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file integrity validation". A
digest lists the log files of an hour with the SHA-256 of each (uncompressed), and the digest before with its hash and
signature. Its own signature (RSA, PKCS #1 v1.5, SHA-256) is over four lines:

    digest end time
    bucket/object of the digest
    hex SHA-256 of its content
    signature of the digest before, hex

and lies in the object's metadata, or, one digest later, in the next digest. Public keys are those that `aws cloudtrail
list-public-keys` prints; AWS keeps them for each region.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from graven.core.errors import BadInput, Disproved

DIGEST_BYTES_MAX = 64 << 20
LOG_FILES_MAX = 100_000
ALGORITHM = "SHA256withRSA"
NO_SIGNATURE = "null"


class LogFile(msgspec.Struct, frozen=True):
    """A log file as a digest lists it."""

    bucket: str = msgspec.field(name="s3Bucket")
    name: str = msgspec.field(name="s3Object")
    hash_value: str = msgspec.field(name="hashValue")
    hash_algorithm: str = msgspec.field(name="hashAlgorithm")


class Digest(msgspec.Struct, frozen=True):
    """A digest file, not believed yet."""

    start: str = msgspec.field(name="digestStartTime")
    end: str = msgspec.field(name="digestEndTime")
    bucket: str = msgspec.field(name="digestS3Bucket")
    name: str = msgspec.field(name="digestS3Object")
    fingerprint: str = msgspec.field(name="digestPublicKeyFingerprint")
    algorithm: str = msgspec.field(name="digestSignatureAlgorithm")
    previous_bucket: str | None = msgspec.field(name="previousDigestS3Bucket", default=None)
    previous_name: str | None = msgspec.field(name="previousDigestS3Object", default=None)
    previous_hash: str | None = msgspec.field(name="previousDigestHashValue", default=None)
    previous_signature: str | None = msgspec.field(name="previousDigestSignature", default=None)
    files: tuple[LogFile, ...] = msgspec.field(name="logFiles", default=())


@dataclass(frozen=True, slots=True)
class Seen:
    """What is needed of a digest to judge it by the next one: where it is, its hash, the text that was signed."""

    name: str
    content_sha256: str
    fingerprint: str
    signed: str
    proved: bool

    def to_place(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sha256": self.content_sha256,
            "fingerprint": self.fingerprint,
            "signed": self.signed,
            "proved": self.proved,
        }

    @classmethod
    def of_place(cls, place: Mapping[str, Any]) -> "Seen":
        return cls(place["name"], place["sha256"], place["fingerprint"], place["signed"], place["proved"])


def parse_digest(content: bytes) -> Digest:
    """The digest of a file's content, uncompressed. Raises BadInput."""
    if len(content) > DIGEST_BYTES_MAX:
        raise BadInput(f"a digest of more than {DIGEST_BYTES_MAX} bytes")
    try:
        digest = msgspec.json.decode(content, type=Digest)
        datetime.fromisoformat(digest.end.replace("Z", "+00:00"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadInput("not a CloudTrail digest", place=str(error)[:200]) from None
    if len(digest.files) > LOG_FILES_MAX:
        raise BadInput(f"a digest of more than {LOG_FILES_MAX} log files")
    return digest


def text_signed(digest: Digest, content: bytes) -> str:
    """The four lines that CloudTrail signs."""
    return "\n".join(
        (
            digest.end,
            f"{digest.bucket}/{digest.name}",
            sha256(content).hexdigest(),
            digest.previous_signature or NO_SIGNATURE,
        )
    )


def verify_signed(text: str, signature_hex: str, keys: Mapping[str, rsa.RSAPublicKey], fingerprint: str) -> str:
    """`text` when the key of this fingerprint signed it. Raises Disproved; BadInput: that key is not known here."""
    key = keys.get(fingerprint)
    if key is None:
        raise BadInput("the key that signed is not among the public keys given", place=fingerprint[:80])
    try:
        key.verify(bytes.fromhex(signature_hex), text.encode(), padding.PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise Disproved("the signature is not CloudTrail's", place=fingerprint[:80]) from None
    return text


def load_public_keys(data: bytes) -> dict[str, rsa.RSAPublicKey]:
    """Fingerprint → key, from what `aws cloudtrail list-public-keys` prints. Raises BadInput."""
    try:
        rows = msgspec.json.decode(data, type=dict[str, Any])["PublicKeyList"]
        keys: dict[str, rsa.RSAPublicKey] = {}
        for row in rows:
            key = _load(b64decode(row["Value"], validate=True))
            keys[str(row["Fingerprint"])] = key
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise BadInput(
            "not a list of CloudTrail's public keys", mend="aws cloudtrail list-public-keys --output json"
        ) from None
    return keys


def _load(der: bytes) -> rsa.RSAPublicKey:
    """An RSA key in DER: PKCS #1, as CloudTrail gives it, or SubjectPublicKeyInfo."""
    try:
        key = load_der_public_key(der)
    except ValueError:
        key = load_der_public_key(_wrapped(der))
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("no RSA key")
    return key


def _wrapped(pkcs1: bytes) -> bytes:
    """PKCS #1 within SubjectPublicKeyInfo: SEQUENCE { SEQUENCE { rsaEncryption, NULL }, BIT STRING }."""
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    bits = b"\x03" + _length(len(pkcs1) + 1) + b"\x00" + pkcs1
    return b"\x30" + _length(len(algorithm) + len(bits)) + algorithm + bits


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    data = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(data)]) + data
