"""Time stamps made here: certificates of any kind, tokens of any time, and every way to get one wrong."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import new as new_hash
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from graven.core import der
from graven.core.x509 import DIGESTS, Certificate, parse_certificate

SHA2 = {name: oid for oid, name in DIGESTS.items()}
SIGN_OIDS = {
    "rsa": {"sha256": "1.2.840.113549.1.1.11", "sha384": "1.2.840.113549.1.1.12", "sha512": "1.2.840.113549.1.1.13"},
    "ec": {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"},
}
HASHES: dict[str, Any] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
SHA1 = "1.3.14.3.2.26"
POLICY = "1.2.3.4.1"
START = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2049, 1, 1, tzinfo=UTC)


@cache
def private_key(kind: str, label: str) -> Any:
    """A key for a label: made once a process."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "rsa1024":
        return rsa.generate_private_key(public_exponent=65537, key_size=1024)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def raw(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def parsed(self) -> Certificate:
        return parse_certificate(self.raw)


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    kind: str = "ec",
    authority: bool = False,
    path_length: int | None = None,
    start: datetime = START,
    end: datetime = END,
    purposes: tuple[Any, ...] | None = None,
    critical: bool = True,
    usage: str | None = None,
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    digest: Any = None,
) -> Issued:
    """A certificate signed by `issuer` (by itself, without one)."""
    key = private_key(kind, name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
    if usage is not None:
        bits = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**{bit: bit == usage for bit in bits}), critical=True)
    for extension, is_critical in extra:
        builder = builder.add_extension(extension, critical=is_critical)
    signing = issuer.key if issuer else key
    plain = isinstance(signing, ed25519.Ed25519PrivateKey)
    return Issued(builder.sign(signing, None if plain else digest or hashes.SHA256()), key)


def root(name: str = "Root of Time", **options: Any) -> Issued:
    return issue(name, authority=True, **options)


def stamper(issuer: Issued, name: str = "Stamper", **options: Any) -> Issued:
    return issue(name, issuer, **({"purposes": (ExtendedKeyUsageOID.TIME_STAMPING,)} | options))


