"""A live log with everything the documentation asks for, and the people outside who hold something of it.

`graven serve` as a process, witnessed by the witnesses of the run (a quorum of two), stamped every second, copied to
the bucket, followed by an auditor; a producer who keeps its receipts, a colleague who keeps a checkpoint, a policy for
readers.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from lab import AbsentError
from lab.ports import free_port

from graven.config import AuthorityConfig, format_config, load_config
from graven.config.model import ClassConfig, JournalConfig, PublishConfig
from graven.core.checkpoint import parse_checkpoint
from graven.core.note import parse_note
from tamper import calls
from tamper.calls import Server
from tamper.model import Said, WentWrongError
from tamper.world import BUCKET, Witness, World, make_witness

SOURCE = "app"
EVENTS_A_REQUEST = 20
DEADLINE_MS = 1_500
SEGMENT_BYTES = 64 << 10
SMALL_DISK_BYTES = 16 << 20


@dataclass
class House:
    """One log. `directory` and `directory.keys` are the host's; everything in `outside` is elsewhere."""

    world: World
    root: Path
    witnesses: list[Witness]
    vkeys: tuple[str, ...] = ()
    token: str = ""
    port: int = 0
    server: Server | None = None
    sent: int = 0
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.home / "log"

    @property
    def home(self) -> Path:
        """The host's disk."""
        disk = self.root / "disk"
        return disk if disk.exists() else self.root

    @property
    def keyring(self) -> Path:
        return self.home / "log.keys"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def policy(self) -> Path:
        """The tlog-policy, as the operator, the auditor and readers have it."""
        return self.outside / "policy"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """Where the write-once copy is; "" where this run has none."""
        return f"s3://{BUCKET}/{self.root.name}" if self.world.store is not None else ""

    def ask(self, *words: object) -> Said:
        return self.world.graven.ask(*words, env=self.world.store_env)

    def run(self, *words: object) -> str:
        return self.world.graven.run(*words, env=self.world.store_env)

    @property
    def shown(self) -> bytes:
        """The checkpoint that is published at the log's address now."""
        status, body = calls.http(f"{self.url}/log/checkpoint")
        if status != 200:
            raise WentWrongError(f"no checkpoint is shown: {status} {body[:200]!r}")
        return body

    @property
    def size(self) -> int:
        """Entries of the published tree."""
        return size_of(self.shown)

    def start(
        self, *, code: str = "", policy: bool = True, expect: bool = True, env: Mapping[str, str] | None = None
    ) -> Server:
        """`graven serve` on the log's own address; `code` is what its owner changed in the program."""
        words: list[object] = ["serve", "--dir", self.directory, "--listen", f"127.0.0.1:{self.port}"]
        words += ["--witness-policy", self.policy] if policy else []
        self.server = calls.serve(words, self.root / "server.errors", code=code, env=env or self.world.store_env)
        if expect and not self.server.url:
            raise WentWrongError(f"the server did not start: {self.server.errors.read_text()[-800:]}")
        return self.server

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def vacate(self) -> None:
        """Nothing serves at the log's address any more, neither the log nor an impostor."""
        self.stop()
        if isinstance(stack := self.notes.pop("open", None), ExitStack):
            stack.close()

    def append(self, count: int = EVENTS_A_REQUEST, *, wait: str = "published", **fields: object) -> dict[str, object]:
        """One request of events by the producer, who keeps what it sent and the opened receipt."""
        lines = []
        for _ in range(count):
            self.sent += 1
            event = {
                "id": f"app-{self.sent}", "action": "payment.approve", "actor": {"id": f"user-{self.sent % 7}"},
                "message": os.urandom(900).hex(), **fields,
            }  # fmt: skip
            lines.append(json.dumps(event))
        return self.append_bytes("\n".join(lines).encode() + b"\n", wait=wait)

    def append_bytes(self, body: bytes, *, wait: str = "published", keep: bool = True) -> dict[str, object]:
        status, answer = calls.http(
            f"{self.url}/api/v1/events?receipt=full&wait={wait}", token=self.token, body=body
        )  # fmt: skip
        if status != 200:
            raise WentWrongError(f"events were refused: {status} {answer[:300]!r}")
        if keep:
            number = len(list(self.outside.glob("answer-*")))
            (self.outside / f"sent-{number:03d}").write_bytes(body)
            (self.outside / f"answer-{number:03d}").write_bytes(answer)
            with (self.outside / "answers").open("ab") as file:
                file.write(answer.strip() + b"\n")
        found: dict[str, object] = json.loads(answer)
        return found

    def keep_checkpoint(self) -> None:
        """Somebody outside takes the published checkpoint home."""
        (self.outside / "kept.checkpoint").write_bytes(self.shown)

    def audit(self) -> Said:
        """The auditor looks once."""
        words: list[object] = ["audit", "follow", f"{self.url}/log", "--policy", self.policy]
        words += ["--state", self.outside / "audit", "--once"]
        if self.world.authority is not None:
            words += ["--tsa-root", self.world.authority.ca_file]
        return self.ask(*words)

    def read(self, index: int) -> dict[str, object]:
        """One event through the API. Raises WentWrongError where it is not shown."""
        status, body = calls.http(f"{self.url}/api/v1/events/{index}", token=self.token)
        if status != 200:
            raise WentWrongError(f"event {index} is not shown: {status} {body[:200]!r}")
        found: dict[str, object] = json.loads(body)
        return found

    def copied(self) -> bool:
        """Whether the write-once copy holds all that is published, and was told whole."""
        if not self.store:
            return True
        status = json.loads(self.ask("worm", "status", "--dir", self.directory, "--json").text.splitlines()[0])
        return int(status.get("covered", 0)) >= self.size


