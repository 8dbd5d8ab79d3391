"""One HTTP exchange with a service: bounded in bytes and time, never redirected, only with hosts it is meant for.

A token goes to the host of the preset and those it lists, and to nobody an answer names besides: a next page or a link
to records somewhere else is refused. Plain HTTP is for this machine alone.
"""

import email.utils
import ipaddress
import re
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin, urlsplit

from graven.core.errors import BadInput, Broken, Busy

ANSWER_BYTES_MAX = 64 << 20
ANSWER_S_MAX = 300.0
"""From the first connect to the last byte, however the service stretches it."""

RETRY_AFTER_S_MAX = 3_600
LINK_CHARACTERS_MAX = 8_192

_PIECE_BYTES = 1 << 18

_NEXT = re.compile(r"<([^<>]*)>\s*;[^,]*\brel=\"?next\"?")
_RESET_HEADERS = ("x-rate-limit-reset", "x-ratelimit-reset")


class Refused(BadInput):
    """The service says no, with a status: 4xx but 408 and 429."""

    def __init__(self, status: int, place: str) -> None:
        super().__init__(f"the service answers {status}", place=place)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `headers` have lower-case names."""

    data: bytes
    headers: Mapping[str, str]
    url: str

    @property
    def next_link(self) -> str:
        """The address a Link header calls the next, absolute; "" if there is none. Raises Broken: it cannot be read."""
        links = self.headers.get("link", "")
        if len(links) > LINK_CHARACTERS_MAX:
            raise Broken(f"a Link header of more than {LINK_CHARACTERS_MAX} characters", place=self.place)
        found = _NEXT.search(links)
        return self.absolute(found[1]) if found else ""

    @property
    def place(self) -> str:
        """Where it came from, without the query."""
        return self.url.partition("?")[0]

    def absolute(self, reference: str) -> str:
        """What an answer names, as an address. Raises Broken: it is none."""
        try:
            return urljoin(self.url, reference)
        except ValueError:
            raise Broken("the answer names what is no address", place=self.place) from None


class Exchange:
    """Asks one service. `hosts`: the only ones that are asked (host or host:port). `timeout_s` bounds one wait,
    `answer_s_max` all of an exchange.
    """

    def __init__(
        self,
        hosts: Collection[str],
        *,
        ca_file: str | None,
        timeout_s: float,
        answer_s_max: float = ANSWER_S_MAX,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        import urllib3

        from graven.runtime import timed_http

        self._hosts, self._timeout_s, self._now_s = frozenset(hosts), timeout_s, now_s
        self._bounded = partial(timed_http.bounded, answer_s_max, wire_bytes_max=2 * ANSWER_BYTES_MAX)
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise BadInput("the file of certificate authorities cannot be used", place=str(error)) from None
        self._errors = urllib3.exceptions.HTTPError
        self._pool = timed_http.TimedPool(retries=False, ssl_context=context, maxsize=2)

    def ask(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Raises Busy: not reached, not whole in time, 408, 429, 5xx, with when to ask again. Refused: 3xx, 4xx.
        BadInput: another host. Broken: an answer beyond its bounds."""
        self.check(url)
        place = f"{method} {url.partition('?')[0]}"
        sent = {"User-Agent": "graven-agent", "Accept": "application/json", **headers}
        try:
            with self._bounded():
                reply = self._pool.request(
                    method, url, headers=sent, body=body, redirect=False, preload_content=False, timeout=self._timeout_s
                )
                try:
                    data = bytearray()
                    while len(data) <= ANSWER_BYTES_MAX and (part := reply.read1(_PIECE_BYTES, decode_content=True)):
                        data += part
                finally:
                    reply.close()
        except self._errors as error:
            raise Busy(f"no answer: {type(error).__name__}", place=place) from None
        named = {name.lower(): value for name, value in reply.headers.items()}
        if len(data) > ANSWER_BYTES_MAX:
            raise Broken(f"an answer of more than {ANSWER_BYTES_MAX} bytes", place=place, mend="ask for smaller pages")
        status = int(reply.status)
        if status == 429 or (status == 403 and named.get("x-ratelimit-remaining") == "0"):
            raise Busy("asked too often", place=place, retry_after_s=self._pause_s(named, 60))
        if status == 408 or status >= 500:
            raise Busy(f"the service answers {status}", place=place, retry_after_s=self._pause_s(named, 1))
        if status >= 300:
            raise Refused(status, place)
        return Answer(bytes(data), named, url)

    def check(self, url: str) -> None:
        """Raises BadInput for an address that is not one of the service's."""
        try:
            parts = urlsplit(url)
            own = parts.netloc in self._hosts and parts.scheme in ("https", "http") and "@" not in parts.netloc
        except ValueError:
            own, parts = False, urlsplit("")
        if own and (parts.scheme == "https" or _is_loopback(parts.hostname or "")):
            return
        raise BadInput(
            "an address that is not the service's, or not https",
            place=ascii(parts.netloc[:200]),
            mend="if it is meant, list its host under `hosts` of the preset",
        )

    def close(self) -> None:
        self._pool.clear()

    def _pause_s(self, headers: Mapping[str, str], default_s: int) -> int:
        """How long the service wants to be left alone: Retry-After in seconds or as a date, or its own reset time."""
        text = headers.get("retry-after", "")
        found: float | None = None
        if text.isascii() and text.isdecimal():
            found = float(text[:9])
        elif text:
            try:
                found = email.utils.parsedate_to_datetime(text).timestamp() - self._now_s()
            except (ValueError, OverflowError):
                found = None
        for name in _RESET_HEADERS:
            value = headers.get(name, "")
            if found is None and value.isascii() and value.isdecimal():
                found = float(value[:12]) - self._now_s()
        return int(min(max(1.0, default_s if found is None else found + 1), RETRY_AFTER_S_MAX))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
