"""Agents for tests: enrolled with a real server, run on a thread."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graven.agent.agent import Agent, agent_transport, make_state
from graven.agent.config import AgentConfig, load_agent_config
from graven.agent.delivery import enrol
from graven.agent.identity import make_identity
from graven.app import open_keyring, open_view, public_keys
from graven.config import load_config
from graven.core.statement import Enrolment, format_enrolment
from graven.log.verify import verify_directory
from graven.runtime.clock import SystemClock
from graven.runtime.files import LocalFiles
from server.running import Server

WAIT_S_MAX = 90.0


def write_config(folder: Path, url: str, more: str = "") -> AgentConfig:
    """A configuration in `folder`, quick enough for tests."""
    text = f"""
server = "{url}"
state = "state"
name = "host-1"
heartbeat_s = 1
{more}
"""
    if "[batch]" not in more:
        text += "[batch]\nlinger_ms = 20\n"
    path = folder / "agent.toml"
    path.write_text(text)
    return load_agent_config(path)


def enrolled(config: AgentConfig, server: Server) -> AgentConfig:
    """Make the agent's key and enrol it."""
    state, files, clock = Path(config.state), LocalFiles(), SystemClock()
    make_state(state, files)
    identity = make_identity(config.agent_name)
    note = identity.sign(format_enrolment(Enrolment(identity.key, clock.now_us())))
    token = server.token("enrol", name=f"join-{time.monotonic_ns()}")
    transport = agent_transport(config)
    enrol(transport, identity, clock, token=token, silent_after_s=config.silent_after_s, note=note).save(files, state)
    transport.close()
    return config


class Running:
    """`with Running(config) as running:` runs an agent on a thread."""

    def __init__(self, config: AgentConfig, **how: Any) -> None:
        self.agent = Agent(config, **how)
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.agent.stop()
        self._thread.join(WAIT_S_MAX)
        self.agent.close()

    def _run(self) -> None:
        try:
            self.agent.run()
        except BaseException as error:
            self.failure = error


def run_once(config: AgentConfig) -> None:
    """Run an agent until all there is was sent."""
    agent = Agent(config)
    try:
        agent.run(until_sent=True)
    finally:
        agent.close()


def raws(directory: Path, source: str = "host-1") -> list[bytes]:
    """The raws of a source's events, in order, statements left out."""
    return [raw for event, raw in records(directory, source) if raw is not None and not raw.startswith(b"graven-batch")]


def records(directory: Path, source: str = "host-1") -> list[tuple[dict[str, Any], bytes | None]]:
    """Events and raws of a source, in order."""
    with open_view(directory) as view:
        number = next((n for n, name in _names(directory).items() if name == source), -1)
        return [
            (json.loads(record.event or b"null"), record.raw)
            for record in view.reader.records(0, view.size)
            if record.head is not None and record.head.source == number
        ]


def acts(directory: Path, action: str) -> list[dict[str, Any]]:
    """The data of Graven's own events of this action."""
    with open_view(directory) as view:
        events = [json.loads(record.event or b"{}") for record in view.reader.records(0, view.size)]
    return [event["data"] for event in events if event.get("action") == action]


def check_log(directory: Path) -> None:
    """The whole log verifies."""
    config = load_config(directory / "graven.toml")
    keyring = open_keyring(directory, config)
    report = verify_directory(directory, keys=public_keys(config), keyring=keyring)
    assert report.exit_code == 0, report


def wait_for(true: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.02)


def _names(directory: Path) -> dict[int, str]:
    found = {}
    for data in acts(directory, "graven.source.create"):
        found[int(data["number"])] = str(data["name"])
    return found
