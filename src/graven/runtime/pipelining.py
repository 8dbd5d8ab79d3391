"""Many small files of one web server over one connection, asked for ahead of their answers (RFC 9112, section 9.3.2).

A request and its answer cost a fraction of what a whole HTTP client takes for them, and none waits for the one before.
Only the plainest answer is taken: 200, with its length stated, not encoded. Anything else, a connection that ends, a
server that mixes things up, is no answer here and no verdict: the caller asks again in the ordinary way, one by one.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import httptools
import urllib3

from graven.runtime.site import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, READ_TIMEOUT_S

HEAD_BYTES_MAX = 16 << 10
AHEAD = 8
"""So many batches are asked for before the first of them is read."""
_READ_BYTES = 1 << 18

Wanted = tuple[str, int]
"""A path, and how many bytes its file has at most."""


class Pipeline:
    """One connection to the server of one URL, made when it is needed. One thread; close it."""

    def __init__(self, base: str) -> None:
        """`base` is a URL that `HttpSite` takes."""
        url = urllib3.util.parse_url(base)
        self._secure, self._host = url.scheme == "https", (url.host or "").strip("[]")
        self._port = url.port or (443 if self._secure else 80)
        self._path = (url.path or "").rstrip("/")
        self._head = f"Host: {url.netloc}\r\nUser-Agent: graven\r\nAccept-Encoding: identity\r\n\r\n"
        self._socket: socket.socket | None = None
        self._answers: _Answers | None = None
        self._useless = 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def get(self, batches: Iterable[Sequence[Wanted]]) -> Iterator[list[bytes | None]]:
        """The files of each batch, in order; None for one that did not come this way. Never raises for an answer.

        Further batches are asked for before the answers to one are read, so keep them small: a dozen files.
        """
        under_way: deque[tuple[Sequence[Wanted], _Answers | None]] = deque()
        try:
            for batch in batches:
                under_way.append((batch, self._ask(batch)))
                if len(under_way) > AHEAD:
                    yield self._take(*under_way.popleft())
            while under_way:
                yield self._take(*under_way.popleft())
        finally:
            if under_way:  # nobody will read those answers: they must not be taken for others
                self.close()

    def _ask(self, batch: Sequence[Wanted]) -> "_Answers | None":
        if self._useless > 1 or not batch:
            return None
        text = "".join([f"GET {self._path}/{path} HTTP/1.1\r\n{self._head}" for path, _ in batch]).encode()
        try:
            if self._socket is None:
                self._socket = self._connect()
                self._answers = _Answers()
            self._socket.sendall(text)
        except (OSError, ValueError):
            self.close()
            self._useless += 1
            return None
        return self._answers

    def _take(self, batch: Sequence[Wanted], answers: "_Answers | None") -> list[bytes | None]:
        files: list[bytes | None] = [None] * len(batch)
        if answers is None or self._socket is None or answers is not self._answers:
            return files  # of a connection that is gone
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        try:
            for number, (_, size_max) in enumerate(batch):
                while not answers.done:
                    if answers.unread > size_max + HEAD_BYTES_MAX or time.monotonic() > deadline_s:
                        raise OSError("too long, or too slow")
                    data = self._socket.recv(_READ_BYTES)
                    if not data:
                        raise OSError("the connection ended")
                    answers.feed(data)
                found = answers.done.popleft()
                files[number] = found if found is not None and len(found) <= size_max else None
        except (OSError, httptools.HttpParserError):
            self.close()
        self._useless = 0 if any(found is not None for found in files) else self._useless + 1
        return files

    def _connect(self) -> socket.socket:
        made = socket.create_connection((self._host, self._port), CONNECT_TIMEOUT_S)
        try:
            if self._secure:
                made = ssl.create_default_context().wrap_socket(made, server_hostname=self._host)
            made.settimeout(READ_TIMEOUT_S)
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            made.close()
            raise
        return made


class _Answers:
    """Answers as they come in on one connection. `done`: the bodies of whole ones, None for any that is not plain."""

    def __init__(self) -> None:
        self.done: deque[bytes | None] = deque()
        self.unread = 0
        """Bytes that came since the last answer was whole."""
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._plain = True
        self._length: int | None = None

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError."""
        self.unread += len(data)
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._parts, self._plain, self._length = [], True, None

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-length":
                self._plain = self._plain and self._length is None and value.isdigit()
                self._length = int(value) if self._plain and len(value) < 20 else None
            case b"content-encoding" | b"transfer-encoding":
                self._plain = False
            case _:
                pass

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        good = self._plain and self._parser.get_status_code() == 200 and self._length == len(body)
        self.done.append(body if good else None)
        self._parts, self.unread = [], 0
