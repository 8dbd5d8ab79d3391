"""An attacker's own server: a forged tree at an address of its choice, and whatever monitoring wants to hear."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.http import Handler, answering

_PLEASING = {"/health/live": b'{"live":true}', "/health/ready": b'{"ready":true}'}


@contextmanager
def showing(folder: Path, port: int = 0, *, size: int = 0) -> Iterator[str]:
    """Serve `folder` (checkpoint, tile/) under /log; all is well, and there are `size` entries. Yields the URL."""

    class Shown(Handler):
        def do_GET(self) -> None:
            body = _PLEASING.get(self.path)
            if self.path == "/metrics":
                body = f"graven_published_size {size}\n".encode()
            elif self.path.startswith("/log/"):
                file = folder / self.path.removeprefix("/log/")
                body = file.read_bytes() if file.is_file() else None
            self.answer(200 if body is not None else 404, body or b"")

    with answering(Shown, port) as url:
        yield url