@dataclass
class Maker:
    """Makes tokens. Every field is a way to make another, or a wrong one."""

    signer: Issued
    certificates: tuple[Issued, ...] = ()
    digest: str = "sha256"
    imprint_digest: str = "sha256"
    policy: str = POLICY
    nonce: int | None = None
    accuracy: tuple[int, int, int] | None = None
    fraction: str = ""
    tsa: bytes | None = None
    pss: bool = False
    sha1_imprint: bool = False
    sha1_digest: bool = False
    ess: bool = True
    ess_of: bytes | None = None
    embed: bool = True
    named: Issued | None = None
    by_key_id: bool = False
    other_content: bytes | None = None
    content_type: str = "1.2.840.113549.1.9.16.1.4"
    spoil: bool = False
    extension: bool = False
    more: tuple[bytes, ...] = field(default=())
    imprint: bytes | None = None

    def token(self, message: bytes, time: datetime) -> bytes:
        """A TimeStampToken over `message` at `time`."""
        info = self.info(message, time)
        algorithm = _algorithm(SHA1 if self.sha1_digest else SHA2[self.digest])
        hashed = new_hash("sha1" if self.sha1_digest else self.digest, self.other_content or info).digest()
        attributes = [
            _attribute("1.2.840.113549.1.9.3", der.encode_oid(self.content_type)),
            _attribute("1.2.840.113549.1.9.4", der.encode(der.OCTET_STRING, hashed)),
            *self.more,
        ]
        if self.ess:
            bound = der.encode(der.OCTET_STRING, sha256(self.ess_of or self.signer.raw).digest())
            one = der.encode(der.SEQUENCE, bound)
            value = der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, one))
            attributes.append(_attribute("1.2.840.113549.1.9.16.2.47", value))
        signed = b"".join(sorted(attributes))
        identified = (self.named or self.signer).certificate
        sid = der.encode(der.SEQUENCE, identified.issuer.public_bytes(), _whole(identified.serial_number))
        if self.by_key_id:
            sid = der.encode(0x80, b"a key")
        signature = self._sign(der.encode(der.SET, signed))
        if self.spoil:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        signer = der.encode(
            der.SEQUENCE,
            der.encode_integer(3 if self.by_key_id else 1), sid, algorithm, der.encode(0xA0, signed),
            self._signature_algorithm(), der.encode(der.OCTET_STRING, signature),
        )  # fmt: skip
        held = [one.raw for one in ((self.signer,) if self.embed else ()) + self.certificates]
        inner = der.encode(
            der.SEQUENCE,
            der.encode_oid("1.2.840.113549.1.9.16.1.4"),
            der.encode(0xA0, der.encode(der.OCTET_STRING, info)),
        )
        body = der.encode(
            der.SEQUENCE, der.encode_integer(3), der.encode(der.SET, algorithm), inner,
            der.encode(0xA0, *held) if held else b"", der.encode(der.SET, signer),
        )  # fmt: skip
        return der.encode(der.SEQUENCE, der.encode_oid("1.2.840.113549.1.7.2"), der.encode(0xA0, body))

    def info(self, message: bytes, time: datetime) -> bytes:
        imprint = self.imprint or new_hash("sha1" if self.sha1_imprint else self.imprint_digest, message).digest()
        algorithm = _algorithm(SHA1 if self.sha1_imprint else SHA2[self.imprint_digest])
        text = time.strftime("%Y%m%d%H%M%S") + (f".{self.fraction}" if self.fraction else "") + "Z"
        parts = [
            der.encode_integer(1), der.encode_oid(self.policy),
            der.encode(der.SEQUENCE, algorithm, der.encode(der.OCTET_STRING, imprint)),
            der.encode_integer(int.from_bytes(sha256(message + text.encode()).digest()[:8], "big")),
            der.encode(der.GENERALIZED_TIME, text.encode()),
        ]  # fmt: skip
        if self.accuracy is not None:
            whole, milli, micro = (_whole(value) for value in self.accuracy)
            parts.append(der.encode(der.SEQUENCE, whole, b"\x80" + milli[1:], b"\x81" + micro[1:]))
        if self.nonce is not None:
            parts.append(der.encode_integer(self.nonce))
        if self.tsa is not None:
            parts.append(der.encode(0xA0, der.encode(0xA4, self.tsa)))
        if self.extension:
            one = der.encode(
                der.SEQUENCE, der.encode_oid("1.2.3.4"), der.encode(der.BOOLEAN, b"\xff"), der.encode(der.OCTET_STRING)
            )
            parts.append(der.encode(0xA1, one))
        return der.encode(der.SEQUENCE, *parts)

    def _sign(self, message: bytes) -> bytes:
        key, hashed = self.signer.key, HASHES[self.digest]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(message)
        if isinstance(key, rsa.RSAPrivateKey):
            if self.pss:
                return key.sign(message, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
            return key.sign(message, padding.PKCS1v15(), hashed)
        return bytes(key.sign(message, ec.ECDSA(hashed)))

    def _signature_algorithm(self) -> bytes:
        key = self.signer.key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return der.encode(der.SEQUENCE, der.encode_oid("1.3.101.112"))
        if isinstance(key, rsa.RSAPrivateKey):
            if not self.pss:
                return _algorithm("1.2.840.113549.1.1.1")
            one = _algorithm(SHA2[self.digest])
            mask = der.encode(der.SEQUENCE, der.encode_oid("1.2.840.113549.1.1.8"), one)
            salt = der.encode_integer(HASHES[self.digest].digest_size)
            parameters = der.encode(der.SEQUENCE, der.encode(0xA0, one), der.encode(0xA1, mask), der.encode(0xA2, salt))
            return der.encode(der.SEQUENCE, der.encode_oid("1.2.840.113549.1.1.10"), parameters)
        return der.encode(der.SEQUENCE, der.encode_oid(SIGN_OIDS["ec"][self.digest]))


def granted(token: bytes) -> bytes:
    """A TimeStampResp that grants."""
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, der.encode_integer(0)), token)


def refused(status: int, words: str, bit: int | None = None) -> bytes:
    """A TimeStampResp that does not."""
    flags = b""
    if bit is not None:
        held = bytearray(bit // 8 + 1)
        held[-1] = 0x80 >> bit % 8
        flags = der.encode(der.BIT_STRING, bytes([7 - bit % 8]) + held)
    text = der.encode(der.SEQUENCE, der.encode(der.UTF8_STRING, words.encode()))
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, der.encode_integer(status), text, flags))


def days(count: float) -> timedelta:
    return timedelta(days=count)


def _algorithm(oid: str) -> bytes:
    return der.encode(der.SEQUENCE, der.encode_oid(oid), der.encode(der.NULL))


def _attribute(oid: str, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, der.encode_oid(oid), der.encode(der.SET, value))


def _whole(value: int) -> bytes:
    return der.encode_integer(value)
