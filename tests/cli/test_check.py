"""`graven check`: what it believes, what it refuses, and what files prove against each other."""

import json
import shutil
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json

EVENTS = '{"action":"one","id":"1"}\n{"action":"two","id":"2"}\n'


@pytest.fixture
def vkey(run: Run, made: str) -> str:
    """A log of three entries, with evidence for index 1, its checkpoint, and an answer with its receipt in full."""
    Path("sent.ndjson").write_text(EVENTS)
    Path("answer.json").write_text(run("append", "sent.ndjson", "--dir", "log", "--receipt", "full").stdout)
    run("prove", 1, "--dir", "log", "-o", "evidence.json")
    run("prove", 1, "--dir", "log", "--tlog-proof", "-o", "proof")
    Path("checkpoint").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    return made


@pytest.fixture
def fork(run: Run, vkey: str) -> str:
    """A copy of log and keys, from before a fourth event: then each side appends one of its own."""
    shutil.copytree("log", "other")
    shutil.copytree("log.keys", "other.keys")
    for name in ("log", "other"):
        Path("event").write_text(f'{{"action":"in {name}"}}\n')
        Path(f"{name}.answer").write_text(run("append", "event", "--dir", name, "--receipt", "full").stdout)
        Path(f"{name}.checkpoint").write_bytes(run("checkpoint", "--dir", name).stdout_bytes)
    return vkey


def test_all_kinds_are_told_apart(run: Run, vkey: str) -> None:
    answer = json.loads(Path("answer.json").read_text())
    Path("receipt").write_text(answer["receipt"])
    Path("certificate").write_text(answer["opened"]["certificate"])
    files = ["evidence.json", "proof", "answer.json", "receipt", "certificate", "checkpoint"]
    found = read_json(run("check", *files, "--vkey", vkey, "--certificate", "certificate", "--json"))
    assert found["good"] is True
    assert [row["kind"] for row in found["files"]] == [
        "evidence", "tlog-proof", "answer", "receipt", "certificate", "checkpoint",
    ]  # fmt: skip
    assert found["files"][0]["event_text"] == EVENTS.splitlines()[0]


def test_standard_input(run: Run, vkey: str) -> None:
    result = run("check", "-", "--vkey", vkey, given=Path("evidence.json").read_bytes())
    assert result.stdout.startswith("standard input: good evidence\n")


def test_no_trust_is_wrong_input(run: Run, vkey: str) -> None:
    assert "policy that you trust" in run("check", "evidence.json", exit_code=2).stderr
    Path("policy").write_text(f"log {vkey}\nquorum none\n")
    run("check", "evidence.json", "--vkey", vkey, "--policy", "policy", exit_code=2)


def test_keys_in_the_file_are_not_trusted(run: Run, vkey: str) -> None:
    run("init", "stranger", "--origin", "example.com/stranger")
    stranger = run("vkey", "--dir", "stranger").stdout.strip()
    result = run("check", "evidence.json", "--vkey", stranger, exit_code=1)
    assert "no signature by a trusted key" in result.stderr
    assert result.stdout == "evidence.json: NOT GOOD\n"


def test_a_policy(run: Run, vkey: str) -> None:
    Path("policy").write_text(f"log {vkey}\nquorum none\n")
    found = read_json(run("check", "evidence.json", "answer.json", "--policy", "policy", "--json"))
    assert found["files"][0]["witnesses"] == []
    run("init", "w", "--origin", "witness.example/w")
    both = run("vkey", "--dir", "w", "--all").stdout.split()
    Path("policy").write_text(f"log {vkey}\nwitness w {both[1]}\nquorum w\n")
    result = run("check", "evidence.json", "--policy", "policy", exit_code=1)
    assert "the quorum of the policy is not met: 0 of 1 witnesses" in result.stderr


@pytest.mark.parametrize("old, new", [("one", "won"), ('"index": 1', '"index": 2'), ("graven/1 1 ", "graven/1 2 ")])
def test_changed_evidence(run: Run, vkey: str, old: str, new: str) -> None:
    path = Path("evidence.json")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert run("check", "evidence.json", "--vkey", vkey, exit_code=1).stderr.startswith("graven: ")


def test_something_else_is_wrong_input(run: Run, vkey: str) -> None:
    Path("junk").write_bytes(b"\x00\xff")
    Path("empty").write_bytes(b"")
    Path("list.json").write_text("[1]")
    for name in ("junk", "empty", "list.json", "missing"):
        error = read_error(run("check", name, "--vkey", vkey, "--json", exit_code=2))
        assert error["kind"] == "bad_input" and error["place"].startswith(name)


def test_every_file_is_judged(run: Run, vkey: str) -> None:
    Path("junk").write_text("junk")
    Path("bad.json").write_text(Path("evidence.json").read_text().replace("one", "won"))
    result = run("check", "junk", "bad.json", "evidence.json", "--vkey", vkey, exit_code=1)
    assert [line for line in result.stdout.splitlines() if not line.startswith(" ")] == [
        "junk: not checked", "bad.json: NOT GOOD", "evidence.json: good evidence",
    ]  # fmt: skip
    assert [line.split("(")[-1][:8] for line in result.stderr.splitlines()] == ["junk). M", "bad.json"]


