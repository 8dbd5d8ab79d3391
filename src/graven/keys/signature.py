"""The real signature verifier behind `core.note.VerifySignature`: Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204).

`core/` imports no cryptography, so this function is handed to everything there that opens a note. It only verifies;
seeds and signing live beside the keyring.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from graven.core.errors import BadInput, Broken, Disproved


def verify_signature(algorithm: str, public: bytes, signature: bytes, message: bytes, *, context: bytes = b"") -> None:
    """Return when `signature` by `public` over `message` is good.

    `algorithm` is "ed25519" (32-byte key, 64-byte signature) or "ml-dsa-44" (1312 and 2420). `context` is ML-DSA's
    context string, empty in every format of the log; Ed25519 has none. Raises Disproved when the signature is not
    good, BadInput when the key or context cannot be one, Broken when this build of the cryptographic library lacks the
    algorithm.
    """
    try:
        if algorithm == "ed25519":
            if context:
                raise BadInput("Ed25519 has no context")
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        elif algorithm == "ml-dsa-44":
            MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context)
        else:
            raise BadInput(f"an unknown signature algorithm {algorithm!r}", mend="ed25519 or ml-dsa-44")
    except InvalidSignature:
        raise Disproved(f"the {algorithm} signature is not good") from None
    except ValueError as error:
        raise BadInput(f"not an {algorithm} public key or context: {error}") from None
    except UnsupportedAlgorithm as error:
        raise Broken(
            f"this build of the cryptographic library cannot verify {algorithm}",
            mend="install the wheels of cryptography 50 or newer",
        ) from error
