"""Tokens of real and of made-up authorities: the good are believed, and each way of being wrong is told apart."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from core.tokens import END, POLICY, START, Issued, Maker, days, granted, issue, refused, root, seconds, stamper
from graven.core import der
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.timestamp import Stamp, verify_token
from graven.core.timestamp_request import Request, format_request, is_response, parse_request, parse_response
from graven.core.timestamp_token import parse_token
from graven.core.x509 import NotTrusted, parse_certificate, parse_certificates, verify_chain
from graven.keys.signature import verify_signature

MESSAGE = b"example.com/log\n7\nroot\n\n"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ROOT = root()
SIGNER = stamper(ROOT)


def check(token: bytes, *roots: Issued, message: bytes = MESSAGE, **options: Any) -> Stamp:
    return verify_token(
        token, message, roots=[one.parsed for one in roots or (ROOT,)], verify=verify_signature, **options
    )


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("pss", [False, True])
def test_every_algorithm_that_counts(kind: str, digest: str, pss: bool) -> None:
    signer = stamper(ROOT, f"stamper {kind}", kind=kind)
    maker = Maker(signer, digest=digest, imprint_digest=digest, pss=pss, nonce=9, accuracy=(1, 2, 3), fraction="25")
    stamp = check(maker.token(MESSAGE, NOW), nonce=9, policy=POLICY)
    time_us = seconds(NOW) * 1_000_000 + 250_000
    assert (stamp.time_us, stamp.earliest_us) == (time_us, time_us - 1_002_003)
    assert stamp.latest_us == time_us + 1_002_003 + 10_000
    assert (stamp.authority, stamp.root, stamp.nonce) == (f"stamper {kind}", "Root of Time", 9)


def test_a_chain_through_others_in_the_token() -> None:
    middle = issue("Middle", ROOT, authority=True, path_length=1)
    lower = issue("Lower", middle, authority=True, path_length=0)
    signer = stamper(lower, "Far away")
    token = Maker(signer, certificates=(lower, middle)).token(MESSAGE, NOW)
    assert check(token).root == "Root of Time"
    assert check(token, middle).root == "Middle"
    assert check(token, signer).root == "Far away"
    with pytest.raises(NotTrusted):
        check(Maker(signer, certificates=(lower,)).token(MESSAGE, NOW))
    with pytest.raises(NotTrusted):
        check(token, root("Another root"))


def test_without_roots_it_only_holds_together() -> None:
    token = Maker(SIGNER).token(MESSAGE, NOW)
    assert verify_token(token, MESSAGE, roots=None, verify=verify_signature).root == ""
    with pytest.raises(NotTrusted):
        verify_token(token, MESSAGE, roots=[], verify=verify_signature)


WRONG: dict[str, tuple[Maker, str]] = {
    "spoiled": (Maker(SIGNER, spoil=True), "signature is not good"),
    "other content": (Maker(SIGNER, other_content=b"x"), "not what its authority signed"),
    "sha-1 imprint": (Maker(SIGNER, sha1_imprint=True), "only SHA-256"),
    "sha-1 digest": (Maker(SIGNER, sha1_digest=True), "only SHA-256"),
    "no ess": (Maker(SIGNER, ess=False), "does not bind its certificate"),
    "ess of another": (Maker(SIGNER, ess_of=b"another"), "is not in it"),
    "certificate left out": (Maker(SIGNER, embed=False), "without its certificate"),
    "another in its place": (Maker(SIGNER, embed=False, certificates=(stamper(ROOT, "Other"),)), "is not in it"),
    "two names": (Maker(SIGNER, named=ROOT), "two certificates"),
    "another type": (Maker(SIGNER, content_type="1.2.840.113549.1.7.1"), "another kind of content"),
    "critical extension": (Maker(SIGNER, extension=True), "critical extension"),
    "another authority": (Maker(SIGNER, tsa=ROOT.certificate.subject.public_bytes()), "names another authority"),
    "expired": (Maker(stamper(ROOT, end=NOW - days(1))), "had expired"),
    "not yet": (Maker(stamper(ROOT, start=NOW + days(1))), "not valid yet"),
    "no purpose": (Maker(stamper(ROOT, purposes=None)), "stamping time alone"),
    "not critical": (Maker(stamper(ROOT, critical=False)), "stamping time alone"),
    "two purposes": (
        Maker(stamper(ROOT, purposes=(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH))),
        "stamping time alone",
    ),
    "for servers": (Maker(stamper(ROOT, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))), "stamping time alone"),
    "encrypts only": (Maker(stamper(ROOT, usage="key_encipherment")), "may not sign documents"),
    "short key": (Maker(stamper(ROOT, "short", kind="rsa1024")), "2048 bits"),
    "constrained": (
        Maker(stamper(ROOT, extra=((x509.NameConstraints([x509.DNSName("a")], None), True),))), "not understood"
    ),
    "self-signed": (Maker(issue("Nobody", purposes=(ExtendedKeyUsageOID.TIME_STAMPING,))), "does not lead"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_and_named(case: str) -> None:
    maker, words = WRONG[case]
    with pytest.raises((Disproved, BadInput), match=words):
        check(maker.token(MESSAGE, NOW))


def test_key_usages_and_identifiers_that_are_fine() -> None:
    for usage in ("digital_signature", "content_commitment"):
        check(Maker(stamper(ROOT, usage=usage)).token(MESSAGE, NOW))
    check(Maker(SIGNER, by_key_id=True).token(MESSAGE, NOW))
    check(Maker(SIGNER, tsa=SIGNER.certificate.subject.public_bytes()).token(MESSAGE, NOW))


def test_other_bytes_nonce_and_policy() -> None:
    token = Maker(SIGNER, nonce=5).token(MESSAGE, NOW)
    with pytest.raises(Disproved, match="other bytes"):
        check(token, message=MESSAGE + b"\n")
    with pytest.raises(Disproved, match="another request"):
        check(token, nonce=6)
    with pytest.raises(Disproved, match="another request"):
        check(Maker(SIGNER).token(MESSAGE, NOW), nonce=6)
    with pytest.raises(Disproved, match="another policy"):
        check(token, policy="1.2.3.4.9")


ISSUERS: dict[str, tuple[Issued, Issued]] = {
    "no authority": (ROOT, issue("Not CA", ROOT)),
    "may not sign certificates": (ROOT, issue("No sign", ROOT, authority=True, usage="digital_signature")),
    "expired issuer": (ROOT, issue("Old CA", ROOT, authority=True, end=NOW - days(1))),
    "for servers": (ROOT, issue("Web CA", ROOT, authority=True, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))),
    "expired root": (old := root("Old root", end=NOW - days(1)), issue("New CA", old, authority=True)),
    "path too long": (short := root("Short root", path_length=0), issue("Deep CA", short, authority=True)),
    "forged": (ROOT, Issued(issue("Middle", root("Look-alike"), authority=True).certificate, SIGNER.key)),
    "another's name": (
        ROOT, issue("Fake", Issued(ROOT.certificate, issue("Thief").key), authority=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ISSUERS)
def test_a_chain_is_no_better_than_its_links(case: str) -> None:
    trusted, issuer = ISSUERS[case]
    token = Maker(stamper(issuer, "Below"), certificates=(issuer,)).token(MESSAGE, NOW)
    with pytest.raises(NotTrusted):
        check(token, trusted)


def test_certificates_signed_by_sha1_lead_nowhere() -> None:
    rsa_root = root("RSA root", kind="rsa")
    sha256_with_rsa, sha1_with_rsa = (der.encode_oid(f"1.2.840.113549.1.1.{number}") for number in (11, 5))
    weak = stamper(rsa_root, "Weak").raw.replace(sha256_with_rsa, sha1_with_rsa)
    with pytest.raises(NotTrusted, match="does not lead"):
        verify_chain(
            parse_certificate(weak), (), [rsa_root.parsed], time_us=seconds(NOW) * 1_000_000, verify=verify_signature
        )


def test_a_loop_of_certificates_ends() -> None:
    one = issue("One", authority=True)
    two = issue("Two", one, authority=True)
    again = issue("One", two, authority=True)
    token = Maker(stamper(again, "Below"), certificates=(again, two, one)).token(MESSAGE, NOW)
    with pytest.raises(NotTrusted):
        check(token)


def test_valid_to_the_end_of_its_last_second() -> None:
    signer = stamper(ROOT, start=NOW, end=NOW)
    check(Maker(signer, fraction="999").token(MESSAGE, NOW))
    for moment in (NOW - days(1 / 86_400), NOW + days(1 / 86_400)):
        with pytest.raises(Disproved):
            check(Maker(signer).token(MESSAGE, moment))


def test_requests_come_back() -> None:
    for request in (Request(bytes(32), 0), Request(sha256(b"x").digest(), 2**127, "1.2.3.4")):
        assert parse_request(format_request(request)) == request
    with pytest.raises(BadInput):
        format_request(Request(b"short", 1))
    with pytest.raises(BadInput):
        parse_request(format_request(Request(bytes(32), 1)).replace(b"\x01\x01\xff", b"\x01\x01\x00"))


def test_what_an_authority_says_when_it_refuses() -> None:
    with pytest.raises(BadInput, match="status 2") as caught:
        parse_response(refused(2, "go away\x1b[31m", 15))
    assert "go away" in caught.value.place and "does not know the policy" in caught.value.place
    token = Maker(SIGNER).token(MESSAGE, NOW)
    assert parse_response(granted(token)) == token
    assert is_response(granted(token)) and not is_response(token) and not is_response(b"")
    with pytest.raises(BadInput, match="no token"):
        parse_response(granted(b""))


def test_a_file_of_certificates() -> None:
    both = parse_certificates(b"some words\n" + ROOT.pem + b"\n" + SIGNER.pem.replace(b"\n", b"\r\n"))
    assert [one.name for one in both] == ["Root of Time", "Stamper"]
    assert parse_certificates(ROOT.raw) == (ROOT.parsed,)
    for bad in (b"", b"-----BEGIN CERTIFICATE-----", ROOT.pem.replace(b"M", b"*"), ROOT.raw[:-1], ROOT.pem * 33):
        with pytest.raises(BadInput):
            parse_certificates(bad)


GOOD = Maker(
    stamper(ROOT, "Fuzzed", kind="rsa"), certificates=(ROOT,), nonce=77, accuracy=(0, 5, 0),
    tsa=issue("Fuzzed").certificate.subject.public_bytes(),
).token(MESSAGE, NOW)  # fmt: skip


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_byte_of_a_token_may_change(at: int, by: int) -> None:
    """What is not signed may differ in its bytes, never in what it shows."""
    changed = bytearray(GOOD)
    changed[at] ^= by
    good = check(GOOD, nonce=77)
    try:
        stamp = check(bytes(changed), nonce=77)
    except (BadInput, Disproved):
        return
    assert replace(stamp, token=GOOD) == good


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for read in (parse_token, parse_response, parse_request, parse_certificate, parse_certificates):
        try:
            read(data)
        except (BadInput, Disproved):
            continue


@given(st.data())
def test_pieces_of_tokens_put_together_anew(data: st.DataObject) -> None:
    """Members dropped, doubled, exchanged and grown: the reader refuses, or what it shows is what was signed."""
    token = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        places = _places(token)
        start, end = data.draw(st.sampled_from(places))
        other_start, other_end = data.draw(st.sampled_from(places))
        piece = data.draw(st.sampled_from([b"", token[other_start:other_end], token[start:end] * 2, b"\x05\x00"]))
        token = _put(token, start, end, piece)
    try:
        stamp = check(token, nonce=77)
    except (BadInput, Disproved):
        return
    assert replace(stamp, token=GOOD) == check(GOOD, nonce=77)


@pytest.mark.slow
@given(st.binary(max_size=3000))
def test_arbitrary_bytes_long(data: bytes) -> None:
    for read in (parse_token, parse_response, parse_certificate):
        try:
            read(data)
        except GravenError as error:
            assert isinstance(error, BadInput | Disproved)


def _places(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of every value in a document, however deep."""
    found: list[tuple[int, int]] = []

    def walk(start: int, end: int) -> None:
        at = start
        while at + 2 <= end:
            length, header = data[at + 1], 2
            if length >= 0x80:
                count = length & 0x7F
                length = int.from_bytes(data[at + 2 : at + 2 + count], "big")
                header += count
            if at + header + length > end:
                return
            found.append((at, at + header + length))
            if data[at] & 0x20:
                walk(at + header, at + header + length)
            at += header + length

    walk(0, len(data))
    return found or [(0, len(data))]


def _put(data: bytes, start: int, end: int, piece: bytes) -> bytes:
    """`data` with one value replaced, and the lengths around it made right again."""

    def build(at: int, stop: int) -> bytes:
        out = b""
        while at < stop:
            length, header = data[at + 1], 2
            if length >= 0x80:
                count = length & 0x7F
                length = int.from_bytes(data[at + 2 : at + 2 + count], "big")
                header += count
            upto = at + header + length
            if (at, upto) == (start, end):
                out += piece
            elif at < start and end <= upto and data[at] & 0x20:
                out += der.encode(data[at], build(at + header, upto))
            else:
                out += data[at:upto]
            at = upto
        return out

    return build(0, len(data))


def test_the_helpers_of_this_file_do_what_they_say() -> None:
    places = _places(GOOD)
    assert len(places) > 100
    start, end = places[20]
    assert _put(GOOD, start, end, GOOD[start:end]) == GOOD
    assert START < NOW < END
