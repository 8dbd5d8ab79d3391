"""Time stamps of RFC 3161: requests, responses, and tokens verified offline. Pure, like everything in `core`.

A token is CMS SignedData (RFC 5652) over a TSTInfo: "these bytes, by their hash, existed at this time". What a good one
must show here, all of it:

    imprint      the hash of the very bytes, by SHA-256, SHA-384 or SHA-512
    signature    one signer; over its signed attributes, which hold the content's type and hash
    certificate  in the token, bound by ESSCertIDv2 (RFC 5035, RFC 5816), for stamping time alone: extended key usage
                 timeStamping, critical
    chain        to a certificate the caller trusts, every one valid at the stated time (`core/x509.py`)
    nonce        the one that was sent, where the caller knows it; policy: the one asked for, where one was

Time is what the authority says, no more: `earliest_us` and `latest_us` are its statement less and plus its accuracy and
the fineness of its text. Not looked at: revocation, and whether the signature was renewed since (the log does that,
docs/time.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import new as new_hash
from hashlib import sha256

from graven.core import der
from graven.core.der import Element, Reader
from graven.core.errors import BadInput, Disproved
from graven.core.note import VerifySignature
from graven.core.x509 import (
    MAX_CERTIFICATES,
    Certificate,
    check_signer,
    parse_certificate,
    read_digest,
    scheme_of,
    verify_chain,
    verify_signed,
)

MAX_TOKEN_BYTES = der.MAX_DER_BYTES
GRANTED, GRANTED_WITH_MODS = 0, 1
NONCE_BYTES = 16

_SHA256 = "2.16.840.1.101.3.4.2.1"
_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
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


@dataclass(frozen=True, slots=True)
class TstInfo:
    """What an authority states. Times in microseconds; `fineness_us` is that of its text."""

    policy: str
    digest: str
    imprint: bytes
    serial: int
    time_us: int
    fineness_us: int
    accuracy_us: int
    nonce: int | None
    authority: bytes | None
    """The DER of the Name it gives itself."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as written, verified by nobody yet."""

    raw: bytes
    info: TstInfo
    content: bytes
    certificates: tuple[Certificate, ...]
    issuer_and_serial: tuple[bytes, int] | None
    digest: str
    signed: bytes
    """The signed attributes as they are signed: a SET."""
    message_digest: bytes
    certificate_digest: tuple[str, bytes]
    scheme: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a good token shows: the bytes existed at a time between `earliest_us` and `latest_us`, says `authority`.

    `expires_us` is when the signing certificate ends, `root` the trusted certificate's name ("" where no root was
    given, and the chain was not looked at).
    """

    time_us: int
    earliest_us: int
    latest_us: int
    authority: str
    root: str
    policy: str
    serial: int
    nonce: int | None
    imprint: bytes
    expires_us: int
    token: bytes

    @property
    def sha256(self) -> str:
        """Of the token, in hex: its name in the log."""
        return sha256(self.token).hexdigest()


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


def parse_token(data: bytes) -> Token:
    """Read a token. Raises BadInput: not one, or not as RFC 3161 says; Disproved: made with SHA-1 or another hash."""
    outer = Reader(der.read_whole(data, der.SEQUENCE, "a time stamp").content, "a time stamp")
    _expect_oid(outer, _SIGNED_DATA, "signed data")
    wrapped = outer.inside(0xA0)
    outer.end()
    body = wrapped.inside(der.SEQUENCE)
    wrapped.end()
    der.read_integer(body.take(der.INTEGER), "version")
    body.take(der.SET)
    content = _content(body.inside(der.SEQUENCE))
    certificates = _certificates(body.maybe(0xA0))
    body.maybe(0xA1)
    signers = body.inside(der.SET, "signers")
    body.end()
    signer = signers.inside(der.SEQUENCE, "a signer")
    signers.end()
    der.read_integer(signer.take(der.INTEGER), "version")
    issuer_and_serial = _identifier(signer)
    digest = read_digest(signer.take(der.SEQUENCE), "the signer's hash")
    attributes = signer.take(0xA0)
    algorithm = signer.take(der.SEQUENCE)
    signature = signer.take(der.OCTET_STRING).content
    signer.maybe(0xA1)
    signer.end()
    message_digest, certificate_digest = _attributes(attributes)
    return Token(
        data, parse_tst_info(content), content, certificates, issuer_and_serial, digest,
        der.encode(der.SET, attributes.content), message_digest, certificate_digest,
        scheme_of(algorithm, digest), signature,
    )  # fmt: skip


def parse_tst_info(data: bytes) -> TstInfo:
    """What a token states. Raises BadInput; Disproved for an imprint that is not SHA-2."""
    reader = Reader(der.read_whole(data, der.SEQUENCE, "TSTInfo").content, "TSTInfo")
    if der.read_integer(reader.take(der.INTEGER), "version") != 1:
        raise BadInput("a time stamp of a version that is not known here")
    policy = der.read_oid(reader.take(der.OID), "policy")
    stamped = reader.inside(der.SEQUENCE, "imprint")
    digest = read_digest(stamped.take(der.SEQUENCE), "the imprint")
    imprint = stamped.take(der.OCTET_STRING).content
    stamped.end()
    if len(imprint) != new_hash(digest).digest_size:
        raise BadInput("an imprint of the wrong length")
    serial = der.read_integer(reader.take(der.INTEGER), "serial number")
    time_us, fineness_us = der.read_time(reader.take(der.GENERALIZED_TIME), "the time")
    accuracy_us = _accuracy(reader.maybe(der.SEQUENCE))
    if (ordering := reader.maybe(der.BOOLEAN)) is not None:
        der.read_boolean(ordering, "ordering")
    number = reader.maybe(der.INTEGER)
    nonce = None if number is None else der.read_integer(number, "nonce")
    named = reader.maybe(0xA0)
    if (extensions := reader.maybe(0xA1)) is not None:
        _refuse_critical(extensions)
    reader.end()
    authority = None
    if named is not None and named.content[:1] == b"\xa4":  # a directoryName; other kinds of name are compared nowhere
        authority = der.read_whole(named.content, 0xA4, "the authority's name").content
    return TstInfo(policy, digest, imprint, serial, time_us, fineness_us, accuracy_us, nonce, authority)


def verify_token(
    data: bytes,
    message: bytes,
    *,
    roots: Sequence[Certificate] | None,
    verify: VerifySignature,
    nonce: int | None = None,
    policy: str = "",
) -> Stamp:
    """What a token over `message` shows to someone who trusts `roots`.

    `roots` None: the chain is not looked at; then the token only holds together, and proves no time. Raises BadInput:
    it is no token. Disproved: it is not good, with what is wrong; as `NotTrusted` where only the roots are missing.
    """
    token = parse_token(data)
    info = token.info
    digest = new_hash(info.digest, message).digest()
    if digest != info.imprint:
        raise Disproved("the time stamp is over other bytes", expected=digest.hex(), found=info.imprint.hex())
    return verify_stamped(token, roots=roots, verify=verify, nonce=nonce, policy=policy)


def verify_stamped(
    token: Token,
    *,
    roots: Sequence[Certificate] | None,
    verify: VerifySignature,
    nonce: int | None = None,
    policy: str = "",
) -> Stamp:
    """As `verify_token`, where only the imprint of what was stamped is at hand: the caller compares it."""
    info = token.info
    if nonce is not None and info.nonce != nonce:
        found = "none" if info.nonce is None else str(info.nonce)
        raise Disproved("the time stamp answers another request: its nonce", expected=str(nonce), found=found)
    if policy and info.policy != policy:
        raise Disproved("the time stamp is under another policy", expected=policy, found=info.policy)
    signer = _signer(token)
    check_signer(signer)
    if new_hash(token.digest, token.content).digest() != token.message_digest:
        raise Disproved("the time stamp's content is not what its authority signed")
    verify_signed(signer, token.scheme, token.signature, token.signed, verify)
    if info.authority is not None and info.authority != signer.subject:
        raise Disproved("the time stamp names another authority than its certificate", place=signer.name)
    root = ""
    if roots is not None:
        chain = verify_chain(signer, token.certificates, roots, time_us=info.time_us, verify=verify)
        root = chain[-1].name
    return Stamp(
        info.time_us, info.time_us - info.accuracy_us, info.time_us + info.accuracy_us + info.fineness_us,
        signer.name, root, info.policy, info.serial, info.nonce, info.imprint, signer.not_after_us, token.raw,
    )  # fmt: skip


def _signer(token: Token) -> Certificate:
    """The certificate in the token that ESSCertIDv2 names; the signer's identifier must agree."""
    digest, value = token.certificate_digest
    for certificate in token.certificates:
        if new_hash(digest, certificate.raw).digest() == value:
            named = token.issuer_and_serial
            if named is not None and named != (certificate.issuer, certificate.serial):
                raise Disproved("the time stamp names two certificates as its signer's", place=certificate.name)
            return certificate
    raise Disproved("the certificate that the time stamp is bound to is not in it", expected=value.hex())


