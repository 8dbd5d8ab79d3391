"""The receipts an agent gets: judged, kept within bounds, and proof when they are broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from agent.agents import acts, enrolled, raws, run_once, write_config
from cli.conftest import run as run
from graven.agent.agent import agent_transport
from graven.agent.identity import load_identity
from graven.agent.receipts import OLDER_FILE, RECEIPTS_FILE, WRONG_FILE, ReceiptKeeper
from graven.client.transport import Reply
from graven.core.errors import Disproved, GravenError
from graven.runtime.files import LocalFiles
from server.running import Server

Run = Callable[..., Result]


def lines(state: Path, name: str = RECEIPTS_FILE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / name).read_bytes().splitlines()]


@pytest.fixture
def state(server: Server, tmp_path: Path) -> Path:
    """The state of an agent that sent three batches."""
    config = enrolled(write_config(tmp_path, server.url, '[[files]]\nname = "f"\npaths = ["*.log"]\n'), server)
    for number in range(3):
        with (tmp_path / "a.log").open("a") as file:
            file.write(f"line {number}\n")
        run_once(config)
    return Path(config.state)


def keeper(state: Path, server: Server, **how: Any) -> ReceiptKeeper:
    config = write_config(state.parent, server.url)
    return ReceiptKeeper(LocalFiles(), state, load_identity(state), agent_transport(config), **how)


def test_they_are_kept_and_hold_against_what_is_published(server: Server, state: Path, run: Run) -> None:
    kept = lines(state)
    assert [row["batch"] for row in kept] == list(range(1, len(kept) + 1)) and len(kept) >= 3
    assert (state / RECEIPTS_FILE).stat().st_mode & 0o077 == 0
    server.control.publish()
    vkey = run("vkey", "--dir", server.directory).stdout.strip()
    words = ("receipts", "check", state / RECEIPTS_FILE, "--dir", server.directory / "log", "--vkey", vkey)
    assert f"{len(kept)} promises kept" in run(*words).stdout


def test_a_log_that_went_back_is_caught_by_them(server: Server, state: Path, run: Run, tmp_path: Path) -> None:
    """The operator brings back an old copy and goes on from there: the receipts are proof."""
    old, keys = tmp_path / "old", tmp_path / "old.keys"
    vkey = run("vkey", "--dir", server.directory).stdout.strip()
    server.stop()
    shutil.copytree(server.directory, old)
    shutil.copytree(f"{server.directory}.keys", keys)
    from graven.app import Log

    with Log.open(server.directory) as log:
        log.append(b'{"action":"a"}')
        promised = log.append(b'{"action":"kept"}')
        certificate = (log.writer.certificate or b"").decode()
    with Log.open(old) as log:
        for number in range(20):
            log.append(b'{"action":"another %d"}' % number)
    with (state / RECEIPTS_FILE).open("a") as file:
        answer = {"receipt": promised.receipt.decode(), "opened": {"certificate": certificate}}
        file.write(json.dumps({"batch": 99, "answer": answer}) + "\n")
    result = run(
        "receipts", "check", state / RECEIPTS_FILE, "--dir", old / "log", "--vkey", vkey, exit_code=1
    )  # fmt: skip
    assert "BROKEN PROMISE" in result.stdout


class Changed(Exception):
    pass


def test_one_that_does_not_hold_stops_the_sending(
    server: Server, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody between the agent and the log answers in its name: nothing is settled, the answer is kept."""
    from graven.client.transport import Transport

    ask = Transport.ask
    other = lines(state)[0]["answer"]["receipt"]

    def lying(self: Transport, method: str, path: str, **how: Any) -> Reply:
        reply = ask(self, method, path, **how)
        if path.endswith("/batches") and reply.status == 200:
            answer = json.loads(reply.data)
            answer["receipt"] = other  # an old promise, of a smaller tree
            return Reply(200, json.dumps(answer).encode(), "")
        return reply

    monkeypatch.setattr(Transport, "ask", lying)
    with (tmp_path / "a.log").open("a") as file:
        file.write("the next\n")
    config = write_config(tmp_path, server.url, '[[files]]\nname = "f"\npaths = ["*.log"]\n')
    with pytest.raises(Disproved, match="smaller than it was"):
        run_once(config)
    wrong = json.loads((state / WRONG_FILE).read_bytes())
    assert wrong["receipt"] == other and "smaller" in wrong["what"]
    monkeypatch.undo()
    run_once(config)  # the true log has the batch, and says so
    assert raws(server.directory).count(b"the next") == 1


@pytest.mark.parametrize("change", ["signature", "root", "origin", "text"])
def test_whatever_is_changed_in_one_is_caught(server: Server, state: Path, change: str) -> None:
    note = lines(state)[-1]["answer"]["receipt"]
    text, _, signatures = note.partition("\n\n")
    parts = text.split("\n")
    changed = {
        "signature": note[:-6] + ("AAAA" if note[-6:-2] != "AAAA" else "BBBB") + note[-2:],
        "root": note.replace(parts[3], "A" * 43 + "="),
        "origin": note.replace(parts[1], "example.com/else"),
        "text": "nonsense\n",
    }[change]
    with pytest.raises(GravenError) as raised:
        keeper(state, server).take(9, changed)
    assert isinstance(raised.value, Disproved)
    assert signatures and json.loads((state / WRONG_FILE).read_bytes())["batch"] == 9


def test_they_are_bounded(server: Server, state: Path) -> None:
    note = lines(state)[-1]["answer"]["receipt"]
    small = keeper(state, server, file_bytes=5_000)
    for number in range(30):
        small.take(100 + number, note)
    assert (state / RECEIPTS_FILE).stat().st_size <= 5_000
    assert (state / OLDER_FILE).stat().st_size <= 5_000
    assert lines(state)[-1]["batch"] == 129
    assert small.kept == 30


def test_new_signing_keys_are_followed(server: Server, state: Path, run: Run, tmp_path: Path) -> None:
    server.stop()
    run("keys", "rotate", "begin", "--dir", server.directory)
    run("keys", "rotate", "finish", "--dir", server.directory)
    with Server(server.directory) as again:
        config = write_config(tmp_path, again.url, '[[files]]\nname = "f"\npaths = ["*.log"]\n')
        before = len(lines(state))
        with (tmp_path / "a.log").open("a") as file:
            file.write("under new keys\n")
        run_once(config)
        assert len(lines(state)) > before
        assert lines(state)[-1]["answer"]["opened"]["certificate"]
        assert not (state / WRONG_FILE).exists()
    assert acts(server.directory, "graven.keys.handover")
