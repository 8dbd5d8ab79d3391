"""Whether a webhook's request is its sender's own."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graven.ingest.protocol.webhook import NotSigned, Verifier, verify_webhook

SECRET, BODY, NOW_S = b"It's a Secret to Everybody", b"Hello, World!", 1_700_000_000.0


def mac(text: bytes, secret: bytes = SECRET, digest: str = "sha256") -> bytes:
    return hmac.new(secret, text, digest).digest()


def test_github_by_its_own_published_example() -> None:
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-event": "push", "x-github-delivery": "d-1",
    }  # fmt: skip
    signed = verify_webhook(Verifier("github", (SECRET,)), headers, BODY, now_s=NOW_S)
    assert signed.around == {"webhook.github-event": "push", "webhook.github-delivery": "d-1"}
    for bad in (BODY + b"!", b""):
        with pytest.raises(NotSigned):
            verify_webhook(Verifier("github", (SECRET,)), headers, bad, now_s=NOW_S)


@pytest.mark.parametrize("value", ["", "sha256=", "sha256=00", "sha1=aa", "sha256=" + "é" * 64, "sha256=" + "0" * 64])
def test_github_without_a_good_signature(value: str) -> None:
    with pytest.raises(NotSigned):
        verify_webhook(Verifier("github", (SECRET,)), {"x-hub-signature-256": value}, BODY, now_s=NOW_S)


def test_an_old_secret_still_does_while_it_is_listed() -> None:
    headers = {"x-hub-signature-256": "sha256=" + mac(BODY, b"old-secret").hex()}
    verify_webhook(Verifier("github", (SECRET, b"old-secret")), headers, BODY, now_s=NOW_S)
    with pytest.raises(NotSigned):
        verify_webhook(Verifier("github", (SECRET,)), headers, BODY, now_s=NOW_S)


def test_gitlab_sends_the_secret() -> None:
    verifier = Verifier("gitlab", (SECRET,))
    assert verify_webhook(verifier, {"x-gitlab-token": SECRET.decode()}, BODY, now_s=NOW_S).mark == ""
    for bad in ({}, {"x-gitlab-token": "other"}, {"x-gitlab-token": SECRET.decode() + " "}):
        with pytest.raises(NotSigned):
            verify_webhook(verifier, bad, BODY, now_s=NOW_S)


def standard(stamp: str, id_: str = "msg_1", secret: bytes = SECRET) -> dict[str, str]:
    text = f"{id_}.{stamp}.".encode() + BODY
    good = "v1," + base64.b64encode(mac(text, secret)).decode()
    return {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": f"v1a,xx {good}"}


def test_standard_webhooks() -> None:
    verifier = Verifier("standard", (b"whsec_" + base64.b64encode(SECRET),))
    signed = verify_webhook(verifier, standard("1700000000"), BODY, now_s=NOW_S + 299)
    assert signed.mark and signed.around == {"webhook.webhook-id": "msg_1"}
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": "1700000001"}, {"webhook-signature": "v1,"}):
        with pytest.raises(NotSigned):
            verify_webhook(verifier, standard("1700000000") | changed, BODY, now_s=NOW_S)


@pytest.mark.parametrize("now_s", [NOW_S + 301, NOW_S - 301])
def test_a_signed_time_outside_the_tolerance(now_s: float) -> None:
    with pytest.raises(NotSigned, match="more than 300 s away"):
        verify_webhook(Verifier("standard", (SECRET,)), standard("1700000000"), BODY, now_s=now_s)


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "1e9", "１７", "9" * 13])
def test_a_time_that_is_none(stamp: str) -> None:
    with pytest.raises(NotSigned, match="no signed time"):
        verify_webhook(Verifier("standard", (SECRET,)), standard(stamp), BODY, now_s=NOW_S)


SLACK = Verifier(
    "hmac", (SECRET,), "X-Slack-Signature", "v0=", "hex", "sha256", "v0:{timestamp}:{body}", "X-Slack-Request-Timestamp"
)


def test_any_other_as_configured() -> None:
    headers = {
        "x-slack-signature": "v0=" + mac(b"v0:1700000000:" + BODY).hex(),
        "x-slack-request-timestamp": "1700000000",
    }
    assert verify_webhook(SLACK, headers, BODY, now_s=NOW_S).mark
    with pytest.raises(NotSigned):
        verify_webhook(SLACK, headers, BODY, now_s=NOW_S + 301)
    with pytest.raises(NotSigned):
        verify_webhook(SLACK, headers | {"x-slack-request-timestamp": "1700000001"}, BODY, now_s=NOW_S)
    plain = Verifier("hmac", (SECRET,), "X-Signature", "", "base64", "sha512")
    good = base64.b64encode(mac(BODY, digest="sha512")).decode()
    assert verify_webhook(plain, {"x-signature": good}, BODY, now_s=NOW_S).mark


@given(st.text(max_size=80), st.binary(max_size=20), st.sampled_from(["github", "gitlab", "standard", "hmac"]))
def test_nothing_unsigned_passes(value: str, body: bytes, kind: str) -> None:
    verifier = Verifier(kind, (SECRET,), "sig", "")  # type: ignore[arg-type]
    headers = {"x-hub-signature-256": value, "x-gitlab-token": value, "sig": value, "webhook-signature": f"v1,{value}",
               "webhook-timestamp": "1700000000", "webhook-id": value}  # fmt: skip
    with pytest.raises(NotSigned):
        verify_webhook(verifier, headers, body, now_s=NOW_S)


def test_a_mark_is_of_the_signature_and_of_nothing_unsigned() -> None:
    headers = {"x-hub-signature-256": "sha256=" + mac(BODY).hex()}
    one = verify_webhook(Verifier("github", (SECRET,)), headers, BODY, now_s=NOW_S)
    other = verify_webhook(Verifier("github", (SECRET,)), headers | {"x-github-delivery": "forged"}, BODY, now_s=NOW_S)
    assert one.mark == other.mark == mac(BODY).hex()
