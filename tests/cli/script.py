"""Golden scripts: what people type, and what they see. One file a story, in tests/cli/scripts.

    # a comment; blank lines mean nothing between commands
    > NAME                     a file, its lines follow, each behind `| `
    | line
    $ graven …                 a command; what follows is its standard output, to the next blank line
    ! a line of standard error
    ? 2                        its exit code, 0 when not said
    $ NAME=$(graven …)         keeps the output in $NAME
    $ graven … > FILE          into a file; `< FILE` is standard input
    $ rm PATH                  removes a file or directory

`...` in an expected line stands for any text, a line `...` for any lines. Paths under the working
directory are shown as `~/`. Everything runs in this process, in a directory of its own.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from graven.cli import graven

_CAPTURE = re.compile(r"([A-Z]+)=\$\((.*)\)")


@dataclass
class Step:
    """One command and what it must say. `line` is where it stands in the script."""

    line: int
    command: str
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    exit_code: int = 0


@dataclass
class Ran:
    """What a command did say."""

    stdout: str
    stderr: str
    exit_code: int


class Session:
    """The state between the commands of one script."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._variables: dict[str, str] = {}

    def run(self, command: str) -> Ran:
        for name, value in self._variables.items():
            command = command.replace(f"${name}", shlex.quote(value))
        capture = _CAPTURE.fullmatch(command)
        words = shlex.split(capture[2] if capture else command)
        if words[0] == "rm":
            path = self._directory / words[1]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            return Ran("", "", 0)
        given, target = None, None
        if "<" in words:
            at = words.index("<")
            given, words = (self._directory / words[at + 1]).read_bytes(), words[:at] + words[at + 2 :]
        if ">" in words:
            at = words.index(">")
            target, words = self._directory / words[at + 1], words[:at]
        assert words[0] == "graven", f"a script runs graven, not {words[0]}"
        result = CliRunner().invoke(graven, words[1:], prog_name="graven", input=given)
        if target is not None:
            target.write_bytes(result.stdout_bytes)
            return Ran("", result.stderr, result.exit_code)
        if capture is not None:
            self._variables[capture[1]] = result.stdout.rstrip("\n")
            return Ran("", result.stderr, result.exit_code)
        return Ran(result.stdout, result.stderr, result.exit_code)


def run_script(path: Path, directory: Path) -> None:
    """Run a script in `directory`; AssertionError shows the line, what was wanted and what came."""
    session = Session(directory)
    for step in read_script(path, directory):
        ran = session.run(step.command)
        for what, wanted, text in (("output", step.stdout, ran.stdout), ("errors", step.stderr, ran.stderr)):
            came = text.replace(f"{directory}/", "~/").replace(str(directory), "~").splitlines()
            came = [line.rstrip() for line in came if line.strip()]
            assert matches(wanted, came), _difference(path, step, what, wanted, came)
        assert ran.exit_code == step.exit_code, _difference(
            path, step, "exit code", [str(step.exit_code)], [str(ran.exit_code), ran.stdout, ran.stderr]
        )


def read_script(path: Path, directory: Path) -> Iterator[Step]:
    """The commands of a script, in order; its files are written on the way."""
    step: Step | None = None
    file: Path | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark, rest = line[:2], line[2:]
        if line[:1] == "|" and file is not None:
            with file.open("a", encoding="utf-8") as out:
                out.write(rest + "\n")
            continue
        file = None
        if not line.strip() or mark == "# ":
            if step is not None:
                yield step
            step = None
        elif mark == "> ":
            file = directory / rest
            file.write_text("")
        elif mark == "$ ":
            if step is not None:
                yield step
            step = Step(number, rest)
        else:
            assert step is not None, f"{path.name}:{number}: nothing was run yet"
            if mark == "! ":
                step.stderr.append(rest.rstrip())
            elif mark == "? ":
                step.exit_code = int(rest)
            else:
                step.stdout.append(line.rstrip())
    if step is not None:
        yield step


def matches(wanted: list[str], came: list[str]) -> bool:
    """Whether the lines that came are those wanted, `...` standing for anything."""
    if not wanted:
        return not came
    if wanted[0].strip() == "...":
        return any(matches(wanted[1:], came[at:]) for at in range(len(came) + 1))
    if not came:
        return False
    pattern = ".*".join(re.escape(part) for part in wanted[0].split("..."))
    return re.fullmatch(pattern, came[0]) is not None and matches(wanted[1:], came[1:])


def _difference(path: Path, step: Step, what: str, wanted: list[str], came: list[str]) -> str:
    lines = [f"{path.name}:{step.line}: $ {step.command}", f"{what} wanted:", *wanted, f"{what} that came:", *came]
    return "\n".join(lines)
