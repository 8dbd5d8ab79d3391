"""`graven witness`, as others script against it; and evidence of a fork, judged by `graven check`."""

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.calls import read_error, read_json
from core.signers import LOG, ORIGIN, WITNESS
from graven.cli import graven
from graven.core.note import COSIG_ED25519, COSIG_MLDSA44, format_vkey, parse_vkey
from graven.core.policy import parse_policy
from graven.witness.witness import Witness
from witness.logs import NAME, NOW_S, VKEY, Tree, fixed_clock


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: object, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(graven, list(map(str, words)), prog_name="graven")
    assert result.exit_code == exit_code, f"{words}: {result.exit_code}\n{result.stdout}\n{result.stderr}"
    return result


def cosign(*requests: bytes) -> list[int]:
    witness = Witness(Path("w"), fixed_clock())
    statuses = [witness.add_checkpoint(request).status for request in requests]
    witness.close()
    return statuses


def test_keys_for_a_policy() -> None:
    made = run("witness", "init", "w", "--name", NAME).stdout
    assert run("witness", "vkey", "w").stdout == made
    lines = made.splitlines()
    assert [parse_vkey(line).type for line in lines] == [COSIG_ED25519, COSIG_MLDSA44]
    assert {parse_vkey(line).name for line in lines} == {NAME}
    assert read_json(run("witness", "vkey", "w", "--json")) == {"name": NAME, "vkeys": lines}
    policy = parse_policy(f"log {VKEY}\nwitness a {lines[0]}\nwitness b {lines[1]}\ngroup w any a b\nquorum w\n")
    assert len(policy.witnesses) == 2


def test_logs() -> None:
    run("witness", "init", "w", "--name", NAME)
    assert run("witness", "list", "w").stdout.splitlines() == ["ORIGIN  SIZE  COSIGNED  KEYS"]
    assert run("witness", "add-log", "w", VKEY).stdout == f"{ORIGIN}: added\n"
    assert run("witness", "add-log", "w", f" {VKEY}\n").stdout == f"{ORIGIN}: known already\n"
    assert f"{ORIGIN}  -     never     1" in run("witness", "list", "w").stdout
    assert cosign(Tree().request(0, 5)) == [200]
    assert f"{ORIGIN}  5     2026-09-21T" in run("witness", "list", "w").stdout
    assert read_json(run("witness", "list", "w", "--json")) == {
        "logs": [
            {
                "origin": ORIGIN, "path": f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint", "size": 5,
                "cosigned_s": NOW_S, "vkeys": [VKEY],
            }
        ],
        "evidence": [],
    }  # fmt: skip


def test_a_fork_is_portable_evidence() -> None:
    run("witness", "init", "w", "--name", NAME)
    run("witness", "add-log", "w", VKEY)
    assert cosign(Tree().request(0, 5), Tree(7).request(5, 5), Tree(7).request(5, 9)) == [200, 422, 422]
    fork, unproved = map(Path, read_json(run("witness", "list", "w", "--json"))["evidence"])
    assert f"evidence: {fork}\n" in run("witness", "list", "w").stdout
    both = [fork / "cosigned.checkpoint", fork / "refused.checkpoint"]
    found = run("check", *both, "--vkey", VKEY, exit_code=1)
    assert "this log forked" in found.stdout and "this log forked" in found.stderr
    assert unproved.name.startswith("unproved-")
    run("check", *unproved.iterdir(), "--vkey", VKEY)  # two sizes convict nobody alone


def test_refusals() -> None:
    for words in (("vkey", "w"), ("list", "w"), ("add-log", "w", VKEY), ("serve", "w", "--listen", "127.0.0.1:0")):
        error = read_error(run("witness", *words, "--json", exit_code=2))
        assert error["what"] == "there is no witness here" and "init" in error["mend"]
    run("witness", "init", "w", "--name", "two words", exit_code=2)
    run("witness", "init", "v", "--name", NAME)
    run("witness", "init", "v", "--name", NAME, exit_code=2)
    run("witness", "add-log", "v", "no key", exit_code=2)
    run("witness", "add-log", "v", format_vkey(WITNESS.key), exit_code=2)
    run("witness", "serve", "v", "--listen", "nowhere", exit_code=2)
    assert LOG.key.name == ORIGIN
