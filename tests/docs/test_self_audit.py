"""docs/self-audit.md names every act of Graven's own, with exactly the fields that such an event holds."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from anchor.authorities import make_authority, serving
from anchor.timed import make_timed, pretender, timed_open
from core.signers import WITNESS
from graven import app
from graven.agent.identity import make_identity
from graven.anchor.policies import keep_policy, load_policy
from graven.cli import graven as cli
from graven.config import load_config
from graven.core.note import Note, format_note, format_vkey, parse_note, parse_vkey
from graven.core.spelling import decode_base64
from graven.core.statement import NO_BATCH, BatchStatement, Heartbeat, format_heartbeat
from graven.event import quarantine
from graven.log import acts, admin
from graven.log.acts import ACTS, SELF_CLASS, SELF_SOURCE
from graven.log.agents import batch_acts, enrol_agent, judge, revoke_agent
from graven.log.registers import Erasure, Registers
from graven.log.types import Batch
from graven.runtime.files import LocalFiles
from graven.server.agents import Agents
from graven.server.live import Live
from graven.server.retry import retry_quarantined
from graven.server.routes import Ask
from graven.server.syslog.losses import Losses
from graven.server.watch import Watch

PAGE = (Path(__file__).parents[2] / "docs" / "self-audit.md").read_text()
ROWS = {
    name: re.sub(r"\([^)]*\)", "", data)
    for name, data in re.findall(r"^\| `(graven\.[a-z_.]+)` \|[^|]*\|([^|]*)\|$", PAGE, re.MULTILINE)
}
OPTIONAL = {"successor_of", "witness_policy_sha256", "challenge"}


def fields(action: str) -> set[str]:
    return set(re.findall(r"`([a-z_0-9]+)`", ROWS[action]))


def test_every_act_is_on_the_page() -> None:
    assert list(ROWS) == list(ACTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """The acts of a log to which nearly everything has happened: action -> events."""
    directory = tmp_path_factory.mktemp("acts") / "log"
    app.create_log(directory, origin="example.com/log")
    log = app.Log.open(directory, serve=True)
    log.close("it was time")
    log = app.Log.open(directory, serve=True)
    log._serving = False  # as if it had been killed: no stop
    log.close()
    config = directory / "graven.toml"
    config.write_text(config.read_text().replace("# interval_ms = 1000", "interval_ms = 900"))
    segment = next((directory / "journal").glob("*.seg"))
    segment.write_bytes(segment.read_bytes() + b"GRVB unfinished")
    with app.Log.open(directory) as log:
        now_us = log.clock.now_us()
        log.commit(Batch([b'{"action":"a","id":"1"}'], ["1"], 1, now_us))
        log.commit(Batch([b'{"action":"b","id":"1"}'], ["1"], 1, now_us - 5_000_000))
        admin.create_token(log, "laptop", ["ingest"])
        admin.revoke_token(log, "laptop")
        admin.change_source(log, "laptop", declared={"default"}, owner="somebody")
        agents_and_silence(log)
        line = b"Mar  2 08:14:31 web01 sshd[7]: Invalid user eve from 203.0.113.9 port 7"
        kept, raw = quarantine(line, position=0, fault={"position": 0, "path": "$", "what": "w", "mend": "m"})
        log.commit(Batch([kept], [None], 1, now_us, raws=[raw]))
        assert retry_quarantined(log, app.build_pipeline())["read"]
    (directory.parent / "old.jsonl").write_bytes(b'{"action":"a"}\n' * 1_001)
    graven("import", "--history", str(directory.parent / "old.jsonl"), "--source", "old", "--dir", str(directory))
    graven("backup", f"{directory}.copy", "--dir", str(directory))
    copy = f"file://{directory}.worm"
    graven("worm", "enable", copy, "--dir", str(directory))
    graven("worm", "enable", "--full", "--yes", "--dir", str(directory))
    graven("worm", "doctor", "--dir", str(directory), exit_code=1)  # a directory of our own is not write-once
    with app.Log.open(directory) as log:
        log.append_act(acts.WORM_ALARM, {"what": "another tree", "place": copy})
    graven("keys", "backup", f"{directory}.kit", "--no-passphrase", "--dir", str(directory))
    graven("audit", "range", "0", "2", "--source", "graven", "--dir", str(directory), "-o", f"{directory}.range")
    graven("keys", "rotate", "begin", "--dir", str(directory))
    graven("keys", "rotate", "finish", "--dir", str(directory))
    lose_an_acknowledged_event(directory)
    with app.Log.open(directory, declare_loss="a reason"):
        pass
    graven("backup", f"{directory}.old", "--dir", str(directory))
    directory.rename(f"{directory}.newer")  # and back from before the act that the backup was
    graven("restore", f"{directory}.old", "--dir", str(directory), "--mirror", f"{directory}.newer")
    found: dict[str, list[dict[str, object]]] = {}
    with app.open_view(directory) as view:
        for record in view.records(0, view.size):
            if record.state == "lost":
                continue
            assert record.event is not None and record.head is not None
            event = json.loads(record.event)
            assert (record.class_name == SELF_CLASS) == (record.head.source == SELF_SOURCE)
            if record.head.source == SELF_SOURCE:
                found.setdefault(event["action"], []).append(event)
    for event in anchored(tmp_path_factory.mktemp("anchored")):
        found.setdefault(str(event["action"]), []).append(event)
    return found


@pytest.mark.parametrize("action", [action for action in ACTS if action != acts.ERASURE])
def test_the_page_says_what_data_holds(made: dict[str, list[dict[str, object]]], action: str) -> None:
    assert made[action], f"the log of this test has no {action}"
    for event in made[action]:
        data = event["data"]
        assert isinstance(data, dict)
        assert set(data) - OPTIONAL == fields(action) - OPTIONAL
        assert set(event) <= {"time", "actor", "action", "verb", "category", "outcome", "message", "changes", "data"}


def test_an_erasure_is_read_as_the_page_says() -> None:
    """Nothing writes one yet: the page and the register of erasures must name the same fields."""
    values = {"segment": 0, "class": "hr", "kind": "raw", "key_id": "00" * 16, "first": 1, "last": 2, "reason": "law"}
    assert set(values) == fields(acts.ERASURE)
    registers = Registers()
    registers.apply(7, acts.act(acts.ERASURE, now_us=0, data=values))
    assert registers.erasures == (Erasure(7, 0, "hr", "raw", "00" * 16),)


def agents_and_silence(log: app.Log) -> None:
    """An agent that is enrolled, misses a batch, is forged, has a wrong clock, says goodbye, is revoked; a silence."""
    identity = make_identity("host-1")
    now_us = log.clock.now_us()
    agent = enrol_agent(log, identity.key, declared={"default"}, expect_s=None, now_us=now_us)
    said = BatchStatement("host-1", 4, NO_BATCH, 1, NO_BATCH, NO_BATCH, NO_BATCH, now_us)
    made = batch_acts(agent, said, judge(agent, said), now_us=now_us)
    log.commit(Batch([b'{"action":"a"}'], [None], 1, now_us, acts=made))
    live = Live(log.directory, log.config)
    live.log, doors = log, Agents(live)
    doors.refuse(log, agent, "forged", "a signature that does not fit")
    challenge = NO_BATCH
    for _ in range(2):
        beat = Heartbeat("host-1", "goodbye", 4, said.digest, 0, challenge, 1)
        answer = doors.heartbeat(Ask(live, None, {}, {}, identity.sign(format_heartbeat(beat))))
        challenge = decode_base64(json.loads(bytes(answer.body))["position"]["challenge"])
    revoke_agent(log, "host-1")
    admin.change_source(log, "laptop", declared={"default"}, expect_s=5)
    losses = Losses()
    losses.note("kernel", 3, log.clock.now_us())
    losses.tell(log, losses.due(0.0) or {})
    watch = Watch(iter(range(0, 10_000, 100)).__next__)
    watch.sweep(log)
    admin.change_source(log, "laptop", declared={"default"}, expect_s=0)
    watch.sweep(log)
    live.close()


def graven(*arguments: str, exit_code: int = 0) -> None:
    done = CliRunner().invoke(cli, arguments, prog_name="graven")
    assert done.exit_code == exit_code, done.stderr


def lose_an_acknowledged_event(directory: Path) -> None:
    """A server dies between a commit and its publication, and the disk loses the frame."""
    script = (
        "import os, sys, pathlib; from graven.app import Log\n"
        "log = Log.open(pathlib.Path(sys.argv[1]))\n"
        "log.publisher._stopping.set(); log.publisher.wake(); log.publisher._thread.join()\n"
        "log.publish()\n"
        "log.append([{'action': 'committed only'}])\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(directory)], timeout=180, check=True)
    segment = max((directory / "journal").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[-40] ^= 1
    segment.write_bytes(data)


def anchored(folder: Path) -> list[dict[str, object]]:
    """The acts of a log whose authority was away for a while, has a wrong clock, and a certificate that ends soon."""
    one = pretender(folder / "p", end=datetime.now(UTC) + timedelta(days=3))
    one.now = lambda: datetime.now(UTC) - timedelta(hours=1)
    timed = make_timed(folder, one=one)
    vkeys = load_config(timed.directory / "graven.toml").vkeys
    lines = [*(f"log {vkey}" for vkey in vkeys), f"witness w {format_vkey(WITNESS.key)}", "quorum none", ""]
    (folder / "policy").write_text("\n".join(lines))
    keys = [parse_vkey(vkey) for vkey in vkeys]
    keep_policy(LocalFiles(), timed.directory, load_policy(folder / "policy", keys))
    server = make_authority(folder / "server")
    with serving(server), timed_open(timed, server, one) as log:
        reply, server.reply = server.reply, lambda asked: (503, b"")
        log.anchoring.stamp()
        server.reply = reply
        log.anchoring.stamp()
        text = log.published.note.text
        note = parse_note(log.published.data)
        log.anchoring.bring(format_note(Note(text, (*note.signatures, WITNESS.line(text)))))
        log.anchoring._attend(log.anchoring.states[0])
        log.append([{"action": "door.opened"}])
        return [json.loads(record.event or b"{}") for record in log.view.records(0, log.size)]
