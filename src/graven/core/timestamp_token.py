"""Time-stamp tokens as written: CMS SignedData (RFC 5652) over a TSTInfo (RFC 3161). Read here, believed by nobody yet.

Strict where it matters to a verdict: one signer, the content's type and hash among the signed attributes, a certificate
bound by ESSCertIDv2 (RFC 5035, RFC 5816), SHA-2 throughout, no critical extension. `core/timestamp.py` judges the rest.
"""

from dataclasses import dataclass
from hashlib import new as new_hash

from graven.core import der
from graven.core.der import Element, Reader
from graven.core.errors import BadInput, Disproved
from graven.core.x509 import MAX_CERTIFICATES, Certificate, parse_certificate, read_digest, scheme_of

MAX_TOKEN_BYTES = der.MAX_DER_BYTES

_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"


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
