"""The tour does what it shows, says so when something does not behave, and finds its log again."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.ports import free_port

from graven.app import Log, create_log, open_view
from graven.core.errors import BadInput, Disproved
from graven.core.evidence import parse_evidence, verify_evidence
from graven.core.note import parse_vkey
from graven.demo import forgery
from graven.demo import stage as stage_module
from graven.demo.sample import sample_events
from graven.demo.screen import WIDTH, Screen, shorten
from graven.demo.stage import set_stage
from graven.demo.theft import find_theft
from graven.demo.tour import TRUST, Tour
from graven.keys.signature import verify_signature

LINES_MAX = 60


def demo(*words: str, cwd: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "graven", "demo", *words],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == exit_code, f"{ran.stdout}\n{ran.stderr}"
    return ran


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GRAVEN_")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's log, in a path with a space."""
    log = tmp_path_factory.mktemp("a place") / "demo log"
    found = set_stage(log)
    assert (found.created, found.appended) == (True, len(sample_events()))
    return log


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The working directory, and the screen of a first tour in it."""
    place = tmp_path_factory.mktemp("a first tour")
    yield place, demo("--dir", "graven-demo", cwd=place).stdout


def test_one_screen_of_plain_text(shown: tuple[Path, str]) -> None:
    lines = shown[1].splitlines()
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= WIDTH
    assert "DEMO" in lines[0]
    assert "\x1b" not in shown[1]


def test_four_lines_tell_who_took_the_file_and_are_proved(shown: tuple[Path, str]) -> None:
    found = re.findall(r"^  05:\d\d:\d\d dana\.voss 203\.0\.113\.77 .* proved at size (\d+)$", shown[1], re.MULTILINE)
    assert len(found) == 4
    with open_view(shown[0] / "graven-demo") as view:
        assert {int(size) for size in found} == {view.published.checkpoint.size}


def test_what_was_changed_is_caught_and_named(shown: tuple[Path, str]) -> None:
    text = shown[1]
    assert re.search(r"^  the log itself +exit 0$", text, re.MULTILINE)
    flipped = re.search(
        r"^  one bit of byte (\d+) of (journal/\S+) flipped +exit 1\n.*\n +where: (.*)$", text, re.MULTILINE
    )
    assert flipped is not None
    assert flipped[2] in flipped[3] and re.search(r"at byte \d+; events \d+ to \d+$", flipped[3])
    assert re.search(r"signed again with another key +--vkey …  exit 1\n.*published checkpoint", text)
    assert re.search(r"with the log's own keys +exit 0\n.*only by what others have kept\n", text)
    assert re.search(r"against a checkpoint kept +--since …  exit 1\n.*is not that of the older checkpoint", text)


def test_evidence_is_checked_by_the_shell_alone(shown: tuple[Path, str]) -> None:
    folder = shown[0] / "graven-demo.evidence"
    key = parse_vkey((folder / "log.vkey").read_text().strip())
    evidence = (folder / "evidence.json").read_bytes()
    proved = verify_evidence(parse_evidence(evidence), keys=[key], verify=verify_signature)
    assert b"customers.csv" in (proved.event or b"")
    assert f"entry    {proved.entry.hex()}" in shown[1]
    assert "Signature Verified Successfully" in shown[1]
    assert f"proved   index {proved.index} of {key.name}" in shown[1]
    command = re.search(r"^  \$ (cd .*)$", shown[1], re.MULTILINE)
    assert command is not None
    again = subprocess.run(["bash", "-c", command[1]], cwd=shown[0], capture_output=True, text=True, check=True)
    assert "Signature Verified Successfully" in again.stdout


def test_the_rest_of_the_screen_is_honest(shown: tuple[Path, str]) -> None:
    text = shown[1]
    assert TRUST in text
    assert re.search(r"bytes an event: \d+ in the journal, \d+ in the tree, of \d+ as sent", text)
    assert re.search(r"\d+ GB a month at 50 million events a day", text)
    assert re.search(r"took \d+\.\d s", text)
    removal = re.search(r"^  rm -r (\S+) (\S+) (\S+) ", text, re.MULTILINE)
    assert removal is not None
    assert {path.name for path in shown[0].iterdir()} == set(removal.groups())


def test_again_it_is_the_same_log(shown: tuple[Path, str]) -> None:
    place = shown[0]
    with open_view(place / "graven-demo") as view:
        before = view.published.checkpoint
    told = json.loads(demo("--dir", "graven-demo", "--json", cwd=place).stdout)
    assert (told["new"], told["appended"], told["size"], told["wrong"]) == (False, 0, before.size, [])
    assert told["origin"] == before.origin and before.origin.startswith("demo.invalid/")
    assert [one["as_claimed"] for one in told["trials"]] == [True] * 5
    assert told["by_hand"]["proved"] is True


def test_it_serves_until_told_to_stop_and_its_commands_work(stage: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        [sys.executable, "-m", "graven", "demo", "--dir", stage.name, "--serve", "--listen", listen],
        cwd=stage.parent, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        screen = []
        for line in server.stdout:
            screen.append(line)
            if line.startswith("listening on "):
                break
        assert screen and screen[-1] == f"listening on http://{listen}\n"
        commands = [line.strip() for line in screen if re.match(r" +\S*(graven (show|verify) |TOKEN=|curl )", line)]
        assert len(commands) == 4
        script = "\n".join(["set -euo pipefail", 'graven() { "$PYTHON" -m graven "$@"; }', *commands])
        ran = subprocess.run(
            ["bash", "-c", script], cwd=stage.parent, env={**environment(), "PYTHON": sys.executable},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{script}\n{ran.stdout}\n{ran.stderr}"
        assert '"format": "graven-evidence/v1"' in ran.stdout
        with urllib.request.urlopen(f"http://{listen}/log/checkpoint", timeout=180) as answer:
            assert answer.read().startswith(b"demo.invalid/")
        busy = demo("--dir", "other", "--serve", "--listen", listen, cwd=stage.parent, exit_code=2)
        assert "taken" in busy.stderr and "--listen" in busy.stderr and "make run LISTEN=" in busy.stderr
        assert busy.stdout == "" and not (stage.parent / "other").exists()
    finally:
        server.send_signal(signal.SIGINT)
        rest, errors = server.communicate(timeout=180)
    assert (server.returncode, rest) == (0, ""), errors
    # Its start and stop are in the log now, and the tour of that log still holds.
    tour = Tour(stage, Screen(quiet=True))
    tour.show()
    assert tour.told["new"] is False and tour.wrong == []


def test_what_is_not_caught_fails_the_tour(
    stage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With forgers that change nothing, what should be caught is not."""
    nothing = forgery.Flip("journal/none", 0, 0, 0)
    for forger in ("flip_byte", "sign_with_another_key", "rewrite_history"):
        monkeypatch.setattr(forgery, forger, lambda *given, **named: nothing)
    tour = Tour(stage, Screen())
    with pytest.raises(Disproved, match="did not go as it should"):
        tour.show()
    assert [wrong.partition(":")[0].split()[0] for wrong in tour.wrong] == ["one", "dana.voss", "the"]
    assert "All this took" in capsys.readouterr().out  # the screen is finished all the same


