"""`graven worm` and `graven verify --from`, as a person runs them; the server that copies by itself."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from lab.http import Handler, answering

from graven.app import Log, create_log, open_view, public_keys
from graven.cli import graven
from graven.config import load_config
from graven.core.note import format_vkey
from graven.worm import layout
from graven.worm.doctor import diagnose
from graven.worm.folder import FolderStore, set_immutable
from graven.worm.s3 import S3Settings, S3Store
from graven.worm.state import read_state
from graven.worm.store import end_of_day
from worm import seaweed
from worm.logs import append, config_of, copy, make_log, objects, store_of
from worm.seaweed import Seaweed


@pytest.fixture(autouse=True)
def removable(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.rglob("*"):
        if path.is_file():
            with contextlib.suppress(OSError):
                set_immutable(path, on=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", origin="example.com/cli")
    return tmp_path / "log"


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(graven, [str(word) for word in words])
    assert result.exit_code == code, result.stdout + result.stderr
    return result


def answer(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def acts_of(directory: Path, prefix: str) -> list[tuple[str, Any]]:
    found = []
    with open_view(directory) as view:
        for record in view.records(0, view.size):
            event = json.loads(record.event or b"{}")
            if event["action"].startswith(prefix):
                found.append((event["action"], event["data"]))
    return found


def test_from_nothing_to_the_full_lock(log: Path, make_bucket: Callable[..., str]) -> None:
    url = f"s3://{make_bucket()}/logs/cli"
    comment = "# a line of a person\n"
    (log / "graven.toml").write_text(comment + (log / "graven.toml").read_text())
    assert "no write-once copy is set up" in run("worm", "status", "--dir", log, code=2).stderr
    assert answer("worm", "enable", url, "--dir", log)["new"] is True
    text = (log / "graven.toml").read_text()
    assert text.startswith(comment) and load_config(log / "graven.toml").worm.store == url
    assert "nothing was copied yet" in run("worm", "status", "--dir", log).stdout
    assert answer("worm", "enable", "--dir", log)["new"] is False
    found = answer("worm", "doctor", "--dir", log)
    assert found["write_once"] is True and found["if_none_match"] is True
    run("worm", "follow", "--once", "--dir", log)
    assert "trial" in run("worm", "status", "--dir", log).stdout
    vkey = format_vkey(public_keys(config_of(log))[0])
    verified = answer("verify", "--from", url, "--vkey", vkey)
    assert verified["good"] and any("trial" in note for note in verified["notes"])
    assert answer("verify", "--from", url, "--dir", log)["good"]
    began_s = time.time()
    assert "asks for a confirmation" in run("worm", "enable", "--full", "--dir", log, code=2).stderr
    said = run("worm", "enable", "--full", "--yes", "--dir", log).stdout
    assert "objects" in said and "bytes" in said and "cost" in said and "365 days" in said
    assert "in force already" in run("worm", "enable", "--full", "--yes", "--dir", log, code=2).stderr
    run("worm", "follow", "--once", "--dir", log)
    document = answer("worm", "status", "--dir", log)
    assert document["lock"] == "full" and document["alarms"] == []
    assert answer("status", "--dir", log)["worm"]["lock"] == "full"
    assert "copied" in run("status", "--dir", log).stdout
    store = store_of(log)
    ends = {end_of_day(at_s, 365) for at_s in (began_s, time.time())}  # midnight may pass
    for name, versions in objects(store).items():
        if not name.startswith((layout.OPEN, layout.PROBES, layout.EDGES, layout.CHECKPOINTS)):
            lock = store.lock(versions[0])
            assert lock is not None and lock.until_s in ends, name
    names = [name for name, _ in acts_of(log, "graven.worm")]
    assert names == ["graven.worm.enable", "graven.worm.doctor", "graven.worm.lock"]


def test_a_bucket_without_lock_is_refused_and_nothing_is_written(log: Path, make_bucket: Callable[..., str]) -> None:
    before = (log / "graven.toml").read_bytes()
    assert "no versions" in run("worm", "enable", f"s3://{make_bucket(lock=False)}", "--dir", log, code=2).stderr
    assert "no store is named" in run("worm", "enable", "--dir", log, code=2).stderr
    run("worm", "enable", "ftp://x/y", "--dir", log, code=2)
    assert (log / "graven.toml").read_bytes() == before


def test_credentials_never_reach_the_configuration_or_a_line(
    log: Path, make_bucket: Callable[..., str], credentials: Seaweed, tmp_path: Path
) -> None:
    url = f"s3://{make_bucket()}"
    said = run("worm", "enable", url, "--endpoint", credentials.endpoint, "--region", "us-east-1", "--dir", log).stdout
    said += run("worm", "follow", "--once", "--dir", log).stdout
    said += (log / "graven.toml").read_text() + (log / "state" / "worm.json").read_text()
    assert seaweed.SECRET not in said and seaweed.ACCESS not in said
    assert config_of(log).worm.endpoint == credentials.endpoint


def test_status_ends_with_3_while_there_is_an_alarm(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=1)
    copy(directory)
    state = json.loads((directory / "state" / "worm.json").read_text())
    state["root"] = "00" * 32
    (directory / "state" / "worm.json").write_text(json.dumps(state))
    assert "not whole" in run("worm", "follow", "--once", "--dir", directory, code=3).stderr
    result = run("worm", "status", "--dir", directory, code=3)
    assert "ALARM" in result.stdout and "is not this log's" in result.stderr


def test_the_doctor_finds_a_filers_open_door(tmp_path: Path, credentials: Seaweed) -> None:
    """A second store, as it comes: its lock is kept at the S3 door only."""
    folder = tmp_path / "open"
    folder.mkdir()
    store = seaweed.start(folder, filer_door=True)
    try:
        seaweed.make_bucket(store, "open-door")
        url = "s3://open-door/x"
        copied = S3Store(url, S3Settings(endpoint=store.endpoint, region="us-east-1"))
        found = diagnose(copied, now_s=int(time.time()), side_doors=[store.filer])
        assert not found.write_once
        assert any("through the filer" in what for what in found.failed)
        assert any("after all that" in what for what in found.failed)
        with _slow_door(store.filer) as door:
            found = diagnose(copied, now_s=int(time.time()), side_doors=[door])
        assert any("through the filer" in what for what in found.failed)
    finally:
        seaweed.kill(store.pid)


@contextlib.contextmanager
def _slow_door(filer: str) -> Iterator[str]:
    """One that does what it is told at once, and does not say so."""
    over = threading.Event()

    class Silent(Handler):
        def do_DELETE(self) -> None:  # noqa: N802
            urllib.request.urlopen(urllib.request.Request(filer + self.path, method="DELETE"), timeout=180).close()
            over.wait(180)

    with answering(Silent) as url:
        try:
            yield url
        finally:
            over.set()


def test_the_doctor_names_what_a_directory_cannot_keep(tmp_path: Path) -> None:
    found = diagnose(FolderStore(f"file://{tmp_path}/copy"), now_s=int(time.time()))
    assert not found.write_once
    assert any("lift the immutable" in what or "delete it" in what for what in found.failed)
    assert found.conditional_put is True
    assert "NOT WRITE-ONCE" in run("worm", "doctor", f"file://{tmp_path}/copy", code=1).stdout


def test_the_doctor_says_what_no_lock_means(make_bucket: Callable[..., str]) -> None:
    found = diagnose(S3Store(f"s3://{make_bucket(lock=False)}"), now_s=int(time.time()))
    assert not found.write_once and found.failed[0] == "Object Lock is on"


def test_verify_from_needs_a_key_from_elsewhere(tmp_path: Path) -> None:
    assert "key got from elsewhere" in run("verify", "--from", f"file://{tmp_path}/copy", code=2).stderr
    assert "there is no copy" in run(
        "verify", "--from", f"file://{tmp_path}/copy", "--vkey",
        "example.com/log+9be5d3c6+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c", code=2,
    ).stderr  # fmt: skip


class _Served:
    """`graven serve` in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "graven", "serve", "--dir", str(directory), "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line + str(self.process.stderr.read() if self.process.stderr else "")
        self.url = line.split()[-1]

    def metrics(self) -> dict[str, float]:
        text = urllib.request.urlopen(f"{self.url}/metrics", timeout=180).read().decode()
        return {name: float(value) for name, value in re.findall(r"^(graven_worm_\w+) (\S+)$", text, re.MULTILINE)}

    def followers(self) -> set[int]:
        """The processes that follow for it."""
        words = ["pgrep", "-P", str(self.process.pid), "-f", "worm follow"]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        return {int(pid) for pid in found.stdout.split()}

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, said
        return said


