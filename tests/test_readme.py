"""README.md is run: its blocks in order, as printed, with a real server; and its links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.ports import free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PORT = "4780"
MARK = "=== block {} ==="

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")


@dataclass(frozen=True)
class Tour:
    """What came of running the blocks: what each printed, and the directory they ran in."""

    printed: list[str]
    directory: Path


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    lacking = [tool for tool in ("bash", "curl", "dd") if shutil.which(tool) is None]
    if lacking:
        pytest.skip(f"the README's tour needs {', '.join(lacking)}")
    directory = tmp_path_factory.mktemp("read me")
    lines = ["set -euo pipefail"]
    port = str(free_port())
    for number, (language, block) in enumerate(_BLOCK.findall(README)):
        lines.append(f'echo "{MARK.format(number)}"')
        if language == "python":
            (directory / f"block{number}.py").write_text(block)
            lines.append(f"{sys.executable} block{number}.py")
        else:
            assert language == "sh", f"the README has a block in {language}"
            lines.append(block.replace(PORT, port))
    script = directory / "tour.sh"
    script.write_text("\n".join(lines) + "\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRAVEN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = subprocess.run(
        ["bash", str(script)], cwd=directory, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    printed = re.split(r"^=== block \d+ ===\n", ran.stdout, flags=re.MULTILINE)
    assert printed[0] == ""
    return Tour(printed[1:], directory)


def test_the_log_has_the_name_it_was_given(tour: Tour) -> None:
    assert "audit.example.com/log" in tour.printed[0]
    assert re.fullmatch(r"audit\.example\.com/log\+[0-9a-f]{8}\+\S+\n", (tour.directory / "log.vkey").read_text())


def test_events_go_in_and_the_receipt_covers_what_was_sent(tour: Tour) -> None:
    answer = json.loads((tour.directory / "answer.json").read_text())
    assert (answer["accepted"], answer["first_index"], answer["state"]) == (2, 1, "published")
    assert "good answer" in tour.printed[1]
    assert re.search(r"exactly the 2 events .*, byte for byte", tour.printed[1])


def test_proof_comes_out(tour: Tour) -> None:
    assert "event 1: proved at size" in tour.printed[2]
    assert "customers.csv" in tour.printed[2]
    assert "good evidence" in tour.printed[2]


def test_http_takes_an_event_and_serves_the_tree(tour: Tour) -> None:
    answer = json.loads((tour.directory / "receipt.json").read_text())
    assert (answer["accepted"], answer["state"]) == (1, "published")
    assert "listening on http://127.0.0.1:" in tour.printed[3]
    assert "good answer" in tour.printed[3]
    assert ": whole" in tour.printed[3]
    assert (tour.directory / "kept.checkpoint").read_text().startswith("audit.example.com/log\n")


def test_the_log_is_whole_and_one_byte_is_caught_and_named(tour: Tour) -> None:
    whole, _, broken = tour.printed[4].partition("broken: ")
    assert whole.startswith("audit: whole")
    assert broken.startswith("DISPROVED")
    assert re.search(r"journal/\d+\.\d+\.seg at byte \d+; index(es)? \d", broken)
    assert broken.endswith("exit code 1\n")


def test_a_program_appends(tour: Tour) -> None:
    found = re.match(r"index (\d+) of (\d+)\n", tour.printed[5])
    assert found is not None and int(found[1]) + 1 == int(found[2])


def test_every_block_is_judged(tour: Tour) -> None:
    assert len(tour.printed) == 6


def test_links_lead_somewhere() -> None:
    links = _LINK.findall(README)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert not missing


def test_the_two_commands_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in re.findall(r"\bmake ([a-z]+)", README):
        assert command in targets
