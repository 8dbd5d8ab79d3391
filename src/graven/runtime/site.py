"""Where published files come from: C2SP tlog-tiles over HTTP, or a folder of the same layout.

Nothing that comes from a site is believed. Answers are bounded in size and time; what a site says never makes a reader
wait longer, and it is asked only so often.
"""

from pathlib import Path
from typing import Protocol

import urllib3
from urllib3.util import Retry, Timeout

from graven.core.errors import BadInput, Broken, Disproved
from graven.runtime.timed_http import TimedPool, bounded

CONNECTIONS = 8
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 20.0, 60.0

_PIECE_SIZE = 1 << 16
_TRIES = 2


class Site(Protocol):
    """Published files by their path. Threads share it."""

    def get(self, path: str, size_max: int) -> bytes | None:
        """The bytes at `path`, None where there are none.

        Raises Broken: no answer, or none in time. Disproved: more than `size_max` bytes.
        """


class HttpSite:
    """Files under one URL: the prefix of `checkpoint` and `tile/`, or the checkpoint's own URL.

    Of a server alone (http://HOST:PORT) it is the root or, where that has no checkpoint, `/log`, as `graven serve` has.
    """

    def __init__(self, url: str) -> None:
        """Raises BadInput for what is no URL of http or https."""
        try:
            parts = urllib3.util.parse_url(url)
        except urllib3.exceptions.LocationParseError:
            parts = urllib3.util.Url()
        if parts.scheme not in ("http", "https") or not parts.host or parts.auth or parts.query or parts.fragment:
            raise BadInput("not a URL of a log", place=url[:200], mend="https://HOST/log")
        self.base = url.rstrip("/").removesuffix("/checkpoint")
        self._may_be_below = (parts.path or "/") == "/"
        retry = Retry(
            total=_TRIES, redirect=3, status=_TRIES, status_forcelist=(429, 502, 503, 504), backoff_factor=0.2,
            respect_retry_after_header=False, raise_on_status=False,
        )  # fmt: skip
        self._pool = TimedPool(
            num_pools=4, maxsize=CONNECTIONS, block=True, retries=retry,
            timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            headers={"User-Agent": "graven", "Accept-Encoding": "identity"},
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the connections; the next `get` makes new ones."""
        self._pool.clear()

    def get(self, path: str, size_max: int) -> bytes | None:
        data = self._get(f"{self.base}/{path}", size_max)
        if data is None and path == "checkpoint" and self._may_be_below:
            below = f"{self.base}/log"
            data = self._get(f"{below}/{path}", size_max)
            if data is not None:
                self.base, self._may_be_below = below, False
        return data

    def _get(self, place: str, size_max: int) -> bytes | None:
        try:
            with bounded(ANSWER_TIMEOUT_S, wire_bytes_max=2 * size_max + _PIECE_SIZE):
                answer = self._pool.request("GET", place, preload_content=False, decode_content=False)
                try:
                    data = b""
                    while len(data) <= size_max and (piece := answer.read1(min(_PIECE_SIZE, size_max + 1 - len(data)))):
                        data += piece
                finally:
                    if answer.connection is not None:  # not read to its end: this connection is of no more use
                        answer.close()
                        answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Broken(f"the server does not answer: {type(error).__name__}", place=place) from None
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise Broken(f"the server answers with status {answer.status}", place=place)
        if len(data) > size_max:
            raise Disproved(f"an answer of more than {size_max} bytes", place=place)
        return data


class FolderSite:
    """The same files in a folder: an auditor's copy, or a log's `log/`."""

    def __init__(self, folder: Path) -> None:
        self.base = str(folder)
        self._folder = folder

    def get(self, path: str, size_max: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(size_max + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Broken(f"a file cannot be read: {error.strerror}", place=f"{self.base}/{path}") from None
        if len(data) > size_max:
            raise Disproved(f"a file of more than {size_max} bytes", place=f"{self.base}/{path}")
        return data
