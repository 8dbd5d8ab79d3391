"""Published logs to follow: files in C2SP layout signed with real keys, a server that counts, and lies if told to."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.published import write_tree

from core.signers import LOG, LOG_PQ, ORIGIN, Signer, sign_text
from graven.audit.follow import Follower, Round
from graven.core.checkpoint import format_checkpoint
from graven.core.note import format_vkey
from graven.core.policy import Policy, parse_policy
from graven.runtime.clock import US_PER_S, FixedClock
from graven.runtime.site import HttpSite

VKEY = format_vkey(LOG.key)
POLICY_TEXT = f"log {VKEY}\nlog {format_vkey(LOG_PQ.key)}\nquorum none\n"
POLICY = parse_policy(POLICY_TEXT)
NOW_S = 1_790_000_000


def entries_of(count: int, salt: int = 0, shared: int = 0) -> list[bytes]:
    """Entries; two lists with different `salt` agree on the first `shared` only."""
    return [sha256(b"%d %d" % (salt if at >= shared else 0, at)).digest() for at in range(count)]


def publish(folder: Path, entries: Sequence[bytes], signers: Sequence[Signer] = (LOG, LOG_PQ)) -> bytes:
    """Write the files of a tree of these entries, and its checkpoint, which is returned."""
    return write_tree(folder, ORIGIN, entries, lambda tree: sign_text(format_checkpoint(tree), *signers))


class Served:
    """A folder over HTTP. `asked` are the paths asked for; `before`, if set, is called with each of them first."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.before: Callable[[str], None] | None = None
        served = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                served.asked.append(self.path.lstrip("/"))
                if served.before is not None:
                    served.before(self.path.lstrip("/"))
                super().do_GET()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder)
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()


@contextmanager
def following(
    url: str, directory: Path, *, policy: Policy = POLICY, peers: Sequence[str] = (), max_age_s: int | None = None,
    now_s: int = NOW_S,
) -> Iterator[Follower]:  # fmt: skip
    follower = Follower(
        HttpSite(url), policy, directory, peers=[HttpSite(peer) for peer in peers], max_age_s=max_age_s,
        clock=FixedClock(now_s * US_PER_S),
    )  # fmt: skip
    try:
        yield follower
    finally:
        follower.close()


def look(folder: Path, directory: Path, *, peers: Sequence[str] = (), policy: Policy = POLICY) -> Round:
    """One round of a follower that starts anew, over a folder that is served."""
    with serving(folder) as served, following(served.url, directory, peers=peers, policy=policy) as follower:
        return follower.round()


def files_of(folder: Path) -> dict[str, bytes]:
    """The published files: checkpoint, tiles and bundles."""
    paths = [folder / "checkpoint", *(folder / "tile").rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: somebody may be following."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
