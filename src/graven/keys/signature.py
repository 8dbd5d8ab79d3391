"""The real signature verifier behind `core.note.VerifySignature`: Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204) for the
log, and for the certificates of time authorities RSA (PKCS #1 v1.5, PSS) and ECDSA with SHA-2 besides.

`core/` imports no cryptography, so this function is handed to everything there that opens a note. It only verifies;
seeds and signing live beside the keyring.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from graven.core.errors import BadInput, Broken, Disproved

RSA_BITS_MIN = 2048
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def verify_signature(algorithm: str, public: bytes, signature: bytes, message: bytes, *, context: bytes = b"") -> None:
    """Return when `signature` by `public` over `message` is good.

    `algorithm` is "ed25519" (32-byte key, 64-byte signature) or "ml-dsa-44" (1312 and 2420); or, with a public key in
    DER (SubjectPublicKeyInfo), "rsa-pkcs1-", "rsa-pss-" (salt as long as the hash) or "ecdsa-" and "sha256", "sha384"
    or "sha512": RSA of 2048 bits or more, the curves P-256, P-384, P-521. `context` is ML-DSA's context string, empty
    in every format of the log; the others have none. Raises Disproved when the signature is not good, BadInput when the
    key or context cannot be one, Broken when this build of the cryptographic library lacks the algorithm.
    """
    try:
        if context and algorithm != "ml-dsa-44":
            raise BadInput(f"{algorithm} has no context")
        if algorithm == "ed25519":
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        elif algorithm == "ml-dsa-44":
            MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context)
        else:
            _verify_certified(algorithm, public, signature, message)
    except InvalidSignature:
        raise Disproved(f"the {algorithm} signature is not good") from None
    except ValueError as error:
        raise BadInput(f"not an {algorithm} public key or context: {error}") from None
    except UnsupportedAlgorithm as error:
        raise Broken(
            f"this build of the cryptographic library cannot verify {algorithm}",
            mend="install the wheels of cryptography 50 or newer",
        ) from error


def _verify_certified(algorithm: str, public: bytes, signature: bytes, message: bytes) -> None:
    """By a key as certificates hold it. Raises InvalidSignature, ValueError and as `verify_signature`."""
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    scheme, _, name = algorithm.rpartition("-")
    digests: dict[str, HashAlgorithm] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}
    hashed = digests.get(name)
    if hashed is None or scheme not in ("rsa-pkcs1", "rsa-pss", "ecdsa"):
        raise BadInput(f"an unknown signature algorithm {algorithm!r}", mend="ed25519 or ml-dsa-44")
    key = load_der_public_key(public)
    if scheme == "ecdsa":
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
            raise BadInput("not an ECDSA key on P-256, P-384 or P-521")
        key.verify(signature, message, ec.ECDSA(hashed))
        return
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise BadInput(f"not an RSA key of {RSA_BITS_MIN} bits or more")
    if scheme == "rsa-pss":
        key.verify(signature, message, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
    else:
        key.verify(signature, message, padding.PKCS1v15(), hashed)
