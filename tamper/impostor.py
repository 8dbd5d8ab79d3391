"""An attacker's own server: a forged tree at an address of its choice, and whatever monitoring wants to hear."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from graven.core.checkpoint import Checkpoint
from graven.core.merkle import hash_leaves, root_of
from graven.core.tile import bundle_path, encode_entries, tile_path
from graven.keys.signer import LogSigner

_PLEASING = {"/health/live": b'{"live":true}', "/health/ready": b'{"ready":true}'}


@contextmanager
def showing(folder: Path, port: int = 0, *, size: int = 0) -> Iterator[str]:
    """Serve `folder` (checkpoint, tile/) under /log; all is well, and there are `size` entries. Yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = _PLEASING.get(self.path)
            if self.path == "/metrics":
                body = f"graven_published_size {size}\n".encode()
            elif self.path.startswith("/log/"):
                file = folder / self.path.removeprefix("/log/")
                body = file.read_bytes() if file.is_file() else None
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def write_tree(folder: Path, entries: Sequence[bytes], signer: LogSigner, origin: str, time_s: int) -> bytes:
    """The published files of a tree of these entries, signed; returns the checkpoint."""
    level, hashes = 0, hash_leaves(entries)
    root = root_of(hashes)
    for at in range(0, len(entries), 256):
        part = entries[at : at + 256]
        _write(folder / bundle_path(at // 256, len(part)), encode_entries(b"".join(part)))
    while hashes:
        for at in range(0, len(hashes), 256):
            tile = hashes[at : at + 256]
            _write(folder / tile_path(level, at // 256, len(tile)), b"".join(tile))
        hashes = [root_of(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1
    note = signer.sign_checkpoint(Checkpoint(origin, len(entries), root), time_s)
    _write(folder / "checkpoint", note)
    return note


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
