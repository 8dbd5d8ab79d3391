"""One time authority, asked over HTTP (RFC 3161 section 3.4): `POST <url>` with a TimeStampReq.

Whatever comes back is judged as an enemy's: another status, an answer that is too long, too slow or no response, a
token over other bytes, for another request (nonce), under another policy, by a certificate that does not lead to the
roots the operator named. What is returned was verified. The authority sees a hash, never an event.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from graven.anchor.http import WORDS_MAX, NoAnswer, post_bounded
from graven.core.errors import BadInput, Disproved
from graven.core.note import VerifySignature
from graven.core.timestamp import Stamp, verify_token
from graven.core.timestamp_request import NONCE_BYTES, Request, format_request, parse_response
from graven.core.timestamp_token import MAX_TOKEN_BYTES
from graven.core.x509 import Certificate
from graven.runtime.terminal import escape_for_terminal
from graven.runtime.timed_http import TimedPool

ANSWER_BYTES_MAX = MAX_TOKEN_BYTES + 4096
_QUERY = "application/timestamp-query"


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """One `[authorities.<name>]` of the configuration, its certificates read."""

    name: str
    roots: tuple[Certificate, ...]
    url: str = ""
    policy: str = ""
    interval_s: int = 3600
    timeout_s: float = 10.0


class NoStamp(Exception):
    """No good token came; the text says why, in few words that may be printed."""


class TimeAuthority:
    """See the module. One question at a time."""

    def __init__(self, settings: AuthoritySettings, verify: VerifySignature) -> None:
        self.settings, self._verify = settings, verify
        self._http = TimedPool(num_pools=1, maxsize=1)

    def stamp(self, note: bytes) -> Stamp:
        """A verified time stamp over `note`. Raises NoStamp for whatever the authority or the network does."""
        settings = self.settings
        if not settings.url:
            raise NoStamp("it has no URL: stamp by file (graven anchor export)")
        request = new_request(note, settings.policy)
        try:
            status, body = post_bounded(
                self._http, settings.url, format_request(request),
                content_type=_QUERY, timeout_s=settings.timeout_s, bytes_max=ANSWER_BYTES_MAX,
            )  # fmt: skip
        except NoAnswer as error:
            raise NoStamp(str(error)) from None
        if status != 200:
            raise NoStamp(f"status {status}")
        try:
            return verify_token(
                parse_response(body), note,
                roots=settings.roots, verify=self._verify, nonce=request.nonce, policy=settings.policy,
            )  # fmt: skip
        except (BadInput, Disproved) as error:
            raise NoStamp(_shown(error)) from None

    def close(self) -> None:
        self._http.clear()


def new_request(note: bytes, policy: str = "") -> Request:
    """A request over a note, with a nonce of its own."""
    return Request(sha256(note).digest(), int.from_bytes(os.urandom(NONCE_BYTES), "big"), policy)


def roots_of(authorities: Sequence[AuthoritySettings]) -> tuple[Certificate, ...]:
    """Every certificate that some authority may lead to, each once."""
    return tuple(dict.fromkeys(root for authority in authorities for root in authority.roots))


def _shown(error: BadInput | Disproved) -> str:
    words = f"{error.what} ({error.place})" if error.place else error.what
    return escape_for_terminal(words)[: 2 * WORDS_MAX]
