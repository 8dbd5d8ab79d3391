"""One HTTP exchange with a Graven server: bounded in time and bytes, and with a token that nobody sees.

The certificate of an HTTPS server is always checked. Plain HTTP is for this machine alone unless it is allowed by name,
because the token and the events would travel in clear. Redirects are not followed: the token is for one address. The
answer is read as it is sent (no compression is asked for), never more than the caller says, and never for longer than
twice the timeout after its headers came.

Not here: what an answer means, and asking again.
"""

import ipaddress
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from graven.core.errors import BadInput, Broken

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

TOKEN_BYTES_MAX = 4096
CONNECTIONS_MAX = 8  # kept open between exchanges; more may be made
CONNECT_TIMEOUT_S_MAX = 10.0

_CHUNK_BYTES = 64 << 10
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{TOKEN_BYTES_MAX}}}")


class NoAnswer(Broken):
    """The server could not be reached, or its answer did not come whole. What was asked may have been done."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; nothing in it is believed yet. `retry_after` is the header, "" without one."""

    status: int
    data: bytes
    retry_after: str


class Transport:
    """A server's address and the credentials for it. Threads may share it.

    Raises:
        BadInput: an address that is none, or plain HTTP to another machine; a token or a file that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        token_file: str | Path | None,
        ca_file: str | Path | None,
        timeout_s: float,
        allow_http: bool,
    ) -> None:
        import urllib3  # here, so that a program that only embeds a log does not load it

        if token is not None and token_file is not None:
            raise BadInput("a token and a file with one", mend="give one of the two")
        self.url, scheme = _check_url(url, allow_http=allow_http)
        self._timeout_s = timeout_s
        self._token_file = None if token_file is None else Path(token_file)
        self._token = _read_token(self._token_file) if self._token_file else _check_token(token, place="token")
        context = _ssl_context(ca_file) if scheme == "https" else None
        self._timeouts = urllib3.Timeout(connect=min(timeout_s, CONNECT_TIMEOUT_S_MAX), read=timeout_s)
        self._errors = urllib3.exceptions.HTTPError
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS_MAX, retries=False, ssl_context=context)

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        answer_bytes_max: int,
    ) -> Reply:
        """One exchange. `path` begins with a slash and may hold a query.

        A token that was read from a file is read again when the server does not take it, and the question asked once
        more if it is another one: tokens may be changed under a running program.

        Raises:
            NoAnswer: not reached, not in time, or cut off. Broken: more than `answer_bytes_max` bytes. BadInput: the
                server's certificate is not trusted.
        """
        reply = self._exchange(method, path, body, headers or {}, answer_bytes_max)
        if reply.status == 401 and self._token_file is not None:
            token = _read_token(self._token_file)
            if token != self._token:
                self._token = token
                reply = self._exchange(method, path, body, headers or {}, answer_bytes_max)
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], answer_bytes_max: int
    ) -> Reply:
        place = f"{method} {self.url}{path.partition('?')[0]}"
        sent = {"User-Agent": "graven-client", "Accept-Encoding": "identity", **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        response = None
        try:
            response = self._pool.urlopen(
                method, self.url + path, body=body, headers=sent, timeout=self._timeouts,
                redirect=False, preload_content=False, decode_content=False,
            )  # fmt: skip
            data = self._read(response, answer_bytes_max, place)
        except self._errors as error:
            if _find(error, ssl.SSLCertVerificationError):
                raise BadInput(
                    f"the server's certificate is not trusted here: {_reason(error)}",
                    place=place,
                    mend="ca_file names the authority that signed it; nothing was sent",
                ) from None
            raise NoAnswer(f"no answer from the server: {_reason(error)}", place=place) from None
        finally:
            if response is not None:
                response.close()  # also drops the connection, unless the answer was read to its end
        return Reply(response.status, data, response.headers.get("Retry-After", ""))

    def _read(self, response: "BaseHTTPResponse", bytes_max: int, place: str) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        parts: list[bytes] = []
        size = 0
        while part := response.read1(_CHUNK_BYTES, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > bytes_max:
                raise Broken(
                    f"the server answers with more than {bytes_max} bytes", place=place, mend="is this a Graven server?"
                )
            if time.monotonic() > deadline:
                raise NoAnswer(f"the answer took longer than {self._timeout_s:g} s", place=place)
        if "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers:
            raise NoAnswer("an answer whose end cannot be told from a cut", place=place)
        return b"".join(parts)


def _check_url(url: str, *, allow_http: bool) -> tuple[str, str]:
    """The address without a slash at its end, and its scheme. Errors do not repeat it: it might hold a password."""
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_number = urlsplit(""), False
    host = parts.hostname or ""
    plain = parts.scheme in ("http", "https") and not (parts.query or parts.fragment) and "@" not in parts.netloc
    if not (plain and host and port_is_number and url.isascii() and url.isprintable() and " " not in url):
        raise BadInput(
            "not the address of a server",
            place="url",
            mend="like https://audit.example.com:4780, without user, password, query or fragment",
        )
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise BadInput(
            f"plain HTTP to {host} would show the token and the events to everyone on the way",
            place="url",
            mend="use https://, or say allow_http=True where something else protects the way",
        )
    return url.rstrip("/"), parts.scheme


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_token(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(TOKEN_BYTES_MAX + 2)
    except OSError as error:
        raise BadInput("the file with the token cannot be read", place=f"{path}: {error.strerror}") from None
    return _check_token(data.decode("ascii", "replace").strip(), place=str(path))


def _check_token(token: str | None, *, place: str) -> str | None:
    if token is not None and _TOKEN.fullmatch(token) is None:
        raise BadInput(
            "a token is one word of ASCII letters, digits and marks", place=place, mend="graven token create makes one"
        )
    return token


def _ssl_context(ca_file: str | Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise BadInput("the file of certificate authorities cannot be used", place=f"{ca_file}: {reason}") from None


def _find(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether `error` is, wraps or was caused by an error of this kind."""
    seen: list[object] = [error]
    for one in seen:  # grows while it is walked
        if isinstance(one, kind):
            return True
        if isinstance(one, BaseException) and len(seen) < 32:
            seen += [*one.args, one.__cause__, one.__context__]
    return False


def _reason(error: BaseException) -> str:
    """In few words; the library's own words hold object addresses."""
    seen: list[object] = [error]
    for one in seen:
        if isinstance(one, ssl.SSLCertVerificationError):
            return str(one.verify_message)
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
        if isinstance(one, BaseException) and len(seen) < 32:
            seen += [*one.args, one.__cause__, one.__context__]
    return _WORDS.get(type(error).__name__, type(error).__name__)


_WORDS = {
    "ProtocolError": "the connection was cut, or this is no HTTP",
    "ReadTimeoutError": "timed out",
    "ConnectTimeoutError": "timed out while connecting",
}
