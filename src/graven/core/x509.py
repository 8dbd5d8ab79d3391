"""Certificates (RFC 5280), as far as judging a time stamp needs them: read, and chained to one that is trusted.

A chain is good at a moment: every certificate in it is valid then, each is signed by the next, all but the first may
sign certificates, and the last is one the caller trusts. A trusted certificate needs no issuer; it may be the signer's
own. Revocation is not looked at: whoever verifies years later and offline has no list to ask. What a verifier must
understand to be safe (a critical extension) and this one does not, is refused: name constraints, for instance.

Signatures: RSA (PKCS #1 v1.5 and PSS) and ECDSA with SHA-256, SHA-384 or SHA-512, and Ed25519. Nothing with SHA-1.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.core import der
from graven.core.der import Element, Reader
from graven.core.errors import BadInput, Disproved
from graven.core.note import VerifySignature

MAX_CERTIFICATES = 32
MAX_CHAIN = 8
MAX_PEM_BYTES = 1 << 20

DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"

_RSA, _PSS, _ED25519 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.3.101.112"
_SCHEMES = {
    "1.2.840.113549.1.1.11": "rsa-pkcs1-sha256",
    "1.2.840.113549.1.1.12": "rsa-pkcs1-sha384",
    "1.2.840.113549.1.1.13": "rsa-pkcs1-sha512",
    "1.2.840.10045.4.3.2": "ecdsa-sha256",
    "1.2.840.10045.4.3.3": "ecdsa-sha384",
    "1.2.840.10045.4.3.4": "ecdsa-sha512",
    _ED25519: "ed25519",
}
_MGF1 = "1.2.840.113549.1.1.8"
_SALT_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}
_KEY_USAGE, _BASIC, _EXTENDED_USAGE = "2.5.29.15", "2.5.29.19", "2.5.29.37"
_UNDERSTOOD = {_KEY_USAGE, _BASIC, _EXTENDED_USAGE, "2.5.29.17", "2.5.29.18", "2.5.29.32", "2.5.29.35", "2.5.29.14"}
_ANY_USAGE = "2.5.29.37.0"
_DIGITAL_SIGNATURE, _NON_REPUDIATION, _SIGN_CERTIFICATES = 0, 1, 5
_COMMON_NAME, _ORGANISATION = "2.5.4.3", "2.5.4.10"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as written, verified by nobody yet. Times in microseconds since the Unix epoch, both inclusive.

    `usages` and `purposes` are None where the extension is absent, `critical_purposes` says whether it is critical.
    `path_length` is None where it is not bounded.
    """

    raw: bytes
    tbs: bytes
    serial: int
    issuer: bytes
    subject: bytes
    not_before_us: int
    not_after_us: int
    public: bytes
    scheme: str
    signature: bytes
    authority: bool
    path_length: int | None
    usages: frozenset[int] | None
    purposes: tuple[str, ...] | None
    critical_purposes: bool
    not_understood: tuple[str, ...]

    @property
    def name(self) -> str:
        """The subject for people: its common name, else its organisation, else part of the certificate's hash."""
        return name_of(self.subject) or f"certificate {sha256(self.raw).hexdigest()[:16]}"


