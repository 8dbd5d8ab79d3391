"""HTTP of the host: records that a program posts, answered once they are in the spool.

    who asks → is there room → the body, bounded, clear → records → inlet → spool, durable → the answer

So an answer of success is a promise: the record is on this host's disk, encrypted, and will be sent. Where it cannot be
given within seconds (a full spool), the records are taken back and the answer is 503; the sender asks again. A request
is one batch's, whole. A connection on which nothing is answered for a minute is cut, whatever it does meanwhile.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from graven.agent.doors.config import HttpConfig
from graven.agent.doors.door import Inlet
from graven.agent.doors.spoken import COLLECTOR, Asked, Spoken, find_spoken
from graven.agent.pull.auth import read_secret
from graven.agent.source import Taken
from graven.agent.wire import AROUND_MAX, Run, run_of
from graven.core.errors import BadInput
from graven.ingest.protocol.compressed import ENCODINGS, decompress
from graven.ingest.protocol.credential import as_bearer
from graven.ingest.protocol.delivery import Delivery, TooMany
from graven.ingest.protocol.hec import HEALTHY
from graven.runtime.bounded_http import BoundedHttp
from graven.runtime.serving import Uvicorn
from graven.runtime.sockets import peer_credentials

__all__ = ["HttpDoor", "load_secret"]

KEPT_S_MAX = 10.0
"""How long an answer waits for the spool before the records are taken back."""

RECORDS_MAX = 10_000
RUNS_BYTES_MAX = 8 << 20
"""A request with what surrounds its records: it must fit a batch."""

BODY_S_MAX = 30.0
CONNECTION_S_MAX = 60.0
SECRET_CHARS_MIN = 16

_INLINE_BYTES_MAX = 64 << 10
_LOGGER = logging.getLogger("graven.agent")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Refused(Exception):
    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


class HttpDoor:
    """One section's listener, and its ASGI application. `begin`, `finish`, `close` are called on the loop."""

    def __init__(self, config: HttpConfig, inlet: Inlet, secret: bytes, now: Callable[[], str]) -> None:
        self.name, self.config = config.name, config
        self._inlet, self._secret, self._now = inlet, secret, now
        self._waiting: set[asyncio.Future[bool]] = set()
        self._finished = False
        self._server: Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    async def begin(self, listener: socket.socket) -> None:
        bounds = {"connections_max": self.config.max_connections, "answer_s_max": CONNECTION_S_MAX}
        http = type("Http", (_Named,), bounds)
        self._server = Uvicorn(self, http=http, timeout_keep_alive=30, timeout_graceful_shutdown=5)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))
        await self._server.up.wait()

    async def finish(self) -> None:
        """Take no request more; those whose records came in are still answered."""
        self._finished = True
        if self._server is not None:
            self._server.stop()

    async def close(self) -> None:
        """Whoever still waits is told to ask again."""
        await self.finish()
        for one in list(self._waiting):
            _settle(one, False)
        if self._serving is not None:
            await self._serving
            self._serving = None
        if self.config.socket is not None:
            Path(self.config.socket).unlink(missing_ok=True)

    def take(self, bytes_max: int) -> list[Taken]:
        return self._inlet.take(bytes_max)

    def resume(self) -> None:
        """There is room again: seen at the next request."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        spoken = find_spoken(scope["path"], media)
        try:
            status, kind, body = await self._answer(spoken, scope, headers, media, receive)
        except _Refused as refused:
            status, what = refused.status, refused.what
            kind = "text/plain; charset=utf-8" if spoken is None else spoken.media
            body = f"{what}\n".encode() if spoken is None else spoken.refused(status, what)
        except ConnectionError:
            return
        head = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        if status == 503:
            head.append((b"retry-after", b"5"))
        if status in (401, 408, 413):  # what is left of the body is not worth reading
            head.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, spoken: Spoken | None, scope: dict[str, Any], headers: Mapping[str, str], media: str, receive: Receive
    ) -> tuple[int, str, bytes]:
        path, method = scope["path"], scope["method"]
        if path.startswith(f"{COLLECTOR}/health") and method == "GET":
            return 200, "application/json", HEALTHY
        if spoken is None:
            raise _Refused(404, f"nothing is here: {COLLECTOR}, /v1/logs, /ingest")
        if method != "POST":
            raise _Refused(405, "records come with POST")
        self._check_secret([value for name, value in scope["headers"] if name == b"authorization"])
        if self._finished or not self._inlet.has_room:
            raise _Refused(503, "the agent cannot take more at the moment")
        body = await self._body(headers, receive)
        query = _query(scope["query_string"])
        work = partial(self._runs, spoken, Asked(path, media, query, body), str((scope.get("client") or ("",))[0]))
        runs = work() if len(body) <= _INLINE_BYTES_MAX else await asyncio.to_thread(work)
        if not runs:
            raise _Refused(400, "the request holds no record")
        if not await self._kept(runs):
            raise _Refused(503, "the agent cannot take more at the moment")
        return 200, spoken.media, spoken.stored(len(runs))

    def _check_secret(self, given: list[bytes]) -> None:
        if not self._secret:
            return
        bearer = as_bearer(given[0]) if len(given) == 1 else None
        if bearer is None or not hmac.compare_digest(bearer.removeprefix(b"Bearer ").strip(), self._secret):
            raise _Refused(401, "the token is none of this agent's")

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The clear body, in memory no larger than its bound."""
        bytes_max = self.config.max_request_bytes
        too_large = _Refused(413, f"a request has at most {bytes_max} bytes")
        encoding = headers.get("content-encoding", "").strip().lower().replace("x-gzip", "gzip")
        if encoding not in ("", "identity", *ENCODINGS):
            raise _Refused(415, "the encoding of the body is not known: gzip, zstd, or none")
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_S_MAX):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ConnectionAbortedError
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > bytes_max:
                        raise too_large
        except TimeoutError:
            raise _Refused(408, "the body comes too slowly") from None
        body = b"".join(parts)
        if encoding not in ENCODINGS:
            return body
        try:
            clear = await asyncio.to_thread(decompress, body, encoding, bytes_max=bytes_max)
        except BadInput as error:
            raise _Refused(400, error.what) from None
        if clear is None:
            raise too_large
        return clear

    def _runs(self, spoken: Spoken, asked: Asked, peer: str) -> list[Run]:
        try:
            delivery = spoken.read(asked)
        except TooMany as error:
            raise _Refused(413, error.what) from None
        except BadInput as error:
            raise _Refused(400, error.what) from None
        if len(delivery.records) > RECORDS_MAX:
            raise _Refused(413, f"a request has at most {RECORDS_MAX} records")
        runs = self._labelled(delivery, {"http.uid": peer} if peer.isdigit() else {})
        if sum(run.size_bytes for run in runs) > RUNS_BYTES_MAX:
            raise _Refused(413, "there is too much around the records: send fewer in one request")
        return runs

    def _labelled(self, delivery: Delivery, peer: Mapping[str, str]) -> list[Run]:
        ours = {**peer, **self.config.labels}
        now = {"time": self._now()}
        keys = delivery.keys or [""] * len(delivery.records)
        runs = [run_of(record, key) for record, key in zip(delivery.records, keys, strict=True)]
        for run, key in zip(runs, keys, strict=True):
            said = {**ours, **run.around} if key else {**ours, **now, **run.around}  # a repeat must be the same bytes
            run.around = said if len(said) <= AROUND_MAX else run.around
        return runs

    async def _kept(self, runs: list[Run]) -> bool:
        """Hand them over; whether they are durable."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def kept() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, done, True)

        taken = Taken(runs=runs, kept=kept)
        self._waiting.add(done)
        try:
            self._inlet.put(taken)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEPT_S_MAX):
                    return await asyncio.shield(done)
            return False if self._inlet.withdraw(taken) else await done
        finally:
            self._waiting.discard(done)


def load_secret(path: str) -> bytes:
    """The secret that senders show. Raises BadInput: it cannot be read, others may read it, or it is short."""
    secret = read_secret(Path(path))
    if len(secret) < SECRET_CHARS_MIN or not secret.isascii() or len(secret.split()) > 1:
        raise BadInput("the token is no token", place=path, mend=f"openssl rand -hex 32 >{path}")
    return secret.encode()


def _query(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=64))
    except ValueError:
        raise _Refused(400, "the query cannot be read") from None


def _settle(done: "asyncio.Future[bool]", kept: bool) -> None:
    if not done.done():
        done.set_result(kept)


class _Named(BoundedHttp):
    """A connection whose client is named by the kernel: the user id at the other end of a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        bound = transport.get_extra_info("socket")
        if bound is not None and bound.family == socket.AF_UNIX:
            self.client = (str(peer_credentials(bound).uid), 0)
