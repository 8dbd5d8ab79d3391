"""Who vouches is said by name, k of n: by the server, its metrics, the command line, and to an auditor."""

import json
from pathlib import Path

from click.testing import CliRunner

from anchor.hosts import make_host, move, witnessed
from graven.anchor.policies import describe_trust
from graven.cli import graven as cli
from graven.core.note import format_vkey
from graven.core.policy import parse_policy
from server.running import Server


def graven(*words: str) -> str:
    done = CliRunner().invoke(cli, words, prog_name="graven")
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_status_metrics_and_check_name_the_witnesses(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    told = "operator-trusted: 3 witnesses, all on this host; 2 of 3 cosigned: w1, w2"
    with witnessed(host, ["w1", "w2"]), Server(host.directory, host.config(interval_ms=50)) as server:
        server.control.append(b'{"action":"door.opened"}')
        server.control.publish()
        metrics = server.ask("GET", "/metrics").body.decode()
        for line in ("graven_witnesses_met 2.0", "graven_witnesses 3.0", "graven_witnesses_short 0.0"):
            assert line in metrics
        status = json.loads(graven("status", "--dir", str(host.directory), "--json"))
        assert status["published"]["state"] == told
        assert status["published"]["witnesses"] == {"cosigned": ["w1", "w2"], "of": ["w1", "w2", "w3"]}
        assert status["published"]["signatures"] == 2 and status["trouble"] is None
        assert {row["name"] for row in status["witnesses"] if row["cosigned"]} == {"w1-0", "w1-1", "w2-0", "w2-1"}
        copy = tmp_path / "copy"
        graven("backup", str(copy), "--dir", str(host.directory))
        text = graven("status", "--dir", str(host.directory))
        assert told in text and "w3-0: cannot be reached" in text
    assert told in graven("status", "--dir", str(host.directory))
    checkpoint, evidence = tmp_path / "shown", tmp_path / "evidence"
    checkpoint.write_bytes(host.shown)
    evidence.write_text(graven("prove", "1", "--dir", str(host.directory)))
    for file in (checkpoint, evidence):
        assert told in graven("check", str(file), "--policy", str(host.policy_path))
    found = json.loads(graven("check", str(checkpoint), "--policy", str(host.policy_path), "--json"))["files"][0]
    assert found["cosigned"] == ["w1", "w2"] and found["cosigners"] == ["w1", "w2", "w3"]
    vkeys = [word for key in server.keys for word in ("--vkey", format_vkey(key))]
    assert "whole" in graven("verify", "--dir", str(copy), *vkeys)


def test_witnesses_elsewhere_are_no_operators_word(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    for number, name in enumerate(host.witnesses):
        move(host, name, f"https://witness{number}.example.org")
    host.write_policy()
    policy = parse_policy(host.policy_path.read_bytes())
    assert describe_trust(policy, ["w1-0", "w1-1", "w3-1"]) == "witnessed by 2 of 3: w1, w3"
    assert describe_trust(policy, ["w2-0"]) == "witnessed by 1 of 3: w2, fewer than the policy asks for"
    assert describe_trust(policy, []) == "witnessed by 0 of 3, fewer than the policy asks for"
    assert describe_trust(None, []) == "operator-trusted: 0 witnesses"
