"""Whole processes: broken pipes, signals, narrow locales, what is loaded, and failures nobody expected."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.calls import Run, read_error
from graven.cli import graven
from graven.cli.commands import INTERRUPTED, PIPE_CLOSED


def _graven(*words: str, **named: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "graven", *words], capture_output=True, text=True, timeout=180, check=False, **named
    )


def test_a_reader_that_went_away_is_no_noise(made: str, run: Run) -> None:
    run("append", "-", "--dir", "log", given=b'{"action":"' + b"x" * 300_000 + b'"}')
    env = {**os.environ, "GRAVEN_DIR": "log"}
    for words in (["show", "1", "--json"], ["prove", "1"], ["status"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "graven", *words]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=180, check=False, env=env)
        os.close(writer)
        assert (done.returncode, done.stderr) == (PIPE_CLOSED, b"")


def test_listing_commands_loads_none_of_them() -> None:
    code = (
        "import sys\nfrom graven.cli import graven\n"
        "try: graven.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'graven.app', 'cryptography', 'msgspec', 'rich', 'starlette'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_loads_no_log_no_keyring_and_no_network(made: str, run: Run) -> None:
    run("prove", 0, "--dir", "log", "-o", "evidence.json")
    code = (
        "import sys\nfrom graven.cli import graven\n"
        f"try: graven.main(['check', 'evidence.json', '--vkey', {made!r}])\nexcept SystemExit as end: code = end.code\n"
        "loaded = [name for name in sys.modules if name.startswith(('graven.', 'starlette', 'uvicorn', 'urllib3'))]\n"
        "print(code, sorted({'.'.join(name.split('.')[:3]) for name in loaded}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("0 ")
    for room in ("graven.app", "graven.journal", "graven.server", "graven.keys.keyring", "graven.log", "urllib3"):
        assert f"'{room}" not in last
    assert "'graven.check.documents'" in last


def test_a_narrow_locale(made: str, run: Run) -> None:
    run("append", "-", "--dir", "log", given='{"action":"é → 漢"}'.encode())
    narrow = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "graven", "show", "1", "--dir", "log"]
    done = subprocess.run(command, capture_output=True, timeout=180, check=True, env=narrow)
    assert "é \\u2192 \\u6f22".encode("latin-1") in done.stdout


def test_control_c(made: str, tmp_path: Path) -> None:
    os.mkfifo("fifo")
    with subprocess.Popen(
        [sys.executable, "-m", "graven", "append", "fifo", "--dir", "log"], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    ) as process:  # fmt: skip
        with Path("fifo").open("w") as fifo:  # opens once the command reads
            fifo.write('{"action":"a"}\n')
            fifo.flush()
            for _ in range(5):  # Python drops an interrupt that comes while it finalizes an object
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                    break
            assert process.wait(1) == INTERRUPTED
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_what_nobody_expected(monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("graven.cli.vkey.load_config", fails)
    result = CliRunner().invoke(graven, ["vkey", "--dir", "log"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("graven: unexpected ZeroDivisionError: division by zero. Mend: ")
    assert read_error(CliRunner().invoke(graven, ["vkey", "--dir", "log", "--json"]))["kind"] == "broken"
    for words, env in ((["--debug", "vkey"], {}), (["vkey"], {"GRAVEN_DEBUG": "1"})):
        result = CliRunner().invoke(graven, [*words, "--dir", "log"], env=env)
        assert result.exit_code == 3 and "Traceback" in result.stderr and "load_config" in result.stderr


def test_usage_errors_are_one_line_and_json_when_asked() -> None:
    result = CliRunner().invoke(graven, ["append"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    error = read_error(CliRunner().invoke(graven, ["append", "--json"]))
    assert error["kind"] == "bad_input" and error["exit_code"] == 2


def test_the_directory_from_the_environment(made: str) -> None:
    done = _graven("vkey", env={**os.environ, "GRAVEN_DIR": "log"})
    assert done.stdout.strip() == made


def test_python_m_graven_is_the_same() -> None:
    assert _graven("--version").stdout.startswith("graven ")


def test_a_progress_bar_on_a_terminal(made: str) -> None:
    """On a pseudo-terminal, standard error gets a bar, and standard output still one JSON object."""
    Path("events").write_text('{"action":"a"}\n' * 20)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "graven", "append", "events", "--dir", "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as run:
        os.close(theirs)
        assert run.stdout is not None
        answer = json.loads(run.stdout.read())
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(ours)
    assert run.returncode == 0 and answer["accepted"] == 20
    assert b"appending" in seen and b"checking" in seen


def test_abort_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def aborts(*_: object, **__: object) -> None:
        raise click.Abort

    monkeypatch.setattr("graven.cli.vkey.load_config", aborts)
    result = CliRunner().invoke(graven, ["vkey", "--dir", "log"])
    assert (result.exit_code, result.stdout, result.stderr) == (INTERRUPTED, "", "")
