"""`graven challenge`: three steps through files, on real logs: whole, partly erased, and robbed of a key."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.calls import Run, read_error, read_json
from core.tokens import Maker, root, stamper
from graven import app
from graven.log.erase import erase_class

SEED = hashlib.sha256(b"the lottery of Sunday").hexdigest()


@pytest.fixture
def vkey(run: Run, made: str) -> str:
    """Ten events in a closed segment, five in the open one; an auditor's key."""
    run("append", "-", "--dir", "log", given="\n".join(f'{{"action":"a{k}"}}' for k in range(10)).encode())
    roll("log")
    run("append", "-", "--dir", "log", given="\n".join(f'{{"action":"b{k}"}}' for k in range(5)).encode())
    Path("auditor.vkey").write_text(run("audit", "init-key", "key", "--name", "auditor.example.com/a1").stdout.strip())
    return made


def roll(directory: str) -> None:
    """The next append begins a segment."""
    with app.Log.open(directory) as log:
        log.append_act("graven.clock_fall", {"before_us": 1, "after_us": 0})
        assert log.writer.state.segment.current is not None
        log.writer._limits = type(log.writer._limits)(segment_bytes=log.writer.state.segment.current.offset)
        log.append([{"action": "first of the next"}])


def challenge(run: Run, vkey: str, *more: object) -> None:
    Path("cp").write_bytes(run("checkpoint", "--dir", "log").stdout_bytes)
    run("challenge", "draw", "cp", "--seed", SEED, "--seed-from", "the lottery of Sunday", "--key", "key",
        "--vkey", vkey, "-o", "draw", *more)  # fmt: skip


def answered(run: Run) -> None:
    run("challenge", "answer", "draw", "--dir", "log", "--auditor", Path("auditor.vkey").read_text(), "-o", "answer")


def judged(run: Run, vkey: str, exit_code: int = 0) -> dict[str, object]:
    Path("said").unlink(missing_ok=True)
    return read_json(run("challenge", "judge", "draw", "--answer", "answer", "--key", "key", "--vkey", vkey,
                         "-o", "said", "--json", exit_code=exit_code))  # fmt: skip


def test_a_log_that_opens_everything(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "9")
    answered(run)
    found = judged(run, vkey)
    assert (found["opened"], found["missing"], found["among"]) == (9, 0, 18)
    auditor = Path("auditor.vkey").read_text()
    shown = run("check", "draw", "answer", "said", "--vkey", vkey, "--auditor", auditor).stdout
    assert "drew 9 indexes of [0, 18)" in shown and "judged      again, from answer: it is so" in shown
    run("check", "said", "--vkey", vkey, exit_code=2)
    run("check", "said", "--vkey", vkey, "--auditor", vkey, exit_code=1)
    act = json.loads(read_json(run("show", 18, "--dir", "log", "--json"))["event_text"])
    assert (act["data"]["what"], act["data"]["events"], act["data"]["to"]) == ("challenge", 9, "auditor.example.com/a1")
    assert act["data"]["challenge"] == hashlib.sha256(Path("draw").read_bytes()).hexdigest()


def test_the_draw_is_made_once(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "3", "--range", 2, 9)
    before = Path("draw").read_bytes()
    again = run("challenge", "draw", "cp", "--seed", "00" * 20, "--seed-from", "mine", "--key", "key", "--vkey", vkey,
                "-o", "draw", "--count", "3", exit_code=2)  # fmt: skip
    assert "a file is there already" in again.stderr and Path("draw").read_bytes() == before


def test_no_answer_is_missing(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "18")
    result = run("challenge", "judge", "draw", "--key", "key", "--vkey", vkey, "-o", "said", exit_code=1)
    assert "missing     18" in result.stdout and "could not be opened" in result.stderr
    shown = run("check", "said", "--vkey", vkey, "--auditor", Path("auditor.vkey").read_text()).stdout
    assert "at most 18 of 18 entries (100 %)" in shown


