"""docs/cli.md has every command and every option, and the commands what every command has."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from graven.cli import graven
from graven.cli.commands import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def _commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by its words."""
    context = click.Context(graven)
    for name in graven.list_commands(context):
        command = graven.get_command(context, name)
        assert command is not None and command.name == name
        if isinstance(command, click.Group):
            yield from (((name, inner), one) for inner, one in command.commands.items())
        else:
            yield (name,), command


ALL = list(_commands())
IDS = [" ".join(words) for words, _ in ALL]


def _section(name: str) -> str:
    found = re.search(rf"^## graven {name}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/cli.md has no section on graven {name}"
    return found[1]


@pytest.mark.parametrize("words, command", ALL, ids=IDS)
def test_every_option_is_documented(words: tuple[str, ...], command: click.Command) -> None:
    section = _section(words[0])
    assert f"    graven {' '.join(words)}" in section
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", section) for flag in parameter.opts)
        else:
            shown = (parameter.metavar or parameter.human_readable_name).strip("[]").rstrip(".")
            assert shown in section


def test_no_option_is_documented_that_is_not_there() -> None:
    known = {flag for _, command in ALL for parameter in command.params for flag in parameter.opts}
    known |= {flag for parameter in graven.params for flag in parameter.opts} | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= known


def test_every_section_is_a_command() -> None:
    assert set(re.findall(r"^## graven (\S+)$", PAGE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("words, command", ALL, ids=IDS)
def test_every_command_has_help_and_json(words: tuple[str, ...], command: click.Command) -> None:
    assert any("--json" in parameter.opts for parameter in command.params)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words} {parameter.opts} says nothing of itself"
    result = CliRunner().invoke(graven, [*words, "--help"])
    assert result.exit_code == 0 and command.help
    result = CliRunner().invoke(graven, [*words, "--no-such-option"])
    assert result.exit_code == 2 and result.stderr.startswith("graven: ") and "--help" in result.stderr


def test_the_list_names_every_command_in_one_line() -> None:
    text = CliRunner().invoke(graven, ["--help"]).stdout
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", text, re.MULTILINE)
