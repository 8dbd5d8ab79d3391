"""`graven anchor`, and what `show`, `prove`, `check`, `status` and a server say of time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from anchor.authorities import Authority, make_authority, openssl, serving
from anchor.hosts import make_host, until, witnessed
from anchor.timed import EVENT, make_timed, timed_open
from anchor.timed import pretender as make_pretender
from core.tokens import root
from graven.cli import graven as cli
from graven.core.anchored import COSIGNATURE
from graven.core.evidence import parse_evidence
from graven.core.note import format_vkey
from server.running import Server

pytestmark = openssl


def graven(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, [*map(str, words)], prog_name="graven")
    assert done.exit_code == code, (done.exit_code, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "one", "Authority One")


def test_from_a_stamp_to_a_checked_bracket(tmp_path: Path, real: Authority) -> None:
    event = tmp_path / "event"
    event.write_text('{"action":"door.opened"}')
    with serving(real) as one:
        timed = make_timed(tmp_path, one=one)
        timed.write()
        log = ("--dir", timed.directory)
        assert graven("anchor", "list", *log) == "no anchors\n"
        graven("append", event, *log)
        stamped = json.loads(graven("anchor", "stamp", *log, "--json"))["stamps"]
        assert [row["authority"] for row in stamped] == ["one"] and stamped[0]["time"] is not None
        graven("append", event, *log)
        graven("append", event, *log)
        assert "stamped 20" in graven("anchor", "stamp", "--authority", "one", *log)
        listed = json.loads(graven("anchor", "list", *log, "--json"))["anchors"]
        assert [(row["type"], row["by"], row["trouble"]) for row in listed] == [("rfc3161", "one", None)] * 2
        assert "no authority is called 'two'" in graven("anchor", "stamp", "--authority", "two", *log, code=2)
    index = json.loads(graven("status", *log, "--json"))["size"] - 1
    shown = graven("show", index, *log)
    assert "sequenced   after 20" in shown and "in the log as event" in shown and "before 20" in shown
    bracket = json.loads(graven("show", index, *log, "--json"))["bracket"]
    assert bracket["after"][0]["by"] == "Authority One" and bracket["received_within"]
    evidence = tmp_path / "evidence"
    graven("prove", index, *log, "-o", evidence)
    keys = [word for key in json.loads(graven("vkey", "--all", *log, "--json"))["vkeys"] for word in ("--vkey", key)]
    told = graven("check", evidence, *keys, "--tsa-root", real.ca_file)
    assert "sequenced   after 20" in told and "before 20" in told and "Authority One" in told
    assert "not checked time stamps: give the root" in graven("check", evidence, *keys)
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(root("Stranger").pem)
    assert "does not lead to one that is trusted" in graven("check", evidence, *keys, "--tsa-root", stranger)
    script = "import sys; from graven.check.command import main; sys.exit(main(sys.argv[1:]))"
    words = [str(evidence), *keys, "--tsa-root", str(real.ca_file), "--json"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["files"][0]
    assert found["after"][0]["by"] == found["before"][0]["by"] == "Authority One"
    stored = timed.directory / listed[0]["file"]
    assert "existed     before 20" in graven("check", stored, *keys, "--tsa-root", real.ca_file)
    assert "believed by its authority's root" in graven("check", stored, *keys, code=2)
    assert "whole" in graven("verify", *log) and "takes the authority's root" not in graven("verify", *log)
    copy = tmp_path / "copy"
    graven("backup", copy, *log)
    assert len(list((copy / "anchors").glob("*/*"))) == 2


def test_by_file_for_a_log_that_reaches_nobody(tmp_path: Path, real: Authority) -> None:
    """Exported, answered by `openssl ts` elsewhere, imported; and every wrong file is refused."""
    real.url = ""
    timed = make_timed(tmp_path, one=real)
    timed.write()
    log = ("--dir", timed.directory)
    graven("anchor", "export", tmp_path / "today", *log)
    note, request = tmp_path / "today.checkpoint", tmp_path / "today.tsq"
    assert note.read_bytes() == (timed.directory / "log" / "checkpoint").read_bytes()
    with timed.open() as opened:  # the log goes on meanwhile
        opened.append(list(EVENT))
        assert opened.publish().checkpoint.size > 1
    answer = tmp_path / "today.tsr"
    answer.write_bytes(real.stamp(request.read_bytes()))
    other = tmp_path / "other"
    graven("anchor", "export", other, "--authority", "one", *log)
    assert "another request" in graven("anchor", "import", answer, "--request", f"{other}.tsq", *log, code=1)
    assert "over other bytes" in graven("anchor", "import", answer, "--checkpoint", f"{other}.checkpoint", *log, code=1)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(answer.read_bytes()[:-3] + b"\x00\x01\x02")
    assert "not good" in graven("anchor", "import", damaged, *log, code=1)
    damaged.write_bytes(b"hello")
    graven("anchor", "import", damaged, *log, code=2)
    stranger = make_pretender(tmp_path / "stranger", "Stranger")
    damaged.write_bytes(stranger.token(note.read_bytes()))
    assert "does not lead to" in graven("anchor", "import", damaged, *log, code=1)
    assert not (timed.directory / "anchors").exists()
    taken = json.loads(graven("anchor", "import", answer, "--request", request, *log, "--json"))
    assert (taken["size"], taken["by"], taken["type"]) == (1, "one", "rfc3161")
    again = json.loads(graven("anchor", "import", timed.directory / taken["file"], *log, "--json"))
    assert again["file"] == taken["file"]
    with timed.open() as opened:
        opened.append(list(EVENT))
        opened.publish()
        actions = [json.loads(record.event or b"{}")["action"] for record in opened.view.records(0, opened.size)]
        assert actions.count("graven.anchor.token") == 1
    assert timed.verify().problems == ()
    elsewhere = make_timed(tmp_path / "elsewhere", one=real)
    elsewhere.write()
    told = graven("anchor", "import", timed.directory / taken["file"], "--dir", elsewhere.directory, code=1)
    assert "signature" in told


def test_a_running_server_stamps_imports_and_tells(tmp_path: Path, real: Authority) -> None:
    with serving(real) as one:
        timed = make_timed(tmp_path, one=one)
        timed.write()
        log = ("--dir", timed.directory)
        with Server(timed.directory, timed.config()) as server:
            until(lambda: b"graven_stamps 1.0" in server.ask("GET", "/metrics").body)
            assert "stamped 20" in graven("anchor", "stamp", *log)
            graven("anchor", "export", tmp_path / "by", *log)
            (tmp_path / "by.tsr").write_bytes(one.stamp((tmp_path / "by.tsq").read_bytes()))
            taken = json.loads(graven("anchor", "import", tmp_path / "by.tsr", *log, "--json"))
            assert taken["by"] == "one"
            server.control.append(b'{"action":"door.opened"}')
            server.control.publish()
            server.control.append(b'{"action":"door.opened"}')
            server.control.publish()
            index = server.control.status()["size"] - 1
            metrics = server.ask("GET", "/metrics").body.decode()
            for line in (
                "graven_time_authorities 1.0",
                "graven_time_authorities_failing 0.0",
                "graven_clock_alarm 0.0",
            ):
                assert line in metrics
            token = server.token("read")
            document = server.ask("GET", f"/api/v1/events/{index}/evidence", token=token).body
            assert "event" in {anchor.type for anchor in parse_evidence(document).anchors}
            files = json.loads(server.ask("GET", "/anchors").body)["anchors"]
            assert taken["file"] in files
            served = server.ask("GET", f"/{taken['file']}")
            assert served.status == 200 and served.body == (timed.directory / taken["file"]).read_bytes()
            for path in ("/anchors/../graven.toml", "/anchors/2026-01-01/x", f"/{taken['file']}x"):
                assert server.ask("GET", path).status == 404
            one.reply = lambda asked: (500, b"")
            assert "no stamp: status 500" in told(timed.directory)
            one.reply = None
            status = graven("status", *log)
            assert "no stamp since" in status and "status 500" in status
    assert timed.verify().problems == ()


def told(directory: Path) -> str:
    done = CliRunner().invoke(cli, ["anchor", "stamp", "--dir", str(directory)], prog_name="graven")
    assert done.exit_code == 3
    return done.stdout


def test_cosignatures_are_in_the_log_and_bound_events(tmp_path: Path) -> None:
    """The lines of each published checkpoint; an idle log that is witnessed again and again does not grow."""
    host = make_host(tmp_path, ["w1", "w2"])
    with witnessed(host), host.open(interval_ms=20, witness_refresh_s=1) as log:
        log.append(list(EVENT), wait="published")
        first, size = host.shown, log.size
        until(lambda: host.shown != first)
        assert log.size == size
        log.append(list(EVENT), wait="published")
        log.append(list(EVENT), wait="published")
        index = log.size - 1
        rows = [json.loads(record.event or b"{}") for record in log.view.records(0, log.size)]
        found = [row["data"] for row in rows if row["action"] == "graven.anchor.cosignature"]
        assert found and all(len(data["cosignatures"]) == 2 for data in found)
        assert all(line.startswith("— witness.invalid/w") and len(line) < 200 for line in found[0]["cosignatures"])
        bracket = log.view.bracket(index)
        assert bracket.lower is not None and bracket.lower.by.startswith("witness w")
        assert bracket.upper is not None and bracket.upper.type == COSIGNATURE and not bracket.contradicts
        evidence = tmp_path / "evidence"
        evidence.write_bytes(log.view.evidence(index))
        early = log.view.bracket(0).upper
        assert early is not None and early.time_us <= bracket.upper.time_us
        keys = [word for key in log.keys for word in ("--vkey", format_vkey(key))]
    by_policy = graven("check", evidence, "--policy", host.policy_path)
    assert "after 20" in by_policy and "a cosignature, in the log as event" in by_policy
    assert "give a policy that names the witnesses" in graven("check", evidence, *keys)
    assert host.verify().problems == ()


def test_a_cosigned_checkpoint_by_file(tmp_path: Path) -> None:
    host = make_host(tmp_path, ["w1"])
    with witnessed(host, quorum="1"):
        with host.open() as log:
            log.append(list(EVENT))
            note = log.publish().data
            size = log.size
        (tmp_path / "cosigned").write_bytes(note)
        with host.open() as log:
            taken = log.anchoring.bring(note)
            assert taken["type"] == COSIGNATURE and taken["size"] == size
        (stored,) = (host.directory / "anchors").glob("*/*")
        assert stored.read_bytes().endswith(note)
    assert host.verify().problems == ()


def test_the_last_test_of_a_pretender_needs_no_openssl(tmp_path: Path, real: Authority) -> None:
    """Stamps of an authority that is configured no more stay good files, and nobody's word."""
    one = make_pretender(tmp_path / "p")
    timed = make_timed(tmp_path, one=one)
    with serving(real) as server, timed_open(timed, server, one) as log:
        log.anchoring.stamp()
    real.reply = None
    timed.authorities = {}
    with timed.open() as log:
        log.append(list(EVENT))
        log.publish()
        assert log.view.bracket(0).unchecked and not log.view.bracket(0).before
    assert timed.verify().problems == ()
