"""A follower as a process: killed, stopped, alarming; its statements and metrics; and its memory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from lab.http import Handler, answering

from audit.logs import POLICY_TEXT, entries_of, files_of, publish, serving
from core.signers import LOG, ORIGIN, sign_checkpoint
from graven.audit.mirror import Mirror
from graven.audit.statement import FIRST_LINE
from graven.audit.tree import Tree
from graven.cli import graven
from graven.core.checkpoint import open_checkpoint
from graven.core.merkle import hash_leaves
from graven.core.note import open_note, parse_note, parse_vkey
from graven.core.tile import encode_entries, parse_path
from graven.keys.signature import verify_signature
from graven.runtime.site import FolderSite


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policy").write_text(POLICY_TEXT)


def words_for(url: str, *more: str) -> list[str]:
    return ["audit", "follow", url, "--policy", "policy", "--state", "state", *more]


def started(url: str, *more: str) -> subprocess.Popen[str]:
    call = "import sys\nfrom graven.cli import graven\ngraven.main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", call, *words_for(url, *more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


@contextmanager
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    posted: list[dict[str, object]] = []

    class Hook(Handler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.body()))
            self.answer(204)

    with answering(Hook) as url:
        yield f"{url}/alarm", posted


def test_killed_in_the_middle_of_copying_it_goes_on_where_it_was() -> None:
    log = Path("log")
    publish(log, entries_of(256 * 40 + 7))
    reached, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path.startswith("tile/entries/") and len(asked(served.asked)) > 25:
            reached.set()
            go_on.wait(90)

    with serving(log) as served:
        served.before = hold
        process = started(served.url, "--once")
        assert reached.wait(90)
        until_s = time.monotonic() + 90
        while len(bundles()) < 6:  # it keeps what was answered before
            assert time.monotonic() < until_s
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        go_on.set()
        served.before = None
        have = bundles()
        assert len(have) > 5 and not Path("state/checkpoint").exists()
        time.sleep(0.2)
        served.asked.clear()
        result = CliRunner().invoke(graven, words_for(served.url, "--once"), prog_name="graven")
        assert result.exit_code == 0, result.stderr
        again = {path for path in asked(served.asked) if path in have and (Path("state/tile/0") / path[-3:]).exists()}
    assert len(again) <= 8, "only what had a bundle and no tile yet"
    assert len(asked(served.asked)) <= 41 - len(have) + 8
    assert files_of(Path("state")) == files_of(log)


def bundles() -> set[str]:
    """What was copied."""
    there = Path("state/tile/entries")
    return {f"tile/entries/{path.name}" for path in there.glob("*") if path.suffix != ".tmp"}


def asked(paths: list[str]) -> list[str]:
    return [path for path in paths if path.startswith("tile/entries/")]


def test_it_follows_until_it_is_told_to_end() -> None:
    log = Path("log")
    publish(log, entries_of(300))
    with serving(log) as served:
        process = started(served.url, "--interval-s", "1")
        assert process.stderr is not None
        first = json.loads(process.stderr.readline())
        publish(log, entries_of(600))
        second = next(line for line in map(json.loads, process.stderr) if line["size"] != first["size"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
        process.communicate()
    assert [first["size"], second["size"], second["grown"]] == [300, 600, 300]
    assert second["problems"] == [] and second["checked"][-1] == "entries derived to the root"


def test_a_disproof_is_the_exit_code_at_the_end_and_an_alarm_once() -> None:
    publish(Path("log"), entries_of(300))
    with serving(Path("log")) as served, hook() as (url, posted):
        process = started(served.url, "--interval-s", "1", "--webhook", url)
        assert process.stderr is not None
        process.stderr.readline()
        publish(Path("log"), entries_of(300, salt=1))
        said = (json.loads(line) for line in process.stderr)
        lines = [next(line for line in said if line["exit_code"]), next(said)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 1
        process.communicate()
    assert [line["exit_code"] for line in lines] == [1, 1]
    (alarm,) = posted
    assert "this log forked" in str(alarm["problems"]) and alarm["origin"] == ORIGIN


def test_statements_and_metrics() -> None:
    run = CliRunner()
    made = run.invoke(graven, ["audit", "init-key", "key", "--name", "auditor.invalid/a"], prog_name="graven")
    vkey = parse_vkey(made.stdout.strip())
    assert Path("key").stat().st_mode & 0o777 == 0o600
    assert run.invoke(graven, ["audit", "init-key", "key", "--name", "a"], prog_name="graven").exit_code == 2
    publish(Path("log"), entries_of(300))
    more = ("--once", "--statement-key", "key", "--metrics", "metrics.prom")
    with serving(Path("log")) as served:
        for _ in range(2):
            assert run.invoke(graven, words_for(served.url, *more), prog_name="graven").exit_code == 0
        (path,) = Path("state/statements").iterdir()
        publish(Path("log"), entries_of(300, salt=1))
        assert run.invoke(graven, words_for(served.url, *more), prog_name="graven").exit_code == 1
    note = parse_note(path.read_bytes())
    assert [one.key for one in open_note(note, [vkey], verify_signature)] == [vkey]
    lines = note.text.splitlines()
    assert lines[:3] == [FIRST_LINE, ORIGIN, "300"] and lines[4].startswith("time 2")
    assert "checked quorum none" in lines and not any(line.startswith("found") for line in lines)
    alarm = next(Path("state/statements").glob("*-alarm.statement")).read_text()
    assert "\nfound this log forked" in alarm
    metrics = Path("metrics.prom").read_text()
    assert f'graven_audit_size{{origin="{ORIGIN}"}} 300.0' in metrics
    assert f'graven_audit_exit_code{{origin="{ORIGIN}"}} 1.0' in metrics


def test_a_statement_key_is_no_log_key() -> None:
    CliRunner().invoke(graven, ["audit", "init-key", "key", "--name", ORIGIN], prog_name="graven")
    publish(Path("log"), entries_of(3))
    with serving(Path("log")) as served:
        words = words_for(served.url, "--once", "--statement-key", "key")
        result = CliRunner().invoke(graven, words, prog_name="graven")
    assert result.exit_code == 2 and "name of the log" in result.stderr
    assert not Path("state/statements").exists()


def test_memory_does_not_grow_with_the_log() -> None:
    """Bundles and tiles made when they are asked for: a log four times as long costs no more."""
    peaks = [_peak(Path(f"copy-{size}"), size) for size in (25_600, 102_400)]
    assert peaks[1] < 1.3 * peaks[0] + 200_000, peaks


class _Endless(FolderSite):
    """A log whose every full bundle holds the same entries."""

    def __init__(self, size: int) -> None:
        super().__init__(Path("nowhere"))
        entries = [sha256(b"%d" % at).digest() for at in range(256)]
        self._bundle, self._leaves = encode_entries(b"".join(entries)), hash_leaves(entries)
        self._upper: dict[str, bytes] = {}
        tree = Tree()
        for _ in range(size // 256):
            tree.extend(self._leaves, self._note)
        for level, index, hashes in tree.partial_tiles():
            self._note(level, index, hashes)
        self.root = tree.root()

    def get(self, path: str, size_max: int) -> bytes | None:
        named = parse_path(path)
        if named.level == "entries":
            return self._bundle
        return b"".join(self._leaves) if named.level == 0 else self._upper[f"{named.level} {named.index}"]

    def _note(self, level: int, index: int, hashes: list[bytes]) -> None:
        if level:
            self._upper[f"{level} {index}"] = b"".join(hashes)


def _peak(directory: Path, size: int) -> int:
    site = _Endless(size)
    signed = open_checkpoint(sign_checkpoint(size, site.root, (LOG,)), [LOG.key], verify_signature)
    mirror = Mirror(directory)
    tracemalloc.start()
    try:
        mirror.grow(site, signed)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        mirror.close()
