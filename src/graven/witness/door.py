"""What a witness answers over HTTP: C2SP tlog-witness, with one prefix for submission and monitoring.

    POST /add-checkpoint                          200, 400, 403, 404, 409, 422 as the specification has them
    GET  /<hex SHA-256 of the origin>/checkpoint  200, 404

    408  a body that takes more than 10 s            413  a body of more than 512 KiB
    429  a log that grows too often                  503  the store is held by another process, or its disk is full
    500  nothing was cosigned; after a failure of the disk the witness stops

One thread does the work, one request after the other: what takes the time is the disk, and each answer waits for it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from graven.core.errors import Broken, Busy
from graven.runtime.telemetry import get_logger
from graven.witness.witness import Answer, Witness

BODY_BYTES_MAX = 512 << 10
BODY_S_MAX = 10.0

_MONITORED = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = get_logger("witness")


class Door:
    """The ASGI application. `failed` is called with what the store failed with; from then on nothing is done."""

    def __init__(self, witness: Witness, failed: Callable[[Broken], None]) -> None:
        self._witness, self._failed = witness, failed
        self._broken = False
        self._refusing = ""
        self._thread = ThreadPoolExecutor(1, "witness")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive)
        if answer is None:  # the client went away
            return
        headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
        if answer.status in (408, 413):
            headers.append((b"connection", b"close"))
        elif answer.status in (429, 503):
            headers.append((b"retry-after", b"1"))
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Return when no work is left."""
        self._thread.shutdown()

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer | None:
        method, path = scope["method"], scope["path"]
        monitored = _MONITORED.fullmatch(path)
        if path == "/add-checkpoint" and method == "POST":
            try:
                async with asyncio.timeout(BODY_S_MAX):
                    body = await _read_body(receive)
            except TimeoutError:
                return Answer(408, b"the body comes too slowly\n")
            if body is None:
                return None
            if len(body) > BODY_BYTES_MAX:
                return Answer(413, b"a request has at most %d bytes\n" % BODY_BYTES_MAX)
            return await self._work(lambda: self._witness.add_checkpoint(body))
        if monitored is not None and method in ("GET", "HEAD"):
            return await self._work(lambda: self._monitor(monitored[1]))
        if path == "/add-checkpoint" or monitored is not None:
            return Answer(405, b"POST /add-checkpoint, GET /<hash>/checkpoint\n")
        return Answer(404, b"nothing is here: POST /add-checkpoint, GET /<hex SHA-256 of the origin>/checkpoint\n")

    def _monitor(self, origin_hash: str) -> Answer:
        note = self._witness.checkpoint(origin_hash)
        return Answer(404, b"no checkpoint of this log was cosigned\n") if note is None else Answer(200, note)

    async def _work(self, do: Callable[[], Answer]) -> Answer:
        """`do` on the one thread. Whatever it fails with, nothing was answered that is not stored."""

        def guarded() -> Answer:
            if self._broken:
                return Answer(500, b"the witness failed; nothing was cosigned\n")
            try:
                answer = do()
                self._refusing = ""
                return answer
            except Busy as error:
                if error.what != self._refusing:  # told once, until something is answered again
                    logger.error("nothing is answered", extra={"fields": {"why": str(error)}})
                self._refusing = error.what
                return Answer(503, f"{error.what}\n".encode())
            except Broken:
                self._broken = True
                raise

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)
        except Broken as error:
            logger.error("the witness stops", extra={"fields": {"why": str(error)}})
            self._failed(error)
        except Exception:  # a fault of ours: the transaction is undone, nothing was cosigned
            logger.exception("a request failed")
        return Answer(500, b"the witness failed; nothing was cosigned\n")


async def _read_body(receive: Receive) -> bytes | None:
    """The body, or somewhat more than the bound of a larger one; None when the client went away."""
    body = bytearray()
    while len(body) <= BODY_BYTES_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if not message["more_body"]:
            break
    return bytes(body)
