"""CloudTrail records normalised on one core, beside the bare decode of the same bytes.

The records are made here in CloudTrail's form, about 1,480 bytes each, no two equal; names are invented. Each run hands
the pipeline lists of records without a type, as a bucket or door would, and takes the events with their raws.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

import msgspec

from bench.rounds import Turn
from graven.ingest import Pipeline, Record

RECORDS = 4_000
RECORDS_A_RUN = 500

_CALLS = (
    ("ec2.amazonaws.com", "DescribeInstances", True), ("s3.amazonaws.com", "GetObject", True),
    ("s3.amazonaws.com", "PutObject", False), ("iam.amazonaws.com", "AttachRolePolicy", False),
    ("sts.amazonaws.com", "AssumeRole", True), ("kms.amazonaws.com", "Decrypt", True),
    ("lambda.amazonaws.com", "Invoke", False), ("secretsmanager.amazonaws.com", "GetSecretValue", True),
)  # fmt: skip


def decode(_: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """The floor of this row: msgspec decodes each record, and nothing is made of it."""
    reader = msgspec.json.Decoder().decode
    return _measure(lambda records: [reader(record.raw) for record in records], seconds)


def normalise(_: Sequence[bytes], place: Path, seconds: float) -> Turn:
    """Detected, normalised, encoded: what a door does before it hands the batch to the log."""
    pipeline = Pipeline()
    return _measure(pipeline.run, seconds)


def make_records(count: int = RECORDS, *, seed: int = 1) -> list[Record]:
    """`count` records, always the same."""
    random = Random(seed)
    return [Record(json.dumps(_record(random), separators=(",", ":")).encode()) for _ in range(count)]


def _measure(work: Callable[[list[Record]], Sequence[object]], seconds: float) -> Turn:
    records = make_records()
    pieces = [records[at : at + RECORDS_A_RUN] for at in range(0, len(records), RECORDS_A_RUN)]
    done = 0
    cpu_s, started = process_time(), perf_counter()
    while perf_counter() - started < seconds:
        for piece in pieces:
            done += len(work(piece))
            if perf_counter() - started >= seconds:
                break
    return Turn(done, perf_counter() - started, process_time() - cpu_s)


def _record(random: Random) -> dict[str, Any]:
    service, name, reads = random.choice(_CALLS)
    account, role = f"{random.randrange(10**12):012}", f"role-{random.randrange(40)}"
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/session-{random.randrange(1000)}"
    denied = random.random() < 0.05
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": f"AROA{random.randrange(16**12):012X}:x", "arn": arn,
            "accountId": account, "accessKeyId": f"ASIA{random.randrange(16**16):016X}",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role", "principalId": f"AROA{random.randrange(16**12):012X}", "userName": role,
                    "arn": f"arn:aws:iam::{account}:role/{role}", "accountId": account,
                },
                "attributes": {"creationDate": "2026-03-02T07:00:00Z", "mfaAuthenticated": "false"},
            },
        },
        "eventTime": f"2026-03-02T08:{random.randrange(60):02}:{random.randrange(60):02}Z",
        "eventSource": service,
        "eventName": name,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": f"203.0.113.{random.randrange(256)}",
        "userAgent": "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/GOOS#linux md/GOARCH#amd64 api/x#1.61.0",
        "errorCode": "AccessDenied" if denied else None,
        "requestParameters": {"bucketName": f"bucket-{random.randrange(100)}", "key": f"{random.randrange(16**10):x}",
                              "Host": "bucket.s3.eu-central-1.amazonaws.com"},
        "responseElements": None,
        "additionalEventData": {"SignatureVersion": "SigV4", "CipherSuite": "TLS_AES_128_GCM_SHA256",
                                "bytesTransferredOut": random.randrange(10**6), "AuthenticationMethod": "AuthHeader"},
        "requestID": f"{random.randrange(16**16):016X}",
        "eventID": f"{random.randrange(16**32):032x}",
        "readOnly": reads,
        "resources": [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::bucket/{random.randrange(10**6)}"}],
        "eventType": "AwsApiCall",
        "managementEvent": service != "s3.amazonaws.com",
        "recipientAccountId": account,
        "eventCategory": "Data" if service == "s3.amazonaws.com" else "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256",
                       "clientProvidedHostHeader": "bucket.s3.eu-central-1.amazonaws.com"},
    }  # fmt: skip
