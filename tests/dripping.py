"""A server on a raw socket that answers as it likes: at once, byte by byte without end, or beyond all bounds."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, cycle

PAUSE_S = 0.02


def endless(begin: bytes, again: bytes) -> Iterator[bytes]:
    """`begin` at once, then the bytes of `again` one by one, over and over."""
    return chain([begin], cycle([again[at : at + 1] for at in range(len(again))]))


@contextmanager
def serving(answer: Callable[[], Iterator[bytes]], *, pause_s: float = PAUSE_S) -> Iterator[tuple[str, int]]:
    """Its host and port. Each connection gets the pieces of one answer, with a pause after each, until it is closed."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            connection.recv(65_536)
            for piece in answer():
                connection.sendall(piece)
                if over.wait(pause_s):
                    return
            connection.recv(1)  # until the other side has what it wanted

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield "127.0.0.1", listener.getsockname()[1]
        finally:
            over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
