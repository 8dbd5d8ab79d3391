"""Sealed secrets: what was sealed comes back, and nothing else ever does."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput, Broken
from graven.keys.keyfile import format_document, parse_document
from graven.keys.passphrase import SCRYPT_N, Passphrase, open_sealed, read_passphrase, seal

QUICK_N = 2
WORDS = "correct horse"
ONE = Passphrase(WORDS)


def sealed_bytes(secret: bytes = b"a secret", purpose: str = "test") -> bytes:
    return format_document(seal(ONE, secret, purpose=purpose, scrypt_n=QUICK_N))


@given(st.binary(max_size=200), st.text(max_size=20))
def test_round_trip(secret: bytes, words: str) -> None:
    passphrase = Passphrase("x" + words)
    sealed = seal(passphrase, secret, purpose="p", scrypt_n=QUICK_N)
    assert open_sealed(Passphrase("x" + words), sealed, purpose="p", place="") == secret


def test_the_default_cost_is_that_of_the_format() -> None:
    sealed = seal(ONE, b"s", purpose="p")
    assert (sealed["n"], sealed["r"], sealed["p"]) == (32768, 8, 1) == (SCRYPT_N, 8, 1)


def test_scrypt_is_that_of_rfc_7914() -> None:
    expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert Passphrase("pleaseletmein").derive(b"SodiumChloride", n=16384, r=8, p=1).hex() == expected


def test_wrong_passphrase_and_wrong_purpose() -> None:
    sealed = seal(ONE, b"s", purpose="p", scrypt_n=QUICK_N)
    with pytest.raises(BadInput, match="passphrase is wrong"):
        open_sealed(Passphrase("correct horsf"), sealed, purpose="p", place="f")
    with pytest.raises(BadInput, match="passphrase is wrong"):
        open_sealed(ONE, sealed, purpose="q", place="f")


def test_no_byte_can_change() -> None:
    data = sealed_bytes()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((BadInput, Broken)):
            open_sealed(ONE, parse_document(changed, place="f"), purpose="test", place="f")


@pytest.mark.parametrize(
    ("n", "r", "p"),
    [(2**40, 8, 1), (2, 2**40, 1), (2, 8, 2**40), (3, 8, 1), (1, 8, 1), (0, 8, 1), (2, 0, 1), (2, 8, 0), (2, -1, 1)],
)
def test_parameters_from_elsewhere_are_bounded(n: int, r: int, p: int) -> None:
    sealed = seal(ONE, b"s", purpose="p", scrypt_n=QUICK_N) | {"n": n, "r": r, "p": p}
    with pytest.raises(BadInput, match="out of bounds"):
        open_sealed(ONE, sealed, purpose="p", place="f")


@pytest.mark.parametrize("value", [None, [], {}, "x", {"format": "graven-sealed/v1"}])
def test_no_sealed_secret_at_all(value: object) -> None:
    with pytest.raises(Broken, match="damaged"):
        open_sealed(ONE, value, purpose="p", place="f")


def test_secrets_sealed_with_one_salt_still_differ() -> None:
    salt = os.urandom(16)
    a, b = (seal(ONE, b"same", purpose="p", salt=salt, scrypt_n=QUICK_N) for _ in range(2))
    assert a["salt"] == b["salt"]
    assert a["nonce"] != b["nonce"]
    assert a["ciphertext"] != b["ciphertext"]


def test_a_passphrase_is_never_shown() -> None:
    assert WORDS not in repr(ONE) + str(ONE) + format(ONE)
    with pytest.raises(BadInput) as caught:
        Passphrase("secret" * 200)
    assert "secret" not in str(caught.value)


def test_passphrase_files(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    for content in (b"correct horse", b"correct horse\n", b"correct horse\r\n"):
        path.write_bytes(content)
        path.chmod(0o600)
        sealed = seal(read_passphrase(str(path)), b"s", purpose="p", scrypt_n=QUICK_N)
        assert open_sealed(ONE, sealed, purpose="p", place="") == b"s"
    for refused in (b"", b"\n", b"x" * 1025):
        path.write_bytes(refused)
        with pytest.raises(BadInput, match="1 to 1024 bytes"):
            read_passphrase(str(path))
    path.write_bytes(b"words")
    path.chmod(0o640)
    with pytest.raises(BadInput, match="read by others") as caught:
        read_passphrase(str(path))
    assert "chmod 600" in caught.value.mend
    assert read_passphrase(str(path), private=False).derive(b"salt", n=2, r=8, p=1)
    with pytest.raises(BadInput, match="cannot be read"):
        read_passphrase(str(tmp_path / "nowhere"))


def test_documents_have_one_spelling() -> None:
    data = format_document({"a": 1, "b": "ü"})
    assert parse_document(data, place="") == {"a": 1, "b": "ü"}
    for other in (
        data[:-1],
        b" " + data,
        json.dumps({"a": 1, "b": "ü"}).encode(),
        b'{"a":NaN}',
        b"[" * 100_000,
        b"\xff",
    ):
        with pytest.raises(Broken):
            parse_document(other, place="")
