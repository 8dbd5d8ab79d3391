"""CloudTrail, made by hand: log files, digests that name them, signatures by a key of the test's own."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5, sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = rsa.generate_private_key(65537, 2048)
PKCS1 = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
FINGERPRINT = md5(PKCS1, usedforsecurity=False).hexdigest()
PUBLIC_KEYS = json.dumps({"PublicKeyList": [{"Value": b64encode(PKCS1).decode(), "Fingerprint": FINGERPRINT}]}).encode()
ACCOUNT, REGION = "123456789012", "eu-west-1"

Put = Callable[[str, bytes, str], None]
"""(name, bytes, signature in the metadata or "")."""


@dataclass
class Trail:
    """One trail in one region. `put` stores a file."""

    put: Put
    bucket: str = "audit"
    signed: bool = True
    """Whether signatures are in the metadata, as in a bucket, or lost, as in a copied folder."""
    number: int = 0
    hour: int = 0
    files: list[tuple[str, bytes]] = field(default_factory=list)
    previous: dict[str, Any] = field(default_factory=dict)
    all_names: list[str] = field(default_factory=list)

    def log_file(self, records: int) -> str:
        """One log file with so many records."""
        content = json.dumps({"Records": [self._record() for _ in range(records)]}).encode()
        name = (
            f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/{self._day:02d}/{ACCOUNT}_CloudTrail_{REGION}_"
            f"202603{self._day:02d}T{self.hour % 24:02d}{len(self.files):02d}Z_{sha256(content).hexdigest()[:16]}"
            ".json.gz"
        )
        self.put(name, gzip.compress(content), "")
        self.files.append((name, content))
        self.all_names.append(name)
        return name

    def digest(self, **changes: Any) -> str:
        """The digest of the log files since the last one."""
        self.hour += 1
        name = (
            f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/2026/03/{self._day:02d}/{ACCOUNT}_CloudTrail-Digest_{REGION}"
            f"_main_{REGION}_202603{self._day:02d}T{self.hour % 24:02d}0000Z.json.gz"
        )
        document = {
            "awsAccountId": ACCOUNT,
            "digestStartTime": f"2026-03-{self._day:02d}T{(self.hour - 1) % 24:02d}:00:00Z",
            "digestEndTime": f"2026-03-{self._day:02d}T{self.hour % 24:02d}:00:00Z",
            "digestS3Bucket": self.bucket,
            "digestS3Object": name,
            "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA",
            **dict.fromkeys(
                ("previousDigestS3Bucket", "previousDigestS3Object", "previousDigestHashValue",
                 "previousDigestHashAlgorithm", "previousDigestSignature")
            ),
            **self.previous,
            "logFiles": [
                {"s3Bucket": self.bucket, "s3Object": one, "hashValue": sha256(content).hexdigest(),
                 "hashAlgorithm": "SHA-256"}
                for one, content in self.files
            ],
            **changes,
        }  # fmt: skip
        content = json.dumps(document).encode()
        text = "\n".join(
            (str(document["digestEndTime"]), f"{self.bucket}/{name}", sha256(content).hexdigest(),
             document["previousDigestSignature"] or "null")
        )  # fmt: skip
        signature = KEY.sign(text.encode(), padding.PKCS1v15(), SHA256()).hex()
        self.put(name, gzip.compress(content), signature if self.signed else "")
        self.previous = {
            "previousDigestS3Bucket": self.bucket,
            "previousDigestS3Object": name,
            "previousDigestHashValue": sha256(content).hexdigest(),
            "previousDigestHashAlgorithm": "SHA-256",
            "previousDigestSignature": signature,
        }
        self.files = []
        return name

    @property
    def _day(self) -> int:
        return 1 + self.hour // 24

    def _record(self) -> dict[str, Any]:
        self.number += 1
        return {
            "eventVersion": "1.08", "eventID": f"id-{self.number:06d}", "eventTime": "2026-03-01T08:30:00Z",
            "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": REGION,
            "userIdentity": {"type": "IAMUser", "userName": "ann"},
        }  # fmt: skip
