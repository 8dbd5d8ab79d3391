"""The token as each protocol's clients send it. It is one and the same token everywhere.

Bearer T            OTLP, Loki, Kubernetes, most others
Splunk T            the HTTP Event Collector
ApiKey T            Elasticsearch; also ApiKey BASE64(anything:T), as its API keys are written
Basic BASE64(anything:T)    any client that only knows a name and a password
"""

import base64
import binascii

__all__ = ["as_bearer"]

_CREDENTIAL_BYTES_MAX = 1024


def as_bearer(authorization: bytes | None) -> bytes | None:
    """The header as `Bearer T`; None for none. What is none of the forms stays as it is, and will not be known."""
    if authorization is None or len(authorization) > _CREDENTIAL_BYTES_MAX:
        return authorization
    scheme, _, value = authorization.strip().partition(b" ")
    value = value.strip()
    match scheme.lower():
        case b"splunk":
            return b"Bearer " + value
        case b"apikey":
            return b"Bearer " + (_behind_colon(value) or value)
        case b"basic":
            return b"Bearer " + _behind_colon(value)
        case _:
            return authorization


def _behind_colon(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
