"""The stand-alone verifier: built from this tree, installed beside `cryptography` alone, of one mind with `check`."""

import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cryptography
import pytest
from click.testing import CliRunner

from graven.check import command
from graven.cli import graven

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "packaging" / "verify"
NEEDED = ("cryptography", "cffi", "_cffi_backend", "pycparser")

Verify = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    code = "import sys, hatchling.build; hatchling.build.build_wheel(sys.argv[1])"  # as `make wheel` does through pip
    subprocess.run([sys.executable, "-c", code, target], check=True, timeout=180, cwd=PROJECT, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the files of `cryptography`, and nothing else."""
    home = tmp_path_factory.mktemp("alone") / "venv"
    venv.create(home, with_pip=True)
    found = home / "bin" / "python"
    pip = [
        str(found),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(pip, check=True, timeout=180)
    (packages,) = home.glob("lib/*/site-packages")
    for path in Path(cryptography.__file__).parents[1].iterdir():
        if path.name.startswith(NEEDED):
            (packages / path.name).symlink_to(path)
    return found


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One document of each kind, of a real log and its auditor; a fork of it."""
    home = tmp_path_factory.mktemp("documents")

    def call(*words: object, given: bytes | None = None) -> str:
        result = CliRunner().invoke(graven, [str(word) for word in words], input=given)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    log = home / "log"
    call("init", log, "--origin", "example.com/log")
    (home / "sent").write_text('{"action":"one","action":"caf\u00e9 \\u001b"}\n{"action":"two"}\n')
    (home / "answer").write_text(call("append", home / "sent", "--dir", log, "--receipt", "full"))
    answer = json.loads((home / "answer").read_text())
    (home / "receipt").write_text(answer["receipt"])
    (home / "certificate").write_text(answer["opened"]["certificate"])
    (home / "checkpoint").write_text(call("checkpoint", "--dir", log))
    (home / "evidence").write_text(call("prove", 1, "--dir", log))
    call("prove", 2, "--dir", log, "--tlog-proof", "-o", home / "proof")
    call("audit", "range", 0, 3, "--source", "local", "--bodies", "--dir", log, "-o", home / "range")
    vkey = call("vkey", "--dir", log).strip()
    auditor = call("audit", "init-key", home / "key", "--name", "auditor.example.com/a1").strip()
    call("challenge", "draw", home / "checkpoint", "--count", 2, "--seed", "ab" * 20, "--seed-from", "a lottery",
         "--key", home / "key", "--vkey", vkey, "-o", home / "challenge")  # fmt: skip
    call("challenge", "answer", home / "challenge", "--dir", log, "--auditor", auditor, "-o", home / "answered")
    call("challenge", "judge", home / "challenge", "--answer", home / "answered", "--key", home / "key",
         "--vkey", vkey, "-o", home / "statement")  # fmt: skip
    (home / "policy").write_text(f"log {vkey}\nquorum none\n")
    return {"home": home, "vkey": vkey, "auditor": auditor}


KINDS = (
    "evidence", "proof", "range", "checkpoint", "receipt", "certificate", "answer", "challenge", "answered",
    "statement",
)  # fmt: skip


@pytest.fixture
def verify(python: Path, documents: dict[str, Any]) -> Verify:
    def call(*words: object) -> "subprocess.CompletedProcess[str]":
        arguments = [str(python.with_name("graven-verify")), *map(str, words)]
        return subprocess.run(
            arguments, capture_output=True, text=True, timeout=180, cwd=documents["home"], check=False
        )

    return call


def test_the_wheel_is_of_this_version_and_asks_for_one_thing() -> None:
    alone = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert alone["version"] == whole["version"] and alone["requires-python"] == whole["requires-python"]
    (needed,) = alone["dependencies"]
    assert needed in whole["dependencies"] and needed.startswith("cryptography")


def test_every_file_of_it_is_the_projects_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert "graven/check/command.py" in names and "graven/LICENSE" in names
        assert {f"graven/core/{path.name}" for path in (ROOT / "src/graven/core").glob("*.py")} <= set(names)
        for name in names:
            source = ROOT / "LICENSE" if name == "graven/LICENSE" else ROOT / "src" / name
            assert archive.read(name) == source.read_bytes()


def test_each_of_its_modules_loads_alone(wheel: Path, python: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name.removesuffix(".py").replace("/", ".") for name in archive.namelist() if name.endswith(".py")]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name.removesuffix('.__init__'))"
    subprocess.run([python, "-I", "-c", code, *names], check=True, timeout=180)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("trust", ["vkey", "policy"])
def test_it_says_what_check_says(verify: Verify, documents: dict[str, Any], name: str, trust: str) -> None:
    home = documents["home"]
    words = [name, f"--{trust}", documents["vkey"] if trust == "vkey" else "policy", "--auditor", documents["auditor"]]
    if name == "answer":
        words += ["--events", "sent"]
    if name == "receipt":
        words += ["--certificate", "certificate"]
    alone = verify(*words, "--json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        whole = CliRunner().invoke(graven, ["check", *words, "--json"])
        assert command.main([*words, "--json"]) == 0
    assert (alone.returncode, whole.exit_code) == (0, 0), (alone.stderr, whole.stderr)
    assert json.loads(alone.stdout) == json.loads(whole.stdout) and alone.stderr == ""
    if trust == "vkey":
        text = verify(*words)
        assert text.returncode == 0 and all(line.isprintable() for line in text.stdout.splitlines())


def test_keys_given_twice_are_flagged(verify: Verify, documents: dict[str, Any]) -> None:
    assert "keys given twice: $.action" in verify("evidence", "--vkey", documents["vkey"]).stdout


def test_what_was_changed_is_disproved(verify: Verify, documents: dict[str, Any]) -> None:
    home, vkey = documents["home"], documents["vkey"]
    for name in ("evidence", "range"):
        (home / f"{name}.changed").write_text((home / name).read_text().replace("graven/1 1 1", "graven/1 1 2"))
        found = verify(f"{name}.changed", "--vkey", vkey)
        assert found.returncode == 1 and "NOT GOOD" in found.stdout, found
    other = home / "other.ndjson"
    other.write_text('{"action":"else"}\n{"action":"two"}\n')
    assert verify("answer", "--events", "other.ndjson", "--vkey", vkey).returncode == 1


def test_what_cannot_be_checked(verify: Verify, documents: dict[str, Any]) -> None:
    vkey = documents["vkey"]
    for words in (("evidence",), ("evidence", "--vkey", vkey, "--policy", "policy"), ("nowhere", "--vkey", vkey),
                  ("sent", "--vkey", vkey), ("statement", "--vkey", vkey), ("--vkey", vkey),
                  ("evidence", "--vkey", vkey, "--events", "checkpoint")):  # fmt: skip
        found = verify(*words)
        assert found.returncode == 2 and found.stderr, words
    error = json.loads(verify("nowhere", "--vkey", vkey, "--json").stderr)["error"]
    assert error["kind"] == "bad_input" and error["exit_code"] == 2


def test_standard_input_and_version(python: Path, documents: dict[str, Any]) -> None:
    program = python.with_name("graven-verify")
    data = (documents["home"] / "evidence").read_bytes()
    found = subprocess.run([program, "-", "--vkey", documents["vkey"]], input=data, capture_output=True, check=True)
    assert found.stdout.startswith(b"standard input: good evidence")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("graven-verify 0.")