def _content(reader: Reader) -> bytes:
    _expect_oid(reader, _TST_INFO, "a TSTInfo")
    wrapped = reader.inside(0xA0)
    reader.end()
    content = wrapped.take(der.OCTET_STRING).content
    wrapped.end()
    return content


def _certificates(field: Element | None) -> tuple[Certificate, ...]:
    if field is None:
        raise BadInput("a time stamp without its certificate", mend="ask for one with certReq")
    found: list[Certificate] = []
    for one in Reader(field.content, "certificates").every():
        if one.tag == der.SEQUENCE:  # other choices are attribute certificates, which say nothing here
            found.append(parse_certificate(one.raw))
    if len(found) > MAX_CERTIFICATES:
        raise BadInput(f"a time stamp with more than {MAX_CERTIFICATES} certificates")
    return tuple(found)


def _identifier(signer: Reader) -> tuple[bytes, int] | None:
    """(issuer, serial number) of the signer; None where it is named by a key identifier."""
    if signer.maybe(0x80) is not None:
        return None
    named = signer.inside(der.SEQUENCE)
    issuer, serial = named.take(der.SEQUENCE).raw, der.read_integer(named.take(der.INTEGER), "serial number")
    named.end()
    return issuer, serial


def _attributes(field: Element) -> tuple[bytes, tuple[str, bytes]]:
    """(message digest, (hash, digest of the signing certificate)) in the signed attributes."""
    values: dict[str, Element] = {}
    for one in Reader(field.content, "signed attributes").every():
        reader = Reader(one.content, "a signed attribute")
        oid = der.read_oid(reader.take(der.OID), "attribute")
        held = reader.inside(der.SET)
        reader.end()
        if oid in values:
            raise BadInput("a signed attribute that stands twice", place=oid)
        first = held.tag
        if first is not None:
            values[oid] = held.take(first)
        if oid in (_CONTENT_TYPE, _MESSAGE_DIGEST, _SIGNING_CERTIFICATE_V2):
            held.end()
    content_type, message_digest = values.get(_CONTENT_TYPE), values.get(_MESSAGE_DIGEST)
    certificate = values.get(_SIGNING_CERTIFICATE_V2)
    if content_type is None or der.read_oid(content_type, "content type") != _TST_INFO or content_type.tag != der.OID:
        raise BadInput("a time stamp whose signature is for another kind of content")
    if message_digest is None or message_digest.tag != der.OCTET_STRING:
        raise BadInput("a time stamp that does not sign its content")
    if certificate is None or certificate.tag != der.SEQUENCE:
        raise Disproved("the time stamp does not bind its certificate by SHA-2 (signing-certificate-v2)")
    return message_digest.content, _bound_certificate(certificate)


