"""An empty handler: what a request costs before anybody does anything with it. `python -m bench.empty`

A raw ASGI application under the same HTTP server, event loop and settings as Graven's: it reads the body and answers as
many bytes as an append does. `GET /` answers how many requests there were.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ANSWER = b'{"accepted":1,"first_index":0,"size":1,"duplicates":[],"state":"committed","receipt":"%b"}\n' % (b"x" * 300)


class Empty:
    """The application."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        if scope["method"] == "GET":
            body = b"%d" % self.requests
        else:
            self.requests += 1
            body = ANSWER
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        Empty(), http="httptools", loop="uvloop", ws="none", lifespan="off", interface="asgi3", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, backlog=2048,
    )  # fmt: skip
    sys.stdout.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
