"""Asking a time authority: a TimeStampReq of RFC 3161 out, its TimeStampResp in. Pure.

A request names a SHA-256, asks for the certificates, and carries a nonce, so that an old answer is known for one. What
comes back is opened no further than to the token in it: `core/timestamp_token.py` reads that, and `core/timestamp.py`
verifies it.
"""

from dataclasses import dataclass

from graven.core import der
from graven.core.der import Element, Reader
from graven.core.errors import BadInput

GRANTED, GRANTED_WITH_MODS = 0, 1
NONCE_BYTES = 16

_SHA256 = "2.16.840.1.101.3.4.2.1"
_FAILURES = {
    0: "bad algorithm", 2: "bad request", 5: "bad data format", 14: "its time source is not available",
    15: "it does not know the policy", 16: "it does not know an extension", 17: "it lacks information",
    25: "its system failed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a stamp over `imprint`, a SHA-256. `policy` is dotted decimal, or empty for any."""

    imprint: bytes
    nonce: int
    policy: str = ""


def format_request(request: Request) -> bytes:
    """The DER of a TimeStampReq that asks for the certificates too. Raises BadInput."""
    if len(request.imprint) != 32 or request.nonce < 0:
        raise BadInput("a request has a SHA-256 and a nonce that is not negative")
    algorithm = der.encode(der.SEQUENCE, der.encode_oid(_SHA256), der.encode(der.NULL))
    return der.encode(
        der.SEQUENCE,
        der.encode_integer(1),
        der.encode(der.SEQUENCE, algorithm, der.encode(der.OCTET_STRING, request.imprint)),
        der.encode_oid(request.policy) if request.policy else b"",
        der.encode_integer(request.nonce),
        der.encode(der.BOOLEAN, b"\xff"),
    )


def parse_request(data: bytes) -> Request:
    """A request as `format_request` writes it. Raises BadInput for any other."""
    reader = Reader(der.read_whole(data, der.SEQUENCE, "a request").content, "a request")
    der.read_integer(reader.take(der.INTEGER), "version")
    imprint = reader.inside(der.SEQUENCE)
    imprint.take(der.SEQUENCE)
    digest = imprint.take(der.OCTET_STRING).content
    policy = reader.maybe(der.OID)
    nonce = der.read_integer(reader.take(der.INTEGER), "nonce")
    request = Request(digest, nonce, "" if policy is None else der.read_oid(policy, "policy"))
    if format_request(request) != data:
        raise BadInput("not a request for a time stamp as the log writes them")
    return request


def parse_response(data: bytes) -> bytes:
    """The token in a TimeStampResp. Raises BadInput: not one, or the authority refused, with what it says."""
    reader = Reader(der.read_whole(data, der.SEQUENCE, "a response").content, "a response")
    status = reader.inside(der.SEQUENCE, "a status")
    number = der.read_integer(status.take(der.INTEGER), "status")
    words = status.maybe(der.SEQUENCE)
    failure = status.maybe(der.BIT_STRING)
    status.end()
    token = reader.maybe(der.SEQUENCE)
    reader.end()
    if number not in (GRANTED, GRANTED_WITH_MODS):
        raise BadInput(f"the authority refused, status {number}", place=_refusal(words, failure))
    if token is None:
        raise BadInput("the authority's answer holds no token")
    return token.raw


def is_response(data: bytes) -> bool:
    """Whether these bytes look like a TimeStampResp rather than a bare token."""
    try:
        whole = Reader(der.read_whole(data, der.SEQUENCE, "a response").content, "a response")
    except BadInput:
        return False
    return whole.tag == der.SEQUENCE


def _refusal(words: Element | None, failure: Element | None) -> str:
    """What the authority says, as far as it can be read."""
    said: list[str] = []
    try:
        if words is not None:
            reader = Reader(words.content, "status")
            said += [one.content.decode("utf-8", "replace")[:200] for one in list(reader.every())[:3]]
        if failure is not None:
            flags = der.read_flags(failure, "failure")
            said += [_FAILURES.get(flag, f"failure {flag}") for flag in sorted(flags)]
    except BadInput:
        said.append("more that cannot be read")
    return "; ".join(said)
