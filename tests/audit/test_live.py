"""The real server followed while it runs, and the receipts of a real client held against what it publishes."""

import json
from pathlib import Path

from click.testing import CliRunner

from audit.logs import following
from graven.cli import graven
from graven.core.note import format_vkey
from graven.core.policy import parse_policy
from server.running import Server


def test_a_running_server(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        policy = parse_policy("".join(f"log {format_vkey(key)}\n" for key in server.keys) + "quorum none\n")
        token = server.token()
        answers = []
        with following(f"{server.url}/log", tmp_path / "state", policy=policy, now_s=1) as follower:
            for number in range(3):
                body = "".join(json.dumps({"action": f"a.{number}.{at}"}) + "\n" for at in range(150)).encode()
                answer = server.append(body, token, "?receipt=full&wait=published")
                assert answer.status == 200, answer.body
                answers.append(answer.body)
                found = follower.round()
                assert found.exit_code == 0, found.problems
                assert found.grown >= 150 and found.size >= 150 * (number + 1)
        (tmp_path / "answers").write_bytes(b"\n".join(one.strip() for one in answers))
        vkey = format_vkey(server.keys[0])
        for where in (["--url", f"{server.url}/log"], ["--dir", str(tmp_path / "state")]):
            words = ["receipts", "check", str(tmp_path / "answers"), *where, "--vkey", vkey]
            result = CliRunner().invoke(graven, words, prog_name="graven")
            assert result.exit_code == 0 and "3 promises kept" in result.stdout, result.stderr
