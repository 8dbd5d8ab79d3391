"""URIs of keys in tokens: RFC 7512, read strictly; a PIN never in one, a refused one never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.core.errors import BadInput
from graven.keys.token_uri import (
    NO_ACCESS,
    Access,
    TokenUri,
    format_token_uri,
    parse_access,
    parse_token_uri,
)

MODULE = "module-path=/usr/lib/m.so"
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60).filter(
    lambda text: len(text.encode()) <= 255
)
PATHS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40).map(lambda text: f"/x{text}")
URIS = st.builds(
    TokenUri,
    token=st.none() | TEXT, manufacturer=st.none() | TEXT, serial=st.none() | TEXT, model=st.none() | TEXT,
    slot_id=st.none() | st.integers(0, 1 << 62), object=TEXT, id=st.none() | st.binary(min_size=1, max_size=40),
    access=st.builds(Access, st.none() | PATHS, st.none() | PATHS),
)  # fmt: skip


@given(URIS)
def test_what_is_formatted_parses_to_the_same(uri: TokenUri) -> None:
    text = format_token_uri(uri)
    if len(text) <= 2_048:
        assert parse_token_uri(text) == uri and text.isascii() and " " not in text
        assert uri.access == NO_ACCESS or parse_access(f"pkcs11:?{text.partition('?')[2]}") == uri.access


@given(
    st.text(max_size=80) | st.text("pkcs11:?;&=%=idobjecttoken-/3aF", max_size=60).map(lambda text: f"pkcs11:{text}")
)
def test_anything_is_a_uri_or_refused(text: str) -> None:
    for parse in (parse_token_uri, parse_access):
        try:
            parse(text)
        except BadInput:
            continue


def test_the_spellings_of_the_rfc() -> None:
    uri = parse_token_uri(f"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;id=%69%95%3e;type=private?{MODULE}")
    assert (uri.token, uri.id, uri.access.module) == ("The Software PKCS#11 Softtoken", b"i\x95>", "/usr/lib/m.so")
    assert "type" not in format_token_uri(uri)
    for source in ("file:/etc/pin", "file:///etc/pin", "/etc/pin"):
        assert parse_token_uri(f"pkcs11:object=x?pin-source={source}").access.pin_file == "/etc/pin"
    assert parse_token_uri("pkcs11:object=x;slot-id=327?").slot_id == 327
    assert parse_token_uri(f"pkcs11:token=a;object=x?{MODULE}").place == "pkcs11:token=a;object=x"


@pytest.mark.parametrize(
    "text",
    [
        "", "pkcs11:", "PKCS11:object=x", "file:", "pkcs11:object", "pkcs11:object=", "pkcs11:object=x;",
        "pkcs11:;object=x",
        "pkcs11:object=x;object=y", "pkcs11:object=x;x-own=1", "pkcs11:token=only", "pkcs11:object=a b",
        "pkcs11:object=%zz",
        "pkcs11:object=%00", "pkcs11:object=%FF", "pkcs11:object=x;type=public", "pkcs11:object=x;slot-id=01",
        "pkcs11:object=x;slot-id=a", "pkcs11:object=x?module-name=softhsm2", "pkcs11:object=x?module-path=lib.so",
        "pkcs11:object=x?pin-source=pin", "pkcs11:object=x?pin-source=|/bin/pin", "pkcs11:object=x?pin-source=file://h/pin",
        "pkcs11:object=x?pin-source=https://h/pin", "pkcs11:object=" + "x" * 256, "pkcs11:object=x?" + "y" * 2_048,
        "pkcs11:object=é", "pkcs11:object=x?module-path=/a&module-path=/b",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_token_uri(text)


@pytest.mark.parametrize(
    "text", ["?pin-value=1234", "?module-path=/m.so&pin-value=1234", ";pin-value=1234", "?pin-value=1 234"]
)
def test_a_pin_in_a_uri_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput, match="PIN must not stand") as caught:
        parse_token_uri(f"pkcs11:object=x{text}")
    assert "234" not in str(caught.value) + caught.value.mend + caught.value.place


def test_access_names_no_key() -> None:
    assert parse_access(f"pkcs11:?{MODULE}&pin-source=file:/p") == Access("/usr/lib/m.so", "/p")
    with pytest.raises(BadInput, match="names the key"):
        parse_access(f"pkcs11:object=x?{MODULE}")
    kept = Access("/m", "/p", True)
    assert Access().over(kept) == kept and Access("/n").over(kept) == Access("/n", "/p")
    assert Access(None, "/q", False).over(kept) == Access("/m", "/q", False)