def build(world: World, name: str, *, own_witnesses: bool = False, small_disk: bool = False) -> House:
    """A new log that has lived a little: events taken, stamped, copied, looked at. Stop it."""
    root = world.place(name)
    (root / "outside").mkdir()
    witnesses = [make_witness(world, f"{name}-{one.name}") for one in world.witnesses] if own_witnesses else None
    house = House(world, root, world.witnesses if witnesses is None else witnesses, port=free_port())
    if small_disk:
        _make_small(house)
    house.run("init", house.directory, "--origin", f"example.com/{root.name}")
    house.vkeys = tuple(house.run("vkey", "--dir", house.directory, "--all").split("\n")[:2])
    _configure(house)
    for witness in house.witnesses:
        for vkey in house.vkeys:
            house.run("witness", "add-log", witness.directory, vkey)
    write_policy(house)
    house.token = house.run(
        "token", "create", "--dir", house.directory, "--name", SOURCE, "--scope", "ingest,read"
    ).strip()  # fmt: skip
    if house.store:
        assert world.store is not None
        house.run("worm", "enable", house.store, "--endpoint", world.store.endpoint, "--dir", house.directory)
    house.start()
    for _ in range(world.trail):
        house.append()
    settle(house)
    return house


def settle(house: House) -> None:
    """Wait until everybody outside has what they would have had in time: stamp, copy, auditor, kept checkpoint."""
    if house.world.authority is not None:
        calls.until("a stamp", lambda: any((house.directory / "anchors").glob("*")))
    house.append(2)
    calls.until("the copy", house.copied)
    house.keep_checkpoint()
    said = house.audit()
    if said.alarm:
        raise WentWrongError(f"the auditor finds fault with an honest log: {said.text[-600:]}")


def write_policy(house: House) -> None:
    """Both keys of a witness make a group; two witnesses of three make the quorum."""
    lines = [f"log {vkey}" for vkey in house.vkeys]
    for one in house.witnesses:
        for number, vkey in enumerate(one.vkeys):
            lines.append(f"witness {one.name}-{number} {vkey} {one.url}")
        lines.append(f"group {one.name} any " + " ".join(f"{one.name}-{n}" for n in range(len(one.vkeys))))
    quorum = min(2, len(house.witnesses))
    lines += [f"group seen {quorum} " + " ".join(one.name for one in house.witnesses), "quorum seen", ""]
    house.policy.write_text("\n".join(lines))


def size_of(note: bytes) -> int:
    """The size that a checkpoint states."""
    return parse_checkpoint(parse_note(note).text)[0].size


def copy_host(house: House, to: Path) -> None:
    """Everything on the host, as a snapshot of its disks has it; the server must be stopped."""
    to.mkdir()
    for path in (house.directory, house.keyring):
        shutil.copytree(path, to / path.name, symlinks=True)


def restore_host(house: House, snapshot: Path) -> None:
    """The disks as they were; the server must be stopped."""
    for path in (house.directory, house.keyring):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(snapshot / path.name, path, symlinks=True)


def _make_small(house: House) -> None:
    """The data directory on a disk of its own, of a few megabytes. Raises AbsentError where that takes more rights."""
    disk = house.root / "disk"
    disk.mkdir()
    said = calls.call(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", disk])
    if said.code:
        raise AbsentError(f"a small disk cannot be mounted here: {said.text.strip()[:200]}")
    house.notes["mounted"] = True


def make_roomy(house: House) -> None:
    """Take the small disk away again; the server must be stopped."""
    if house.notes.pop("mounted", False):
        calls.call(["umount", "-l", house.root / "disk"])


def _configure(house: House) -> None:
    path = house.directory / "graven.toml"
    config = load_config(path)
    authorities = {}
    if (authority := house.world.authority) is not None:
        authorities = {"matrix": AuthorityConfig(url=authority.url, ca_file=str(authority.ca_file), interval_s=1)}
    config = msgspec.structs.replace(
        config,
        classes={"default": ClassConfig(), "staff": ClassConfig()},
        authorities=authorities,
        journal=JournalConfig(segment_bytes=SEGMENT_BYTES),
        publish=PublishConfig(interval_ms=50, witness_deadline_ms=DEADLINE_MS),
        worm=msgspec.structs.replace(config.worm, interval_s=1),
    )  # fmt: skip
    path.write_text(format_config(config))
