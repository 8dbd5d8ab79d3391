"""The body of a request: read within bounds, and decompressed within bounds.

All bodies being read share one allowance of memory. A body of declared length takes its share before its first byte is
read, so what is begun can be finished; one of unknown length takes its share as it grows. Beyond the allowance a
request is refused (429). A body counts until its events are with the writer, whose queue has bounds of its own.

gzip and zstd are taken apart within the limit, too (`ingest.protocol.compressed`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from graven.core.errors import BadInput
from graven.ingest.protocol import compressed
from graven.server.answers import Full, Refused

LARGE_BYTES = 1 << 20
"""What is longer is not worked on by the loop's thread."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class ClientGone(Exception):
    """The client went away before its request was whole. Nobody waits for an answer."""


class Allowance:
    """Bytes of memory for bodies in flight. One thread: the loop's."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.taken_bytes = 0

    def has_room(self, count: int) -> bool:
        """Whether `take` would be granted. One body alone always is."""
        return self.taken_bytes + count <= self._bytes_max or not self.taken_bytes

    def take(self, count: int) -> None:
        """Raises Full when there is no room."""
        if not self.has_room(count):
            raise Full("too many bytes are on their way in", mend="send again after the pause, more slowly")
        self.taken_bytes += count

    def give_back(self, count: int) -> None:
        self.taken_bytes -= count


class Share:
    """What one request has taken of the allowance."""

    __slots__ = ("_allowance", "taken_bytes")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance, self.taken_bytes = allowance, 0

    def take(self, count: int) -> None:
        """Raises Full when there is no room."""
        self._allowance.take(count)
        self.taken_bytes += count

    def give_back(self) -> None:
        self._allowance.give_back(self.taken_bytes)
        self.taken_bytes = 0


async def read_body(receive: Receive, length: int | None, *, bytes_max: int, share: Share) -> bytes:
    """The whole body. `length` is what the request declared, None for a body that ends when it ends.

    Raises:
        Refused (413): more than `bytes_max`. Full: no memory for it now. ClientGone.
    """
    if length is not None:
        if length > bytes_max:
            raise too_large(bytes_max)
        share.take(length)
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message["body"]
    if not message["more_body"]:
        if length is None:
            share.take(len(body))
        if len(body) > bytes_max:
            raise too_large(bytes_max)
        return body
    parts, size = [body], len(body)
    while True:
        if size > bytes_max:
            raise too_large(bytes_max)
        if length is None and size > share.taken_bytes:
            share.take(size - share.taken_bytes)
        if not message["more_body"]:
            return b"".join(parts)
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message["body"])
        size += len(message["body"])


def decompress(data: bytes, encoding: str, *, bytes_max: int) -> bytes | None:
    """The clear body; None when it is longer than `bytes_max`. Needs memory for that much, and no more.

    Raises:
        Refused (400): not in this encoding, cut short, bytes behind it, or in more than 4096 members.
    """
    try:
        return compressed.decompress(data, encoding, bytes_max=bytes_max)
    except BadInput as error:
        raise Refused(400, error.what, reason="bad_encoding", mend=error.mend) from None


async def unpack_body(body: bytes, encoding: str, *, bytes_max: int, share: Share, pool: Executor) -> bytes:
    """The clear body: unpacked on the loop as long as it is little; on another thread, from the start, when it is much.

    Raises Refused (400, 413), Full.
    """
    clear = decompress(body, encoding, bytes_max=min(bytes_max, LARGE_BYTES)) if len(body) < LARGE_BYTES else None
    if clear is None and bytes_max > LARGE_BYTES:
        share.take(bytes_max)
        work = partial(decompress, body, encoding, bytes_max=bytes_max)
        clear = await asyncio.get_running_loop().run_in_executor(pool, work)
    if clear is None:
        raise too_large(bytes_max)
    return clear


def too_large(bytes_max: int) -> Refused:
    return Refused(
        413,
        f"the request has more than {bytes_max} bytes, decompressed",
        reason="too_large",
        mend="send fewer events a request, or raise [intake] max_request_bytes",
    )
