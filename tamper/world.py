"""What is outside the log's host, once for a whole run: three witnesses, a time authority, a store, commands.

All of it is real: processes of `graven witness serve`, `openssl ts` over HTTP, SeaweedFS with Object Lock. A store or
an authority that is not here leaves the log without; the run says so.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import AbsentError, authority, seaweed
from lab.authority import Authority

from tamper import calls
from tamper.calls import Graven, Server
from tamper.model import WentWrongError

BUCKET = "matrix"
WITNESSES = ("w1", "w2", "w3")


@dataclass
class Witness:
    """A witness that runs: its directory, its verifier keys, and where it is asked."""

    name: str
    directory: Path
    vkeys: tuple[str, ...]
    server: Server

    @property
    def url(self) -> str:
        return self.server.url


@dataclass
class World:
    """Handed to every live log. `absent`: what is not on this machine, and why."""

    root: Path
    graven: Graven
    witnesses: list[Witness] = field(default_factory=list)
    authority: Authority | None = None
    store: seaweed.Seaweed | None = None
    absent: dict[str, str] = field(default_factory=dict)
    trail: int = 4
    """Requests of events that a live log has taken before anybody attacks it."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def place(self, name: str) -> Path:
        """A new directory."""
        path = self.root / f"{next(self._numbers):03d}-{name}"
        path.mkdir()
        return path

    @property
    def store_env(self) -> Mapping[str, str]:
        """The environment of whoever may write to the bucket."""
        if self.store is None:
            return {}
        return {
            "AWS_ACCESS_KEY_ID": seaweed.ACCESS, "AWS_SECRET_ACCESS_KEY": seaweed.SECRET,
            "AWS_ENDPOINT_URL_S3": self.store.endpoint, "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }  # fmt: skip


@contextmanager
def opened(*, bucket: bool = True, witnesses: int = len(WITNESSES), trail: int = 4) -> Iterator[World]:
    """Start all of it; stop it at the end, and leave nothing behind."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graven-tamper-", dir="/var/tmp")))
        root.chmod(0o711)  # the database server runs under another account
        graven = Graven(bucket=bucket)
        stack.callback(graven.close)
        world = World(root, graven, trail=trail)
        for name in WITNESSES[:witnesses]:
            witness = make_witness(world, name)
            stack.callback(witness.server.stop)
            world.witnesses.append(witness)
        try:
            world.authority = stack.enter_context(authority.serving(authority.make_authority(root / "authority")))
        except AbsentError as why:
            world.absent["time authority"] = str(why)
        if bucket:
            _start_store(world, stack)
        else:
            world.absent["write-once bucket"] = "left out"
        yield world


def make_witness(world: World, name: str) -> Witness:
    """`graven witness init` and `serve`."""
    directory = world.place(f"witness-{name}")
    directory.rmdir()
    text = world.graven.run("witness", "init", directory, "--name", f"witness.invalid/{name}")
    vkeys = tuple(line for line in text.splitlines() if line.startswith("witness.invalid/"))
    return Witness(name, directory, vkeys, start_witness(directory))


def start_witness(directory: Path, listen: str = "127.0.0.1:0") -> Server:
    server = calls.serve(["witness", "serve", directory, "--listen", listen], directory.with_suffix(".errors"))
    if not server.url:
        raise WentWrongError(f"a witness did not start: {server.errors.read_text()[-500:]}")
    return server


def _start_store(world: World, stack: ExitStack) -> None:
    try:
        seaweed.weed()
        import boto3  # noqa: F401 - the bucket is spoken to by it
    except (AbsentError, ImportError) as why:
        world.absent["write-once bucket"] = str(why)
        return
    data = world.root / "store"
    data.mkdir()
    store = seaweed.start(data)
    stack.callback(seaweed.kill, store.pid)
    seaweed.make_bucket(store, BUCKET)
    world.store = store
