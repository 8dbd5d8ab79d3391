"""The recorder: never waits, keeps on disk, sends once; over outages, kills and forks."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.agents import records, wait_for
from graven.agent.spool import Batch, Spool
from graven.core.errors import BadInput, Broken, Busy
from graven.core.note import format_vkey
from graven.programs import Recorder
from programs.conftest import recorder_of
from server.running import Server


def actions(directory: Path, source: str) -> list[str]:
    return [event["action"] for event, _ in records(directory, source)]


def test_recorded_while_the_server_is_away(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    with Server(directory) as server:
        recorder = recorder_of(server, tmp_path / "spool", retries=0)
        token = server.token("ingest:app-spool", name="later")
        vkeys = [format_vkey(key) for key in server.keys]
    for number in range(50):
        recorder.record({"action": f"act {number}"})
    with pytest.raises(Busy):
        recorder.flush(0.5)
    recorder.close(0.2)
    with Server(directory) as server:
        again = Recorder(server.url, vkey=vkeys, token=token, directory=tmp_path / "spool", linger_ms=10)
        again.flush()
        again.close()
    assert actions(directory, "app-spool") == [f"act {number}" for number in range(50)]


def test_a_killed_process_leaves_its_events_to_the_next(server: Server, tmp_path: Path) -> None:
    token = server.token("ingest", name="app")
    vkeys = [format_vkey(key) for key in server.keys]
    program = f"""
import time, sys
from graven.programs import Recorder
more = {{"vkey": {vkeys!r}, "token": {token!r}, "directory": {str(tmp_path / "s")!r}, "linger_ms": 1}}
recorder = Recorder("http://127.0.0.1:9", **more)
for number in range(300):
    recorder.record({{"action": f"act {{number}}"}})
while recorder._running._spooled < 300:
    time.sleep(0.01)
print("spooled", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"spooled\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Recorder(server.url, vkey=vkeys, token=token, directory=tmp_path / "s") as recorder:
        recorder.record({"action": "another"})
        recorder.flush()
    assert actions(server.directory, "app") == [*(f"act {number}" for number in range(300)), "another"]


def test_a_fork_records_into_a_slot_of_its_own(server: Server, tmp_path: Path) -> None:
    token = server.token("ingest", name="app")
    vkeys = [format_vkey(key) for key in server.keys]
    program = f"""
import os, warnings
warnings.simplefilter("ignore")
from graven.programs import Recorder
recorder = Recorder({server.url!r}, vkey={vkeys!r}, token={token!r}, directory={str(tmp_path / "s")!r}, linger_ms=1)
recorder.record({{"action": "before"}})
recorder.flush()
children = []
for number in range(3):
    child = os.fork()
    if not child:
        recorder.record({{"action": f"child {{number}}"}})
        recorder.flush()
        recorder.close()
        os._exit(0)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
recorder.record({{"action": "after"}})
recorder.close()
print(codes)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout == "[0, 0, 0]\n", done.stderr
    assert sorted(actions(server.directory, "app")) == ["after", "before", "child 0", "child 1", "child 2"]
    assert len(list((tmp_path / "s").iterdir())) >= 2


def test_what_finds_no_room_is_counted_and_told(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    with Server(directory) as server:
        recorder = recorder_of(server, tmp_path / "spool", queue_events_max=50, spool_bytes_max=1 << 16, retries=0)
        url, token = server.url, server.token("ingest:app-spool", name="later")
        vkeys = [format_vkey(key) for key in server.keys]
    slowest_s = 0.0
    for number in range(4_000):
        started_s = time.perf_counter()
        recorder.record({"action": f"act {number}", "message": os.urandom(300).hex()})
        slowest_s = max(slowest_s, time.perf_counter() - started_s)
    lost = recorder.lost
    assert lost > 0
    recorder.close(0.1)
    assert url
    with Server(directory) as server:
        again = Recorder(server.url, vkey=vkeys, token=token, directory=tmp_path / "spool", linger_ms=1)
        again.flush()
        again.close()
    found = [event for event, _ in records(directory, "app-spool")]
    told = sum(event["count"] for event in found if event["action"] == "graven.program.lost")
    assert told <= lost
    stored = [event["action"] for event in found if event["action"] != "graven.program.lost"]
    assert len(stored) == len(set(stored)) >= 50


def test_a_slow_disk_is_waited_for_at_the_end(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Spool.put

    def slow(self: Spool, batch: Batch) -> int:
        time.sleep(1.5)
        return put(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "put", slow)
        recorder = recorder_of(server, tmp_path / "spool", retries=0)
        recorder.record({"action": "kept"})
        recorder.close(0.1)
    token = server.token("ingest:app-spool", name="later")
    vkeys = [format_vkey(key) for key in server.keys]
    with Recorder(server.url, vkey=vkeys, token=token, directory=tmp_path / "spool") as again:
        again.flush(90)
    assert actions(server.directory, "app-spool") == ["kept"]


def test_what_the_disk_does_not_take_is_said_at_the_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, batch: Batch) -> int:
        raise Broken("no space", place="the spool")

    said: list[str] = []
    logger = logging.getLogger("graven.programs")
    monkeypatch.setattr(logger, "error", lambda text, *words: said.append(text % words))
    monkeypatch.setattr(Spool, "put", full)
    recorder = recorder_of(server, tmp_path / "spool", retries=0)
    for _ in range(3):
        recorder.record({"action": "lost"})
    recorder.close(0.1)
    assert said[-1] == "3 events are lost at the end: they could not be kept"


def test_a_refused_event_holds_nothing_up(server: Server, recorder: Recorder) -> None:
    recorder.record({"action": "fine"})
    recorder.record({"action": "odd", "class": "no-such-class"})
    recorder.record({"action": "fine, too"})
    recorder.flush()
    assert actions(server.directory, "app-spool") == ["fine", "fine, too"]


def test_what_is_no_event_is_said_at_once(recorder: Recorder) -> None:
    with pytest.raises(BadInput):
        recorder.record({"action": ""})
    recorder.close()
    with pytest.raises(BadInput, match="closed"):
        recorder.record({"action": "x"})


def test_a_wrong_token_is_trouble_and_no_loss(server: Server, tmp_path: Path) -> None:
    vkeys = [format_vkey(key) for key in server.keys]
    with Recorder(server.url, vkey=vkeys, token="gvn_wrong", directory=tmp_path / "s", linger_ms=1) as recorder:
        recorder.record({"action": "x"})
        wait_for(lambda: recorder.trouble)
        assert "gvn_wrong" not in str(recorder.trouble)
    token = server.token("ingest", name="app")
    with Recorder(server.url, vkey=vkeys, token=token, directory=tmp_path / "s") as recorder:
        recorder.flush()
    assert json.dumps(actions(server.directory, "app")) == '["x"]'
