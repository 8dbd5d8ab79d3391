"""The copy, served read-only in C2SP layout: `checkpoint`, `tile/…`, `tile/entries/…`, `handover/…`, no more.

Only paths that `parse_path` knows are looked up, so nothing beside the published files can be reached. Files of the
tree never change once served; `checkpoint` is asked for anew.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from graven.audit.stamps import NAME as STAMP
from graven.core.anchored import MAX_ANCHOR_BYTES
from graven.core.errors import BadInput, GravenError
from graven.core.evidence import MAX_EVIDENCE_BYTES
from graven.core.note import MAX_NOTE_BYTES
from graven.core.tile import parse_path
from graven.runtime.serving import Uvicorn, address_of, bind, on_signals
from graven.runtime.site import FolderSite

CONNECTIONS_MAX = 256
KEEP_ALIVE_S = 30
STOP_S_MAX = 10

_HANDOVER = re.compile(r"handover/[1-9][0-9]{0,2}", re.ASCII)
_FILE_BYTES_MAX = 256 * 34

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Door:
    """The ASGI application."""

    def __init__(self, directory: Path) -> None:
        self._folder = FolderSite(directory)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        status, body, kind, cache = await asyncio.to_thread(self._answer, scope["method"], scope["path"])
        headers = [
            (b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", cache),
            (b"x-content-type-options", b"nosniff"),
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, method: str, path: str) -> tuple[int, bytes, bytes, bytes]:
        """Status, body, type, how long it may be kept."""
        text, brief = b"text/plain; charset=utf-8", b"no-store"
        if method not in ("GET", "HEAD"):
            return 405, b"this copy is only read: GET\n", text, brief
        name = path.removeprefix("/")
        try:
            is_handover = _HANDOVER.fullmatch(name) is not None
            if name not in ("checkpoint", STAMP) and not is_handover:
                parse_path(name)
            sizes = {"checkpoint": MAX_NOTE_BYTES, STAMP: MAX_ANCHOR_BYTES}
            data = self._folder.get(name, MAX_EVIDENCE_BYTES if is_handover else sizes.get(name, _FILE_BYTES_MAX))
        except BadInput:
            data = None
        except GravenError:
            return 500, b"the copy cannot be read\n", text, brief
        if data is None:
            return 404, b"nothing is here: checkpoint, tile/, tile/entries/, handover/, anchor\n", text, brief
        if name in ("checkpoint", STAMP) or is_handover:
            return 200, data, text, b"max-age=2"
        return 200, data, b"application/octet-stream", b"public, max-age=31536000, immutable"


def serve(directory: Path, host: str, port: int, *, ready: Callable[[str], None]) -> None:
    """Serve the copy in `directory` until SIGTERM or SIGINT. `ready` is called once with the URL, when it listens.

    Raises BadInput: no copy, or an address that cannot be used.
    """
    if not (directory / "checkpoint").is_file():
        raise BadInput("there is no copy of a log here", place=str(directory), mend="graven audit follow URL --state")
    with bind(host, port, backlog=CONNECTIONS_MAX, mend="give a free port of this machine") as listener:
        ready(f"http://{address_of(listener)}")
        asyncio.run(_run(Door(directory), listener))


async def _run(door: Door, listener: socket.socket) -> None:
    server = Uvicorn(
        door, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=STOP_S_MAX, limit_concurrency=CONNECTIONS_MAX
    )
    on_signals(lambda _: server.stop())
    await server.serve(sockets=[listener])