def parse_certificate(data: bytes) -> Certificate:
    """Read one certificate in DER. Raises BadInput."""
    whole = der.read_whole(data, der.SEQUENCE, "a certificate")
    outer = Reader(whole.content, "a certificate")
    tbs = outer.take(der.SEQUENCE)
    algorithm = outer.take(der.SEQUENCE)
    signature = der.read_bits(outer.take(der.BIT_STRING), "signature")
    outer.end()
    inner = Reader(tbs.content, "a certificate")
    version = inner.maybe(0xA0)
    serial = der.read_integer(inner.take(der.INTEGER), "serial number")
    if inner.take(der.SEQUENCE).raw != algorithm.raw:
        raise BadInput("a certificate that names two signature algorithms")
    issuer = inner.take(der.SEQUENCE).raw
    validity = inner.inside(der.SEQUENCE)
    not_before_us, not_after_us = _moment(validity), _moment(validity)
    validity.end()
    subject = inner.take(der.SEQUENCE).raw
    public = inner.take(der.SEQUENCE).raw
    for tag in (0x81, 0x82):
        inner.maybe(tag)
    extensions = inner.maybe(0xA3)
    inner.end()
    if extensions is not None and (version is None or version.content != b"\x02\x01\x02"):
        raise BadInput("a certificate with extensions that is not of version 3")
    found = _extensions(extensions)
    authority, path_length = _basic(found.get(_BASIC))
    purposes = found.get(_EXTENDED_USAGE)
    usage = found.get(_KEY_USAGE)
    return Certificate(
        data, tbs.raw, serial, issuer, subject, not_before_us, not_after_us, public,
        scheme_of(algorithm), signature, authority, path_length,
        None if usage is None else der.read_flags(der.read_whole(usage[1], der.BIT_STRING, "key usage"), "key usage"),
        None if purposes is None else _purposes(purposes[1]),
        purposes is not None and purposes[0],
        tuple(oid for oid, (critical, _) in found.items() if critical and oid not in _UNDERSTOOD),
    )  # fmt: skip


def parse_certificates(data: bytes) -> tuple[Certificate, ...]:
    """The certificates of a file, PEM (up to 32) or DER (one). Raises BadInput: none, too many, more than 1 MiB."""
    if len(data) > MAX_PEM_BYTES:
        raise BadInput(f"certificates of more than {MAX_PEM_BYTES} bytes")
    if b"-----BEGIN" not in data:
        return (parse_certificate(data),)
    blocks = _PEM.findall(data)
    if not blocks or len(blocks) > MAX_CERTIFICATES:
        raise BadInput(f"a file of 1 to {MAX_CERTIFICATES} certificates is wanted", mend="-----BEGIN CERTIFICATE-----")
    found: list[Certificate] = []
    for block in blocks:
        try:
            found.append(parse_certificate(base64.b64decode(b"".join(block.split()), validate=True)))
        except ValueError:
            raise BadInput("a certificate that is not base64") from None
    return tuple(found)


def scheme_of(algorithm: Element, digest: str = "") -> str:
    """The signature scheme an AlgorithmIdentifier names, as `verify_signature` knows it. `digest` goes with plain RSA.

    Unknown ones are named "unknown …" and verify nothing. Raises BadInput for one that cannot be read.
    """
    reader = Reader(algorithm.content, "a signature algorithm")
    oid = der.read_oid(reader.take(der.OID), "signature algorithm")
    if oid == _PSS:
        return _pss(reader)
    if reader.maybe(der.NULL) is None and reader.tag is not None:
        return f"unknown {oid} with parameters"
    reader.end()
    if oid == _RSA and digest:
        return f"rsa-pkcs1-{digest}"
    return _SCHEMES.get(oid, f"unknown {oid}")


def read_digest(algorithm: Element, what: str) -> str:
    """The hash an AlgorithmIdentifier names. Raises BadInput; Disproved for any but SHA-256, SHA-384 and SHA-512."""
    reader = Reader(algorithm.content, what)
    oid = der.read_oid(reader.take(der.OID), what)
    reader.maybe(der.NULL)
    reader.end()
    if oid not in DIGESTS:
        raise Disproved(f"{what}: only SHA-256, SHA-384 and SHA-512 count here", found=oid)
    return DIGESTS[oid]


def check_signer(certificate: Certificate) -> None:
    """Raises Disproved unless this is a certificate for stamping time (RFC 3161 section 2.3) and nothing else."""
    if certificate.purposes != (TIME_STAMPING,) or not certificate.critical_purposes:
        raise Disproved(
            "the certificate is not one for stamping time alone: that takes a critical extended key usage of "
            "timeStamping and no other",
            found=", ".join(certificate.purposes or ()) or "none",
            place=certificate.name,
        )
    usages = certificate.usages
    if usages is not None and not usages & {_DIGITAL_SIGNATURE, _NON_REPUDIATION}:
        raise Disproved("the certificate's key may not sign documents", place=certificate.name)
    if certificate.not_understood:
        raise Disproved(
            "the certificate has a critical extension that is not understood here",
            found=", ".join(certificate.not_understood), place=certificate.name,
        )  # fmt: skip


