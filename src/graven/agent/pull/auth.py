"""How a request shows who asks. Secrets are files of their own, which nobody else may read; tokens stay in memory.

    header              a secret in a header, as the service wants it written
    basic               client id and secret
    client_credentials  RFC 6749 section 4.4: client id and secret for a token
    client_assertion    the same, with a signed JWT instead of the secret (RFC 7523 section 2.2)
    jwt_bearer          a signed JWT for a token, on behalf of somebody (RFC 7523 section 2.1)

Keys are PEM (RSA: RS256, P-256: ES256), or the JSON file of a Google service account.
"""

import os
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from graven.agent.pull.exchange import Exchange
from graven.agent.pull.preset import AuthPart, fill
from graven.core.errors import BadInput, Broken

SECRET_BYTES_MAX = 64 << 10
ASSERTION_S = 300
EARLY_S = 60
"""A token is renewed so long before it ends."""


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 3600.0


class Auth:
    """The headers that show who asks. One thread."""

    def __init__(
        self,
        part: AuthPart,
        values: Mapping[str, str],
        exchange: Exchange,
        *,
        secret_file: Path | None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._part, self._values, self._exchange, self._now_s = part, dict(values), exchange, now_s
        self._secret_file = secret_file
        self._token, self._until_s = "", 0.0
        if part.kind != "none" and secret_file is None:
            raise BadInput("this service wants a secret", mend="name the file that holds it: secret_file")
        if secret_file is not None:
            read_secret(secret_file)

    def headers(self) -> dict[str, str]:
        """For one request. Raises Busy, Refused, BadInput, Broken, as asking for a token may."""
        part = self._part
        if part.kind == "none":
            return {}
        if part.kind == "header":
            return {part.header: fill(part.value, {**self._values, "secret": self._secret()})}
        if part.kind == "basic":
            pair = f"{self._values.get('client_id', '')}:{self._secret()}".encode()
            return {"Authorization": "Basic " + b64encode(pair).decode("ascii")}
        if self._now_s() >= self._until_s - EARLY_S:
            self._renew()
        return {part.header: fill(part.value, {**self._values, "secret": self._token})}

    def forget(self) -> bool:
        """The service does not take the token: ask for a new one. False if there is none to renew."""
        had, self._until_s = self._until_s > 0, 0.0
        return had and self._part.kind not in ("none", "header", "basic")

    def _renew(self) -> None:
        part, values = self._part, self._values
        form = {key: fill(value, values) for key, value in part.parameters.items()}
        if part.scope:
            form["scope"] = fill(part.scope, values)
        if part.kind == "client_credentials":
            form |= {"grant_type": "client_credentials", "client_secret": self._secret()}
            form["client_id"] = values.get("client_id", "")
        elif part.kind == "client_assertion":
            form |= {
                "grant_type": "client_credentials",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self._assertion(),
            }
        else:
            form |= {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self._assertion()}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = fill(part.token_url, values)
        answer = self._exchange.ask("POST", url, headers=headers, body=urlencode(form).encode())
        try:
            token = msgspec.json.decode(answer.data, type=_Token)
        except msgspec.MsgspecError:
            raise Broken("the answer holds no token", place=url.partition("?")[0]) from None
        self._token, self._until_s = token.access_token, self._now_s() + max(EARLY_S + 1, token.expires_in)

    def _assertion(self) -> str:
        """A JWT signed with the key of the secret file."""
        part, now_s = self._part, int(self._now_s())
        pem, issuer = self._secret().encode(), fill(part.issuer, self._values)
        if pem.lstrip().startswith(b"{"):
            account = _service_account(pem)
            pem, issuer = account["private_key"].encode(), issuer or account["client_email"]
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": fill(part.audience, self._values) or fill(part.token_url, self._values),
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
            "jti": os.urandom(16).hex(),
        }
        if subject := fill(part.subject, self._values):
            claims["sub"] = subject
        if part.kind == "jwt_bearer" and part.scope:
            claims["scope"] = fill(part.scope, self._values)
        return sign_jwt(claims, pem)

    def _secret(self) -> str:
        assert self._secret_file is not None
        return read_secret(self._secret_file)


def read_secret(path: Path) -> str:
    """What a secret file holds, without white space around it. Raises BadInput; shows nothing of it."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise BadInput("the secret cannot be read", place=f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise BadInput("others may read the secret", place=str(path), mend=f"chmod 600 {path}")
    text = data.decode("utf-8", "replace").strip()
    if not text or len(data) > SECRET_BYTES_MAX or "\x00" in text:
        raise BadInput("the file holds no secret", place=str(path))
    return text


def sign_jwt(claims: Mapping[str, Any], pem: bytes) -> str:
    """A compact JWS: RS256 for an RSA key, ES256 for a P-256 key. Raises BadInput; shows nothing of the key."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise BadInput("the secret is no private key in PEM, or an encrypted one") from None
    if isinstance(key, rsa.RSAPrivateKey):
        signed = _signed_part("RS256", claims)
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        signed = _signed_part("ES256", claims)
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        raise BadInput("a key of a kind that is not supported", mend="RSA, or P-256")
    return (signed + b"." + _base64url(signature)).decode("ascii")


def _signed_part(algorithm: str, claims: Mapping[str, Any]) -> bytes:
    header = msgspec.json.encode({"alg": algorithm, "typ": "JWT"})
    return _base64url(header) + b"." + _base64url(msgspec.json.encode(claims))


def _service_account(data: bytes) -> dict[str, str]:
    try:
        account = msgspec.json.decode(data, type=dict[str, Any])
        return {"private_key": str(account["private_key"]), "client_email": str(account["client_email"])}
    except (msgspec.MsgspecError, KeyError):
        raise BadInput("the secret is JSON, but no service account") from None


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
