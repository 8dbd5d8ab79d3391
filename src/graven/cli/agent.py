"""`graven agent`: collect on a host, or beside a program, and send to a server without losing or doubling anything."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from graven.agent.agent import Agent, agent_transport, make_state
from graven.agent.config import AgentConfig, load_agent_config
from graven.agent.delivery import enrol as enrol_with
from graven.agent.identity import IDENTITY_FILE, load_identity, make_identity
from graven.agent.status import read_status
from graven.cli.options import json_option, path_option
from graven.cli.output import print_fields, print_json, print_line, shown
from graven.config import read_environment
from graven.core.errors import BadInput, Broken
from graven.core.note import format_vkey
from graven.core.statement import Enrolment, format_enrolment
from graven.runtime.clock import SystemClock
from graven.runtime.files import LocalFiles
from graven.runtime.telemetry import set_up_logging

_config = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The agent's own configuration.",
)  # fmt: skip


@click.group("agent")
def command() -> None:
    """Follow files, the journal and programs on this host, and send every record once.

    An agent has a key of its own, made by `enrol`; it spools to disk, so outages of the server and of itself cost
    nothing.
    """


@command.command("enrol")
@_config
@path_option("--token-file", "token_file", "A file with the join token; else GRAVEN_TOKEN.")
@json_option
def enrol(config_file: Path, token_file: Path | None, as_json: bool) -> None:
    """Make this agent's key and have the server know it. The join token has the scope `enrol`."""
    config = load_agent_config(config_file)
    state, files, clock = Path(config.state), LocalFiles(), SystemClock()
    make_state(state, files)
    if (state / IDENTITY_FILE).exists():
        identity = load_identity(state)
        if identity.origin:
            raise BadInput(
                f"this agent is enrolled already, as {identity.name}",
                place=config.state,
                mend="to begin anew, move its state away",
            )
    else:
        identity = make_identity(config.agent_name)
        identity.save(files, state)
    token = _token(token_file)
    note = identity.sign(format_enrolment(Enrolment(identity.key, clock.now_us())))
    identity = enrol_with(
        agent_transport(config), identity, clock, token=token, silent_after_s=config.silent_after_s, note=note
    )
    identity.save(files, state)
    if as_json:
        print_json({"agent": identity.name, "origin": identity.origin, "vkey": format_vkey(identity.key)})
    else:
        print_line(f"enrolled {shown(identity.name)} with {shown(identity.origin)}")


@command.command("run")
@_config
@click.option("--once", is_flag=True, help="End when everything there is was sent.")
@click.option("--check", is_flag=True, help="Judge the configuration and the state, start nothing.")
@json_option
def run(config_file: Path, once: bool, check: bool, as_json: bool) -> None:
    """Run until SIGTERM or Ctrl-C. What was read and is not sent stays in the spool."""
    config = load_agent_config(config_file)
    if check:
        agent_transport(config)
        identity = load_identity(Path(config.state))
        if as_json:
            print_json({"ok": True, "agent": identity.name, "server": config.server, "origin": identity.origin})
        else:
            print_line(f"configuration ok: {shown(identity.name)} sends to {shown(config.server)}")
        return
    set_up_logging(config.log_level)
    with _opened(config) as agent:
        _stop_on_signals(agent)
        agent.run(until_sent=once)


@command.command("goodbye")
@_config
@json_option
def goodbye(config_file: Path, as_json: bool) -> None:
    """Send what waits, and say that this agent will not come back: its silence is then no alarm.

    For hosts that are taken down. The agent must not be running.
    """
    config = load_agent_config(config_file)
    with _opened(config) as agent:
        agent.run(until_sent=True)
        agent.delivery.stop()
        agent.goodbye()
        sequence, name = agent.spool.sequence, agent.identity.name
    if as_json:
        print_json({"agent": name, "sequence": sequence})
    else:
        print_line(f"{shown(name)} said goodbye after batch {sequence}")


@command.command("status")
@_config
@json_option
def status(config_file: Path, as_json: bool) -> None:
    """What the running agent last said of itself."""
    config = load_agent_config(config_file)
    found = read_status(Path(config.state))
    if found is None:
        raise Broken("this agent has not run yet", place=config.state, mend="graven agent run")
    if as_json:
        print_json(found)
    else:
        print_fields([(key.replace("_", " "), value) for key, value in found.items()])


@contextmanager
def _opened(config: AgentConfig) -> Iterator[Agent]:
    agent = Agent(config)
    try:
        yield agent
    finally:
        agent.close()


def _stop_on_signals(agent: Agent) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())


def _token(path: Path | None) -> str:
    if path is None:
        token = read_environment().token
        if token is None:
            raise BadInput("no join token", mend="--token-file FILE, or GRAVEN_TOKEN")
        return token
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise BadInput("the file with the join token cannot be read", place=str(path)) from None
