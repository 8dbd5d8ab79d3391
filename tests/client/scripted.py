"""A small real HTTP server over the ledger of the core tests: it behaves, and misbehaves as a test scripts it.

Its log is written out anew (tests/core/ledger.py), with keys every test knows, so a test can make it lie in any way.
Each entry of `script` answers one request and is used up; without any, requests are answered honestly.
"""

import gzip
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from core import oracle
from core.ledger import Ledger
from core.signers import LOG, LOG_PQ
from graven.core.evidence import format_evidence
from graven.core.note import format_vkey
from graven.core.tile import tile_path, width_at
from graven.event import decode_event, split_body

VKEY = format_vkey(LOG.key)
VKEYS = [VKEY, format_vkey(LOG_PQ.key)]
TOKEN = "gvn_test-token"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes  # uncompressed
    posted: bytes  # as it came


Step = Callable[["Exchange"], None]


@dataclass
class ScriptedServer:
    """The log and what was asked of it. `url` is its address; `token` what it lets in."""

    url: str = ""
    token: str = TOKEN
    ledger: Ledger = field(default_factory=Ledger)
    requests: list[Request] = field(default_factory=list)
    script: deque[Step] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ids: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    @property
    def posts(self) -> list[Request]:
        return [one for one in self.requests if one.method == "POST"]

    @property
    def events(self) -> list[bytes]:
        return [slot.event for slot in self.ledger.slots]

    def append(self, events: list[bytes]) -> dict[str, Any]:
        """Store what is new, as a log does, and answer."""
        new: list[int] = []
        duplicates: list[tuple[int, int]] = []
        for position, event in enumerate(events):
            id_ = decode_event(event).id
            if id_ is not None and self.ids.get(id_, (b"", 0))[0] == event:
                duplicates.append((position, self.ids[id_][1]))
            else:
                new.append(self.ledger.seal(event))
                self.ids.setdefault(id_ or "", (event, new[-1]))
        return self.ledger.answer(len(events), new, duplicates)

    def tile(self, path: str) -> bytes | None:
        """A tile of the tree, from its definition: roots of complete subtrees."""
        leaves, size = self.ledger.leaves, len(self.ledger.slots)
        for level in range(2):
            for index in range(size // 256 + 1):
                if (width := width_at(level, index, size)) and tile_path(level, index, width) == path:
                    span = 256**level
                    starts = range(256 * index * span, (256 * index + width) * span, span)
                    return b"".join(oracle.root(leaves[start : start + span]) for start in starts)
        return None


class Exchange(BaseHTTPRequestHandler):
    """One request under way: what a script's step gets."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: ScriptedServer
    body: bytes

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def honest(self) -> None:
        """What a good server does."""
        owner, parts = self.owner, urlsplit(self.path)
        if self.headers.get("Authorization") != f"Bearer {owner.token}":
            self.refuse(401, "the token is not known here")
        elif self.command == "POST" and parts.path == "/api/v1/events":
            with owner.lock:
                answer = owner.append(split_body(self.body, self.headers["Content-Type"]))
            if "wait=published" in parts.query:
                answer["state"] = "published"
            if "wait=timestamped" in parts.query:
                answer |= {"state": "published", "missing": "no time stamp covers them yet"}
            self.answer(answer)
        elif parts.path == "/log/checkpoint":
            self.reply(200, owner.ledger.checkpoint(), "text/plain; charset=utf-8")
        elif parts.path == "/api/v1/status":
            self.answer({"size": len(owner.ledger.slots)})
        elif parts.path.startswith("/log/tile/") and (tile := owner.tile(parts.path.removeprefix("/log/"))):
            self.reply(200, tile, "application/octet-stream")
        elif parts.path.startswith("/api/v1/events/"):
            self._record(parts.path.removeprefix("/api/v1/events/"))
        else:
            self.refuse(404, "there is nothing here")

    def answer(self, value: object, status: int = 200) -> None:
        self.reply(status, json.dumps(value).encode())

    def refuse(self, status: int, what: str, *, headers: dict[str, str] | None = None, **more: object) -> None:
        error = {"kind": "bad_input", "what": what, "place": "", "mend": "", **more}
        self.reply(status, json.dumps({"error": error}).encode(), headers=headers)

    def reply(
        self, status: int, data: bytes, content_type: str = "application/json", *, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        """Close the connection without another word."""
        self.close_connection = True

    def _record(self, rest: str) -> None:
        number, _, what = rest.partition("/")
        if int(number) >= len(self.owner.ledger.slots):
            self.refuse(404, "there is no such event")
        elif what == "evidence":
            self.reply(200, format_evidence(self.owner.ledger.evidence(int(number))))
        else:
            self.answer({"index": int(number), "event": self.owner.ledger.slots[int(number)].event.decode()})

    def _handle(self) -> None:
        posted = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.body = gzip.decompress(posted) if self.headers.get("Content-Encoding") == "gzip" else posted
        owner = self.owner
        owner.requests.append(Request(self.command, self.path, dict(self.headers), self.body, posted))
        step = owner.script.popleft() if owner.script else None
        if step is None:
            self.honest()
        else:
            step(self)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """A server on a free port of this machine; HTTPS with a context."""
    owner = ScriptedServer()
    server = _Server(("127.0.0.1", 0), type("Scripted", (Exchange,), {"owner": owner}))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    owner.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
