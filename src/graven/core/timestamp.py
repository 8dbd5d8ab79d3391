"""Time stamps of RFC 3161, verified offline: what a token proves to whom. Pure, like everything in `core`.

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

from graven.core.errors import Disproved
from graven.core.note import VerifySignature
from graven.core.timestamp_token import Token, parse_token
from graven.core.x509 import Certificate, check_signer, verify_chain, verify_signed


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