def test_an_answer_against_what_was_sent(run: Run, vkey: str) -> None:
    good = run("check", "answer.json", "--events", "sent.ndjson", "--vkey", vkey)
    assert "exactly the 2 events sent, byte for byte" in good.stdout
    Path("else.ndjson").write_text(EVENTS.replace("two", "too"))
    result = run("check", "answer.json", "--events", "else.ndjson", "--vkey", vkey, exit_code=1)
    assert "the log did not seal the bytes that were sent" in result.stderr
    Path("less.ndjson").write_text(EVENTS.splitlines()[0])
    run("check", "answer.json", "--events", "less.ndjson", "--vkey", vkey, exit_code=1)


def test_duplicates_are_compared_too(run: Run, vkey: str) -> None:
    again = run("append", "sent.ndjson", "--dir", "log", "--receipt", "full").stdout
    assert json.loads(again)["accepted"] == 0 and json.loads(again)["first_index"] is None
    Path("again.json").write_text(again)
    run("check", "again.json", "--events", "sent.ndjson", "--vkey", vkey)
    Path("else.ndjson").write_text(EVENTS.replace("two", "too"))
    result = run("check", "again.json", "--events", "else.ndjson", "--vkey", vkey, exit_code=1)
    assert "position 1, a duplicate of index 2" in result.stderr


def test_an_answer_of_several_requests(run: Run, vkey: str) -> None:
    lines = [f'{{"action":"n","id":"many-{number}"}}' for number in range(4_500)]
    Path("many.ndjson").write_text("\n".join(lines))
    answer = run("append", "many.ndjson", "--dir", "log", "--receipt", "full").stdout
    assert [len(one["opened"]["events"]) for one in json.loads(answer)["requests"]] == [4_000, 500]
    Path("many.json").write_text(answer)
    run("check", "many.json", "--events", "many.ndjson", "--vkey", vkey)
    lines[4_400] = lines[4_400].replace('"n"', '"m"')
    Path("else.ndjson").write_text("\n".join(lines))
    run("check", "many.json", "--events", "else.ndjson", "--vkey", vkey, exit_code=1)
    Path("more.ndjson").write_text("\n".join([*lines, '{"action":"more"}']))
    run("check", "many.json", "--events", "more.ndjson", "--vkey", vkey, exit_code=1)


def test_a_receipt_needs_its_certificate(run: Run, vkey: str) -> None:
    answer = json.loads(Path("answer.json").read_text())
    Path("receipt").write_text(answer["receipt"])
    assert "--certificate" in run("check", "receipt", "--vkey", vkey, exit_code=2).stderr
    del answer["opened"]
    Path("plain.json").write_text(json.dumps(answer))
    assert "--receipt full" in run(
        "check", "plain.json", "--events", "sent.ndjson", "--vkey", vkey, exit_code=2
    ).stderr  # fmt: skip


def test_two_checkpoints_prove_a_fork(run: Run, fork: str) -> None:
    result = run("check", "log.checkpoint", "other.checkpoint", "--vkey", fork, exit_code=1)
    assert "log.checkpoint and other.checkpoint: this log forked: example.com/log signed two" in result.stdout
    assert result.stderr.startswith("graven: this log forked: ")
    found = json.loads(run("check", "log.checkpoint", "other.checkpoint", "--vkey", fork, "--json", exit_code=1).stdout)
    assert found["good"] is False and found["files"][0]["good"] is True
    assert found["conflicts"][0]["place"] == "log.checkpoint and other.checkpoint"


def test_checkpoints_that_agree(run: Run, fork: str) -> None:
    run("check", "log.checkpoint", "checkpoint", "log.checkpoint", "--vkey", fork)


def test_a_fork_shows_in_evidence_and_receipts_too(run: Run, fork: str) -> None:
    run("prove", 3, "--dir", "other", "-o", "other.json")
    assert "this log forked" in run("check", "log.checkpoint", "other.json", "--vkey", fork, exit_code=1).stderr
    broken = run("check", "log.answer", "other.checkpoint", "--vkey", fork, exit_code=1).stderr
    assert "this log broke its promise" in broken
    both = run("check", "log.answer", "other.answer", "--vkey", fork, exit_code=1).stderr
    assert "two promises that cannot both be kept" in both


def test_what_an_event_says_is_escaped(run: Run, vkey: str) -> None:
    Path("evil.ndjson").write_text(
        '{"action":"\\u001b]0;owned\\u0007","message":"exe.\u202etxt\\nfake: line","action":"x\\u009b"}'
    )
    run("append", "evil.ndjson", "--dir", "log")
    run("prove", 3, "--dir", "log", "-o", "evil.json")
    for result in (run("check", "evil.json", "--vkey", vkey), run("show", 3, "--dir", "log")):
        assert all(line.isprintable() for line in result.stdout.splitlines())
        assert "fake" in result.stdout and not any(line.startswith("fake") for line in result.stdout.splitlines())
        assert "keys given twice: $.action" in result.stdout
    shown = run("show", 3, "--dir", "log", "--json").stdout
    assert shown.isascii() and json.loads(shown)["event"]["message"] == "exe.\u202etxt\nfake: line"