def test_no_other_log_is_touched(tmp_path: Path) -> None:
    log = tmp_path / "log"
    create_log(log, origin="example.com/log")
    before = (log / "log" / "checkpoint").read_bytes()
    with pytest.raises(BadInput, match="not one of the demonstration's"):
        Tour(log, Screen(quiet=True)).show()
    assert (log / "log" / "checkpoint").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.keys"]


def test_a_first_run_that_was_interrupted_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, real, calls = tmp_path / "log", stage_module._send, iter(range(9))

    def send(writing: Log, requests: dict[str, list[bytes]]) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(writing, requests)

    monkeypatch.setattr(stage_module, "_send", send)
    with pytest.raises(KeyboardInterrupt):
        set_stage(log)
    found = set_stage(log)
    assert not found.created
    assert 0 < found.appended < len(sample_events())
    again = set_stage(log)
    assert (again.appended, again.size) == (0, found.size)
    with open_view(log) as view:
        assert len(find_theft(view)) == 4


def test_a_forged_copy_tells_another_story_and_the_log_its_own(stage: Path, tmp_path: Path) -> None:
    with open_view(stage) as view:
        lines, published = find_theft(view), view.published.data
    copy = forgery.copy_for_tampering(stage, tmp_path / "forged")
    forgery.rewrite_history(copy, [line.index for line in lines], b"dana.voss", b"pavel.szabo", now_us=1)
    with open_view(copy) as view:
        forged = find_theft(view)
        assert view.published.checkpoint.size == lines[0].size
    assert {line.who for line in forged} == {"pavel.szabo"}
    with open_view(stage) as view:
        assert find_theft(view) == lines and view.published.data == published


def test_a_log_that_keeps_its_keys_elsewhere_is_not_tampered_with(tmp_path: Path) -> None:
    create_log(tmp_path / "log", origin="demo.invalid/elsewhere", keyring_dir=tmp_path / "vault")
    with pytest.raises(BadInput, match="same keys"):
        forgery.copy_for_tampering(tmp_path / "log", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_lines_are_cut_and_commands_broken_where_a_shell_allows(capsys: pytest.CaptureFixture[str]) -> None:
    assert shorten("a" * 10, 10) == "a" * 10
    assert shorten("a b c d e f", 6) == "a b c…"
    Screen().line("x" * 200, "exit 1")
    Screen().command("echo " + " ".join(["word"] * 40))
    Screen().line("bell \x07")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("… exit 1") and max(map(len, lines)) <= WIDTH
    assert all(line.endswith(" \\") for line in lines[1:-2])
    joined = " ".join(line.strip().removesuffix(" \\") for line in lines[1:-1])
    assert joined == "echo " + " ".join(["word"] * 40)
    assert lines[-1] == "  bell \\u{7}"