class NotTrusted(Disproved):
    """No chain of good signatures leads from a certificate to one that is trusted."""


def verify_chain(
    signer: Certificate,
    others: Sequence[Certificate],
    roots: Sequence[Certificate],
    *,
    time_us: int,
    verify: VerifySignature,
) -> tuple[Certificate, ...]:
    """The chain from `signer` to one of `roots`, through `others`, good at `time_us`.

    Raises Disproved: `signer` is not valid then. NotTrusted: no chain leads to a root, with why the nearest failed.
    """
    _check_validity(signer, time_us)
    chain: tuple[Certificate, ...] = (signer,)
    trusted = {root.raw for root in roots}
    why = ""
    for _ in range(MAX_CHAIN):
        if chain[-1].raw in trusted:
            return chain
        issuer, reason = _issuer(chain, roots, others, time_us, verify)
        why = reason or why
        if issuer is None:
            break
        chain = (*chain, issuer)
    raise NotTrusted(
        "the authority's certificate does not lead to one that is trusted here",
        expected=", ".join(root.name for root in roots) or "a root",
        found=why or f"issued by {name_of(chain[-1].issuer) or 'somebody without a name'}",
        place=signer.name,
    )


def verify_signed(
    certificate: Certificate, scheme: str, signature: bytes, message: bytes, verify: VerifySignature
) -> None:
    """Raises Disproved when `signature` over `message` is not good by the certificate's key; BadInput for a bad key."""
    if scheme.startswith("unknown"):
        raise Disproved("a signature algorithm that does not count here", found=scheme, place=certificate.name)
    verify(scheme, _raw_ed25519(certificate.public) if scheme == "ed25519" else certificate.public, signature, message)


def name_of(name: bytes) -> str:
    """The common name in a Name, else the organisation, at most 100 characters; empty where there is none readable."""
    found: dict[str, str] = {}
    try:
        for part in Reader(der.read_whole(name, der.SEQUENCE, "a name").content, "a name").every():
            for pair in Reader(part.content, "a name").every():
                reader = Reader(pair.content, "a name")
                oid = der.read_oid(reader.take(der.OID), "a name")
                for value in reader.every():
                    found[oid] = value.content.decode("utf-8", "replace")[:100]
    except BadInput:
        return ""
    return found.get(_COMMON_NAME) or found.get(_ORGANISATION, "")


def _issuer(
    chain: Sequence[Certificate],
    roots: Sequence[Certificate],
    others: Sequence[Certificate],
    time_us: int,
    verify: VerifySignature,
) -> tuple[Certificate | None, str]:
    """Who signed the last of `chain`, trusted ones first; or why those of that name did not."""
    last, why = chain[-1], ""
    for candidate in dict.fromkeys((*roots, *others)):
        if candidate.subject != last.issuer or candidate in chain:
            continue
        try:
            _check_issuer(candidate, len(chain) - 1)
            _check_validity(candidate, time_us)
            verify_signed(candidate, last.scheme, last.signature, last.tbs, verify)
        except (Disproved, BadInput) as error:
            why = f"{error.what} ({candidate.name})"
            continue
        return candidate, ""
    return None, why


def _check_issuer(certificate: Certificate, below: int) -> None:
    """`below`: how many authorities stand between it and the signer."""
    usages, purposes = certificate.usages, certificate.purposes
    if not certificate.authority or (usages is not None and _SIGN_CERTIFICATES not in usages):
        raise Disproved("a certificate that may not sign certificates")
    if certificate.path_length is not None and below > certificate.path_length:
        raise Disproved("a chain that is longer than its authority allows")
    if purposes is not None and not {TIME_STAMPING, _ANY_USAGE} & set(purposes):
        raise Disproved("an authority that may not certify stampers of time")
    if certificate.not_understood:
        raise Disproved("a critical extension that is not understood here", found=", ".join(certificate.not_understood))


def _check_validity(certificate: Certificate, time_us: int) -> None:
    # The text of a certificate names whole seconds: its last one is good to its end.
    if not certificate.not_before_us <= time_us < certificate.not_after_us + 1_000_000:
        early = time_us < certificate.not_before_us
        raise Disproved(
            f"the certificate {'was not valid yet' if early else 'had expired'} at the time it states",
            place=certificate.name,
        )


