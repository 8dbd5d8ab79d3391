"""Small HTTP servers on a thread: one with a handler of the caller's own, one that answers what is posted to it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[bytes], tuple[int, bytes]]
"""What was posted -> status and body of the answer."""


class Handler(BaseHTTPRequestHandler):
    """One that says nothing on standard error, and answers in one call."""

    def answer(self, status: int, body: bytes = b"", content_type: str = "", *, length: int | None = None) -> None:
        """An answer with its length: that of `body`, or one that is stated because more will follow."""
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """What was sent; its length must be stated."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def answering(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Its URL, without a path. `port`: any free one if 0."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def replying(
    reply: Reply, *, content_type: str = "", delay_s: float = 0.0, drip_s: float = 0.0, drop_bytes: int = 1
) -> Iterator[str]:
    """Answer every POST with `reply(body)`, one at a time: after a delay, or `drop_bytes` at a time. Yields its URL."""
    stop = threading.Event()
    one = threading.Lock()

    class Replying(Handler):
        def do_POST(self) -> None:
            with one:
                status, data = reply(self.body())
            stop.wait(delay_s)
            try:
                if not drip_s:
                    self.answer(status, data, content_type)
                    return
                self.answer(status, data[:0], content_type, length=len(data))
                for at in range(0, len(data), drop_bytes):
                    self.wfile.write(data[at : at + drop_bytes])
                    if stop.wait(drip_s):
                        return
            except OSError:
                return  # whoever asked has hung up

    with answering(Replying) as url:
        try:
            yield url
        finally:
            stop.set()