def test_erased_before_the_draw_is_counted_apart_and_after_it_excuses_nothing(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "18")
    with app.Log.open("log") as log:
        erase_class(log, 0, "default", "event", reason="law")
    answered(run)
    found = judged(run, vkey, exit_code=1)
    assert (found["opened"], found["erased"], found["missing"]) == (8, 0, 10)
    Path("draw").unlink()
    challenge(run, vkey, "--count", "19")
    answered(run)
    found = judged(run, vkey)
    assert (found["opened"], found["erased"], found["missing"]) == (found["count"] - 10, 10, 0)  # type: ignore[operator]


def test_a_key_that_is_gone_without_a_word(run: Run, vkey: str) -> None:
    with app.Log.open("log") as log:
        with app.open_view(Path("log")) as view:
            key_id = next(key for name, kind, key in view.header.keys if (name, kind) == ("default", 1))
        assert log.keyring.destroy(key_id, 0)
    challenge(run, vkey, "--count", "18")
    answered(run)
    found = judged(run, vkey, exit_code=1)
    assert (found["opened"], found["missing"]) == (8, 10)
    assert found["missing_indexes"] == list(range(1, 11))


def test_an_answer_with_less_or_to_another_draw(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "6")
    answered(run)
    document = json.loads(Path("answer").read_text())
    document["answers"] = document["answers"][2:]
    Path("less").write_text(json.dumps(document))
    Path("answer").rename("whole")
    Path("less").rename("answer")
    assert judged(run, vkey, exit_code=1)["missing"] == 2
    auditor = Path("auditor.vkey").read_text()
    Path("lie").write_bytes(Path("said").read_bytes())
    run("check", "answer", "said", "--vkey", vkey, "--auditor", auditor)
    Path("first").write_bytes(Path("draw").read_bytes())
    Path("draw").unlink()
    challenge(run, vkey, "--count", "5")
    assert "another challenge" in read_error(
        run("challenge", "judge", "draw", "--answer", "whole", "--key", "key", "--vkey", vkey, "-o", "other", "--json",
            exit_code=1)
    )["what"]  # fmt: skip
    assert not Path("other").exists()


def test_a_seed_that_is_provably_later(run: Run, vkey: str) -> None:
    """A time stamp over the very checkpoint; over another one it is a seed like any other."""
    ca = root("Root of Lots")
    Path("root.pem").write_bytes(ca.pem)
    note = run("checkpoint", "--dir", "log").stdout_bytes
    auditor = Path("auditor.vkey").read_text()
    later = "a time stamp over this very checkpoint by Lots, so later"
    for stamped, told in ((note, later), (b"x", "as the auditor says")):
        Path("token").write_bytes(Maker(stamper(ca, "Lots")).token(stamped, datetime.now(UTC)))
        Path("cp").write_bytes(note)
        run("challenge", "draw", "cp", "--seed-file", "token", "--seed-from", "a time stamp", "--key", "key",
            "--vkey", vkey, "-o", f"drawn {len(stamped)}", "--count", 3)  # fmt: skip
        check = ("check", f"drawn {len(stamped)}", "--vkey", vkey, "--auditor", auditor)
        assert told in run(*check, "--tsa-root", "root.pem").stdout
    assert (
        "its authority not checked" in run("check", f"drawn {len(note)}", "--vkey", vkey, "--auditor", auditor).stdout
    )


def test_what_is_refused(run: Run, vkey: str) -> None:
    challenge(run, vkey, "--count", "2")
    run("audit", "init-key", "thief", "--name", "auditor.example.com/a1")
    thief = run("audit", "init-key", "other", "--name", "thief.example.com/t").stdout.strip()
    run("challenge", "answer", "draw", "--dir", "log", "--auditor", thief, "-o", "answer", exit_code=1)
    assert not Path("answer").exists()
    base = ["challenge", "draw", "cp", "--seed-from", "x", "--key", "key", "--vkey", vkey, "-o", "d2"]
    for more in (["--count", "19", "--seed", SEED], ["--count", "1"], ["--count", "1", "--seed", "zz"],
                 ["--count", "1", "--seed", "00"], ["--count", "1", "--seed", SEED, "--range", "5", "99"]):  # fmt: skip
        run(*base, *more, exit_code=2)
    run("audit", "init-key", "self", "--name", "example.com/log")
    run(*base[:6], "self", *base[7:], "--count", "1", "--seed", SEED, exit_code=2)
