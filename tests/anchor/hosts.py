"""A log with real witnesses, served over HTTP, and small servers that answer badly."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from graven.app import Log, create_log, open_keyring, public_keys
from graven.config import Config, load_config
from graven.core.note import Key, format_vkey
from graven.core.policy import Policy, parse_policy
from graven.log.verify import Report, verify_directory
from graven.witness.store import Store
from graven.witness.witness import make_witness
from witness.running import InThread

ORIGIN = "example.com/witnessed"
DEADLINE_MS = 60_000


@dataclass
class Host:
    """A log's directory and its witnesses, by name: (directory, keys, URL)."""

    root: Path
    directory: Path
    witnesses: dict[str, tuple[Path, Sequence[Key], str]] = field(default_factory=dict)

    @property
    def policy_path(self) -> Path:
        return self.root / "log.policy"

    @property
    def policy(self) -> Policy:
        return parse_policy(self.policy_path.read_bytes())

    def write_policy(self, quorum: str = "2") -> None:
        """One group a witness, of both its keys; `quorum` of the groups."""
        lines = [f"log {vkey}" for vkey in load_config(self.directory / "graven.toml").vkeys]
        for name, (_, keys, url) in self.witnesses.items():
            for number, key in enumerate(keys):
                lines.append(f"witness {name}-{number} {format_vkey(key)} {url}")
            lines.append(f"group {name} any " + " ".join(f"{name}-{number}" for number in range(len(keys))))
        lines += [f"group seen {quorum} {' '.join(self.witnesses)}", "quorum seen", ""]
        self.policy_path.write_text("\n".join(lines))

    def config(self, **knobs: object) -> Config:
        config = load_config(self.directory / "graven.toml")
        values = {
            "interval_ms": 3_600_000, "witness_policy": str(self.policy_path), "witness_deadline_ms": DEADLINE_MS,
            **knobs,
        }  # fmt: skip
        return msgspec.structs.replace(config, publish=msgspec.structs.replace(config.publish, **values))

    def open(self, **knobs: object) -> Log:
        return Log.open(self.directory, self.config(**knobs))

    def verify(self) -> Report:
        config = load_config(self.directory / "graven.toml")
        return verify_directory(
            self.directory, keys=public_keys(config), keyring=open_keyring(self.directory, config), processes=1
        )

    @property
    def shown(self) -> bytes:
        """The published checkpoint's bytes."""
        return (self.directory / "log" / "checkpoint").read_bytes()

    @property
    def signed(self) -> bytes:
        """The largest note ever signed, as the mark beside the keys has it."""
        return (self.directory.with_name("log.keys") / "highest-checkpoint").read_bytes()


def add_witness(host: Host, name: str) -> Path:
    """A witness's directory that knows the log; not served yet."""
    directory = host.root / name
    keys = make_witness(directory, f"witness.invalid/{name}")
    store = Store(directory)
    for key in public_keys(load_config(host.directory / "graven.toml")):
        store.add_key(key)
    store.close()
    host.witnesses[name] = (directory, keys, "http://127.0.0.1:1")
    return directory


def make_host(root: Path, names: Sequence[str] = ("w1", "w2", "w3")) -> Host:
    create_log(root / "log", origin=ORIGIN)
    host = Host(root, root / "log")
    for name in names:
        add_witness(host, name)
    return host


def move(host: Host, name: str, url: str) -> None:
    """The witness is reached at `url` from now on."""
    directory, keys, _ = host.witnesses[name]
    host.witnesses[name] = (directory, keys, url)


@contextmanager
def witnessed(host: Host, serving: Sequence[str] | None = None, quorum: str = "2") -> Iterator[Host]:
    """Serve these witnesses (all, if none are named), each over HTTP on a thread of its own, and write the policy."""
    with ExitStack() as stack:
        for name in serving if serving is not None else list(host.witnesses):
            running = stack.enter_context(InThread(host.witnesses[name][0]))
            move(host, name, running.url)
        host.write_policy(quorum)
        yield host


def until(what: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
