"""`graven show` and `graven prove` where an event cannot be read, is not published, or says much."""

import json
from pathlib import Path

import pytest

from cli.calls import Run, read_json
from graven.app import Log, open_keyring
from graven.config import load_config
from graven.log.publish import Publisher


def test_every_part_of_an_event_is_shown(run: Run, made: str) -> None:
    event = {
        "action": "update", "severity": "high", "count": 3, "bytes": 10, "message": "said",
        "changes": [{"path": "role", "old": "user", "new": {"a": 1}}] * 12,
        "targets": [{"id": f"t{n}", "scope": {"tenant": "x"}} for n in range(12)],
        "labels": {"k": "v"}, "data": {"long": "x" * 2_000}, "derived_from": [0], "redacted": ["$.data.secret"],
        "correlation": {"request_id": "r", "trace_id": "t"}, "origin": {"device": "d"},
    }  # fmt: skip
    run("append", "-", "--dir", "log", given=json.dumps(event).encode())
    text = run("show", 1, "--dir", "log").stdout
    for part in (
        "update (high)", "t0, in tenant x", "t9, in", "and 2 more", 'role: "user" → {"a": 1}', '{"k": "v"}', "said",
        "(2012 characters)", "$.data.secret", "r, t",
        "  count       3", "  bytes       10", "  derived     0", "  from where  d",
    ):  # fmt: skip
        assert part in text, part
    assert "t10" not in text and text.count("role:") == 10


def test_an_event_whose_key_is_gone(run: Run, made: str) -> None:
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    keyring = open_keyring(Path("log"), load_config("log/graven.toml"))
    (start,) = keyring.segment_starts()
    for keys in json.loads(Path("log.keys/data/00000000000000000000.0.json").read_text()):
        if (keys["class"], keys["kind"]) == ("default", "event"):
            keyring.destroy(bytes.fromhex(keys["id"]), start)
    assert run("show", 1, "--dir", "log").stdout.splitlines()[0] == (
        "event 1: unreadable: its data key is not in the keyring"
    )  # fmt: skip
    found = read_json(run("show", 1, "--dir", "log", "--json"))
    assert (found["content"], found["event"], found["proved"], found["state"]) == (
        "unreadable",
        None,
        None,
        "published",
    )
    run("prove", 1, "--dir", "log", exit_code=3)
    assert read_json(run("show", 0, "--dir", "log", "--json"))["content"] == "readable"


def test_what_is_committed_and_not_published(run: Run, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "wake", lambda _: None)
    with Log.open("log") as log:
        log.append([b'{"action":"a"}'])
        assert "proved at size 2, the end of its frame: committed, not published yet" in (
            run("show", 1, "--dir", "log").stdout
        )  # fmt: skip
        found = read_json(run("show", 1, "--dir", "log", "--json"))
        assert found["state"] == "committed" and found["proved"]["by"] == "frame"
        assert "not published yet" in run("prove", 1, "--dir", "log", exit_code=2).stderr  # no server: at once
    assert read_json(run("show", 1, "--dir", "log", "--json"))["proved"]["by"] == "checkpoint"


def test_proofs_as_json(run: Run, made: str) -> None:
    evidence = json.loads(run("prove", 0, "--dir", "log", "--json").stdout)
    assert evidence["format"] == "graven-evidence/v1"
    proof = read_json(run("prove", 0, "--dir", "log", "--tlog-proof", "--json"))
    assert proof["text"] == evidence["proof"] and proof["size"] == 1
    written = read_json(run("prove", 0, "--dir", "log", "-o", "file", "--json"))
    assert written["file"] == "file" and Path("file").read_text() == run("prove", 0, "--dir", "log", "-o", "-").stdout


def test_tiles_that_lie_prove_nothing(run: Run, made: str) -> None:
    run("append", "-", "--dir", "log", given=b'{"action":"a"}')
    (tile,) = Path("log/log/tile/0/000.p").glob("2")
    tile.write_bytes(bytes(64))
    for words in (("show", 1), ("prove", 1)):
        assert run(*words, "--dir", "log", exit_code=1).stdout == ""
