"""As little as a server of static files does: one process, one thread, a read and a write a request.

    python -m bench.static FOLDER        prints `listening on http://HOST:PORT`; ends with its standard input

What serves a tree in the auditors' rows, so that they measure the auditor. Only for that: it trusts whoever asks.
"""

import asyncio
import os
import sys
from typing import cast

import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
_NONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """Requests one behind the other; of each only the path is looked at."""

    def __init__(self, folder: bytes) -> None:
        self._folder, self._unread = folder, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        answers: list[bytes] = []
        for head in heads:
            try:
                fd = os.open(self._folder + head.split(b" ", 2)[1], os.O_RDONLY)
            except FileNotFoundError:
                answers.append(_NONE)
                continue
            body = os.read(fd, os.fstat(fd).st_size)
            os.close(fd)
            answers += (_HEAD % len(body), body)
        self._transport.writelines(answers)


async def _serve(folder: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(folder.encode()), "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    await over.wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
