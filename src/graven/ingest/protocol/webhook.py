"""Webhooks: whether a request is its sender's own, by a secret that both know.

    github     X-Hub-Signature-256: sha256=HEX of HMAC-SHA256(secret, body)
    gitlab     X-Gitlab-Token: the secret itself
    standard   Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature: v1,BASE64 over id.timestamp.body
    hmac       any other: header, prefix, encoding, digest and what is signed are configured

Every comparison takes the same time wherever two values differ. A signed time may be off by the tolerance, no more.
What nobody signs (a delivery's number, the name of its event) may help to read a record and is never believed further.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graven.core.errors import BadInput

__all__ = ["SECRET_BYTES_MAX", "Signed", "Verifier", "WebhookKind", "verify_webhook"]

WebhookKind = Literal["github", "gitlab", "standard", "hmac"]

SECRET_BYTES_MAX = 4096

_SIGNATURES_MAX = 16  # of one header: senders list several while they rotate a secret
_STANDARD_PREFIX = b"whsec_"


@dataclass(frozen=True, slots=True)
class Verifier:
    """How one webhook is checked. `signed` is a template of {timestamp}, {id} and {body}.

    `secrets`: any of them will do, so that one can be rotated.
    """

    kind: WebhookKind
    secrets: tuple[bytes, ...]
    header: str = ""
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    digest: Literal["sha256", "sha512", "sha1"] = "sha256"
    signed: str = "{body}"
    timestamp_header: str = ""
    tolerance_s: int = 300


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that was checked. `mark` tells it from every other the sender signed: the same one again is a replay;
    it is "" where the sender signs nothing (gitlab). `around`: what the sender said beside the body."""

    mark: str
    around: Mapping[str, str]


class NotSigned(BadInput):
    """The request is not known to be its sender's."""


def verify_webhook(verifier: Verifier, headers: Mapping[str, str], body: bytes, *, now_s: float) -> Signed:
    """The request, checked. `headers` by their lower-case names.

    Raises NotSigned: no signature, one that does not fit, a time outside the tolerance. Its words name no value.
    """
    match verifier.kind:
        case "gitlab":
            _check_token(verifier, headers)
            return Signed("", _said(headers, "x-gitlab-event", "x-gitlab-event-uuid"))
        case "github":
            given = headers.get("x-hub-signature-256", "")
            mark = _check(verifier.secrets, "sha256", body, [_hex(given.removeprefix("sha256="))])
            return Signed(mark, _said(headers, "x-github-event", "x-github-delivery"))
        case "standard":
            return _standard(verifier, headers, body, now_s)
        case _:
            return _generic(verifier, headers, body, now_s)


def _standard(verifier: Verifier, headers: Mapping[str, str], body: bytes, now_s: float) -> Signed:
    stamp, id_ = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    _check_time(stamp, now_s, verifier.tolerance_s)
    given = [
        _base64(one[3:])
        for one in headers.get("webhook-signature", "").split(" ")[:_SIGNATURES_MAX]
        if one.startswith("v1,")
    ]
    secrets = tuple(
        _base64(secret[len(_STANDARD_PREFIX) :].decode("latin-1")) if secret.startswith(_STANDARD_PREFIX) else secret
        for secret in verifier.secrets
    )
    text = b"%b.%b.%b" % (id_.encode("latin-1", "replace"), stamp.encode(), body)
    return Signed(_check(secrets, "sha256", text, given), _said(headers, "webhook-id"))


def _generic(verifier: Verifier, headers: Mapping[str, str], body: bytes, now_s: float) -> Signed:
    stamp = ""
    if verifier.timestamp_header:
        stamp = headers.get(verifier.timestamp_header.lower(), "")
        _check_time(stamp, now_s, verifier.tolerance_s)
    value = headers.get(verifier.header.lower(), "")
    if not value.startswith(verifier.prefix):
        raise NotSigned("the request is not signed", place=verifier.header)
    given = value[len(verifier.prefix) :]
    signature = _hex(given) if verifier.encoding == "hex" else _base64(given)
    before, _, after = verifier.signed.partition("{body}")
    text = before.replace("{timestamp}", stamp).encode() + body + after.replace("{timestamp}", stamp).encode()
    return Signed(_check(verifier.secrets, verifier.digest, text, [signature]), {})


def _check(secrets: tuple[bytes, ...], digest: str, text: bytes, given: list[bytes]) -> str:
    """The signature that fits, hex. Every secret is tried with every signature, whatever was found before."""
    found = b""
    for secret in secrets:
        right = hmac.digest(secret, text, digest)
        for one in given:
            if hmac.compare_digest(right, one):
                found = right
    if not found:
        raise NotSigned("the request is not signed, or not with this secret", mend="give both sides the same secret")
    return found.hex()


def _check_token(verifier: Verifier, headers: Mapping[str, str]) -> None:
    given = hashlib.sha256(headers.get("x-gitlab-token", "").encode("latin-1", "replace")).digest()
    good = [hmac.compare_digest(hashlib.sha256(secret).digest(), given) for secret in verifier.secrets]
    if not any(good):
        raise NotSigned("the request has no token, or another", mend="give both sides the same secret")


def _check_time(stamp: str, now_s: float, tolerance_s: int) -> None:
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        raise NotSigned("the request has no signed time", mend="the sender must sign a time")
    if abs(now_s - int(stamp)) > tolerance_s:
        raise NotSigned(f"the signed time is more than {tolerance_s} s away from ours", mend="are both clocks right?")


def _said(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    return {f"webhook.{name.removeprefix('x-')}": headers[name][:256] for name in names if headers.get(name)}


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() and len(text) <= 256 else b""
    except ValueError:
        return b""


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if len(text) <= 512 else b""
    except (binascii.Error, ValueError):
        return b""
