"""docs/operations.md and deploy/: commands exist, messages are real, the drill runs, unit and image keep their word."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from graven.app import create_log
from graven.cli import graven
from graven.cli.plan import GB, MONTH_DAYS, Plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
UNIT = (ROOT / "deploy" / "graven.service").read_text()
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
PAGES = [ROOT / "docs" / "operations.md", ROOT / "deploy" / "README.md", ROOT / "README.md"]
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "src" / "graven").rglob("*.py")))


def invocations(text: str) -> list[list[str]]:
    """Every command line of graven in the shell blocks of a page, from the word after `graven` on."""
    found = []
    for block in re.findall(r"```sh[^\n]*\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\|\||&&|;|\$\(|[|>`]", line):
                words = shlex.split(part.partition(" #")[0].replace("'", " ").replace('"', " "))
                if words[:3] in (["sudo", "-u", "graven"], ["podman", "exec", "graven"]):
                    words = words[3:]
                elif words[:2] == ["podman", "run"] and "graven" in words:
                    words = words[len(words) - words[::-1].index("graven") - 1 :]
                if words and words[0] in ("graven", "/opt/graven/bin/graven"):
                    found.append(words[1:])
    return [words for words in found if words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_exists(page: Path) -> None:
    lines = invocations(page.read_text())
    assert len(lines) > 2
    for words in lines:
        command: click.Command = graven
        context = click.Context(graven)
        while isinstance(command, click.Group):
            inner = command.get_command(context, words[0])
            assert inner is not None, f"no command {words[0]!r}"
            command, words = inner, words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{command.name} has no option {word}"


def test_every_metric_exists() -> None:
    names = set(re.findall(r"`[^`]*?(graven_[a-z_]+)", PAGE))
    assert len(names) > 10
    for name in names:
        assert f'"{name.removesuffix("_total")}"' in SOURCE, f"no metric {name}"


def test_every_message_is_one_of_ours() -> None:
    table = PAGE.partition("## Disasters")[2].partition("### A successor")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) > 15
    for message in messages:
        assert message in SOURCE, f"nothing says {message!r}"


def test_the_capacity_table_is_what_plan_says() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for events, total, tree in rows:
        plan = Plan(float(events.replace(",", "")), 568, 30, 0)
        journal = plan.journal_bytes_per_event * plan.events_per_day * MONTH_DAYS / GB
        assert float(total) == pytest.approx(plan.bytes_per_day * MONTH_DAYS / GB, abs=0.06)
        assert float(tree) == pytest.approx(float(total) - journal, abs=0.1)


def test_the_drill_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh drill\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1
    create_log(tmp_path / "log", origin="example.com/drill", keyring_dir=tmp_path / "elsewhere")
    passphrase = tmp_path / "kit.passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    function = f'graven() {{ {shlex.quote(sys.executable)} -m graven "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-euc", function + blocks[0]],
        env={"PATH": "/usr/bin:/bin", "WORK": str(tmp_path), "LOG": str(tmp_path / "log")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "copy", "elsewhere", "evidence.json", "kept.checkpoint", "kit", "kit.passphrase", "log",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one_and_is_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "graven.service"
    unit.write_text(UNIT.replace("/opt/graven/bin/graven", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=180, check=False
    )
    if "Failed to" in verified.stderr and "bus" in verified.stderr:
        pytest.skip("systemd-analyze does not work here")
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout[-400:]


def test_the_unit_starts_what_the_page_installs() -> None:
    options = dict(re.findall(r"^([A-Za-z]+)=(.*)$", UNIT, re.MULTILINE))
    assert options["User"] == "graven"
    assert options["ExecStart"] == "/opt/graven/bin/graven serve --dir /var/lib/graven/log"
    assert options["StateDirectory"] == "graven graven-keys"
    assert "/var/lib/graven-keys" in PAGE
    assert options["RestartPreventExitStatus"] == "1 2 3"
    assert options["LimitCORE"] == "0"
    assert (options["NoNewPrivileges"], options["ProtectSystem"], options["CapabilityBoundingSet"]) == (
        "yes",
        "strict",
        "",
    )


def test_the_image_is_pinned_and_not_root() -> None:
    lines = CONTAINERFILE.replace("\\\n", " ").splitlines()
    steps = [line for line in lines if line and not line.startswith("#")]
    last = max(k for k, step in enumerate(steps) if step.startswith("FROM "))
    user = [step.split()[1] for step in steps[last:] if step.startswith("USER ")]
    assert user == ["10001:10001"]
    assert not any(step.startswith("RUN ") for step in steps[steps.index(f"USER {user[0]}") :])
    installs = [part for step in steps for part in step.split("&&") if " install " in part and "pip" in part]
    assert len(installs) == 3
    for part in installs:
        assert ("--require-hashes" in part and "--only-binary :all:" in part) or "--no-index" in part, part
    assert "requirements.lock" in CONTAINERFILE
    assert not re.search(r"apt-get|gcc|build-essential|curl ", CONTAINERFILE)
    assert any(step.startswith("HEALTHCHECK ") for step in steps)
    assert any(step == 'ENTRYPOINT ["graven"]' for step in steps)
    copied = {
        word for step in steps if step.startswith("COPY ") and "--from" not in step for word in step.split()[1:-1]
    }
    assert all((ROOT / name).exists() for name in copied)


def test_the_health_check_of_the_image_asks_a_server() -> None:
    """Its one line of Python, against nothing: it must fail, not pass by mistake."""
    command = re.search(r'CMD \["python", "-c", "([^"]*)"\]', CONTAINERFILE)
    assert command is not None
    done = subprocess.run(
        [sys.executable, "-c", command[1]],
        env={"GRAVEN_HEALTH_URL": "http://127.0.0.1:9/health/ready"},
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert done.returncode != 0