def _until(good: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not good():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_copies_by_itself_to_its_last_event(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=5)
    served = _Served(directory)
    try:
        _until(lambda: (state := read_state(directory)) is not None and state.covered >= 7)
        _until(lambda: served.metrics().get("graven_worm_lag_events") == 0)
        found = answer("status", "--dir", directory)["worm"]
        assert found["store"].startswith("file://") and found["trouble"] is None
        (follower,) = served.followers()
        os.kill(follower, signal.SIGKILL)
        _until(lambda: bool(served.followers() - {follower}))
    finally:
        said = served.stop()
    assert "the follower of the copy died" in said
    with open_view(directory) as view:
        size = view.size
    state = read_state(directory)
    assert state is not None and (state.covered, state.size, state.alarms) == (size, size, [])
    assert answer("verify", "--from", f"file://{tmp_path}/copy", "--dir", directory)["good"]


def test_with_follow_apart_a_server_starts_nothing(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=1)
    text = (directory / "graven.toml").read_text()
    (directory / "graven.toml").write_text(text.replace('# follow = "serve"', 'follow = "apart"'))
    served = _Served(directory)
    served.stop()
    assert read_state(directory) is None
    run("worm", "follow", "--once", "--dir", directory)
    state = read_state(directory)
    assert state is not None and state.size == state.covered > 1


def test_an_alarm_is_an_event_of_the_log(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=1)
    copy(directory)
    state = json.loads((directory / "state" / "worm.json").read_text())
    state["root"] = "00" * 32
    (directory / "state" / "worm.json").write_text(json.dumps(state))
    served = _Served(directory)
    try:
        _until(lambda: bool(acts_of(directory, "graven.worm.alarm")))
        _until(lambda: served.metrics()["graven_worm_alarms"] == 1)
    finally:
        served.stop()
    ((_, data),) = acts_of(directory, "graven.worm.alarm")
    assert "is not this log's" in data["what"]


def test_a_log_can_be_written_while_it_is_copied(tmp_path: Path) -> None:
    directory = make_log(tmp_path, f"file://{tmp_path}/copy", events=1)
    with Log.open(directory) as open_log:
        for number in range(30):
            open_log.append([{"action": "t.x", "message": str(number)}])
            if number % 10 == 9:
                open_log.publish()
                copy(directory)
    append(directory, 1)
    copy(directory)
    assert answer("verify", "--from", f"file://{tmp_path}/copy", "--dir", directory)["good"]
