"""`graven audit range`: a real log, its heads opened, the disclosure on record, and the count that anybody checks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json


@pytest.fixture
def vkey(run: Run, made: str) -> str:
    """Index 0 genesis, 1 the source `web`, 2–4 its events, 5–6 of `local`, 7–8 of `web` again."""
    run("source", "add", "web", "--dir", "log")
    for source, actions in (("web", "abc"), ("local", "de"), ("web", "fg")):
        lines = "\n".join(f'{{"action":"{action}"}}' for action in actions)
        run("append", "-", "--dir", "log", "--source", source, given=lines.encode())
    return made


def test_exactly_so_many_events_of_a_source(run: Run, vkey: str) -> None:
    done = read_json(run("audit", "range", 0, 9, "--source", "web", "--dir", "log", "-o", "r.json", "--json"))
    assert (done["heads"], done["events"], done["recorded_at"]) == (9, 0, 9)
    found = read_json(run("check", "r.json", "--vkey", vkey, "--json"))["files"][0]
    assert (found["kind"], found["at_least"], found["at_most"]) == ("range", 5, 5)
    assert found["counts"] == {"0": 2, "1": 2, "2": 5} and found["disclosed"] == {}
    assert '"a"' not in Path("r.json").read_text()
    text = run("check", "r.json", "--vkey", vkey).stdout
    assert "source 2    exactly 5 events" in text and "4 events of other sources" in text


def test_bodies_of_the_source_only(run: Run, vkey: str) -> None:
    data = run("audit", "range", 1, 8, "--source", "2", "--bodies", "--dir", "log", "--to", "an auditor").stdout
    Path("r.json").write_text(data)
    found = read_json(run("check", "r.json", "--vkey", vkey, "--json"))["files"][0]
    assert {key: json.loads(text)["action"] for key, text in found["disclosed"].items()} == {
        "2": "a", "3": "b", "4": "c", "7": "f",
    }  # fmt: skip
    act = json.loads(read_json(run("show", 9, "--dir", "log", "--json"))["event_text"])
    assert act["action"] == "graven.disclosure" and act["actor"]["type"] == "user"
    assert (act["data"]["events"], act["data"]["source"], act["data"]["to"]) == (4, 2, "an auditor")
    assert act["data"]["sha256"] == subprocess.run(
        ["sha256sum", "r.json"], capture_output=True, text=True, check=True
    ).stdout[:64]  # fmt: skip


def test_one_left_out_is_found(run: Run, vkey: str) -> None:
    run("audit", "range", 0, 9, "--source", "web", "--dir", "log", "-o", "r.json")
    document = json.loads(Path("r.json").read_text())
    document["entries"] = document["entries"][:-1]
    document["end"] -= 1
    Path("less.json").write_text(json.dumps(document))
    assert "the range proof" in run("check", "less.json", "--vkey", vkey, exit_code=1).stderr
    run("check", "r.json", "--vkey", vkey.replace("+A", "+B"), exit_code=2)


def test_what_is_refused(run: Run, vkey: str) -> None:
    for arguments, what in (
        ((0, 10, "--source", "web"), "no range"), ((3, 3, "--source", "web"), "no range"),
        ((0, 9, "--source", "nobody"), "no source"), ((0, 9, "--bodies"), "every source"),
        ((0, 9, "--to", "a\x1bb"), "printable"),
    ):  # fmt: skip
        error = read_error(run("audit", "range", *arguments, "--dir", "log", "--json", exit_code=2))
        assert what in error["what"]
    assert read_json(run("status", "--dir", "log", "--json"))["size"] == 9  # nothing was recorded, nothing given


def test_nothing_is_given_that_cannot_be_recorded(run: Run, vkey: str) -> None:
    """The journal ends before what was published: reading the range works, writing does not."""
    Path("log.keys/highest-checkpoint").unlink()
    result = run("audit", "range", 0, 9, "--source", "web", "--bodies", "--dir", "log", "-o", "r.json", exit_code=3)
    assert "highest" in result.stderr or "largest" in result.stderr
    assert not Path("r.json").exists() and result.stdout == ""


def test_beside_a_running_server(run: Run, vkey: str) -> None:
    command = [sys.executable, "-m", "graven", "serve", "--dir", "log", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline().startswith("listening on ")
            run("audit", "range", 0, 9, "--source", "web", "--dir", "log", "-o", "r.json")
        finally:
            server.terminate()
    run("check", "r.json", "--vkey", vkey)
    acts = [json.loads(run("show", index, "--dir", "log", "--json").stdout)["event"]["action"] for index in (9, 10, 11)]
    assert acts == ["graven.start", "graven.disclosure", "graven.stop"]
