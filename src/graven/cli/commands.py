"""The list of commands, and what holds for all of them: how they are found, and how they end.

Exit codes: 0 done; 1 cryptography says no (Disproved); 2 the caller is wrong (BadInput, and every usage error); 3 our
side failed (Broken, and anything unexpected). 130 after Ctrl-C, 141 when the reader of a pipe went away, as shells
count them: neither says anything about the log.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from graven.cli.output import print_error
from graven.core.errors import BadInput, Broken, GravenError

INTERRUPTED = 130
PIPE_CLOSED = 141

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("graven.cli.init", "make a new log and its keys"),
    "serve": ("graven.cli.serve", "take events and questions over HTTP"),
    "append": ("graven.cli.append", "append the events of a file"),
    "import": ("graven.cli.import_", "take in logs that were kept elsewhere before"),
    "parse": ("graven.cli.parse", "show what becomes of other programs' records"),
    "show": ("graven.cli.show", "show one event, proved"),
    "prove": ("graven.cli.prove", "write the evidence for one event"),
    "check": ("graven.cli.check", "check evidence, proofs, receipts and checkpoints, offline"),
    "verify": ("graven.cli.verify", "verify a whole log, on disk or by URL"),
    "status": ("graven.cli.status", "how large the log is, and what is known of it"),
    "checkpoint": ("graven.cli.checkpoint", "print the published checkpoint"),
    "vkey": ("graven.cli.vkey", "print the log's public key"),
    "token": ("graven.cli.token", "make, list and revoke tokens for the HTTP doors"),
    "source": ("graven.cli.source", "register, change and retire producers of events"),
    "agent": ("graven.cli.agent", "collect on a host and send every record once"),
    "quarantine": ("graven.cli.quarantine", "records that could not be read, and reading them again"),
    "keys": ("graven.cli.keys", "back up, restore and copy the keyring"),
    "backup": ("graven.cli.backup", "copy a log, running or not, without its keys"),
    "restore": ("graven.cli.restore", "bring a copy back"),
    "recover": ("graven.cli.recover", "bring a log in order after a crash or a loss"),
    "anchor": ("graven.cli.anchor", "time stamps: now, by file, and those there are"),
    "plan": ("graven.cli.plan", "events a day into gigabytes, memory and cost"),
    "witness": ("graven.cli.witness", "run a witness for logs: cosign what grows, keep what forks"),
    "audit": ("graven.cli.audit", "follow someone else's log, keep what convicts it"),
    "challenge": ("graven.cli.challenge", "draw entries by lot, and have them opened"),
    "worm": ("graven.cli.worm", "keep a write-once copy in a bucket or directory"),
    "receipts": ("graven.cli.receipts", "hold a log to what it promised"),
    "signer": ("graven.cli.signer", "keep the signing keys in a process of their own"),
    "demo": ("graven.cli.demo", "a tour, on a log of invented events"),
}
"""Name → (module that holds it as `command`, the line that lists it). In the order people need them."""


class CommandList(click.Group):
    """The group of all commands. Listing them loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (GravenError, BrokenPipeError, click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise Broken(
                f"unexpected {type(error).__name__}: {error}".rstrip(": "),
                mend="run it again with --debug and report what it prints",
            ) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and end the process with its exit code. Errors and exit codes are ours, not click's."""
        prog_name = prog_name or "graven"
        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):
            if callable(reconfigure := getattr(stream, "reconfigure", None)):
                reconfigure(errors="backslashreplace")  # a narrow locale must not turn an answer into a failure
        self._main_shell_completion(extra, prog_name, complete_var)
        sys.exit(self._run(words, prog_name, extra))

    def _run(self, words: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        as_json = "--json" in words
        try:
            with self.make_context(prog_name, words, **extra) as ctx:
                self.invoke(ctx)
            sys.stdout.flush()
        except click.exceptions.Exit as end:
            return end.exit_code
        except GravenError as error:
            print_error(error, as_json=as_json)
            return error.exit_code
        except click.ClickException as error:
            print_error(_usage(error, prog_name), as_json=as_json)
            return BadInput.exit_code
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except BrokenPipeError:
            # Nobody reads any more; what is still buffered goes nowhere, so that the last flush is quiet, too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return PIPE_CLOSED
        return 0


def _usage(error: click.ClickException, prog_name: str) -> BadInput:
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else prog_name
    return BadInput(error.format_message().rstrip("."), mend=f"{path} --help")


@click.group(
    cls=CommandList,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 disproved, 2 wrong input, 3 broken. docs/cli.md says more of every command.",
)
@click.version_option(package_name="graven", message="graven %(version)s")
@click.option(
    "--debug",
    is_flag=True,
    envvar="GRAVEN_DEBUG",
    help="Show the whole trace of an unexpected failure (GRAVEN_DEBUG=1).",
)
def graven(debug: bool) -> None:
    """Graven: a self-hosted, tamper-evident audit log. Events in, proof out."""