def _bound_certificate(value: Element) -> tuple[str, bytes]:
    """The first ESSCertIDv2 of a SigningCertificateV2: the signer's own."""
    outer = Reader(value.content, "signing-certificate-v2")
    first = outer.inside(der.SEQUENCE).inside(der.SEQUENCE)
    algorithm = first.maybe(der.SEQUENCE)
    digest = "sha256" if algorithm is None else read_digest(algorithm, "signing-certificate-v2")
    return digest, first.take(der.OCTET_STRING).content


def _accuracy(field: Element | None) -> int:
    """Microseconds; 0 where nothing is said."""
    if field is None:
        return 0
    reader = Reader(field.content, "accuracy")
    total_us = 0
    for tag, unit_us, most in ((der.INTEGER, 1_000_000, 1 << 32), (0x80, 1_000, 999), (0x81, 1, 999)):
        member = reader.maybe(tag)
        if member is not None:
            value = der.read_integer(member, "accuracy")
            if not 0 <= value <= most:
                raise BadInput("an accuracy that is none")
            total_us += value * unit_us
    reader.end()
    return total_us


def _refuse_critical(extensions: Element) -> None:
    for one in Reader(extensions.content, "extensions").every():
        reader = Reader(one.content, "an extension")
        oid = der.read_oid(reader.take(der.OID), "extension")
        flag = reader.maybe(der.BOOLEAN)
        if flag is not None and der.read_boolean(flag, "critical"):
            raise Disproved("the time stamp has a critical extension that is not understood here", found=oid)


def _expect_oid(reader: Reader, expected: str, what: str) -> None:
    if der.read_oid(reader.take(der.OID), what) != expected:
        raise BadInput(f"a time stamp that is not {what}")


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
