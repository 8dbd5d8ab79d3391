"""The command line: parse, call one function, print.

`commands` is the one list of them; every command is a file of its own, loaded when it is asked for. docs/cli.md says
what each prints, and a test holds the two together.
"""

from graven.cli.commands import graven

__all__ = ["graven", "main"]


def main() -> None:
    """The entry point `graven`. Does not return."""
    graven.main(prog_name="graven")
