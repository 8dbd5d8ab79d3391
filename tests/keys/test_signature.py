"""The signature verifier against the published Wycheproof sets.

Source: C2SP/wycheproof (Apache-2.0): ed25519, mldsa_44_verify, mldsa_44_sign_seed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from graven.core.errors import BadInput, Broken, Disproved
from graven.keys import signature
from graven.keys.signature import verify_signature

Case = tuple[dict[str, Any], dict[str, Any]]


def cases(shared: Path, name: str) -> Iterator[Case]:
    """(group, test) pairs of one set."""
    for group in json.loads((shared / "vectors" / "wycheproof" / f"{name}.json").read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test


def judge(algorithm: str, public: bytes, test: dict[str, Any]) -> str:
    context = bytes.fromhex(test.get("ctx", ""))
    try:
        verify_signature(algorithm, public, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]), context=context)
    except Disproved:
        return "Disproved"
    except BadInput:
        return "BadInput"
    return "valid"


def test_ed25519(shared: Path) -> None:
    found = [
        (test["tcId"], judge("ed25519", bytes.fromhex(group["publicKey"]["pk"]), test), test["result"])
        for group, test in cases(shared, "ed25519_test")
    ]
    assert len(found) == 151
    assert [one for one in found if one[1] != {"valid": "valid", "invalid": "Disproved"}[one[2]]] == []


def test_ml_dsa_44(shared: Path) -> None:
    """A key or a context that cannot be one is the caller's fault; everything else that is wrong is Disproved."""
    found = []
    for group, test in cases(shared, "mldsa_44_verify_test"):
        public = bytes.fromhex(group["publicKey"])
        impossible = len(public) != 1312 or len(test.get("ctx", "")) > 2 * 255
        wanted = "valid" if test["result"] == "valid" else "BadInput" if impossible else "Disproved"
        found.append((test["tcId"], judge("ml-dsa-44", public, test), wanted))
    assert len(found) == 180
    assert [one for one in found if one[1] != one[2]] == []


def test_ml_dsa_44_keys_from_seeds(shared: Path) -> None:
    """A 32-byte seed gives the published public key, and under it the published signatures are good."""
    counts = dict.fromkeys(("derived", "not a seed", "good", "context refused", "without a message"), 0)
    for group, test in cases(shared, "mldsa_44_sign_seed_test"):
        seed = bytes.fromhex(group["privateSeed"])
        if len(seed) != 32:
            with pytest.raises(ValueError, match="32 bytes"):
                MLDSA44PrivateKey.from_seed_bytes(seed)
            counts["not a seed"] += 1
            continue
        public = MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        assert public.hex() == group["publicKey"], test["tcId"]
        counts["derived"] += 1
        if "msg" not in test:  # given as a digest of key and message: not a call the seam has
            counts["without a message"] += 1
            continue
        wanted = "valid" if test["result"] == "valid" else "BadInput"
        assert judge("ml-dsa-44", public, test) == wanted, test["tcId"]
        counts["good" if wanted == "valid" else "context refused"] += 1
    assert counts == {"derived": 83, "not a seed": 3, "good": 74, "context refused": 1, "without a message": 8}


def test_any_changed_bit_is_disproved() -> None:
    private = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    public, good = private.public_key().public_bytes_raw(), private.sign(b"message")
    verify_signature("ml-dsa-44", public, good, b"message")
    for position in range(0, len(good), 97):
        with pytest.raises(Disproved):
            changed = good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :]
            verify_signature("ml-dsa-44", public, changed, b"message")
    with pytest.raises(Disproved):
        verify_signature("ml-dsa-44", public, good, b"messagf")
    with pytest.raises(Disproved):
        verify_signature("ml-dsa-44", public, good, b"message", context=b"c")


@pytest.mark.parametrize(
    ("algorithm", "public", "context"),
    [
        ("ed25519", bytes(31), b""),
        ("ed25519", bytes(32), b"context"),
        ("ml-dsa-44", bytes(1311), b""),
        ("rsa", bytes(32), b""),
        ("", b"", b""),
    ],
)
def test_what_the_caller_gets_wrong(algorithm: str, public: bytes, context: bytes) -> None:
    with pytest.raises(BadInput):
        verify_signature(algorithm, public, bytes(64), b"", context=context)


def test_a_library_without_the_algorithm_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        @staticmethod
        def from_public_bytes(public: bytes) -> None:
            raise UnsupportedAlgorithm("not in this build")

    monkeypatch.setattr(signature, "MLDSA44PublicKey", Missing)
    with pytest.raises(Broken, match="cannot verify ml-dsa-44"):
        verify_signature("ml-dsa-44", bytes(1312), bytes(2420), b"")
