"""`graven audit`: follow someone else's log, without a key and without seeing an event."""

import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from graven.audit.alarm import Webhook, round_fields, write_metrics
from graven.audit.follow import Follower, Round
from graven.audit.mirror import Stopped
from graven.audit.serve import serve
from graven.audit.statement import StatementKey, make_key, state_daily
from graven.cli import audit_range
from graven.cli.files import read_file, read_time_roots
from graven.cli.options import json_option, path_option, tsa_root_option
from graven.cli.output import counted, dump_json, print_error, print_fields, print_json, print_line, shown
from graven.config import parse_listen
from graven.core.errors import BadInput, Disproved, GravenError
from graven.core.note import format_vkey
from graven.core.policy import parse_policy
from graven.core.policy import shown as shown_name
from graven.core.spelling import encode_base64
from graven.runtime.site import HttpSite

_state = click.option(
    "--state", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The auditor's own directory: the copy, the checkpoints seen, evidence, statements.",
)  # fmt: skip


@click.group("audit")
def command() -> None:
    """Follow someone else's log: copy it, check it, keep what convicts it. Needs no key and sees no event."""


command.add_command(audit_range.command)


@command.command("follow")
@click.argument("url", metavar="URL")
@click.option(
    "--policy", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="A tlog-policy file: the log's keys, and how many witnesses it takes.",
)  # fmt: skip
@_state
@click.option("--once", is_flag=True, help="Look once, and end with what was found.")
@click.option(
    "--interval-s", type=click.IntRange(min=1), default=60, show_default=True, metavar="N",
    help="Seconds between two looks.",
)  # fmt: skip
@click.option(
    "--max-age-s", type=click.IntRange(min=1), metavar="N",
    help="Alarm when the newest checkpoint is older: the log has stopped.",
)  # fmt: skip
@tsa_root_option
@click.option(
    "--max-stamp-age-s", type=click.IntRange(min=1), metavar="N",
    help="Alarm when the newest time stamp is older. With --tsa-root.",
)  # fmt: skip
@click.option("--peer", "peers", multiple=True, metavar="URL", help="Another auditor's copy; may be given again.")
@click.option("--webhook", metavar="URL", help="POST a JSON object there when something is wrong.")
@path_option("--metrics", "metrics", "Write a Prometheus textfile after each look.")
@path_option("--statement-key", "statement_key", "Sign a statement each day with this key (graven audit init-key).")
@json_option
@click.pass_context
def follow(
    ctx: click.Context, url: str, policy: Path, directory: Path, once: bool, interval_s: int, max_age_s: int | None,
    tsa_roots: tuple[Path, ...], max_stamp_age_s: int | None,
    peers: tuple[str, ...], webhook: str | None, metrics: Path | None, statement_key: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Copy what the log at URL publishes, and check all of it against everything seen before.

    URL is the prefix of `checkpoint` and `tile/`. Without --once it looks every so many seconds until SIGTERM or
    Ctrl-C, one JSON line a look on standard error, and ends with 1 if anything was ever disproved.
    """
    if max_stamp_age_s is not None and not tsa_roots:
        raise BadInput("a time stamp is believed by its authority's root", mend="--tsa-root FILE")
    stop = threading.Event()
    key = StatementKey(statement_key) if statement_key is not None else None
    hook = Webhook(webhook) if webhook is not None else None
    follower = Follower(
        HttpSite(url), parse_policy(read_file(policy)), directory,
        peers=[HttpSite(peer) for peer in peers], max_age_s=max_age_s, time_roots=read_time_roots(tsa_roots),
        max_stamp_age_s=max_stamp_age_s, stop=stop,
    )  # fmt: skip

    def tell(found: Round) -> None:
        todo: list[Callable[[], object]] = []
        if key is not None:
            todo.append(lambda: state_daily(directory, key, found))
        if metrics is not None:
            todo.append(lambda: write_metrics(metrics, found))
        if hook is not None:
            todo.append(lambda: hook.tell(found))
        for one in todo:
            try:
                one()
            except GravenError as error:
                found.problems.append(error)

    with closing(follower):
        if once:
            found = follower.round()
            tell(found)
            _print(found, as_json)
            ctx.exit(found.exit_code)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        ctx.exit(_follow_on(follower, tell, interval_s, stop))


@command.command("serve")
@_state
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen. Port 0: a free one.")
@json_option
def serve_(directory: Path, listen: str, as_json: bool) -> None:
    """Serve the copy, read-only, until SIGTERM or Ctrl-C. Prints `listening on http://HOST:PORT` when it is ready."""
    host, port = parse_listen(listen)
    serve(directory, host, port, ready=lambda url: print_line(f"listening on {url}"))


@command.command("init-key")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--name", required=True, metavar="N", help="The auditor's name: as auditor.example.com/a1.")
@json_option
def init_key(file: Path, name: str, as_json: bool) -> None:
    """Make a key to sign statements with, and print its verifier key."""
    vkey = format_vkey(make_key(file, name))
    if as_json:
        print_json({"name": name, "vkey": vkey})
    else:
        print_line(vkey)


def _follow_on(follower: Follower, tell: Callable[[Round], None], interval_s: int, stop: threading.Event) -> int:
    disproved = False
    while not stop.is_set():
        try:
            found = follower.round()
        except Stopped:
            break
        tell(found)
        click.echo(dump_json(round_fields(found)), err=True)
        disproved |= found.exit_code == Disproved.exit_code
        stop.wait(interval_s)
    return Disproved.exit_code if disproved else 0


def _print(found: Round, as_json: bool) -> None:
    if as_json:
        print_json(round_fields(found))
    else:
        good = "good" if not found.problems else "NOT GOOD" if found.exit_code == 1 else "not all could be checked"
        print_line(f"{shown(found.origin or 'the log')}: {good}")
        print_fields(
            [
                ("copy", f"{counted(found.size, 'entry', 'entries')}, {found.grown} of them new"),
                ("root", encode_base64(found.root)),
                ("witnesses", ", ".join(map(shown_name, found.witnesses)) or "operator-trusted: 0 witnesses"),
                ("age", None if found.age_s is None else f"{found.age_s} s"),
                ("stamped", None if found.stamp_age_s is None else f"{found.stamp_age_s} s ago"),
                ("checked", "; ".join(found.checked)),
                ("peers", f"{found.peers_agreed} see the same log" if found.peers_agreed else None),
            ]
        )
        for error in found.problems:
            print_error(error, as_json=False)