def _extensions(wrapped: Element | None) -> dict[str, tuple[bool, bytes]]:
    """Object identifier → (critical, the value's DER)."""
    found: dict[str, tuple[bool, bytes]] = {}
    if wrapped is None:
        return found
    outer = Reader(wrapped.content, "extensions")
    members = outer.inside(der.SEQUENCE)
    outer.end()
    for one in members.every():
        reader = Reader(one.content, "an extension")
        oid = der.read_oid(reader.take(der.OID), "extension")
        flag = reader.maybe(der.BOOLEAN)
        value = reader.take(der.OCTET_STRING).content
        reader.end()
        if oid in found:
            raise BadInput("a certificate with one extension twice", place=oid)
        found[oid] = flag is not None and der.read_boolean(flag, "critical"), value
    return found


def _basic(extension: tuple[bool, bytes] | None) -> tuple[bool, int | None]:
    if extension is None:
        return False, None
    reader = Reader(der.read_whole(extension[1], der.SEQUENCE, "basic constraints").content, "basic constraints")
    flag, length = reader.maybe(der.BOOLEAN), reader.maybe(der.INTEGER)
    reader.end()
    authority = flag is not None and der.read_boolean(flag, "basic constraints")
    return authority, None if length is None else der.read_integer(length, "path length")


def _purposes(value: bytes) -> tuple[str, ...]:
    reader = Reader(der.read_whole(value, der.SEQUENCE, "extended key usage").content, "extended key usage")
    return tuple(der.read_oid(one, "purpose") for one in reader.every() if _is_oid(one))


def _is_oid(element: Element) -> bool:
    if element.tag != der.OID:
        raise BadInput("a purpose that is no object identifier")
    return True


def _moment(validity: Reader) -> int:
    return der.read_time(validity.take(validity.tag or 0), "validity")[0]


def _pss(reader: Reader) -> str:
    """RSASSA-PSS with one SHA-2 hash throughout and a salt of its length; any other choice is unknown."""
    parameters = reader.inside(der.SEQUENCE, "parameters of RSASSA-PSS")
    reader.end()
    hashed, mask, salt, trailer = (parameters.maybe(tag) for tag in (0xA0, 0xA1, 0xA2, 0xA3))
    parameters.end()
    if hashed is None or mask is None or salt is None or (trailer is not None and trailer.content != b"\x02\x01\x01"):
        return "unknown RSASSA-PSS with SHA-1"
    digest = _algorithm_in(hashed.content)
    outer = Reader(der.read_whole(mask.content, der.SEQUENCE, "a mask").content, "a mask")
    if der.read_oid(outer.take(der.OID), "a mask") != _MGF1:
        return "unknown RSASSA-PSS with another mask"
    masked = _algorithm_in(outer.take(der.SEQUENCE).raw)
    outer.end()
    length = der.read_integer(der.read_whole(salt.content, der.INTEGER, "a salt"), "a salt")
    name = DIGESTS.get(digest, "")
    if not name or masked != digest or length != _SALT_BYTES[name]:
        return "unknown RSASSA-PSS with mixed hashes"
    return f"rsa-pss-{name}"


def _algorithm_in(data: bytes) -> str:
    reader = Reader(der.read_whole(data, der.SEQUENCE, "an algorithm").content, "an algorithm")
    oid = der.read_oid(reader.take(der.OID), "an algorithm")
    reader.maybe(der.NULL)
    reader.end()
    return oid


def _raw_ed25519(public: bytes) -> bytes:
    """The 32 bytes in a SubjectPublicKeyInfo of Ed25519. Raises BadInput."""
    reader = Reader(der.read_whole(public, der.SEQUENCE, "a public key").content, "a public key")
    algorithm = reader.inside(der.SEQUENCE)
    oid = der.read_oid(algorithm.take(der.OID), "a public key")
    key = der.read_bits(reader.take(der.BIT_STRING), "a public key")
    reader.end()
    if oid != _ED25519 or len(key) != 32:
        raise BadInput("not an Ed25519 key")
    return key
